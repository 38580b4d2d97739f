"""The way back: what leaves a site, who must have seen it, and that the upstream counts it once.

A connected mirror below a WSUS of the tests, a site behind the gap, an update server below the site that reports
two computers. Returns are imported late, twice and out of order; the rollup behind them is killed between its
steps and loses answers.
"""
import json
import pathlib
import shutil
import unittest
import uuid

import small_catalogue as small
import soap
from harness import KILL_POINTS, World, gapferry
from rollup_zeep import Downstream
from wsus.reporting import ReportingServer

UPDATE = small.LEAVES[0]


@unittest.skipIf(soap.MISSING, soap.MISSING)
class Returns(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(ReportingServer())
        small.fill(self.upstream)
        self.hub = small.connected(self.world, self.upstream, "hub")
        self.site = small.join(self.world, self.hub, "plant")
        self.site.configure(**{"return__level": "detailed"})
        self.computers = [str(uuid.uuid4()) for _ in range(2)]
        self.files = 0

    def carry(self, *words):
        bundle = self.hub.run("export", "--to", self.world.directory("out"), "--for", "plant", *words)
        self.site.run("import", bundle["bundle"], "--yes")
        return bundle

    def write(self, *words, site=None):
        self.files += 1
        folder = self.world.directory(f"returns/{self.files}")
        return (site or self.site).run("export", "--return", "--to", folder, "--yes", *words)["return"]

    def bring(self, file):
        return self.hub.run("import", file)

    @staticmethod
    def records(file):
        lines = pathlib.Path(file).read_text().splitlines()
        return [json.loads(line) for line in lines[1:]]


class Reports(Returns):
    def report(self, server, installs, states):
        """The server below the site: `installs` more, and the states of its computers."""
        self.below.tell_servers(self.below.server(activity=[(UPDATE, installs)]))
        self.number += 1
        self.below.tell_computers(*[self.below.computer(c) for c in self.computers])
        for computer in self.computers:
            self.below.tell_status(computer, self.number, {UPDATE: states}, full=True)

    def rollup(self, code=0):
        done = self.hub.try_run("rollup", env={"LD_PRELOAD": str(self.hurry())})
        self.assertEqual(done.code, code, done)
        return done

    @staticmethod
    def hurry():
        from harness import FAST_WAITS
        return FAST_WAITS

    def test_what_returns_is_counted_once(self):
        up, me, hub = self.upstream, self.site.status()["guid"], self.hub.status()["guid"]
        self.carry()
        files, self.number = [], 0
        with self.site.serve() as server:
            self.below = Downstream(server.url)
            for installs, state in ((3, 2), (4, 3), (5, 4)):
                self.report(server, installs, state)
                files.append(self.write())
        # The second first, then the first (late), the second again.
        self.assertEqual(self.bring(files[1])["outcome"], "applied")
        self.assertEqual(self.bring(files[0])["outcome"], "late")
        self.assertEqual(self.bring(files[1])["outcome"], "already-applied")
        self.rollup()
        self.assertEqual({g: up.server_table[g]["ParentServerId"] for g in (me, self.below.guid)},
                         {me: hub, self.below.guid: me})
        self.assertEqual(up.installs, 7)
        self.assertEqual({c: up.status[c] for c in self.computers}, {c: {UPDATE: 3} for c in self.computers})
        self.bring(files[1])
        self.rollup()
        self.assertEqual(up.installs, 7)
        # The last one, and an answer that is lost after the upstream has counted.
        self.bring(files[2])
        trouble = up.on("RollupDownstreamServers", call=1, reset="after")
        self.rollup(code=1)
        self.assertEqual((trouble.hits, up.installs), (1, 12))
        self.rollup()
        self.assertEqual(up.installs, 12)
        self.assertEqual({c: up.status[c] for c in self.computers}, {c: {UPDATE: 4} for c in self.computers})
        self.killed()
        self.put_back()
        self.sums_only()
        self.taken_over()
        self.assertEqual(up.violations, [])

    def killed(self):
        """Killed between its steps, the rollup tells what is still due, and nothing twice. Without five minutes
        between two tries nobody can know whether the upstream counted: then it says so, and counts no more."""
        up = self.upstream
        told = up.installs
        for point in (4, 12, 24, 48):
            with self.site.serve() as server:
                again = Downstream(server.url)
                again.guid = self.below.guid
                again.tell_servers(again.server(activity=[(UPDATE, 1)]))
                file = self.write()
            self.bring(file)
            before = up.installs
            self.hub.try_run("rollup", env={"LD_PRELOAD": f"{KILL_POINTS} {self.hurry()}",
                                            "GAPFERRY_KILL_AT": str(point)})
            lost = self.rollup().result()["uncertain_installs"]
            self.assertIn((up.installs - before, lost), [(1, 0), (0, 1), (1, 1)], point)
            told += up.installs - before
        self.assertEqual(up.installs, told)
        self.assertGreater(told, 12)

    def put_back(self):
        """The site is put back to an older day and counts on from there: nothing is counted again."""
        with self.site.serve() as server:
            self.below.__init__(server.url)
            saved = self.world.path / "saved"
        shutil.copytree(self.site.path, saved, symlinks=True)
        with self.site.serve() as server:
            again = Downstream(server.url)
            again.guid = self.below.guid
            again.tell_servers(again.server(activity=[(UPDATE, 2)]))
            file = self.write()
        self.bring(file)
        before = self.upstream.installs
        self.rollup()
        self.assertEqual(self.upstream.installs, before + 2)
        shutil.rmtree(self.site.path)
        shutil.copytree(saved, self.site.path, symlinks=True)
        self.hub.run("group", "add", "Later")
        self.carry("--full")
        self.bring(self.write())
        self.rollup()
        self.assertEqual(self.upstream.installs, before + 2)

    def sums_only(self):
        """An upstream that takes sums only: the site hears of it, and no more leaves."""
        self.upstream.detailed = False
        self.rollup()
        self.hub.run("group", "add", "Sums")
        self.carry()
        file = self.write()
        kinds = {record["record"] for record in self.records(file)}
        self.assertIn("server", kinds)
        self.assertFalse(kinds & {"computer", "status"}, kinds)
        shown = self.site.try_run("export", "--return", "--dry-run")
        self.assertIn("takes sums only", shown.err)
        self.upstream.detailed = True

    def taken_over(self):
        """A server that reports to the hub itself is not a site's to speak of."""
        with self.hub.serve() as server:
            moved = Downstream(server.url)
            moved.tell_servers(moved.server())
        with self.site.serve() as server:
            claimed = Downstream(server.url)
            claimed.guid = moved.guid
            soap.dss_auth(server.url).GetAuthorizationCookie(accountName="x.example", accountGuid=moved.guid)
            claimed.tell_servers(claimed.server())
        error = self.hub.refuse(21, "import", self.write())
        self.assertEqual(error["reason"], "return-foreign-server")
        self.assertIn("gapferry downstream remove", error["next"])


class Reviewed(Returns):
    def person(self, name):
        keys = self.world.path / name
        done = gapferry("key", "create", keys, "--name", name, "--json")
        self.assertEqual(done.code, 0, done)
        return keys

    def refused(self, file, reason):
        before = self.hub.run("site", "show", "plant")
        error = self.hub.refuse(21, "import", file)
        self.assertEqual(error["reason"], reason, error)
        self.assertTrue(error["next"], error)
        self.assertEqual(self.hub.run("site", "show", "plant"), before)

    def test_nothing_counts_before_a_second_person_signed(self):
        jane, mallory = self.person("jane"), self.person("mallory")
        self.carry()
        self.site.configure(**{"return__review": "required", "return__level": "receipt"})
        error = self.site.refuse(2, "export", "--return", "--to", self.world.directory("x"), "--yes")
        self.assertEqual(error["reason"], "review-required")
        self.assertIn("--review", error["next"])
        self.hub.run("site", "review", "plant", "--require", "1", "--reviewer", jane / "card")

        # Written for a reviewer on another machine: it does not count before she signed.
        file = self.write("--review")
        self.refused(file, "signature-threshold")
        alone = shutil.copy(file, self.world.path)
        error = self.hub.refuse(10, "import", alone)
        self.assertEqual((error["reason"], error["next"]),
                         ("signature-missing", "carry both files, the return and its .sig"))
        signed = gapferry("sign", file, "--key", mallory, "--yes", "--json")
        self.assertEqual(signed.code, 0, signed)
        self.refused(file, "signature-threshold")
        signed = gapferry("sign", file, "--key", jane, "--yes", "--json")
        self.assertEqual(signed.code, 0, signed)
        self.assertEqual(self.bring(file)["outcome"], "applied")

        # On the same machine, by a key that is trusted there.
        words = ["export", "--return", "--review", "--key", jane, "--to",
                 self.world.directory("y"), "--yes"]
        self.hub.run("group", "add", "Next")
        self.carry()
        error = self.site.refuse(21, *words)
        self.assertEqual(error["reason"], "reviewer-unknown")
        self.assertIn("gapferry trust add", error["next"])
        self.site.run("trust", "add", jane / "card", "--yes")
        done = self.site.run(*words)
        self.assertEqual(done["review"], "signed")
        self.assertEqual(self.bring(done["return"])["outcome"], "applied")
        # The same once more is the same file, with the same two signatures.
        self.assertEqual(self.site.run(*words)["repeated"], True)
        self.assertEqual(len(pathlib.Path(done["return"] + ".sig").read_text().splitlines()), 2)

        # A code carries no signature.
        self.site.configure(**{"return__review": "none"})
        error = self.hub.refuse(21, "receipt", "enter", "plant", self.site.run("receipt", "show")["code"])
        self.assertEqual(error["reason"], "review-required")
        self.lost_and_blocked()

    def lost_and_blocked(self):
        """Files that vanished, blocks, requests: told, heeded, told no more."""
        self.hub.run("site", "review", "plant", "--require", "0")
        held = sorted(self.site.path.glob("content/*/*"))
        held[0].unlink()
        self.site.try_run("store", "check", "--drop-damaged")
        self.site.run("update", "block", UPDATE, "--reason", "breaks the press")
        file = self.write()
        records = {r["record"]: r for r in self.records(file)}
        self.assertEqual(records["removed"]["sha1"].upper(), held[0].stem)
        self.assertEqual(records["request"]["sha1"].upper(), held[0].stem)
        self.assertEqual((records["blocked"]["update"], "reason" in records["blocked"]), (UPDATE, False))
        believed = self.hub.run("site", "show", "plant")["believed_files"]
        self.bring(file)
        shown = self.hub.run("site", "show", "plant")
        self.assertEqual((shown["believed_files"], [b["update"] for b in shown["blocked"]]), (believed - 1, [UPDATE]))
        self.hub.run("group", "add", "Again")
        self.assertEqual(self.carry()["content_files"], 1)
        kinds = [r["record"] for r in self.records(self.write())]
        self.assertNotIn("removed", kinds)
        self.assertNotIn("request", kinds)


if __name__ == "__main__":
    unittest.main()
