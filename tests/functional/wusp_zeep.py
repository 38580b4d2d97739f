"""A Windows client made of python3-zeep against `gapferry serve`: handshake, the whole SyncUpdates walk,
fragments, file locations, content, reporting, cache refresh and faults."""
import datetime
import hashlib
import unittest
import uuid
import xml.etree.ElementTree as ET

import catalogue
import soap
from harness import World

NOW = datetime.datetime(2026, 11, 22, 8, 0, tzinfo=datetime.timezone.utc)


class Client:
    def __init__(self, url, name="pc1.example", groups=None):
        self.url, self.name, self.id, self.groups = url, name, str(uuid.uuid4()), groups
        self.service = soap.client_service(url)
        self.config = self.service.GetConfig(protocolVersion="2.90")
        self.cookie = self.handshake()
        self.non_leaf, self.other, self.infos = [], [], {}
        self.calls = 0

    def handshake(self, groups=None):
        plug = self.config.AuthInfo.AuthPlugInInfo
        assert [p.PlugInID for p in plug] == ["SimpleTargeting"], plug
        assert plug[0].ServiceUrl == "SimpleAuthWebService/SimpleAuth.asmx"
        granted = soap.simple_auth(self.url).GetAuthorizationCookie(
            clientId=self.id, targetGroupName=groups or self.groups, dnsName=self.name)
        return self.service.GetCookie(
            authCookies={"AuthorizationCookie": [{"PlugInId": granted.PlugInId,
                                                  "CookieData": granted.CookieData}]},
            oldCookie={"Expiration": NOW, "EncryptedData": b""}, lastChange=self.config.LastChange,
            currentTime=NOW, protocolVersion="2.90")

    def register(self):
        fields = dict(DnsName=self.name, OSMajorVersion=10, OSMinorVersion=0, OSBuildNumber=26200,
                      OSServicePackMajorNumber=0, OSServicePackMinorNumber=0, OSLocale="en-US",
                      ComputerManufacturer="Contoso", ComputerModel="Model 1", BiosVersion="1",
                      BiosName="BIOS", BiosReleaseDate=NOW, ProcessorArchitecture="AMD64",
                      SuiteMask=256, OldProductType=1, NewProductType=48, SystemMetrics=0,
                      ClientVersionMajorNumber=1507, ClientVersionMinorNumber=2601,
                      ClientVersionBuildNumber=30012, ClientVersionQfeNumber=0)
        self.service.RegisterComputer(cookie=self.cookie, computerInfo=fields)

    def sync(self, **more):
        parameters = {"ExpressQuery": False,
                      "InstalledNonLeafUpdateIDs": {"int": self.non_leaf},
                      "OtherCachedUpdateIDs": {"int": self.other},
                      "SkipSoftwareSync": False, "NeedTwoGroupOutOfScopeUpdates": True, **more}
        answer = self.service.SyncUpdates(cookie=self.cookie, parameters=parameters)
        self.cookie = answer.NewCookie
        self.calls += 1
        assert self.calls < 200, "a Windows client gives up after 200 calls"
        return answer

    def scan(self):
        """Walks as if every non-leaf revision were installed; returns all that was delivered."""
        while True:
            answer = self.sync()
            new = answer.NewUpdates.UpdateInfo if answer.NewUpdates else []
            assert new or not answer.Truncated, "truncated without anything new"
            for info in new:
                assert info.ID not in self.infos, "delivered twice"
                assert info.Deployment is not None and info.Xml
                self.infos[info.ID] = info
                (self.other if info.IsLeaf else self.non_leaf).append(info.ID)
            for gone in (answer.OutOfScopeRevisionIDs.int if answer.OutOfScopeRevisionIDs else []):
                self.infos.pop(gone, None)
                self.other = [i for i in self.other if i != gone]
                self.non_leaf = [i for i in self.non_leaf if i != gone]
            if not answer.Truncated and all(info.IsLeaf for info in new):
                return self.infos


@unittest.skipIf(soap.MISSING, soap.MISSING)
class WuspTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.mirror = catalogue.upstream(cls.world, "server")
        cls.approved = catalogue.approve_some(cls.mirror, "All Computers", 5)
        serving = cls.mirror.serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)

    def client(self, name="pc1.example"):
        client = Client(self.server.url, name)
        client.register()
        return client

    def test_config_is_the_one_that_windows_needs(self):
        config = soap.client_service(self.server.url).GetConfig(protocolVersion="2.90")
        self.assertTrue(config.IsRegistrationRequired)
        self.assertIsNone(config.AllowedEventIds)
        names = [p.Name for p in config.Properties.ConfigurationProperty]
        self.assertEqual(names, ["MaxExtendedUpdatesPerRequest", "PackageServerShare", "ProtocolVersion",
                                 "IsInventoryRequired", "ClientReportingLevel"])

    def test_walk_delivers_what_is_approved_and_all_it_needs(self):
        client = self.client()
        infos = client.scan()
        text = {i: info.Xml for i, info in infos.items()}
        identity = {}
        for i, xml in text.items():
            root = ET.fromstring(f"<r xmlns:xsi='x'>{xml}</r>")
            own = root.find("UpdateIdentity")
            identity[own.get("UpdateID").lower()] = i
            for ref in root.iterfind("Relationships/Prerequisites/UpdateIdentity"):
                self.assertTrue(ref.get("UpdateID"))
        for guid in self.approved:
            self.assertIn(guid, identity)
            deployment = infos[identity[guid]].Deployment
            self.assertEqual(deployment.Action, "Install")
            self.assertRegex(str(deployment.LastChangeTime), r"^\d{4}-\d\d-\d\d$")
        # A second scan with the same lists brings nothing.
        again = client.sync()
        self.assertIsNone(again.NewUpdates)
        self.assertFalse(again.Truncated)

    def test_prerequisites_come_first(self):
        client = self.client("pc2.example")
        answer = client.sync()
        for info in answer.NewUpdates.UpdateInfo:
            root = ET.fromstring(f"<r>{info.Xml}</r>")
            self.assertIsNone(root.find("Relationships/Prerequisites"), info.Xml[:300])

    def test_fragments_and_files(self):
        client = self.client("pc3.example")
        infos = client.scan()
        leaves = [i for i, info in infos.items() if info.IsLeaf][:50]
        answer = client.service.GetExtendedUpdateInfo(
            cookie=client.cookie, revisionIDs={"int": leaves},
            infoTypes={"XmlUpdateFragmentType": ["Extended", "LocalizedProperties"]},
            locales={"string": ["en"]})
        got = {}
        for update in answer.Updates.Update:
            ET.fromstring(f"<r>{update.Xml}</r>")
            got.setdefault(update.ID, []).append(update.Xml)
        self.assertEqual(set(got), set(leaves))
        files = answer.FileLocations.FileLocation if answer.FileLocations else []
        self.assertTrue(files)
        for place in files[:5]:
            _, _, body = soap.fetch(place.Url)
            self.assertEqual(hashlib.sha1(body).digest(), place.FileDigest)

    def test_reports_are_stored_once(self):
        client = self.client("pc4.example")
        client.scan()
        event = {
            "BasicData": {"TargetID": {"Sid": client.id}, "SequenceNumber": 0, "TimeAtTarget": NOW,
                          "EventInstanceID": str(uuid.uuid4()), "NamespaceID": 1, "EventID": 156,
                          "SourceID": 101,
                          "UpdateID": {"UpdateID": str(uuid.UUID(int=0)), "RevisionNumber": 0},
                          "Win32HResult": 0},
            "ExtendedData": {"MiscData": {"string": [f"U={self.approved[0].upper()}"]},
                             "ComputerBrand": "Contoso", "ComputerModel": "Model 1",
                             "BiosRevision": "1", "ProcessorArchitecture": "Amd64Compatible",
                             "OSVersion": {"Major": 10, "Minor": 0, "Build": 26200, "Revision": 1,
                                           "ServicePackMajor": 0, "ServicePackMinor": 0},
                             "OSLocaleID": 1033},
            "PrivateData": {}}
        service = soap.reporting(self.server.url)
        for _ in range(2):
            self.assertTrue(service.ReportEventBatch(cookie=client.cookie, clientTime=NOW,
                                                     eventBatch={"ReportingEvent": [event]}))
        computers = {c["id"]: c for c in self.mirror.rows("computer", "list")}
        self.assertIn(client.id, computers)

    def test_refresh_cache_gives_the_same_ids(self):
        client = self.client("pc5.example")
        infos = client.scan()
        asked = {}
        for i, info in infos.items():
            own = ET.fromstring(f"<r>{info.Xml}</r>").find("UpdateIdentity")
            asked[(own.get("UpdateID").lower(), int(own.get("RevisionNumber")))] = i
        answer = client.service.RefreshCache(cookie=client.cookie, globalIDs={
            "UpdateIdentity": [{"UpdateID": g, "RevisionNumber": r} for g, r in asked]})
        got = {(r.GlobalID.UpdateID, r.GlobalID.RevisionNumber): r.RevisionID
               for r in answer.RefreshCacheResult}if hasattr(answer, "RefreshCacheResult") else {
               (r.GlobalID.UpdateID, r.GlobalID.RevisionNumber): r.RevisionID for r in answer}
        self.assertEqual(got, asked)

    def test_faults(self):
        client = self.client("pc6.example")
        forged = {"Expiration": client.cookie.Expiration,
                  "EncryptedData": bytes(len(client.cookie.EncryptedData))}
        parameters = {"ExpressQuery": False, "SkipSoftwareSync": False}
        self.assertEqual(soap.fault_of(client.service.SyncUpdates, cookie=forged,
                                       parameters=parameters)[0], "InvalidCookie")
        stranger = Client(self.server.url, "stranger.example")
        self.assertEqual(soap.fault_of(stranger.service.SyncUpdates, cookie=stranger.cookie,
                                       parameters=parameters)[0], "RegistrationRequired")

    def own(self, client, i):
        element = ET.fromstring(f"<r>{client.infos[i].Xml}</r>").find("UpdateIdentity")
        return {"UpdateID": element.get("UpdateID").lower(),
                "RevisionNumber": int(element.get("RevisionNumber"))}

    def revision_of(self, client, guid):
        return next(i for i in client.infos if self.own(client, i)["UpdateID"] == guid)

    def test_every_other_operation_keeps_to_its_types(self):
        client = self.client("pc7.example")
        client.scan()
        service, cookie = client.service, client.cookie
        categories = service.StartCategoryScan(requestedCategories={"CategoryRelationship": [
            {"IndexOfAndGroup": 0, "CategoryId": str(uuid.uuid4())}]})
        self.assertEqual(len(categories.requestedCategoryIdsInError.guid), 1)
        names = [self.own(client, self.revision_of(client, guid)) for guid in self.approved]
        more = service.GetExtendedUpdateInfo2(
            cookie=cookie, updateIDs={"UpdateIdentity": names},
            infoTypes={"XmlUpdateFragmentType": ["Extended", "LocalizedProperties", "FileUrl",
                                                 "FileDecryption"]}, locales={"string": ["en-US", "en"]})
        self.assertEqual({u.ID for u in more.Updates.Update},
                         {self.revision_of(client, guid) for guid in self.approved})
        self.assertIsNone(more.FileDecryptionData, "nothing here is encrypted")
        for place in more.FileLocations.FileLocation:
            self.assertEqual(place.FileDigestAlgorithm, "SHA1")
        digests = [place.FileDigest for place in more.FileLocations.FileLocation]
        places = service.GetFileLocations(cookie=cookie, fileDigests={"base64Binary": digests})
        self.assertEqual({p.FileDigest for p in places.FileLocations.FileLocation}, set(digests))
        self.assertTrue(places.NewCookie.EncryptedData)
        printers = service.SyncPrinterCatalog(
            cookie=cookie, installedNonLeafUpdateIDs={"int": client.non_leaf},
            printerUpdateIDs={"int": []})
        self.assertFalse(printers.Truncated)
        drivers = client.sync(SkipSoftwareSync=True, SystemSpec={"Device": [
            {"HardwareIDs": {"string": ["PCI\\NOBODY"]},
             "installedDriver": {"DriverVerDate": NOW, "DriverVerVersion": 0, "DriverRank": -1}}]})
        self.assertEqual(drivers.DriverSyncNotNeeded.lower(), "true")
        reports = soap.reporting(self.server.url)
        self.assertEqual(reports.GetRequiredInventoryType(cookie=cookie, rulesId=str(uuid.uuid4()),
                                                          rulesVersion="1"), 0)
        self.assertTrue(reports.ReportInventory(cookie=cookie, clientTime=NOW, inventory={
            "IsCompressed": False, "RawXml": "<a/>", "CompressedXml": b""}))
        self.assertEqual(soap.fault_of(reports.ReportEventBatch2, computerId=client.id, clientTime=NOW,
                                       eventBatch={"ReportingEvent": []})[0], "InvalidParameters")

    def test_approvals_that_change_between_scans(self):
        guid = next(row["guid"] for row in catalogue.listing().values()
                    if row.get("can_uninstall") and row["guid"] not in self.approved
                    and row["path"].startswith("tool/"))
        client = self.client("pc8.example")
        client.scan()
        revision = self.revision_of(client, guid)
        self.assertEqual(client.infos[revision].Deployment.Action, "PreDeploymentCheck")
        for words, action, deadline in (
                (("approve", guid, "--group", "All Computers", "--deadline", "2031-01-31"), "Install", True),
                (("approve", guid, "--group", "All Computers", "--action", "optional"), "OptionalInstall",
                 False),
                (("approve", guid, "--group", "All Computers", "--action", "uninstall"), "Uninstall", False),
                (("unapprove", guid), "PreDeploymentCheck", False)):
            accept = ("--accept-eula",) if words[0] == "approve" and action != "Uninstall" else ()
            self.mirror.run("update", *words, *accept)
            catalogue.wait_for_index(self.server)
            answer = client.sync()
            self.assertIsNone(answer.NewUpdates)
            changed = {info.ID: info for info in answer.ChangedUpdates.UpdateInfo}
            self.assertIn(revision, changed, words)
            self.assertEqual(changed[revision].Deployment.Action, action)
            self.assertEqual(changed[revision].Deployment.Deadline is not None, deadline, words)
            self.assertIsNone(changed[revision].Xml)
            self.assertIsNone(client.sync().ChangedUpdates, "told once")
        self.mirror.run("update", "decline", guid)
        catalogue.wait_for_index(self.server)
        self.assertIn(revision, client.sync().OutOfScopeRevisionIDs.int)
        self.mirror.run("update", "unapprove", guid)

    def test_failures_are_told_in_words(self):
        client = self.client("pc9.example")
        failed = {"BasicData": {"TargetID": {"Sid": client.id}, "SequenceNumber": 0, "TimeAtTarget": NOW,
                                "EventInstanceID": str(uuid.uuid4()), "NamespaceID": 1, "EventID": 182,
                                "SourceID": 101,
                                "UpdateID": {"UpdateID": self.approved[0], "RevisionNumber": 1},
                                "Win32HResult": 0x80070643 - (1 << 32)},
                  "ExtendedData": {"ComputerBrand": "a", "ComputerModel": "b", "BiosRevision": "c",
                                   "ProcessorArchitecture": "Amd64Compatible",
                                   "OSVersion": {"Major": 10, "Minor": 0, "Build": 26200, "Revision": 1,
                                                 "ServicePackMajor": 0, "ServicePackMinor": 0},
                                   "OSLocaleID": 1033}, "PrivateData": {}}
        self.assertTrue(soap.reporting(self.server.url).ReportEventBatch(
            cookie=client.cookie, clientTime=NOW, eventBatch={"ReportingEvent": [failed]}))
        shown = self.mirror.run("computer", "show", client.id)
        failure, = shown["failures"]
        self.assertEqual((failure["event"], failure["guid"]), ("installation failed", self.approved[0]))
        self.assertEqual(failure["hresult_text"], "0x80070643 ERROR_INSTALL_FAILURE: the installer failed")
        self.assertEqual(shown["failed"], 1)

    def test_paths_ignore_case(self):
        config = soap.proxy(self.server.url, "ClientWebService.wsdl", f"{{{soap.CLIENT}}}ClientSoap",
                            "/CLIENTWEBSERVICE/Client.ASMX").GetConfig(protocolVersion="1.8")
        self.assertTrue(config.LastChange)


@unittest.skipIf(soap.MISSING, soap.MISSING)
class TargetingTest(unittest.TestCase):
    """Client-side targeting: the policy of the computers names their groups."""

    def test_computers_name_their_groups(self):
        with World() as world:
            mirror = catalogue.upstream(world, "m")
            mirror.run("group", "add", "Pilots")
            guid = catalogue.approve_some(mirror, "Pilots", 1)[0]
            mirror.configure(serve__targeting="client")
            with mirror.serve() as server:
                actions = {}
                for name, groups in (("pilot", "nobody;PILOTS"), ("other", "nobody"), ("plain", None)):
                    client = Client(server.url, name, groups)
                    client.register()
                    client.scan()
                    actions[name] = next(info.Deployment.Action for info in client.infos.values()
                                         if info.Xml.lower().startswith(
                                             f'<updateidentity updateid="{guid}"'))
                self.assertEqual(actions, {"pilot": "Install", "other": "PreDeploymentCheck",
                                           "plain": "PreDeploymentCheck"})
                groups = {c["name"]: c["groups"] for c in mirror.rows("computer", "list")}
                self.assertEqual(groups, {"pilot": ["Pilots"], "other": ["Unassigned Computers"],
                                          "plain": ["Unassigned Computers"]})
            error = mirror.refuse(2, "group", "assign", "pilot", "--group", "Pilots")
            self.assertEqual(error["reason"], "client-targeting")
            self.assertIn("serve.targeting: server", error["next"])


if __name__ == "__main__":
    unittest.main()
