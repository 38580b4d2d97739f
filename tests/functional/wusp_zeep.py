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
    def __init__(self, url, name="pc1.example"):
        self.url, self.name, self.id = url, name, str(uuid.uuid4())
        self.service = soap.client_service(url)
        self.config = self.service.GetConfig(protocolVersion="2.90")
        self.cookie = self.handshake()
        self.non_leaf, self.other, self.infos = [], [], {}
        self.calls = 0

    def handshake(self):
        plug = self.config.AuthInfo.AuthPlugInInfo
        assert [p.PlugInID for p in plug] == ["SimpleTargeting"], plug
        assert plug[0].ServiceUrl == "SimpleAuthWebService/SimpleAuth.asmx"
        granted = soap.simple_auth(self.url).GetAuthorizationCookie(clientId=self.id, dnsName=self.name)
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
        cls.world = World().__enter__()
        cls.addClassCleanup(cls.world.__exit__)
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

    def test_paths_ignore_case(self):
        config = soap.proxy(self.server.url, "ClientWebService.wsdl", f"{{{soap.CLIENT}}}ClientSoap",
                            "/CLIENTWEBSERVICE/Client.ASMX").GetConfig(protocolVersion="1.8")
        self.assertTrue(config.LastChange)


if __name__ == "__main__":
    unittest.main()
