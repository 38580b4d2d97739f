"""A downstream server made of python3-zeep against `gapferry serve`: authorization, configuration, the
full list, all documents, the delta after the upstream changed, content, deployments and faults."""
import hashlib
import re
import unittest
import uuid
import xml.etree.ElementTree as ET

import catalogue
import soap
from harness import World

NS = {"u": "http://schemas.microsoft.com/msus/2002/12/Update"}
UPDATE_IDENTITY = "{http://schemas.microsoft.com/msus/2002/12/Update}UpdateIdentity"


class Downstream:
    """What a downstream server remembers."""

    def __init__(self, url):
        self.url = url
        self.sync = soap.server_sync(url)
        self.guid = str(uuid.uuid4())
        self.cookie = self.authorize()
        self.config = self.sync.GetConfigData(cookie=self.cookie)
        self.documents = {}
        self.locations = {}

    def authorize(self):
        info = self.sync.GetAuthConfig().AuthInfo.AuthPlugInInfo
        assert [i.PlugInID for i in info] == ["DssTargeting"], info
        assert info[0].ServiceUrl.lower() == "dssauthwebservice/dssauthwebservice.asmx"
        granted = soap.dss_auth(self.url).GetAuthorizationCookie(
            accountName="downstream.example", accountGuid=self.guid)
        assert granted.PlugInId == "DssTargeting"
        return self.sync.GetCookie(
            authCookies={"AuthorizationCookie": [{"PlugInId": granted.PlugInId,
                                                  "CookieData": granted.CookieData}]},
            oldCookie=None, protocolVersion="1.20")

    def list(self, config, anchor=None, categories=None, classifications=None):
        def ids(guids, name):
            return {name: [{"Id": g, "Delta": anchor is not None} for g in guids]} if guids else None
        wanted = {"Anchor": anchor, "GetConfig": config, "Get63LanguageOnly": False,
                  "Categories": ids(categories, "IdAndDelta"),
                  "Classifications": ids(classifications, "IdAndDelta")}
        return self.sync.GetRevisionIdList(cookie=self.cookie, filter=wanted)

    def fetch(self, identities):
        """All documents of `identities`, in batches; asks again for what an answer left out."""
        todo = [(i.UpdateID, i.RevisionNumber) for i in identities]
        while todo:
            batch = todo[:self.config.MaxNumberOfUpdatesPerRequest]
            answer = self.sync.GetUpdateData(cookie=self.cookie, updateIds={
                "UpdateIdentity": [{"UpdateID": g, "RevisionNumber": r} for g, r in batch]})
            got = answer.updates.ServerSyncUpdateData if answer.updates else []
            assert got, "an answer without a document"
            for entry in got:
                key = (entry.Id.UpdateID, entry.Id.RevisionNumber)
                self.documents[key] = soap.document_text(entry)
                todo.remove(key)
            for place in (answer.fileUrls.ServerSyncUrlData if answer.fileUrls else []):
                self.locations[place.FileDigest] = place


def pairs(answer):
    return {(i.UpdateID, i.RevisionNumber)
            for i in (answer.NewRevisions.UpdateIdentity if answer.NewRevisions else [])}


@unittest.skipIf(soap.MISSING, soap.MISSING)
class WsusssTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World().__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        cls.mirror = catalogue.upstream(cls.world, "upstream")
        serving = cls.mirror.serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)

    def test_full_and_delta(self):
        down = Downstream(self.server.url)
        self.assertEqual(down.config.ProtocolVersion, "1.20")
        self.assertFalse(down.config.CatalogOnlySync)
        self.assertIn("en", [l.ShortLanguage for l in down.config.LanguageUpdateList.ServerSyncLanguageData])

        listed = down.list(config=True)
        down.fetch(listed.NewRevisions.UpdateIdentity)
        kinds = {key: ET.fromstring(text).find("u:Properties", NS).get("UpdateType")
                 for key, text in down.documents.items()}
        self.assertEqual(set(kinds.values()), {"Category", "Detectoid"})
        config_anchor = listed.Anchor

        everything = down.list(config=False)
        down.fetch(everything.NewRevisions.UpdateIdentity)
        self.assertGreater(len(down.documents), 450)
        self.check_closure(down.documents)
        self.assertEqual(pairs(down.list(config=True, anchor=config_anchor)), set())
        self.assertEqual(pairs(down.list(config=False, anchor=everything.Anchor)), set())

        before = set(down.documents)
        catalogue.advance(self.mirror, step=1)
        catalogue.wait_for_index(self.server)
        changed = down.list(config=False, anchor=everything.Anchor)
        new = pairs(changed)
        self.assertTrue(new)
        self.assertFalse(new & before)
        self.assertEqual(new, pairs(down.list(config=False)) - pairs(everything))
        down.fetch(changed.NewRevisions.UpdateIdentity)
        down.fetch(down.list(config=True, anchor=config_anchor).NewRevisions.UpdateIdentity
                   if pairs(down.list(config=True, anchor=config_anchor)) else [])
        self.check_closure(down.documents)

    def check_closure(self, documents):
        """Each document is the one asked for, and all it refers to can be had."""
        known = {guid for guid, _ in documents}
        for (guid, revision), text in documents.items():
            root = ET.fromstring(text)
            own = root.find("u:UpdateIdentity", NS)
            self.assertEqual(own.get("UpdateID").lower(), guid)
            self.assertEqual(int(own.get("RevisionNumber")), revision)
            for part in ("Prerequisites", "BundledUpdates"):
                for ref in root.iterfind(f"u:Relationships/u:{part}//u:UpdateIdentity", NS):
                    self.assertIn(ref.get("UpdateID").lower(), known, f"{part} of {guid}")

    def test_filter_by_product_and_classification(self):
        down = Downstream(self.server.url)
        down.fetch(down.list(config=True).NewRevisions.UpdateIdentity)
        kinds = {}
        for (guid, _), text in down.documents.items():
            handler = re.search(r'CategoryType="(\w+)"', text)
            if handler:
                kinds.setdefault(handler.group(1), []).append(guid)
        products, classifications = kinds["Product"], kinds["UpdateClassification"]
        everything = pairs(down.list(config=False))
        union = pairs(down.list(False, categories=products, classifications=classifications))
        self.assertLessEqual(union, everything)
        # A newer revision of a member that its bundle does not name belongs to no product.
        for guid, _ in everything - union:
            self.assertIn(guid, {other for other, _ in union})
        one = pairs(down.list(False, categories=products[:1], classifications=classifications))
        self.assertLess(len(one), len(everything))
        self.assertEqual(pairs(down.list(False, categories=products)), set())

    def test_content_has_the_bytes_its_digest_promises(self):
        down = Downstream(self.server.url)
        down.fetch(down.list(config=False).NewRevisions.UpdateIdentity[:300])
        self.assertTrue(down.locations)
        checked = 0
        for digest in list(down.locations)[:10]:
            name = digest.hex().upper()
            url = f"{self.server.url}/Content/{name[-2:]}/{name}.cab"
            try:
                status, headers, body = soap.fetch(url)
            except OSError as error:  # a file that the upstream does not hold
                self.assertIn("404", str(error))
                continue
            self.assertEqual((status, hashlib.sha1(body).digest()), (200, digest))
            a, b = len(body) // 3, len(body) // 2
            status, headers, part = soap.fetch(url, Range=f"bytes={a}-{b}")
            self.assertEqual((status, part), (206, body[a:b + 1]))
            self.assertEqual(headers["Content-Range"], f"bytes {a}-{b}/{len(body)}")
            checked += 1
        self.assertGreater(checked, 0)

    def test_deployments_name_the_groups(self):
        down = Downstream(self.server.url)
        anchor = down.list(config=False).Anchor
        answer = down.sync.GetDeployments(cookie=down.cookie, deploymentAnchor=None, syncAnchor=anchor)
        names = {g.Name for g in answer.Groups.ServerSyncTargetGroup}
        self.assertLessEqual({"All Computers", "Unassigned Computers"}, names)

    def test_soap_12_is_answered_in_soap_12(self):
        info = soap.server_sync(self.server.url, soap12=True).GetAuthConfig()
        self.assertEqual(info.AuthInfo.AuthPlugInInfo[0].PlugInID, "DssTargeting")

    def test_faults(self):
        down = Downstream(self.server.url)
        bad = {"Anchor": "nonsense", "GetConfig": False, "Get63LanguageOnly": False}
        self.assertEqual(soap.fault_of(down.sync.GetRevisionIdList, cookie=down.cookie, filter=bad),
                         ("InvalidParameters", "filter"))
        self.assertEqual(
            soap.fault_of(down.sync.GetRevisionIdList, cookie=None, filter=dict(bad, Anchor=None))[0],
            "InvalidCookie")
        forged = {"Expiration": down.cookie.Expiration,
                  "EncryptedData": bytes(len(down.cookie.EncryptedData))}
        self.assertEqual(
            soap.fault_of(down.sync.GetRevisionIdList, cookie=forged, filter=dict(bad, Anchor=None))[0],
            "InvalidCookie")
        many = {"UpdateIdentity": [{"UpdateID": str(uuid.uuid4()), "RevisionNumber": 1}
                                   for _ in range(down.config.MaxNumberOfUpdatesPerRequest + 1)]}
        self.assertEqual(soap.fault_of(down.sync.GetUpdateData, cookie=down.cookie, updateIds=many),
                         ("InvalidParameters", "updateIds"))
        unknown = {"UpdateIdentity": [{"UpdateID": str(uuid.uuid4()), "RevisionNumber": 1}]}
        self.assertEqual(soap.fault_of(down.sync.GetUpdateData, cookie=down.cookie, updateIds=unknown)[0],
                         "InternalServerError")


if __name__ == "__main__":
    unittest.main()
