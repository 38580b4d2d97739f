"""Three real servers one below the other, replicas and autonomous ones: everything comes down, what the
computers report goes up, and the middle may be away, be put back to an older day, or lie behind a gap.
"""
import hashlib
import shutil
import time
import unittest
import uuid

import small_catalogue as small
import soap
from harness import FAST_WAITS, World, gapferry
from rollup_zeep import Downstream
from wsus import ALL_COMPUTERS, WsusServer
from wsus.operations import ZERO
from wsus.reporting import ReportingServer

LEAF, EXPIRING, SUPERSEDED = small.LEAVES
HURRY = {"LD_PRELOAD": str(FAST_WAITS)}  # no waiting between attempts


class Chain(unittest.TestCase):
    replica = True

    def setUp(self):
        self.world = self.enterContext(World())
        self.origin = self.enterContext(WsusServer())
        small.fill(self.origin)
        self.decide()
        words = ("--replica",) if self.replica else ()
        self.top = self.world.init("top", "--name", "top", "--upstream", self.origin.url, *words)
        self.top.configure(content__download="all")
        self.top.run("sync")
        self.top_server = self.serve(self.top)
        self.middle = self.below("middle", self.top_server)
        self.middle_server = self.serve(self.middle)
        self.bottom = self.below("bottom", self.middle_server)
        self.chain = [self.top, self.middle, self.bottom]

    def serve(self, mirror):
        serving = mirror.serve()
        server = serving.__enter__()
        self.addCleanup(serving.__exit__, None, None, None)
        return server

    def below(self, name, server):
        words = ("--replica",) if self.replica else ()
        mirror = self.world.init(name, "--name", name, "--upstream", server.url, *words)
        return mirror

    def decide(self):
        pass

    def sync_down(self):
        for mirror, server in ((self.middle, self.top_server), (self.bottom, self.middle_server)):
            self.settle(server)
            done = mirror.try_run("sync")
            self.assertIn(done.code, (0, 3), done)

    def settle(self, server):
        """Until `serve` tells downstream servers of what is committed."""
        probe = soap.server_sync(server.url)
        wanted = server.mirror.status()["generation"]
        down = soap.dss_auth(server.url).GetAuthorizationCookie(
            accountName="probe.example", accountGuid="99999999-0000-4000-8000-000000000001")
        cookie = probe.GetCookie(authCookies={"AuthorizationCookie": [
            {"PlugInId": down.PlugInId, "CookieData": down.CookieData}]}, oldCookie=None,
            protocolVersion="1.20")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            anchor = probe.GetRevisionIdList(cookie=cookie, filter={
                "GetConfig": False, "Get63LanguageOnly": False}).Anchor
            if int(anchor.split(",")[0]) >= wanted:
                return
            time.sleep(0.1)
        raise AssertionError(f"serve does not see generation {wanted}: {anchor}")

    def digests(self):
        return [m.status()["documents_digest"] for m in self.chain]

    def assert_equal_documents(self):
        digests = self.digests()
        self.assertEqual(len(set(digests)), 1, digests)

    @staticmethod
    def approvals(mirror):
        """{(update, group): action} of everything that is approved."""
        return {(row["guid"], a["group"]): a["action"] for row in mirror.rows("update", "list", "--expired")
                + mirror.rows("update", "list") for a in row["approvals"]}

    @staticmethod
    def declined(mirror):
        return {row["guid"] for row in mirror.rows("update", "list", "--declined")}

    @staticmethod
    def groups(mirror):
        return {g["name"]: g["guid"] for g in mirror.rows("group", "list")}

    @staticmethod
    def held(mirror):
        files = {}
        for path in (mirror.path / "content").rglob("*"):
            if path.is_file():
                files[path.stem] = hashlib.sha1(path.read_bytes()).hexdigest().upper()
        return files

    @staticmethod
    def name_of(update, revision):
        return hashlib.sha1(small.payload(f"{update}/{revision}")).hexdigest().upper()

    def assert_true_content(self, mirror, *updates):
        held = self.held(mirror)
        self.assertEqual(set(held), set(held.values()))  # names are digests
        for update, revision in updates:
            self.assertIn(self.name_of(update, revision), held)


OFFICE, LAB, GONE, LATER = map(small.guid, ("office", "lab", "gone", "later"))
D = [small.guid(f"deployment {i}") for i in range(9)]


@unittest.skipIf(soap.MISSING, soap.MISSING)
class ReplicaChain(Chain):
    def decide(self):
        up = self.origin
        up.groups = {OFFICE: ("Office", ALL_COMPUTERS, False), LAB: ("Lab", OFFICE, False),
                     GONE: ("Gone", ALL_COMPUTERS, False)}
        up.deploy(D[0], (LEAF, 100), OFFICE, deadline="2027-03-01T10:00:00")
        up.deploy(D[1], (small.BUNDLE, 100), LAB)
        up.deploy(D[2], (EXPIRING, 100), GONE, action=2)
        up.hidden = [SUPERSEDED]

    def assert_equal_intent(self, approvals, groups, declined):
        for mirror in self.chain:
            self.assertEqual(self.approvals(mirror), approvals, mirror.path.name)
            self.assertEqual(set(self.groups(mirror)), groups | {"All Computers", "Unassigned Computers"})
            self.assertEqual(self.declined(mirror), declined)
        digests = [m.status()["state_digest"] for m in self.chain]
        self.assertEqual(len(set(digests)), 1, digests)

    def test_all_of_it_comes_down_and_reports_go_up(self):
        # The bottom wants files that nobody above it needed so far: they come on request.
        self.bottom.configure(content__download="all")
        self.sync_down()
        self.assert_equal_documents()
        first = {(LEAF, "Office"): "Install", (small.BUNDLE, "Lab"): "Install",
                 (EXPIRING, "Gone"): "PreDeploymentCheck"}
        self.assert_equal_intent(first, {"Office", "Lab", "Gone"}, {SUPERSEDED})
        self.assert_true_content(self.bottom, (LEAF, 100))
        self.assertNotIn(self.name_of(EXPIRING, 100), self.held(self.middle))
        self.sync_down()
        self.assert_true_content(self.middle, (EXPIRING, 100))
        self.assert_true_content(self.bottom, (EXPIRING, 100))
        self.reports_go_up()

        # The next day: a new revision and update, one expired; an approval less, a group renamed, one gone.
        up = self.origin
        small.advance(up)
        up.end_deployment(D[1])
        up.deploy(D[3], (LEAF, 101), LAB, action=1)
        up.deploy(D[4], (small.NEW_LEAF, 100), LAB)
        up.groups[LAB] = ("Laboratory", OFFICE, False)
        del up.groups[GONE]
        up.end_deployment(D[2])
        up.hidden = [EXPIRING]
        self.top.run("sync")
        self.sync_down()
        self.assert_equal_documents()
        self.second = {(LEAF, "Office"): "Install", (LEAF, "Laboratory"): "Uninstall",
                       (small.NEW_LEAF, "Laboratory"): "Install"}
        self.assert_equal_intent(self.second, {"Office", "Laboratory"}, {EXPIRING})
        self.assert_true_content(self.bottom, (LEAF, 101), (small.NEW_LEAF, 100))
        self.middle_is_put_back()

    def reports_go_up(self):
        """A computer of the bottom, one of a server below the bottom: at the top with parents and groups."""
        with self.bottom.serve() as server:
            leaf = Downstream(server.url)
            pc, own = str(uuid.uuid4()), self.world.path / "own.state"
            done = gapferry("client", "scan", "--server", server.url, "--state", own, "--json")
            self.assertEqual(done.code, 0, done)
            gapferry("client", "report", "--server", server.url, "--state", own, "--json")
            mine = self.bottom.rows("computer", "list")[0]["id"]
            self.bottom.run("group", "assign", mine, "--group", "Office")
            leaf.tell_servers(leaf.server(activity=[(LEAF, 4)]))
            leaf.tell_computers(leaf.computer(pc))
            leaf.tell_status(pc, 1, {LEAF: 4, small.BUNDLE: 5}, full=True)
            self.bottom.run("rollup")
        self.middle.run("rollup")
        rows = {row["id"]: row for row in self.top.rows("computer", "list")}
        self.assertEqual(set(rows), {pc, mine})
        self.assertEqual((rows[pc]["server"], rows[mine]["server"]),
                         (leaf.guid, self.bottom.status()["guid"]))
        self.assertEqual(rows[mine]["group_guids"], [OFFICE])
        shown = self.top.run("computer", "show", pc)
        self.assertEqual({u["guid"]: u["state"] for u in shown["updates"]},
                         {LEAF: "Installed", small.BUNDLE: "Failed"})
        # Once more: nothing is told twice.
        again = self.middle.run("rollup")
        self.assertEqual((again["installs"], again["full_statuses"], again["delta_statuses"]), (0, 0, 0))
        # Removed at the top: on the way down, one server a rollup.
        self.top.run("computer", "remove", pc)
        self.assertEqual(self.middle.run("rollup")["deleted_upstream"], 1)
        self.assertNotIn(pc, {row["id"] for row in self.middle.rows("computer", "list")})
        self.assertEqual(self.bottom.run("rollup")["deleted_upstream"], 1)

    def middle_is_put_back(self):
        """The middle is away for a while, then restored from a backup older than what the bottom has."""
        self.middle_server.stop()
        saved = self.world.path / "saved"
        shutil.copytree(self.middle.path, saved, symlinks=True)
        done = self.bottom.try_run("sync", env=HURRY)
        self.assertEqual(done.code, 1, done)

        up = self.origin
        up.groups[LATER] = ("Later", ALL_COMPUTERS, False)
        up.hidden = [EXPIRING, small.NEW_LEAF]
        up.end_deployment(D[4])
        self.top.run("sync")
        self.middle_server.start()
        self.sync_down()
        third = {k: v for k, v in self.second.items() if k[0] != small.NEW_LEAF}
        wanted = (third, {"Office", "Laboratory", "Later"}, {EXPIRING, small.NEW_LEAF})
        self.assert_equal_intent(*wanted)

        self.middle_server.stop()
        shutil.rmtree(self.middle.path)
        shutil.copytree(saved, self.middle.path, symlinks=True)
        self.middle_server.start()
        self.bottom.run("sync")  # to the middle's older day, in decisions; documents stay
        self.assertEqual(self.bottom.status()["documents_digest"], self.top.status()["documents_digest"])
        self.sync_down()
        self.assert_equal_documents()
        self.assert_equal_intent(*wanted)
        self.bottom.run("store", "check")


@unittest.skipIf(soap.MISSING, soap.MISSING)
class AutonomousChain(Chain):
    replica = False

    def test_documents_come_down_and_decisions_do_not(self):
        for mirror in self.chain:
            mirror.configure(content__download="all")
        self.top.run("group", "add", "Office")
        self.top.run("update", "approve", LEAF, "--group", "Office")
        self.top.run("update", "decline", EXPIRING)
        self.sync_down()
        self.assert_equal_documents()
        for mirror in self.chain[1:]:
            self.assertEqual(self.approvals(mirror), {})
            self.assertEqual(self.declined(mirror), set())
        self.bottom.run("update", "approve", LEAF, "--group", "All Computers")
        self.assertEqual(self.held(self.bottom), self.held(self.top))
        small.advance(self.origin)
        self.top.run("sync")
        self.sync_down()
        self.assert_equal_documents()
        self.assertEqual(self.held(self.bottom), self.held(self.top))
        self.assertEqual(self.approvals(self.bottom), {(LEAF, "All Computers"): "Install"})
        self.bottom.run("store", "check")


@unittest.skipIf(soap.MISSING, soap.MISSING)
class GapInTheMiddle(Chain):
    """An upstream, a mirror, a gap, a site, a server below the site: bundles down, returns up."""

    def setUp(self):
        self.world = self.enterContext(World())
        self.origin = self.enterContext(ReportingServer())
        small.fill(self.origin)
        self.top = small.connected(self.world, self.origin, "harbour")
        self.site = small.join(self.world, self.top, "plant")
        self.site.configure(**{"return__level": "detailed"})

    def carry(self):
        bundle = self.top.run("export", "--to", self.world.directory("stick"), "--for", "plant")["bundle"]
        self.site.run("import", bundle, "--yes")

    def bring_back(self):
        folder = self.world.directory("return")
        file = self.site.run("export", "--return", "--to", folder, "--yes")["return"]
        self.top.run("import", file, "--yes")
        self.top.run("rollup")

    def test_status_of_a_server_behind_the_gap(self):
        up = self.origin
        self.carry()
        with self.site.serve() as server:
            bottom = self.world.init("bottom", "--name", "bottom", "--upstream", server.url, "--replica")
            bottom.run("sync")
            self.chain = [self.top, self.site, bottom]
            self.assert_equal_documents()
            self.assertEqual(self.groups(bottom), self.groups(self.top))
            self.assertEqual(self.approvals(bottom), self.approvals(self.top))
            self.assert_true_content(bottom, (LEAF, 100))
            with bottom.serve() as below:
                own = self.world.path / "own.state"
                for verb in ("scan", "report"):
                    done = gapferry("client", verb, "--server", below.url, "--state", own, "--json")
                    self.assertEqual(done.code, 0, done)
                mine = bottom.rows("computer", "list")[0]["id"]
                bottom.run("rollup")
            self.bring_back()
        guids = [m.status()["guid"] for m in self.chain]
        self.assertEqual({g: up.server_table[g]["ParentServerId"] for g in guids},
                         dict(zip(guids, [ZERO, *guids])))
        self.assertEqual(up.computer_table[mine]["ParentServerId"], guids[2])
        self.assertIn(mine, up.status)
        # What its clients have evaluated ends where the harbour had last synced, not the site or the bottom.
        synced = self.site.status()["last_bundle"]["upstream_sync_at"]
        self.assertEqual(up.detected[mine][:19], synced[:19])
        self.assertLess(synced, self.site.status()["last_bundle"]["imported_at"])
        self.assertEqual(up.violations, [])


if __name__ == "__main__":
    unittest.main()
