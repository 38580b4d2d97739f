"""A chain of random deltas over three sites: in the end each has the state of one full bundle.

Every step changes something at the connected side, writes a bundle for one of the sites, and lets chance
decide: the bundle is lost, arrives, arrives twice, arrives long after later ones; the receipt comes at once,
late, twice, or never; export, import and returns are killed somewhere and run again; a site is put back to an
older day by copying its folder. What the programs say to a person (`next`, "diverged", "base-missing") is what
the test does, nothing else.

Sites: `plain` sends returns, `fleet` too and gets some of its bundles in a fleet's stream, `quiet` lets
nothing out but receipt codes.

GAPFERRY_SEED chooses another run (a number, or random; it is printed), GAPFERRY_CHAIN_STEPS makes it longer.
"""
import os
import random
import shutil
import signal
import subprocess
import unittest

import small_catalogue as small
from harness import KILL_POINTS, PROGRAM, World
from sync_support import wrong_files
from wsus import WsusServer

STEPS = int(os.environ.get("GAPFERRY_CHAIN_STEPS", "20"))
SEED = os.environ.get("GAPFERRY_SEED", "2026")
if SEED == "random":
    SEED = str(random.SystemRandom().randrange(10**6))
FLEET = "ships"


class Site:
    def __init__(self, name, mirror):
        self.name, self.mirror = name, mirror
        self.saved = None      # (folder, step) of a backup
        self.pocket = []       # receipts on their way: return files or codes
        self.lost = []         # bundles that a courier still has
        self.full_due = False  # somebody asked for a full bundle


class Chain(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(WsusServer())
        small.fill(self.upstream)
        self.hub = small.connected(self.world, self.upstream, "hub")
        self.chance = random.Random(SEED)
        self.story = []
        self.digests = {}  # generation -> state digest of the hub
        self.updates = [*small.LEAVES, small.BUNDLE]
        self.counter = 0

    def tell(self, text):
        self.story.append(text)

    def join(self, name):
        return small.join(self.world, self.hub, name)

    # ---- Changes at the connected side

    def change(self):
        kind = self.chance.choice(["approve"] * 4 + ["unapprove", "decline", "group", "revision", "update"])
        self.tell(kind)
        live = [u for u in self.updates if u not in self.declined]
        update = self.chance.choice(live)
        group = self.chance.choice(self.groups)
        if kind == "approve":
            self.hub.run("update", "approve", update, "--group", group)
        elif kind == "unapprove":
            self.hub.run("update", "unapprove", update)
        elif kind == "decline" and len(live) > 3:
            self.hub.run("update", "decline", update)
            self.declined.add(update)
        elif kind == "group":
            self.groups.append(f"Group {len(self.groups)}")
            self.hub.run("group", "add", self.groups[-1])
        else:
            self.counter += 1
            update = small.guid(f"chain {self.counter}") if kind == "update" else small.LEAVES[0]
            small.leaf(self.upstream, update, 100 + self.counter, title=f"Chain {self.counter}")
            if kind == "update":
                self.updates.append(update)
            self.hub.run("sync")
        status = self.hub.status()
        self.digests[status["generation"]] = status["state_digest"]

    # ---- Commands that may be killed

    def crash(self, mirror, words):
        """Begins the command and kills it somewhere."""
        environment = dict(os.environ, LC_ALL="C.UTF-8", LD_PRELOAD=str(KILL_POINTS),
                           GAPFERRY_KILL_AT=str(int(2 ** self.chance.uniform(0, 8))))
        process = subprocess.Popen([str(PROGRAM), *map(str, words), "--mirror", str(mirror.path), "--json"],
                                   env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        code = process.wait(60)
        self.tell(f"{words[0]} ended with {code}")
        self.assertIn(code, (-signal.SIGKILL, 0, 2, 3, 10, 20, 21), words)

    def run_somehow(self, mirror, *words):
        if self.chance.random() < 0.25:
            self.crash(mirror, words)
            self.assertFalse(wrong_files(mirror), words)
        return mirror.try_run(*words)

    # ---- One way there and back

    def export(self, site):
        words = ["export", "--to", self.world.directory("out"), "--for", site.name]
        if site.full_due:
            words.append("--full")
        elif site.name == "fleet" and self.chance.random() < 0.5:
            words[-1] = FLEET
        done = self.run_somehow(self.hub, *words)
        if done.code == 2 and done.error()["reason"] in ("diverged", "history-changed"):
            self.assertIn("--full", done.error()["next"])
            site.full_due = True
            done = self.run_somehow(self.hub, *words, "--full")
        self.assertEqual(done.code, 0, done)
        site.full_due = False
        bundle = done.result()
        self.tell(f"{site.name}: bundle {bundle['sequence']} {bundle['scope']} {bundle['base']}..{bundle['target']}")
        return bundle["bundle"]

    def deliver(self, site, bundle):
        done = self.run_somehow(site.mirror, "import", bundle, "--yes")
        if done.code == 2 and done.error()["reason"] == "removals-need-acceptance":
            accepted = done.error()["next"].split("--accept-removals ")[1].split()[0]
            done = self.run_somehow(site.mirror, "import", bundle, "--yes", "--accept-removals", accepted)
        if done.code == 0:
            status = site.mirror.status()
            reached = status["last_bundle"]["sender_generation"]
            self.assertEqual(status["state_digest"], self.digests[reached], self.story)
            self.tell(f"{site.name} is at {reached}")
            return
        error = done.error()
        self.assertIn(error["reason"], ("base-missing", "bundle-replayed", "bundle-older"),
                      f"{done}\n" + "\n".join(self.story))
        if error["reason"] == "base-missing":
            self.assertIn("export --full", error["next"], done)
            site.full_due = True
        self.tell(f"{site.name} refuses: {error['reason']}")

    def replay(self, site, bundle):
        before = site.mirror.state()
        done = site.mirror.try_run("import", bundle, "--yes")
        self.assertIn(done.code, (0, 10, 21), done)
        if done.code == 0:
            return  # late, and still useful or known
        self.assertEqual(site.mirror.state(), before)

    def receipt(self, site):
        if site.name == "quiet":
            shown = site.mirror.try_run("receipt", "show")
            if shown.code != 2:
                self.assertEqual(shown.code, 0, shown)
                site.pocket.append(shown.result()["code"])
            return
        folder = self.world.directory(f"returns/{len(self.story)}")
        done = self.run_somehow(site.mirror, "export", "--return", "--to", folder, "--yes")
        self.assertEqual(done.code, 0, done)
        site.pocket.append(done.result()["return"])

    def bring_back(self, site, paper):
        if site.name == "quiet":
            done = self.run_somehow(self.hub, "receipt", "enter", site.name, paper)
        else:
            done = self.run_somehow(self.hub, "import", paper, "--yes")
        if done.code == 21 and done.error()["reason"] == "return-reused":
            self.tell(f"{site.name}: {done.error()['message']}")
            return
        self.assertEqual(done.code, 0, done)
        result = done.result()
        self.tell(f"{site.name}: receipt {result['outcome']} {result['acknowledged']}")
        if result.get("files_are_missing") and result["outcome"] == "applied":
            self.hub.run("site", "forget-content", site.name, "--yes")  # as the warning says
            self.tell(f"{site.name} gets its files again")

    def put_back(self, site):
        folder, when = site.saved
        shutil.rmtree(site.mirror.path)
        shutil.copytree(folder, site.mirror.path, symlinks=True)
        self.tell(f"{site.name} is put back to step {when}")

    def save(self, site, step):
        if site.saved:
            shutil.rmtree(site.saved[0])
        folder = self.world.path / f"saved-{site.name}"
        shutil.copytree(site.mirror.path, folder, symlinks=True)
        site.saved = (folder, step)

    def step(self, number):
        roll = self.chance.random
        site = self.chance.choice(self.sites)
        self.change()
        if roll() < 0.15:
            self.save(site, number)
        elif roll() < 0.12 and site.saved:
            self.put_back(site)
        bundle = self.export(site)
        if roll() < 0.25:
            self.tell(f"{site.name}: the bundle is lost")
            site.lost.append(bundle)
            return
        self.deliver(site, bundle)
        if site.lost and roll() < 0.4:
            self.replay(site, self.chance.choice(site.lost))
        site.lost.append(bundle)
        if roll() < 0.75:
            self.receipt(site)
        if site.pocket and roll() < 0.75:
            self.bring_back(site, self.chance.choice(site.pocket))

    # ---- The end

    def settle(self, site):
        """A courier goes back and forth until both sides agree."""
        wanted = self.hub.status()["generation"]
        for _ in range(6):
            self.deliver(site, self.export(site))
            self.receipt(site)
            self.bring_back(site, site.pocket[-1])
            shown = self.hub.run("site", "show", site.name)
            acked = shown["acknowledged"]
            whole = not shown["requested_files"]
            if site.name == "quiet":
                code = site.mirror.try_run("receipt", "show")
                # 2: it was put back to its beginning.
                whole = code.code == 0 and not code.result()["missing_files"]
            if acked and acked["generation"] == wanted and not shown["diverged"] and whole:
                return
        self.fail(f"{site.name} does not settle:\n" + "\n".join(self.story))

    @staticmethod
    def held(mirror):
        return {p.name for p in (mirror.path / "content").rglob("*") if p.is_file()}

    def test_random_deltas_end_in_the_state_of_one_full_bundle(self):
        print(f"delta_chain: {STEPS} steps, GAPFERRY_SEED={SEED}", flush=True)
        self.sites = [Site(name, self.join(name)) for name in ("plain", "fleet", "quiet")]
        self.hub.run("site", "group", "add", FLEET, "fleet", "plain")
        if self.chance.random() < 0.5:
            self.hub.run("site", "set", "quiet", "--no-returns")
            self.tell("quiet returns nothing: overlap beside codes")
        self.groups, self.declined = ["Office"], set()
        try:
            for number in range(STEPS):
                self.tell(f"--- {number}")
                self.step(number)
            for site in self.sites:
                self.settle(site)
            self.compare()
        except BaseException:
            print("\n".join(self.story), flush=True)
            raise

    def compare(self):
        fresh = self.join("fresh")
        bundle = self.hub.run("export", "--full", "--to", self.world.directory("out"), "--for", "fresh")
        fresh.run("import", bundle["bundle"], "--yes")
        wanted = fresh.state()
        self.assertEqual(wanted["state_digest"], self.hub.status()["state_digest"])
        for site in self.sites:
            state = site.mirror.state()
            self.assertEqual(state["state_digest"], wanted["state_digest"], site.name)
            # What was approved once and is no more stays there; what is approved is there.
            more, less = self.held(site.mirror) - self.held(fresh), self.held(fresh) - self.held(site.mirror)
            self.assertFalse(less, f"{site.name} lacks files")
            self.assertLessEqual(more, self.held(self.hub), site.name)
            if not more:
                self.assertEqual(state["content_digest"], wanted["content_digest"], site.name)
            site.mirror.run("store", "check", "--deep")


if __name__ == "__main__":
    unittest.main()
