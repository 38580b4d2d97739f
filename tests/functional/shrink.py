"""A full bundle brings a site to the sender's state also where the site has more than the sender.

Met when the sender is made anew, or was restored from a backup, and lacks what the site has: documents,
approvals, licences. And a mirror whose `replica:` is edited, between two bundles.
"""
import shutil
import unittest

import small_catalogue as small
from harness import World
from wsus import WsusServer



class Shrink(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.stick = cls.world.directory("stick")
        with WsusServer() as upstream:
            small.fill(upstream)
            cls.connected = small.connected(cls.world, upstream)
            cls.site = small.join(cls.world, cls.connected)
            cls.before = cls.world.copy(cls.connected, "backup")
            small.advance(upstream)
            for i in range(10):
                small.leaf(upstream, small.guid(f"more {i}"), title=f"More {i}")
            cls.connected.run("sync", "--accept-removals", "1")
        cls.connected.run("update", "approve", small.NEW_LEAF, "--group", "Office")

    def export(self, mirror, *words):
        return mirror.run("export", "--to", self.world.directory("stick"), "--for", "site", *words)["bundle"]

    def test_a_restored_sender_has_less_than_its_site(self):
        site = self.world.copy(self.site, "larger")
        self.addCleanup(shutil.rmtree, site.path, True)
        site.run("import", self.export(self.connected))
        self.assertEqual(site.status()["state_digest"], self.connected.status()["state_digest"])
        shutil.rmtree(self.stick)
        bundle = self.export(self.before)  # an older state, and the same sequence
        plan = site.run("import", bundle, "--new-history", "--dry-run")
        self.assertGreaterEqual(plan["unlisted"], 12)
        self.assertTrue(plan["needs_decision"])
        before = site.state()
        error = site.refuse(2, "import", bundle, "--new-history")
        self.assertEqual(error["reason"], "removals-need-acceptance")
        self.assertIn("--accept-removals", error["next"])
        self.assertEqual(site.state(), before)
        site.run("import", bundle, "--new-history", "--accept-removals", plan["removals"])
        self.assertEqual(site.status()["state_digest"], self.before.status()["state_digest"])
        # What the sender does not know is still here, served as withdrawn, and no longer approved.
        new = site.run("update", "show", small.NEW_LEAF)
        self.assertTrue(new["withdrawn"])
        self.assertEqual(new["approvals"], [])
        self.assertTrue(site.run("store", "check", "--deep")["sound"])
        # The restored sender learns the same again, and a bundle lists it as before.
        site.run("import", self.export_all_again(), "--new-history")
        self.assertEqual(site.status()["state_digest"], self.connected.status()["state_digest"])
        self.assertFalse(site.run("update", "show", small.NEW_LEAF)["withdrawn"])
        self.assertTrue(site.run("store", "check", "--deep")["sound"])

    def export_all_again(self):
        shutil.rmtree(self.stick)
        return self.export(self.connected, "--full")

    def test_replica_is_edited_between_two_bundles(self):
        """What is passed on changes with gapferry.yaml: the next bundle has to be a full one."""
        stick = self.world.directory("second stick")
        middle = self.world.copy(self.site, "middle")
        bottom = small.join(self.world, middle, "bottom")
        for path in (middle.path, bottom.path):
            self.addCleanup(shutil.rmtree, path, True)
        middle.run("import", self.export(self.connected, "--full"))
        first = middle.run("export", "--to", stick, "--for", "bottom")["bundle"]
        bottom.run("import", first)
        receipt = bottom.run("export", "--return", "--to", stick, "--yes")["return"]
        middle.run("import", receipt)
        self.assertEqual(bottom.status()["state_digest"], middle.status()["state_digest"])
        middle.configure(replica="false")
        error = middle.refuse(2, "export", "--to", stick, "--for", "bottom")
        self.assertEqual(error["reason"], "history-changed")
        self.assertIn("--full", error["next"])
        full = middle.run("export", "--to", stick, "--for", "bottom", "--full")["bundle"]
        bottom.run("import", full)
        approved = [r for r in bottom.rows("update", "list", "--approved")]
        self.assertEqual(approved, [])  # nothing was decided in the middle yet
        middle.run("update", "approve", small.LEAVES[2], "--group", "All Computers")
        middle.run("import", bottom.run("export", "--return", "--to", stick, "--yes")["return"])
        delta = middle.run("export", "--to", stick, "--for", "bottom")
        self.assertEqual(delta["scope"], "delta")
        bottom.run("import", delta["bundle"])
        self.assertEqual([r["guid"] for r in bottom.rows("update", "list", "--approved")], [small.LEAVES[2]])


if __name__ == "__main__":
    unittest.main()
