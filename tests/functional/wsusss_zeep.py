"""Downstream servers made of python3-zeep against `gapferry serve`: initial and delta synchronization, as
autonomous server and as replica, over the published WSDL files and over the server's own description;
content, filters, cookies that run out, a restored mirror, faults."""
import re
import time
import unittest
import uuid
import xml.etree.ElementTree as ET

import catalogue
import soap
from downstream import Downstream, pairs
from harness import World

NS = {"u": "http://schemas.microsoft.com/msus/2002/12/Update"}
CONFIGURATION = ("Category", "Detectoid")


class Parsed:
    """What a document says, read by these tests alone."""

    def __init__(self, text):
        root = ET.fromstring(text)
        own = root.find("u:UpdateIdentity", NS)
        self.key = (own.get("UpdateID").lower(), int(own.get("RevisionNumber")))
        self.kind = root.find("u:Properties", NS).get("UpdateType")
        category = re.search(r'CategoryType="(\w+)"', text)
        self.category = category.group(1) if category else None
        self.named = {ref.get("UpdateID").lower() for ref in
                      root.iterfind("u:Relationships/u:Prerequisites//u:UpdateIdentity", NS)}
        self.members = [(ref.get("UpdateID").lower(), int(ref.get("RevisionNumber"))) for ref in
                        root.iterfind("u:Relationships/u:BundledUpdates//u:UpdateIdentity", NS)]


def parse(down):
    return {key: Parsed(text) for key, text in down.documents.items()}


def newest(keys):
    best = {}
    for guid, revision in keys:
        best[guid] = max(revision, best.get(guid, revision))
    return set(best.items())


def selected(parsed, products, classifications):
    """The list that a filter must give: matches and what they bundle, whatever it bundles."""
    updates = newest(key for key, p in parsed.items() if p.kind not in CONFIGURATION)
    todo = [key for key in updates
            if parsed[key].named & set(products) and parsed[key].named & set(classifications)]
    found = set()
    while todo:
        key = todo.pop()
        if key not in found:
            found.add(key)
            todo += parsed[key].members
    return found


def settle(mirror, down):
    """Until the server has noticed what another process committed."""
    wanted = str(mirror.status()["generation"])
    until = time.monotonic() + 60
    while down.call("GetConfigData", configAnchor=None).NewConfigAnchor.split(",")[0] != wanted:
        assert time.monotonic() < until, "the server does not follow"
        time.sleep(0.1)


class Case(unittest.TestCase):
    def check_closure(self, down):
        """Each document is the one asked for, and all it refers to is there."""
        parsed = parse(down)
        known = {guid for guid, _ in parsed}
        for key, document in parsed.items():
            self.assertEqual(document.key, key)
            self.assertLessEqual(document.named, known, key)
            self.assertLessEqual(set(document.members), set(parsed), key)


@unittest.skipIf(soap.MISSING, soap.MISSING)
class Synchronization(Case):
    """Each test has its own mirror, which changes under its downstream servers."""

    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.first = catalogue.upstream(cls.world, "first")
        cls.first.run("group", "add", "Office")
        catalogue.approve_some(cls.first, "Office", 20)

    def serve(self, **settings):
        """A copy of the first mirror, served."""
        mirror = self.world.copy(self.first, f"copy-{uuid.uuid4()}")
        mirror.configure(**settings)
        serving = mirror.serve()
        server = serving.__enter__()
        self.addCleanup(serving.__exit__, None, None, None)
        return mirror, server

    def test_autonomous(self):
        for own_wsdl in (False, True):
            with self.subTest(own_wsdl=own_wsdl):
                mirror, server = self.serve()
                down = Downstream(server.url, own_wsdl)
                down.synchronize()
                self.assertGreater(len(down.documents), 450)
                self.check_closure(down)
                content = down.download()
                self.assertGreater(len(content), 100)
                self.assertEqual(down.synchronize(), set(), "nothing is new")

                before = set(down.documents)
                catalogue.advance(mirror, step=2)
                settle(mirror, down)
                new = down.synchronize()
                self.assertTrue(new)
                self.assertFalse(new & before)
                self.check_closure(down)
                self.assertGreater(len(down.download()), len(content))
                late = Downstream(server.url, own_wsdl)
                late.synchronize()
                self.assertEqual(newest(down.documents), newest(late.documents))
                self.assertLessEqual(late.documents.items(), down.documents.items())
                self.assertEqual((down.authorizations, down.resets), (1, 0))

    def test_replica(self):
        for own_wsdl in (False, True):
            with self.subTest(own_wsdl=own_wsdl):
                mirror, server = self.serve()
                down = Downstream(server.url, own_wsdl, replica=True)
                down.synchronize()
                self.check_intent(mirror, down)
                self.assertEqual(len(down.deployments), 20)
                approved = sorted(d[0] for d in down.deployments.values())

                licensed = next(row for row in catalogue.listing().values() if row.get("eula"))
                self.change(mirror, "update", "approve", licensed["guid"], "--group", "Office",
                            "--accept-eula")
                # Each step is a delta on its own; what came and went between two is not seen.
                self.change(mirror, "group", "add", "Lab")
                self.change(mirror, "update", "approve", approved[0], "--group", "Lab",
                            "--deadline", "2031-05-06T07:08:09Z")
                self.follow(mirror, server, down)
                self.change(mirror, "update", "unapprove", approved[1])
                self.change(mirror, "update", "decline", approved[2], approved[3])
                self.change(mirror, "update", "approve", approved[4], "--group", "Lab")
                self.change(mirror, "update", "unapprove", approved[4], "--group", "Lab")
                self.follow(mirror, server, down)
                self.assertEqual(down.hidden, {approved[2], approved[3]})
                self.assertIn(licensed["eula"], down.eulas)
                self.change(mirror, "update", "unapprove", approved[2])
                catalogue.advance(mirror, step=1)
                self.change(mirror, "update", "approve", approved[5], "--group", "All Computers")
                self.change(mirror, "group", "remove", "Lab", "--yes")
                self.follow(mirror, server, down)
                self.assertEqual(down.hidden, {approved[3]})
                self.assertNotIn("Lab", {name for name, _, _ in down.groups.values()})
                self.assertEqual((down.authorizations, down.resets), (1, 0))

    @staticmethod
    def change(mirror, *words):
        mirror.run(*words)

    def follow(self, mirror, server, down):
        """A delta, which must lead to what a new replica gets at once."""
        settle(mirror, down)
        down.synchronize()
        self.check_intent(mirror, down)
        late = Downstream(server.url, replica=True)
        late.synchronize()
        self.assertEqual(down.intent(), late.intent())
        again = down.follow()
        self.assertFalse(again.Deployments or again.DeadDeployments, "told twice")
        self.assertEqual(again.Anchor, down.anchors["updates"])

    def check_intent(self, mirror, down):
        """What the administrator of the mirror sees is what the replica has."""
        groups = {guid: name for guid, (name, _, _) in down.groups.items()}
        self.assertEqual(sorted(groups.values()), sorted(g["name"] for g in mirror.rows("group", "list")))
        actions = {0: "Install", 1: "Uninstall", 2: "PreDeploymentCheck", 3: "Block"}
        approved = mirror.rows("update", "list", "--approved")
        theirs = sorted((row["guid"], a["group"], a["action"]) for row in approved for a in row["approvals"])
        ours = sorted((d[0], groups[d[3]], actions[d[2]]) for d in down.deployments.values())
        self.assertEqual(ours, theirs)
        declined = mirror.rows("update", "list", "--declined")
        self.assertEqual(down.hidden, {row["guid"] for row in declined})

    def test_a_replica_of_a_replica_gets_the_same(self):
        mirror, server = self.serve()
        mirror.run("update", "decline", self.some_update(mirror))
        middle = self.world.init(f"middle-{uuid.uuid4()}", "--upstream", server.url, "--replica")
        middle.run("sync", "--metadata-only")
        with middle.serve() as lower:
            above = Downstream(server.url, replica=True)
            below = Downstream(lower.url, replica=True)
            above.synchronize()
            below.synchronize()
            self.assertEqual(below.intent(), above.intent())
            self.check_documents(below, above)

            gone = next(iter(above.deployments.values()))[0]
            mirror.run("update", "unapprove", gone)
            settle(mirror, above)
            middle.run("sync", "--metadata-only")
            settle(middle, below)
            above.synchronize()
            below.synchronize()
            self.assertEqual(below.intent(), above.intent())
            self.assertNotIn(gone, {d[0] for d in below.deployments.values()})

    def check_documents(self, below, above):
        """The same bytes; a mirror leaves drivers out unless told otherwise, and with them newer revisions of
        members, which belong to no product."""
        self.assertLessEqual(below.documents.items(), above.documents.items())
        known = {guid for guid, _ in below.documents}
        for key in set(above.documents) - set(below.documents):
            kind = Parsed(above.documents[key]).kind
            self.assertTrue(kind == "Driver" or key[0] in known, key)

    @staticmethod
    def some_update(mirror):
        return next(row["guid"] for row in mirror.rows("update", "list") if not row["approvals"])

    def test_products_and_classifications(self):
        mirror, server = self.serve()
        whole = Downstream(server.url)
        whole.synchronize()
        parsed = parse(whole)
        kinds = {}
        for (guid, _), document in parsed.items():
            kinds.setdefault(document.category, set()).add(guid)
        classifications = sorted(kinds["UpdateClassification"])
        filters = [(sorted(kinds["Product"])[:1], classifications),
                   (sorted(kinds["Product"]), classifications[:1]),
                   (sorted(kinds["Product"])[1:4], classifications[:2])]
        downs = []
        for products, chosen in filters:
            listed = pairs(whole.list(False, categories=products, classifications=chosen))
            self.assertEqual(listed, selected(parsed, products, chosen))
            downs.append(Downstream(server.url, products=products, classifications=chosen))
            downs[-1].synchronize()
        self.assertTrue(any(len(d.documents) < len(whole.documents) for d in downs))
        one = sorted(kinds["Product"])
        self.assertEqual(pairs(whole.list(False, categories=one)), set(), "one list alone")
        self.assertEqual(pairs(whole.list(False, classifications=classifications)), set())

        catalogue.advance(mirror, step=2)
        settle(mirror, whole)
        whole.synchronize()
        parsed = parse(whole)
        for (products, chosen), down in zip(filters, downs):
            down.synchronize()
            late = Downstream(server.url, products=products, classifications=chosen)
            late.synchronize()
            self.assertEqual(pairs(late.list(False, None, products, chosen)),
                             selected(parsed, products, chosen))
            self.assertLessEqual(set(late.documents), set(down.documents), "a delta lost something")

    def test_cookies_run_out_in_the_middle(self):
        _, server = self.serve(serve__downstream_cookie_lifetime="1s")
        down = Downstream(server.url)
        down.synchronize(between=lambda: time.sleep(0.6))
        self.assertGreater(down.authorizations, 2)
        self.assertEqual(down.resets, 0)
        self.check_closure(down)

    def test_a_restored_mirror_is_noticed(self):
        mirror = self.world.copy(self.first, "living")
        backup = self.world.copy(self.first, "backup")
        catalogue.advance(mirror, step=2)
        with mirror.serve() as server:
            port = server.port
            down = Downstream(server.url, replica=True)
            down.synchronize()
            self.assertEqual(down.resets, 0)
        # The backup goes another way from here, to as many generations as were lost.
        for name in ("One", "Two", "Three", "Four", "Five"):
            backup.run("group", "add", name)
        with backup.serve(port):
            for operation, words in (
                    ("GetConfigData", {"configAnchor": down.anchors["updates"]}),
                    ("GetRevisionIdList", {"filter": {"Anchor": down.anchors["updates"], "GetConfig": False,
                                                      "Get63LanguageOnly": False}}),
                    ("GetDeployments", {"deploymentAnchor": None, "syncAnchor": down.anchors["updates"]})):
                call = getattr(down.sync, operation)
                self.assertEqual(soap.fault_of(call, cookie=down.cookie, **words)[0], "ServerChanged")
            down.synchronize()
            self.assertEqual(down.resets, 1)
            late = Downstream(server.url, replica=True)
            late.synchronize()
            self.assertEqual(down.intent(), late.intent())
            self.assertLessEqual(late.documents.items(), down.documents.items())
            down.synchronize()
            self.assertEqual(down.resets, 1, "once")


@unittest.skipIf(soap.MISSING, soap.MISSING)
class Answers(Case):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.mirror = catalogue.upstream(cls.world, "upstream", content="none")
        serving = cls.mirror.serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)

    def test_configuration(self):
        down = Downstream(self.server.url)
        self.assertEqual(down.config.ProtocolVersion, "1.20")
        self.assertFalse(down.config.CatalogOnlySync)
        self.assertIn("en", [l.ShortLanguage
                             for l in down.config.LanguageUpdateList.ServerSyncLanguageData])
        again = down.call("GetConfigData", configAnchor=down.config.NewConfigAnchor)
        self.assertFalse(again.LanguageUpdateList)

    def test_soap_12(self):
        down = Downstream(self.server.url, own_wsdl=True, soap12=True)
        bad = {"Anchor": "nonsense", "GetConfig": False, "Get63LanguageOnly": False}
        self.assertEqual(soap.fault_of(down.sync.GetRevisionIdList, cookie=down.cookie, filter=bad),
                         ("InvalidParameters", "filter"))
        listed = down.list(config=True)
        down.fetch(list(pairs(listed))[:50])
        published = soap.server_sync(self.server.url, soap12=True)
        self.assertEqual(published.GetAuthConfig().AuthInfo.AuthPlugInInfo[0].PlugInID, "DssTargeting")

    def test_files_that_are_not_held_are_queued(self):
        down = Downstream(self.server.url)
        down.synchronize()
        digests = list(down.locations)[:100]
        self.assertTrue(digests)
        down.call("DownloadFiles", fileDigestList={"base64Binary": digests})
        code, message = soap.fault_of(down.sync.DownloadFiles, cookie=down.cookie,
                                      fileDigestList={"base64Binary": [digests[0], bytes(20)]})
        self.assertEqual((code, message), ("FileDigestsMissing", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
        too_many = {"base64Binary": [digests[0]] * 101}
        self.assertEqual(soap.fault_of(down.sync.DownloadFiles, cookie=down.cookie,
                                       fileDigestList=too_many), ("InvalidParameters", "fileDigestList"))

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
        old = Downstream(self.server.url, version="1.1")  # the oldest there is
        self.assertTrue(pairs(old.list(config=True)))
        self.assertEqual(soap.fault_of(Downstream, self.server.url, version="2.0")[0],
                         "IncompatibleProtocolVersion")


if __name__ == "__main__":
    unittest.main()
