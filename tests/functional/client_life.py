"""`gapferry client` through the life of a computer: what a first scan would cost, why an update is offered,
download over several connections, failures, restarts, removal; what the server makes of its reports; load."""
import json
import unittest

import catalogue
from harness import World, free_port, gapferry
from sync_way import Authority

PROFILE = "workstation-x64"
UNINSTALLED = "tool/3"


class ClientLife(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.mirror = catalogue.upstream(cls.world, "server")
        cls.offered = [row["guid"] for row in catalogue.expectation(PROFILE)["offered"]]
        cls.mirror.run("update", "approve", *cls.offered, "--group", "All Computers", "--accept-eula")
        cls.removed = catalogue.listing()[UNINSTALLED]["guid"]
        cls.mirror.run("update", "approve", cls.removed, "--group", "All Computers", "--action",
                       "uninstall", "--accept-eula")
        serving = cls.mirror.serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)

    def setUp(self):
        self.name = self._testMethodName[5:].replace("_", "-")[:40]
        self.facts = self.world.path / f"{self.name}.yaml"
        lines = catalogue.facts(PROFILE).splitlines()
        self.facts.write_text("\n".join([f"name: {self.name}.example"] +
                                        [line for line in lines
                                         if not line.startswith(("name:", "client_id:"))]) + "\n")
        self.state = self.world.path / f"{self.name}.state"

    def client(self, verb, *words, code=0):
        server = ("--server", self.server.url) if verb in ("scan", "download", "report") else ()
        done = gapferry("client", verb, *server, "--as", self.facts, "--state", self.state, *words,
                        "--json")
        self.assertEqual(done.code, code, done)
        return done.result() if code in (0, 3) else done.error()

    def computers(self):
        return {row["name"]: row for row in self.mirror.rows("computer", "list")}

    def states(self):
        """What the server believes of this computer's updates, by GUID."""
        shown = self.mirror.run("computer", "show", f"{self.name}.example")
        return {row["guid"]: row for row in shown["updates"]}

    def test_a_dry_run_registers_nothing(self):
        counted = self.client("scan", "--dry-run")
        worst = self.client("scan", "--dry-run", "--worst-case")
        self.assertGreaterEqual(worst["round_trips"], counted["round_trips"])
        self.assertGreater(worst["revisions"], counted["revisions"])
        self.assertLess(worst["round_trips"], 100)
        self.assertFalse(self.state.exists())
        self.assertNotIn(f"{self.name}.example", self.computers())
        # It counts what a real one needs.
        scan = self.client("scan")
        self.assertEqual(scan["round_trips"], counted["round_trips"])
        self.assertEqual(scan["revisions_cached"], counted["revisions"])

    def test_says_why(self):
        kiosk = catalogue.listing()["tool/3"]["guid"]
        result = self.client("scan", "--why", self.offered[0], "--why", kiosk, "--why",
                             "00000000-0000-0000-0000-00000000000f")
        why = result["why"]
        self.assertEqual([w["update_id"] for w in why][:2], [self.offered[0], kiosk])
        self.assertEqual(why[0]["reason"], "")
        self.assertTrue(any(line.startswith("IsInstalled") for line in why[0]["rules"]))
        self.assertEqual(why[1]["action"], "Uninstall")
        self.assertEqual(why[2]["reason"], "not-told")
        self.client("scan", "--why", "nonsense", code=2)

    def test_scans_by_category(self):
        product = next(row for row in catalogue.listing().values() if row["kind"] == "product"
                       and any(row["guid"] in c.get("categories", ())
                               for c in catalogue.listing().values() if c["guid"] in self.offered))
        unknown = "00000000-0000-0000-0000-00000000000f"
        part = self.client("scan", "--category", product["guid"], "--category", unknown)
        self.assertEqual(part["unknown_categories"], [unknown])
        found = {row["update_id"] for row in part["offered"]}
        whole = {row["update_id"] for row in self.client("scan")["offered"]}
        self.assertTrue(found)
        self.assertLess(found, whole)
        # Nothing that is deployed besides is lost by it.
        again = self.client("scan", "--category", product["guid"])
        self.assertEqual({row["update_id"] for row in again["offered"]}, whole)
        self.assertEqual(again["revisions_dropped"], 0)

    def test_downloads_installs_fails_restarts_and_removes(self):
        scan = self.client("scan")
        self.assertEqual({row["update_id"] for row in scan["offered"]}, {*self.offered, self.removed})
        error = self.client("install", code=2)
        self.assertEqual(error["reason"], "not-downloaded")
        self.assertIn("gapferry client download", error["next"])
        first = self.client("download", "--connections", 3)
        self.assertTrue(all(row["complete"] for row in first["updates"]))
        self.assertGreater(first["fetched_bytes"], 0)
        self.assertEqual(self.client("download", "--connections", 3)["fetched_bytes"], 0)
        self.client("download", "--connections", 99, code=2)

        failing, waiting = self.offered[0], self.offered[1]
        self.client("install", "--update", failing, "--failed", f"{failing}=0x80070643")
        self.client("install", "--update", waiting, "--needs-restart")
        done = self.client("install", "--update", self.removed)["updates"]
        self.assertEqual([row["outcome"] for row in done], ["removed"])
        self.client("install", "--update", failing, "--failed", f"{failing}=banana", code=2)
        report = self.client("report")
        self.assertEqual([e for e in report["events"] if e not in (167, 162)],
                         [181, 182, 181, 201, 226, 222, 147, 156])
        states = self.states()
        self.assertEqual(states[failing]["state"], "Failed")
        self.assertEqual(states[waiting]["state"], "InstalledPendingReboot")

        self.assertEqual(self.client("restart")["installed"], 1)
        scan = self.client("scan")
        self.assertNotIn(waiting, {row["update_id"] for row in scan["offered"]})
        self.assertIn(failing, {row["update_id"] for row in scan["offered"]})
        self.assertNotIn(self.removed, {row["update_id"] for row in scan["offered"]})
        self.client("install")
        self.client("report")
        self.assertEqual(self.client("scan")["offered"], [])
        states = self.states()
        self.assertEqual({states[guid]["state"] for guid in self.offered}, {"Installed"})

    def test_reports_failures_by_hand(self):
        self.client("scan")
        self.client("report", "--failed", f"{self.offered[0]}=0x80246007", "--installed",
                    self.offered[1])
        states = self.states()
        self.assertEqual(states[self.offered[0]]["state"], "Failed")
        self.assertEqual(states[self.offered[1]]["state"], "Installed")

    def test_load(self):
        world_only = self.world.path / "load"
        mirror = catalogue.upstream(self.world, world_only.name, content="none")
        with mirror.serve() as server:
            for kind in ("first", "idle", "catch-up"):
                done = gapferry("client", "load", "--server", server.url, "--clients", 6, "--connections",
                                4, "--seconds", 1, "--scan", kind, "--json")
                self.assertEqual(done.code, 0, done)
                result = done.result()
                self.assertEqual((result["clients"], result["connections"], result["errors"]), (6, 4, 0))
                self.assertGreater(result["requests"], 0, json.dumps(result))
                if kind == "idle":
                    self.assertEqual((result["updates"], result["requests"]), (0, result["scans"]))
                if kind == "catch-up":
                    # The last scans may have been cut off by the end of the time.
                    self.assertIn(result["updates"], range(30 * result["scans"],
                                                           30 * (result["scans"] + 4) + 1))
            # The same computers every time.
            self.assertEqual(len(mirror.rows("computer", "list")), 6)
            rated = gapferry("client", "load", "--server", server.url, "--clients", 3, "--seconds", 2,
                             "--rate", "2.5", "--scan", "idle", "--no-xpress", "--json").result()
            self.assertIn(rated["scans"], (3, 4, 5))  # five are due; a slow machine starts fewer
            mixed = gapferry("client", "load", "--server", server.url, "--clients", 20, "--connections", 3,
                             "--seconds", 1, "--scan", "mixed", "--mix", "1:1:2", "--holds", 40, "--events", 3,
                             "--json").result()
            self.assertEqual(mixed["errors"], 0, mixed)
            self.assertGreater(mixed["reports"], 0)
            self.assertLessEqual(mixed["events"], 3 * mixed["reports"])
            self.assertEqual(mixed["scan_latency"]["count"], mixed["scans"])
            self.assertAlmostEqual(max(mixed["latest_ms_by_second"]), mixed["request_latency"]["max_ms"])
            only = gapferry("client", "load", "--server", server.url, "--clients", 4, "--seconds", 1, "--scan",
                            "none", "--events", 9, "--json").result()
            self.assertEqual((only["scans"], only["errors"], only["requests"]), (0, 0, only["reports"]))
        stored = mirror.rows("computer", "list")
        self.assertTrue(any(row["name"] == "load-00001.example" for row in stored))
        for words in (("--rate", "fast"), ("--clients", "0"), ("--seconds", "0"), ("--mix", "1:2"),
                      ("--mix", "0:0:0"), ("--scan", "none"), ("--connections", "9999"), ("--holds", "101")):
            done = gapferry("client", "load", "--server", "http://127.0.0.1:9", *words, "--json")
            self.assertEqual(done.code, 2, done)

    def test_https_by_an_authority_of_ones_own(self):
        authority = Authority(self.world.directory("https"))
        authority.issue("server", names="DNS:localhost,IP:127.0.0.1")
        mirror = catalogue.upstream(self.world, "secure", content="none")
        for kind in ("pem", "key"):
            (mirror.path / f"keys/https.{kind}").write_bytes((authority.folder / f"server.{kind}").read_bytes())
        port = free_port()
        mirror.configure(serve__https__listen=f"127.0.0.1:{port}", serve__https__certificate="keys/https.pem",
                         serve__https__key="keys/https.key")
        url = f"https://localhost:{port}"
        with mirror.serve():
            mine = ("--as", self.facts, "--state", self.state)
            refused = gapferry("client", "scan", "--server", url, *mine, "--json")
            self.assertEqual(refused.code, 21, refused)
            self.assertIn("--ca-file", refused.error()["next"])
            scan = gapferry("client", "scan", "--server", url, "--ca-file", authority.ca, *mine, "--json")
            self.assertEqual(scan.code, 0, scan)
            self.assertGreater(scan.result()["round_trips"], 0)
            sent = gapferry("client", "report", "--server", url, "--ca-file", authority.ca, *mine, "--json")
            self.assertEqual(sent.result()["events"], [147, 156])
            for file, codes in (("nowhere.pem", (2, 10)), (self.facts, (2, 21))):
                done = gapferry("client", "scan", "--server", url, "--ca-file", file, *mine, "--json")
                self.assertIn(done.code, codes, done)
                self.assertIn(str(file), done.error()["message"])
            load = gapferry("client", "load", "--server", url, "--ca-file", authority.ca, "--clients", 3,
                            "--seconds", 1, "--scan", "idle", "--json").result()
            self.assertEqual(load["errors"], 0, load)
            self.assertGreater(load["scans"], 0)


if __name__ == "__main__":
    unittest.main()
