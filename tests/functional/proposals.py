"""Whose decision counts: imports that are held, proposals, blocks, decisions that are taken back.

A connected mirror that decides, a replica and a mirror that decides by itself behind the gap; what a
computer is offered is asked with the real client.
"""
import shutil
import unittest

import small_catalogue as small
from harness import World, gapferry
from wsus import WsusServer

FIRST, SECOND, THIRD = small.LEAVES


class Proposals(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        with WsusServer() as upstream:
            small.fill(upstream)
            cls.origin = small.connected(cls.world, upstream)
        cls.replica = small.join(cls.world, cls.origin, "replica")
        cls.replica.configure(replica="true")
        cls.own = small.join(cls.world, cls.origin, "own")
        cls.own.configure(replica="false")
        cls.stick = cls.world.directory("stick")
        cls.bundles = {site: cls.origin.run("export", "--to", cls.stick, "--for", site)["bundle"]
                       for site in ("replica", "own")}

    def copy(self, mirror):
        copy = self.world.copy(mirror, f"{mirror.path.name}-{self.id().split('.')[-1]}")
        self.addCleanup(shutil.rmtree, copy.path, True)
        return copy

    @staticmethod
    def approvals(mirror):
        return {(row["guid"], a["group"]) for row in mirror.rows("update", "list", "--approved")
                for a in row["approvals"]}

    @staticmethod
    def waiting(mirror):
        return mirror.run("proposal", "list")["proposals"]

    def full(self, origin, site):
        """Another bundle of everything, once the approvals of `origin` have changed."""
        return origin.run("export", "--to", self.stick, "--for", site, "--full")["bundle"]

    def test_a_held_import_on_a_replica(self):
        origin, site = self.copy(self.origin), self.copy(self.replica)
        site.run("import", self.bundles["replica"])
        self.assertEqual(self.approvals(site), {(FIRST, "Office"), (small.BUNDLE, "Office")})
        self.assertEqual(self.waiting(site), [])

        origin.run("group", "add", "Laboratory")
        origin.run("update", "approve", SECOND, "--group", "Laboratory")
        origin.run("update", "unapprove", FIRST)
        origin.run("update", "decline", THIRD)
        bundle = self.full(origin, "replica")
        self.assertTrue(site.run("import", bundle, "--hold", "--dry-run")["hold"])
        held = site.run("import", bundle, "--hold")
        self.assertEqual(held["proposals"], 4)
        # What came is stored as it came, what is followed is as before.
        self.assertEqual(site.status()["state_digest"], origin.status()["state_digest"])
        self.assertEqual(self.approvals(site), {(FIRST, "Office"), (small.BUNDLE, "Office")})
        kinds = {(p["kind"], p["removal"], p["update"]) for p in self.waiting(site)}
        self.assertEqual(kinds, {("group", False, None), ("approval", False, SECOND + "/100"),
                                 ("approval", True, FIRST + "/100"), ("decline", False, THIRD)})
        self.assertTrue(site.run("store", "check", "--deep")["sound"])

        # One is applied and brings its group, one rejected, the rest applied.
        self.pick_and_apply(site, SECOND + "/100")
        self.assertEqual(self.approvals(site), {(FIRST, "Office"), (small.BUNDLE, "Office"),
                                                (SECOND, "Laboratory")})
        decline = next(p["id"] for p in self.waiting(site) if p["kind"] == "decline")
        site.run("proposal", "reject", decline)
        site.run("proposal", "apply", "--all")
        self.assertEqual(self.approvals(site), {(small.BUNDLE, "Office"), (SECOND, "Laboratory")})
        self.assertEqual([p["id"] for p in site.run("proposal", "list", "--rejected")["proposals"]],
                         [decline])
        self.assertEqual(site.status()["state_digest"], origin.status()["state_digest"])

        # Rejected until the sender says something else: the same again changes nothing.
        site.run("import", self.full(origin, "replica"), "--hold")
        self.assertEqual(self.waiting(site), [])
        site.run("proposal", "apply", decline)  # somebody thinks better of it: nothing is held any more
        self.assertEqual(site.run("proposal", "list", "--rejected")["rejected"], 0)
        self.assertEqual({r["guid"] for r in site.rows("update", "list", "--declined")}, {THIRD})
        self.assertTrue(site.run("store", "check", "--deep")["sound"])

    def pick_and_apply(self, site, update):
        chosen, = [p["id"] for p in self.waiting(site) if p["update"] == update]
        self.assertEqual(site.run("proposal", "show", chosen)["update"], update)
        self.assertEqual(site.run("proposal", "apply", chosen)["applied"], 1)

    def test_an_import_without_hold_takes_effect_though_something_waits(self):
        origin, site = self.copy(self.origin), self.copy(self.replica)
        site.run("import", self.bundles["replica"], "--hold")
        self.assertEqual(self.approvals(site), set())
        before = {p["id"] for p in self.waiting(site)}
        self.assertEqual(len(before), 3)  # a group and two approvals
        origin.run("update", "approve", SECOND, "--group", "All Computers")
        site.run("import", self.full(origin, "replica"))
        self.assertEqual(self.approvals(site), {(SECOND, "All Computers")})
        self.assertEqual({p["id"] for p in self.waiting(site)}, before)
        error = site.refuse(10, "proposal", "apply", "approval-000000000000")
        self.assertIn("proposal list", error["next"])
        site.refuse(2, "proposal", "apply", "--all", "--create-groups")
        site.refuse(2, "proposal", "apply")

    def test_a_mirror_that_decides_by_itself(self):
        origin, site = self.copy(self.origin), self.copy(self.own)
        site.run("import", self.bundles["own"])
        self.assertEqual(self.approvals(site), set())
        first = next(p for p in self.waiting(site) if p["update"] == FIRST + "/100")
        self.assertEqual((first["group"], first["local_group"]), ("Office", None))
        error = site.refuse(2, "proposal", "apply", first["id"])
        self.assertEqual(error["reason"], "no-local-group")
        self.assertIn("--create-groups", error["next"])
        site.run("group", "add", "Crane")
        site.run("proposal", "apply", first["id"], "--map", "Office=Crane")
        self.assertEqual(self.approvals(site), {(FIRST, "Crane")})
        site.run("proposal", "apply", "--all", "--create-groups")
        self.assertEqual(self.approvals(site), {(FIRST, "Crane"), (small.BUNDLE, "Office")})
        self.assertEqual(self.waiting(site), [])

        # What is decided here stands against what comes, and the plan says so.
        site.run("update", "approve", SECOND, "--group", "Office", "--action", "optional")
        origin.run("update", "approve", SECOND, "--group", "Office")
        origin.run("update", "unapprove", FIRST)
        bundle = self.full(origin, "own")
        plan = site.run("import", bundle, "--dry-run")
        conflict, = plan["conflicts"]
        self.assertEqual((conflict["kind"], conflict["update"], conflict["wins"], conflict["group"]),
                         ("approval", SECOND, "here", "Office"))
        self.assertTrue(plan["decides_itself"])
        site.run("import", bundle)
        self.assertEqual(self.approvals(site), {(FIRST, "Crane"), (small.BUNDLE, "Office"),
                                                (SECOND, "Office")})
        proposals = {p["update"]: p for p in self.waiting(site)}
        self.assertEqual(set(proposals), {FIRST + "/100", SECOND + "/100"})
        self.assertTrue(proposals[SECOND + "/100"]["conflict"])
        self.assertTrue(proposals[FIRST + "/100"]["removal"])
        site.run("proposal", "reject", proposals[SECOND + "/100"]["id"])
        site.run("proposal", "apply", "--all")  # what was made of it here ends
        self.assertEqual(self.approvals(site), {(small.BUNDLE, "Office"), (SECOND, "Office")})
        # Rejected until the sender changes it.
        origin.run("update", "approve", SECOND, "--group", "Office", "--deadline", "2031-01-01")
        site.run("import", self.full(origin, "own"))
        again, = self.waiting(site)
        self.assertEqual((again["update"], again["deadline"]), (SECOND + "/100", "2031-01-01T00:00:00Z"))

    def test_what_was_decided_is_taken_back(self):
        site = self.copy(self.own)
        site.run("import", self.bundles["own"])
        site.run("group", "add", "Crane")
        made = site.run("update", "approve", FIRST, SECOND, "--group", "Crane")["generation"]
        declined = site.run("update", "decline", FIRST)["generation"]
        error = site.refuse(2, "intent", "undo", made)
        self.assertEqual(error["reason"], "undo-conflict")
        self.assertIn(f"generation {declined}", error["message"])
        decisions = site.run("intent", "list")["decisions"]
        self.assertEqual([d["generation"] for d in decisions[:2]], [declined, made])
        shown = site.run("intent", "undo", declined, "--dry-run")
        self.assertEqual({(c["kind"], c["restored"]) for c in shown["changes"]},
                         {("decline", False), ("approval", True)})
        self.assertEqual(self.approvals(site), {(SECOND, "Crane")})
        undone = site.run("intent", "undo", declined)["generation"]
        self.assertEqual(self.approvals(site), {(FIRST, "Crane"), (SECOND, "Crane")})
        site.run("intent", "undo", undone)  # and that, too
        self.assertEqual(self.approvals(site), {(SECOND, "Crane")})
        self.assertEqual(site.refuse(2, "intent", "undo", 1)["reason"], "not-local")
        site.refuse(10, "intent", "undo", 9999)
        site.refuse(2, "intent", "undo", "x")
        self.assertTrue(site.run("store", "check", "--deep")["sound"])
        replica = self.copy(self.replica)
        replica.run("import", self.bundles["replica"])
        error = replica.refuse(2, "intent", "undo", 1)
        self.assertEqual(error["reason"], "replica")
        self.assertIn("update block", error["next"])

    def test_a_block_beats_approvals_from_above(self):
        origin, site = self.copy(self.origin), self.copy(self.replica)
        origin.run("update", "approve", FIRST, small.BUNDLE, "--group", "All Computers")
        site.run("import", self.full(origin, "replica"))
        digest = site.status()["state_digest"]
        with site.serve() as server:
            offered = self.offered(server)
            self.assertIn(FIRST, offered)
            self.assertIn(small.BUNDLE, offered)
            # A part of a bundle stops the bundle.
            site.run("update", "block", FIRST, small.CHILD, "--reason", "stops the crane")
            self.wait_for(lambda: not {FIRST, small.BUNDLE} & self.offered(server))
        self.assertEqual(site.status()["state_digest"], digest)
        self.assertIn("blocked", [n["reason"] for n in site.status()["notices"]])
        shown = site.run("update", "show", FIRST)
        self.assertEqual((shown["blocked"]["reason"], shown["offered"]), ("stops the crane", False))
        self.assertEqual(site.run("update", "block", FIRST)["newly_blocked"], 0)
        origin.run("update", "approve", FIRST, "--group", "All Computers", "--deadline", "2031-01-01")
        bundle = self.full(origin, "replica")
        conflict = site.run("import", bundle, "--dry-run")["conflicts"][0]
        self.assertEqual((conflict["kind"], conflict["update"], conflict["wins"]), ("block", FIRST, "here"))
        site.run("import", bundle)
        with site.serve() as server:
            self.assertNotIn(FIRST, self.offered(server))
            self.assertEqual(site.run("update", "unblock", FIRST, small.CHILD)["lifted"], 2)
            self.wait_for(lambda: {FIRST, small.BUNDLE} <= self.offered(server))
        site.refuse(2, "update", "block", small.PRODUCT)
        site.refuse(10, "update", "block", small.guid("nothing"))
        site.refuse(2, "update", "block", FIRST, "--reason", "x" * 201)

    def offered(self, server):
        """GUIDs that a computer is offered."""
        state = self.world.path / "pc.state"
        shutil.rmtree(state, ignore_errors=True)
        done = gapferry("client", "scan", "--server", server.url, "--state", state, "--json")
        self.assertEqual(done.code, 0, done)
        return {row["update_id"] for row in done.result()["offered"]}

    def wait_for(self, condition):
        import time
        until = time.monotonic() + 20
        while not condition():
            self.assertLess(time.monotonic(), until, "nothing changed for 20 s")
            time.sleep(0.3)


if __name__ == "__main__":
    unittest.main()
