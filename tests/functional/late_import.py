"""Bundles that come late, and a site whose clock is wrong: 1970, 2040, and corrected afterwards.

No computer is told a deadline that is past, nothing of the bundle is lost, and nothing is offered early.
The clock of the site's commands is set with GAPFERRY_CLOCK; the world outside goes by CREATED.
"""
import shutil
import unittest
from datetime import datetime, timedelta, timezone

import small_catalogue as small
from harness import World
from wsus import WsusServer

UPDATE = small.LEAVES[0]
CREATED = datetime(2026, 10, 1, 12, tzinfo=timezone.utc)
DEADLINE = CREATED + timedelta(days=3)
LATE = CREATED + timedelta(days=30)
FLOOR = timedelta(days=7)


def xml(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text):
    return datetime.fromisoformat(text.split(".")[0].rstrip("Z")).replace(tzinfo=timezone.utc)


class LateImport(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        at = {"GAPFERRY_CLOCK": xml(CREATED)}
        with WsusServer() as upstream:
            small.fill(upstream)
            cls.connected = small.connected(cls.world, upstream)
        cls.connected.env.update(at)
        cls.connected.run("update", "approve", UPDATE, "--group", "Office", "--deadline", xml(DEADLINE))
        cls.fresh = small.join(cls.world, cls.connected)
        stick = cls.world.directory("stick")
        cls.bundle = cls.connected.run("export", "--to", stick, "--for", "site")["bundle"]
        cls.digest = cls.connected.status()["state_digest"]

    def site(self, when):
        site = self.world.copy(self.fresh, f"site-{self.id().split('.')[-1]}")
        self.addCleanup(shutil.rmtree, site.path, True)
        self.at(site, when)
        return site

    @staticmethod
    def at(site, when):
        site.env["GAPFERRY_CLOCK"] = xml(when)

    def deadline(self, site):
        approval, = site.run("update", "show", UPDATE)["approvals"]
        self.assertEqual(approval["deadline"], xml(DEADLINE))  # as it was given, always
        told = approval["effective_deadline"]
        return None if told is None else parse(told)

    def assert_complete(self, site, digest=None):
        """Nothing was lost: all documents, all decisions, all files."""
        self.assertEqual(site.status()["state_digest"], digest or self.digest)
        self.assertEqual(site.run("update", "show", UPDATE)["missing_files"], 0)

    def serve_once(self, site):
        with site.serve():
            pass

    def test_thirty_days_late(self):
        site = self.site(LATE)
        plan = site.run("import", self.bundle, "--dry-run")
        moved, = plan["moved_deadlines"]
        self.assertEqual(moved["given"], xml(DEADLINE))
        self.assertGreaterEqual(parse(moved["effective"]), LATE + FLOOR)
        site.run("import", self.bundle)
        self.assert_complete(site)
        self.assertGreaterEqual(self.deadline(site), LATE + FLOOR)
        self.assertLess(self.deadline(site), LATE + FLOOR + timedelta(minutes=5))
        # A second look at a later time moves nothing: the deadline stands.
        before = self.deadline(site)
        self.at(site, LATE + timedelta(days=6))
        self.serve_once(site)
        self.assertEqual(self.deadline(site), before)

    def test_the_clock_stands_at_1970(self):
        site = self.site(datetime(1970, 1, 2, tzinfo=timezone.utc))
        plan = site.run("import", self.bundle, "--dry-run")
        self.assertTrue(plan["clock_behind"])
        self.assertIsNone(plan["moved_deadlines"][0]["effective"])
        site.run("import", self.bundle)
        self.assert_complete(site)
        self.assertIsNone(self.deadline(site))  # nobody can tell what is past: it waits
        self.assertIn("clock-behind", [n["reason"] for n in site.status()["notices"]])
        self.serve_once(site)
        self.assertIsNone(self.deadline(site))
        self.at(site, LATE)  # somebody sets the clock
        self.serve_once(site)
        self.assertGreaterEqual(self.deadline(site), LATE + FLOOR)
        self.assert_complete(site)

    def test_the_clock_stands_at_2040(self):
        wrong = datetime(2040, 1, 1, tzinfo=timezone.utc)
        site = self.site(wrong)
        site.run("import", self.bundle)
        self.assert_complete(site)
        self.assertGreaterEqual(self.deadline(site), wrong + FLOOR)
        self.at(site, LATE)
        self.serve_once(site)
        self.assertGreaterEqual(self.deadline(site), LATE + FLOOR)
        self.assertLess(self.deadline(site), LATE + FLOOR + timedelta(minutes=5))
        # Commit times go on rising from 2040, but what is decided now counts from now.
        self.at(self.connected, LATE)
        self.addCleanup(self.at, self.connected, CREATED)
        other = small.BUNDLE
        self.connected.run("update", "approve", other, "--group", "Office", "--deadline", xml(LATE))
        later = self.connected.run("export", "--to", self.world.directory("stick"), "--for", "site",
                                   "--full")["bundle"]
        site.run("import", later)
        approval, = site.run("update", "show", other)["approvals"]
        self.assertLess(parse(approval["effective_deadline"]), LATE + FLOOR + timedelta(minutes=5))
        self.assert_complete(site, self.connected.status()["state_digest"])

    def test_the_clock_goes_wrong_after_the_import(self):
        site = self.site(LATE)
        site.run("import", self.bundle)
        before = self.deadline(site)
        for wrong in (1970, 2040):
            self.at(site, datetime(wrong, 1, 2, tzinfo=timezone.utc))
            self.serve_once(site)
            self.assertEqual(self.deadline(site), before)
        self.at(site, LATE + timedelta(days=1))
        self.serve_once(site)
        self.assertEqual(self.deadline(site), before)

    def test_approvals_made_by_a_clock_ahead_go_live_when_it_is_corrected(self):
        site = self.site(datetime(2040, 1, 1, tzinfo=timezone.utc))
        site.configure(replica="false")
        site.run("import", self.bundle)
        site.run("update", "approve", UPDATE, "--group", "All Computers")
        self.at(site, LATE)
        self.serve_once(site)
        log = [e.get("action") for e in site.rows("log")]
        self.assertIn("clock.settle", log)


if __name__ == "__main__":
    unittest.main()
