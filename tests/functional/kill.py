"""sync, export and import are killed at every write, sync and rename, and run again.

The interposer tests/support/kill_points.c counts the calls that change files. A first run counts them;
then, for each number N (a sample of them unless GAPFERRY_KILL_ALL=1, which goes through all ways or those
that GAPFERRY_KILL_WAYS lists), the command starts from the same copy, is killed at its N-th call (or that
call fails with "no space" or an I/O error, or only half of a write arrives), and is run again. The end must
be that of the undisturbed run: state digest, content digest, generation, and for export the very bytes of
the bundle. Between the two runs the mirror must open, and show either the old or the new state, and each
file below content/ must have the bytes that its name promises.
"""
import collections
import concurrent.futures
import hashlib
import os
import shutil
import unittest

import small_catalogue
from harness import KILL_POINTS, World, tree_digest
from sync_support import held_files, wrong_files
from wsus import ALL_COMPUTERS, WsusServer, document

ALL = bool(os.environ.get("GAPFERRY_KILL_ALL"))
SAMPLE = int(os.environ.get("GAPFERRY_KILL_SAMPLE", "16"))
CLOCK = "2026-11-22T12:00:00Z"
KILLED = -9


def sample(count, size=SAMPLE):
    """All points, or the first and last ones and an even spread between them."""
    if ALL or count <= size:
        return list(range(1, count + 1))
    ends = list(range(1, 4)) + list(range(count - 2, count + 1))
    spread = max(2, size - len(ends))
    return sorted(set(ends) | {1 + i * (count - 1) // (spread - 1) for i in range(spread)})


def ways(point):
    """Killing everywhere; the gentler faults in turn, so that each is met at many points."""
    if ALL:
        return os.environ.get("GAPFERRY_KILL_WAYS", "kill torn enospc eio").split()
    return ["kill", ["torn", "enospc", "eio"][point % 3]]


class KillTest(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        upstream = WsusServer()
        self.upstream = upstream.__enter__()
        self.addCleanup(upstream.__exit__)
        small_catalogue.fill(self.upstream)

    def stage(self, parts, name):
        """A copy of the starting point: {"site": Mirror, ...} -> mirrors of the same names."""
        folder = self.world.path / name
        return {key: self.world.copy(mirror, f"{name}/{key}") for key, mirror in parts.items()}, folder

    def run_all(self, what, parts, command, observe, size=SAMPLE):
        """`command(mirrors, folder, env)` gives the words of the command and the mirror it runs on;
        `observe(mirrors, folder)` what must be the same in the end."""
        mirrors, folder = self.stage(parts, f"{what}-whole")
        mirror, words = command(mirrors, folder)
        count_file = folder / "count"
        before = self.look(mirror)
        done = mirror.try_run(*words, env={"LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_CLOCK": CLOCK,
                                           "GAPFERRY_KILL_COUNT": str(count_file)})
        self.assertEqual(done.code, 0, done)
        count = int(count_file.read_text().split()[0])
        wanted, after = observe(mirrors, folder), self.look(mirror)
        points = [(point, how) for point in sample(count, size) for how in ways(point)]
        print(f"{what}: {count} points, {len(points)} runs", flush=True)
        self.assertGreater(count, 20)

        ended = collections.Counter()

        def one(case):
            point, how = case
            name = f"{what}-{point}-{how}"
            mine, place = self.stage(parts, name)
            target, line = command(mine, place)
            first = target.try_run(*line, env={
                "LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_CLOCK": CLOCK,
                "GAPFERRY_KILL_AT": str(point), "GAPFERRY_KILL_HOW": how})
            ended[how, first.code] += 1
            if how in ("kill", "torn"):
                if first.code != KILLED and first.code != 0:
                    return f"{name}: ended by itself: {first}"
            elif first.code not in (0, 1, 3, 30):
                return f"{name}: {first}"
            seen = self.look(target)
            if seen not in (before, after):
                return f"{name}: half a state is visible: {seen}"
            for one_mirror in mine.values():
                if wrong := wrong_files(one_mirror):
                    return f"{name}: unverified bytes are visible: {wrong}"
            again = target.try_run(*line, env={"GAPFERRY_CLOCK": CLOCK})
            if again.code != 0:
                return f"{name}: the second run: {again}\nfirst: {first}"
            got = observe(mine, place)
            if got != wanted:
                return f"{name}: {got} instead of {wanted}"
            shutil.rmtree(place)
            return None

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            wrong = [text for text in pool.map(one, points) if text]
        told = ", ".join(f"{how}: {n} ended with {code}" for (how, code), n in sorted(ended.items()))
        print(f"{what}: {told}", flush=True)
        # Threads may take other ways to the same end, so the last points are not always reached.
        self.assertGreater(ended["kill", KILLED], 0.75 * sum(how == "kill" for _, how in points), told)
        self.assertFalse(wrong, f"{len(wrong)} of {len(points)} runs:\n" + "\n".join(wrong[:3]))

    @staticmethod
    def look(mirror):
        state = mirror.state()
        return {key: state[key] for key in ("epoch", "generation", "state_digest")}

    @staticmethod
    def final(mirror):
        mirror.run("store", "check", "--deep")
        return mirror.state()

    def test_sync(self):
        mirror = self.world.init("m", "--upstream", self.upstream.url)
        mirror.configure(content__download="all")
        self.run_all("sync", {"m": mirror}, lambda mirrors, folder: (mirrors["m"], ["sync"]),
                     lambda mirrors, folder: self.final(mirrors["m"]))

    def test_second_sync(self):
        mirror = small_catalogue.connected(self.world, self.upstream)
        small_catalogue.advance(self.upstream)
        self.run_all("second sync", {"m": mirror}, lambda mirrors, folder: (mirrors["m"], ["sync"]),
                     lambda mirrors, folder: self.final(mirrors["m"]))

    def test_sync_of_a_replica(self):
        office, lab = small_catalogue.guid("office"), small_catalogue.guid("lab")
        deployments = [small_catalogue.guid(f"deployment {i}") for i in range(4)]
        self.upstream.groups = {office: ("Office", ALL_COMPUTERS, False), lab: ("Lab", office, False)}
        for one, update in zip(deployments, small_catalogue.LEAVES):
            self.upstream.deploy(one, (update, 100), office)
        mirror = self.world.init("m", "--upstream", self.upstream.url, "--replica")
        mirror.run("sync")
        small_catalogue.advance(self.upstream)
        self.upstream.deploy(deployments[3], (small_catalogue.NEW_LEAF, 100), lab)
        self.upstream.end_deployment(deployments[1])
        del self.upstream.groups[lab]
        self.upstream.groups[small_catalogue.guid("ward")] = ("Ward", office, False)
        self.upstream.deploy(deployments[0], (small_catalogue.LEAVES[0], 101),
                             small_catalogue.guid("ward"), 1)
        self.upstream.eulas = [small_catalogue.guid("licence")]
        self.run_all("replica", {"m": mirror}, lambda mirrors, folder: (mirrors["m"], ["sync"]),
                     lambda mirrors, folder: (self.final(mirrors["m"]), mirrors["m"].rows("group", "list")),
                     SAMPLE // 2)

    def test_sync_of_many_files(self):
        files = {}
        for i in range(40):
            data = small_catalogue.payload(f"file {i}", 3_000 if i % 8 else 400_000)
            files[hashlib.sha1(data).hexdigest().upper()] = data
            self.upstream.add(document(
                small_catalogue.guid(f"with file {i}"), 100, "Software", title=f"With file {i}",
                explicitly=True, prerequisites=[small_catalogue.PRODUCT, small_catalogue.CLASSIFICATION],
                files=[(f"f{i}.exe", data)]))
        self.upstream.content.update(files)
        mirror = self.world.init("m", "--upstream", self.upstream.url)
        mirror.run("sync", "--metadata-only")
        mirror.configure(content__download="all")

        def observe(mirrors, folder):
            return self.final(mirrors["m"]), len(held_files(mirrors["m"]) & files.keys())

        self.run_all("files", {"m": mirror}, lambda mirrors, folder: (mirrors["m"], ["sync"]), observe,
                     SAMPLE // 2)

    def test_export(self):
        mirror = small_catalogue.connected(self.world, self.upstream)
        small_catalogue.join(self.world, mirror)

        def command(mirrors, folder):
            (folder / "out").mkdir(exist_ok=True)
            return mirrors["m"], ["export", "--to", folder / "out", "--for", "site"]

        def observe(mirrors, folder):
            bundles = sorted(p for p in (folder / "out").iterdir() if (p / "manifest.json.sig").exists())
            return [(p.name, tree_digest(p)) for p in bundles], self.final(mirrors["m"])

        self.run_all("export", {"m": mirror}, command, observe)

    def test_import(self):
        mirror = small_catalogue.connected(self.world, self.upstream)
        site = small_catalogue.join(self.world, mirror)
        out = self.world.directory("out")
        bundle = mirror.run("export", "--to", out, "--for", "site")["bundle"]
        self.run_all("import", {"site": site},
                     lambda mirrors, folder: (mirrors["site"], ["import", bundle, "--yes"]),
                     lambda mirrors, folder: self.final(mirrors["site"]))


if __name__ == "__main__":
    unittest.main()
