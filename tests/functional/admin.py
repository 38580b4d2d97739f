"""Administration by the real program: approvals, declines, groups, log, store check, and their refusals.

Every refusal names the next command and leaves what can be seen as it was.
"""
import pathlib
import unittest

import catalogue
from harness import World, gapferry

ALL_COMPUTERS = "a0a08746-4dbe-4a37-9adf-9e7652c0b421"
UNKNOWN = "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10"


class AdminTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World().__enter__()
        cls.template = catalogue.upstream(cls.world, "template")

    @classmethod
    def tearDownClass(cls):
        cls.world.__exit__()

    def setUp(self):
        self.mirror = self.world.copy(self.template, self.id().rsplit(".", 1)[1])

    def guid(self, path):
        return catalogue.listing()[path]["guid"]

    def row(self, guid):
        return next(r for r in self.mirror.rows("update", "list", guid) if r["guid"] == guid)

    def refused(self, code, *words):
        before = self.mirror.state()
        error = self.mirror.refuse(code, *words)
        self.assertEqual(self.mirror.state(), before, words)
        self.assertTrue(error["next"], error)
        return error

    def test_an_approval_is_listed_shown_and_withdrawn(self):
        guid = self.guid("tool/0")
        self.assertEqual(self.row(guid)["state"], "NotApproved")
        before = self.mirror.state()["state_digest"]
        self.mirror.run("update", "approve", guid, "--group", "all computers", "--deadline", "2030-01-31")
        row = self.row(guid)
        self.assertEqual(row["state"], "Approved")
        approval, = row["approvals"]
        self.assertEqual((approval["group"], approval["group_guid"], approval["action"],
                          approval["deadline"]),
                         ("All Computers", ALL_COMPUTERS, "Install", "2030-01-31T00:00:00Z"))
        self.assertEqual(self.mirror.run("update", "show", guid)["approvals"], row["approvals"])
        self.assertEqual([r["guid"] for r in self.mirror.rows("update", "list", "--approved")], [guid])
        self.assertEqual(self.mirror.status()["counts"]["approved"], 1)
        # The same again changes nothing; GUIDs and names mean the same group.
        generation = self.mirror.status()["generation"]
        self.mirror.run("update", "approve", guid, "--group", ALL_COMPUTERS, "--deadline", "2030-01-31")
        self.assertEqual(self.mirror.status()["generation"], generation)
        self.mirror.run("update", "unapprove", guid)
        self.assertEqual(self.row(guid)["state"], "NotApproved")
        self.assertEqual(self.mirror.state()["state_digest"], before)

    def test_a_decline_ends_approvals_and_can_be_lifted(self):
        guid = self.guid("tool/0")
        self.mirror.run("update", "approve", guid, "--group", "All Computers")
        self.assertEqual(self.mirror.run("update", "decline", guid)["approvals_ended"], 1)
        self.assertEqual(self.row(guid)["state"], "Declined")
        error = self.refused(2, "update", "approve", guid, "--group", "All Computers")
        self.assertEqual(error["reason"], "declined")
        self.assertIn(f"gapferry update unapprove {guid}", error["next"])
        self.assertEqual(self.mirror.run("update", "unapprove", guid)["declines_lifted"], 1)
        self.mirror.run("update", "approve", guid, "--group", "All Computers")

    def test_refuses_what_cannot_be_approved(self):
        hidden = next(r for r in catalogue.listing().values() if r["kind"] == "child")
        for path, reason, words, next_words in (
                ("tool/1", "eula-not-accepted", (), "--accept-eula"),
                ("office/7", "expired", (), "gapferry update show"),
                (hidden["path"], "not-deployable", (), "gapferry update show"),
                ("tool/2", "no-uninstall", ("--action", "uninstall"), "gapferry update show"),
                ("tool/2", "usage", ("--action", "optional", "--deadline", "+7d"), "update approve"),
                ("tool/2", "bad-time", ("--deadline", "tomorrow"), "--deadline +7d")):
            error = self.refused(2, "update", "approve", self.guid(path), "--group", "All Computers", *words)
            self.assertEqual(error["reason"], reason, path)
            self.assertIn(next_words, error["next"])

    def test_approves_all_or_none(self):
        error = self.refused(2, "update", "approve", self.guid("tool/0"), self.guid("tool/1"), "--group",
                             "All Computers")
        # The line to type is the whole line again.
        self.assertIn(self.guid("tool/0"), error["next"])
        self.assertIn("--group 'All Computers'", error["next"])

    def test_refuses_ids_that_are_none(self):
        guid = self.guid("tool/0")
        for code, verb, text in ((2, "approve", "KB5001234"), (2, "approve", guid + "/"),
                                 (10, "approve", guid + "/99"), (10, "approve", UNKNOWN),
                                 (10, "decline", UNKNOWN), (10, "unapprove", UNKNOWN)):
            words = ("--group", "All Computers") if verb == "approve" else ()
            error = self.refused(code, "update", verb, text, *words)
            self.assertIn(text.split("/")[0], error["message"])
        self.assertIn("gapferry update list KB5001234",
                      self.mirror.refuse(2, "update", "show", "KB5001234")["next"])
        self.refused(2, "update", "decline", self.guid("detectoid/product-code-122"))

    def test_names_the_groups_there_are(self):
        self.mirror.run("group", "add", "Workstations")
        self.mirror.run("group", "add", "Laboratory", "--parent", "workstations")
        error = self.refused(10, "update", "approve", self.guid("tool/0"), "--group", "Workstation")
        for name in ("All Computers", "Unassigned Computers", "Workstations", "Laboratory"):
            self.assertIn(f"'{name}'", error["message"])
        self.refused(2, "group", "add", "WORKSTATIONS")
        self.refused(10, "group", "add", "New", "--parent", "Nowhere")
        self.refused(2, "group", "remove", "All Computers")
        self.refused(2, "group", "remove", "Workstations")  # Laboratory is below it
        self.refused(10, "group", "assign", "pc1", "--group", "Laboratory")
        rows = {r["name"]: r for r in self.mirror.rows("group", "list")}
        self.assertEqual(rows["Laboratory"]["parent_guid"], rows["Workstations"]["guid"])
        self.assertEqual(rows["Workstations"]["parent"], "All Computers")

    def test_removing_a_group_ends_its_approvals_when_confirmed(self):
        self.mirror.run("group", "add", "Laboratory")
        self.mirror.run("update", "approve", self.guid("tool/0"), "--group", "Laboratory")
        self.assertEqual(self.mirror.run("group", "remove", "Laboratory", "--dry-run")["approvals_ended"], 1)
        self.refused(2, "group", "remove", "Laboratory")
        self.mirror.run("group", "remove", "Laboratory", "--yes")
        self.assertEqual(self.mirror.rows("update", "list", "--approved"), [])

    def test_a_replica_sends_its_administrator_upstream(self):
        site = self.world.init("site", "--gap")
        for words in (("update", "approve", UNKNOWN, "--group", "X"), ("update", "decline", UNKNOWN),
                      ("update", "unapprove", UNKNOWN), ("group", "add", "X"), ("group", "remove", "X")):
            before = site.state()
            error = site.refuse(2, *words)
            self.assertEqual(site.state(), before)
            self.assertEqual(error["reason"], "replica")
            self.assertIn("gapferry " + " ".join(words), error["next"])
            self.assertIn(f"'replica: false' in {site.path}/gapferry.yaml", error["next"])

    def test_lists_are_filtered(self):
        rows = self.mirror.rows("update", "list")
        self.assertTrue(all(not r["expired"] for r in rows))
        self.assertEqual(len(rows), self.mirror.status()["counts"]["deployable"])
        words = self.mirror.rows("update", "list", "cumulative 24h2")
        self.assertTrue(words)
        self.assertTrue(all("24H2" in r["title"] and "Cumulative" in r["title"] for r in words))
        security = self.mirror.rows("update", "list", "--classification", "security updates")
        both = self.mirror.rows("update", "list", "--classification", "Security Updates", "--product",
                                "Windows 11")
        self.assertLess(len(both), len(security))
        self.assertEqual(len(self.mirror.rows("update", "list", "--limit", 3)), 3)
        expired = self.mirror.rows("update", "list", "--expired")
        self.assertIn(self.guid("office/7"), {r["guid"] for r in expired})
        self.refused(10, "update", "list", "--product", "Amiga Workbench")

    def test_the_log_tells_who_did_what(self):
        guid = self.guid("tool/1")
        self.mirror.run("update", "approve", guid, "--group", "All Computers", "--accept-eula")
        entries = self.mirror.rows("log")
        actions = [e.get("action") for e in entries]
        self.assertLess(actions.index("update.approve"), len(actions))
        self.assertIn("eula.accept", actions)
        approve = entries[actions.index("update.approve")]
        self.assertTrue(approve["object"].startswith(guid))
        self.assertTrue(approve["actor"].startswith("user:"))
        self.assertEqual([e["kind"] for e in self.mirror.rows("log", "--jobs")], ["sync"])
        self.assertEqual(len(self.mirror.rows("log", "--limit", 1)), 1)
        self.assertEqual(self.mirror.rows("log", "eula")[0]["action"], "eula.accept")
        self.assertEqual(self.mirror.rows("log", "--since", "2100-01-01"), [])
        self.refused(2, "log", "--since", "yesterday")

    def test_store_check_finds_damage_and_forgets_it(self):
        files = sorted(p for p in (self.mirror.path / "content").rglob("*") if p.is_file())
        flipped, missing = files[0], files[-1]
        data = bytearray(flipped.read_bytes())
        data[len(data) // 2] ^= 1
        flipped.write_bytes(data)
        missing.unlink()
        done = self.mirror.try_run("store", "check")
        self.assertEqual(done.code, 20, done)
        self.assertEqual([d["what"] for d in done.objects()[0]["damage"]], ["missing"])
        done = self.mirror.try_run("store", "check", "--deep")
        self.assertEqual(done.code, 20, done)
        self.assertEqual({pathlib.Path(d["file"]).name for d in done.objects()[0]["damage"]},
                         {flipped.name, missing.name})
        self.assertIn("--drop-damaged", done.error()["next"])
        held = self.mirror.status()["content"]["files"]
        self.assertEqual(self.mirror.try_run("store", "check", "--deep", "--drop-damaged").code, 20)
        self.assertEqual(self.mirror.status()["content"]["files"], held - 2)
        self.mirror.run("store", "check", "--deep")
        self.assertFalse(flipped.exists())

    def test_store_check_finds_a_changed_audit_record(self):
        import sqlite3
        self.mirror.run("group", "add", "Workstations")
        with sqlite3.connect(self.mirror.path / "catalog.db") as db:
            db.execute("UPDATE audit SET actor = 'user:nobody' WHERE action = 'group.add'")
        db.close()
        error = self.mirror.refuse(20, "store", "check")
        self.assertIn("audit", error["message"])

    def test_status_says_what_waits(self):
        upstream = self.world.init("waiting", "--upstream", "http://127.0.0.1:9")
        catalogue.run("fill", "--mirror", upstream.path, "--size", "S", "--content", "none")
        result = upstream.run("update", "approve", self.guid("tool/0"), "--group", "All Computers")
        self.assertEqual(result["missing_files"], 1)
        status = upstream.status()
        self.assertEqual(status["counts"]["needing_files"], 1)
        notice, = [n for n in status["notices"] if n["reason"] == "files-missing"]
        self.assertEqual(notice["next"], f"gapferry sync --mirror {upstream.path}")
        self.assertEqual([r["guid"] for r in upstream.rows("update", "list", "--approved",
                                                           "--missing-files")], [self.guid("tool/0")])

    def test_tables_fit_100_columns(self):
        self.mirror.run("group", "add", "Workstations of the northern laboratory, second floor")
        self.mirror.run("update", "approve", self.guid("tool/0"), "--group",
                        "Workstations of the northern laboratory, second floor")
        for words in (("status",), ("update", "list"), ("group", "list"), ("log",),
                      ("update", "show", self.guid("tool/0")), ("computer", "list")):
            done = gapferry(*words, "--mirror", self.mirror.path)
            self.assertEqual(done.code, 0, done)
            for line in done.out.splitlines():
                self.assertLessEqual(len(line), 110 if str(self.mirror.path) in line else 100, line)


if __name__ == "__main__":
    unittest.main()
