"""The client is killed at its writes, syncs and renames, and run again: the same command ends as if nothing had
happened, and what the server was to be told is told."""
import os
import shutil
import unittest

import small_catalogue
from harness import KILL_POINTS, World, gapferry, tree_digest
from wsus import WsusServer

SAMPLE = int(os.environ.get("GAPFERRY_KILL_SAMPLE", "8"))
VERBS = ("scan", "download", "install", "report")


class ClientKill(unittest.TestCase):
    def client(self, verb, state, **env):
        server = () if verb == "install" else ("--server", self.server.url)
        return gapferry("client", verb, *server, "--as", self.facts, "--state", state, "--json", env=env)

    def outcome(self, state):
        """What must be the same in the end."""
        scan = self.client("scan", state).result()
        return ({row["update_id"] for row in scan["offered"]}, scan["needed"], scan["installed"],
                tree_digest(state / "content"))

    def reported(self):
        shown = self.mirror.run("computer", "show", "pc1.example")
        return {row["guid"]: row["state"] for row in shown["updates"]}

    def run_verb(self, verb, before, folder):
        """Kills it at a sample of points; returns the state after an undisturbed run."""
        after = folder / "after"
        shutil.copytree(before, after)
        count = folder / "count"
        done = self.client(verb, after, LD_PRELOAD=str(KILL_POINTS), GAPFERRY_KILL_COUNT=str(count))
        self.assertEqual(done.code, 0, done)
        points = int(count.read_text().split()[0])
        wanted, told = self.outcome(after), self.reported()
        step = max(1, points // SAMPLE)
        runs = 0
        for point in range(1, points + 1, step):
            how = ("kill", "torn", "enospc", "eio")[runs % 4]
            mine = folder / f"{point}"
            shutil.copytree(before, mine)
            first = self.client(verb, mine, LD_PRELOAD=str(KILL_POINTS), GAPFERRY_KILL_AT=str(point),
                                GAPFERRY_KILL_HOW=how)
            self.assertIn(first.code, (-9, 0, 1, 3, 30), first)
            again = self.client(verb, mine)
            self.assertEqual(again.code, 0, f"{verb} at {point} of {points}, {how}\n{first}\n{again}")
            self.assertEqual(self.outcome(mine), wanted, f"{verb} at {point} of {points}, {how}")
            self.assertEqual(self.reported(), told, f"{verb} at {point} of {points}, {how}")
            shutil.rmtree(mine)
            runs += 1
        print(f"client {verb}: {points} points, {runs} runs", flush=True)
        self.assertGreater(runs, 2)
        return after

    def test_goes_on_where_it_was(self):
        with World() as world, WsusServer() as upstream:
            small_catalogue.fill(upstream)
            self.mirror = small_catalogue.connected(world, upstream)
            self.mirror.run("update", "approve", *small_catalogue.LEAVES, "--group", "All Computers")
            self.facts = world.path / "pc1.yaml"
            self.facts.write_text("name: pc1.example\nclient_id: 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10\n")
            with self.mirror.serve() as self.server:
                state = world.directory("state")
                self.assertEqual(self.client("scan", world.path / "first").code, 0)  # registers
                for verb in VERBS:
                    state = self.run_verb(verb, state, world.directory(verb))
                self.assertEqual({self.reported()[leaf] for leaf in small_catalogue.LEAVES},
                                 {"Installed"})


if __name__ == "__main__":
    unittest.main()
