"""The whole job, by the real program: sync, export, verify, import, serve, scan, report, return, rollup.

An upstream, a connected mirror, a gap, a disconnected mirror, two machines in two groups. Then the
upstream changes, an approval is withdrawn, and a delta brings exactly this over. Every refusal on the
way is tried, and each must leave what can be seen as it was.
"""
import contextlib
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import unittest

import bundle_reader
import catalogue
from harness import World, gapferry, tree_digest

WORKSTATION, SERVER = "workstation-x64", "server-x64"
CUMULATIVE = "windows/26100-x64-1/cumulative/"
FIRST_APPROVALS = [CUMULATIVE + "4", "tool/0", "tool/1", "office/6"]
UNINSTALLED, DECLINED, WITHDRAWN = "tool/3", "tool/2", "office/6"


class Site:
    """The machines behind the gap."""

    def __init__(self, world, server):
        self.world, self.server = world, server

    def client(self, verb, name, profile):
        facts = self.world.path / f"{name}.yaml"
        if not facts.exists():
            facts.write_text(catalogue.facts(profile))
        done = gapferry("client", verb, "--server", self.server.url, "--as", facts, "--state",
                        self.world.path / f"{name}.state", "--json")
        assert done.code == 0, done
        return done.result()


def offers(scan, action="install"):
    """(guid -> row) of what a scan offers with this action."""
    return {row["update_id"]: row for row in scan["offered"] if row["action"].lower() == action}


class LoopTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.world = self.enterContext(World())

    def guid(self, path, step=0):
        return catalogue.listing(step)[path]["guid"]

    def assert_refused(self, mirror, code, *words):
        before = mirror.state()
        error = mirror.refuse(code, *words)
        self.assertEqual(mirror.state(), before, words)
        return error

    def connected_side(self, upstream):
        mirror = self.world.init("connected", "--name", "harbour", "--upstream", upstream.url)
        mirror.run("sync", "--metadata-only")
        chosen = catalogue.listing()
        products = [r["guid"] for r in chosen.values() if r["kind"] == "product"]
        classes = [r["guid"] for r in chosen.values() if r["kind"] == "classification"]
        mirror.run("subscription", "set", *[w for p in products for w in ("--product", p)],
                   *[w for c in classes for w in ("--classification", c)], "--language", "en")
        mirror.run("sync", "--metadata-only")
        mirror.run("group", "add", "Workstations")
        mirror.run("group", "add", "Servers")
        error = self.assert_refused(mirror, 2, "update", "approve", self.guid("tool/1"), "--group",
                                    "Workstations")
        self.assertIn("--accept-eula", error["next"])

        def approve(*words):
            mirror.run("update", "approve", *words, "--accept-eula")

        approve(self.guid(CUMULATIVE + "4"), "--group", "Workstations", "--deadline",
                "2030-01-31T18:00:00Z")
        for path in FIRST_APPROVALS[1:]:
            approve(self.guid(path), "--group", "Workstations")
        approve(self.guid(UNINSTALLED), "--group", "Workstations", "--action", "uninstall")
        for row in self.server_approvals():
            approve(row["guid"], "--group", "Servers")
        mirror.run("update", "decline", self.guid(DECLINED))
        mirror.run("sync")
        return mirror

    @staticmethod
    def server_approvals():
        return catalogue.expectation(SERVER)["offered"][:3]

    def exchange_cards(self, connected, site):
        for giver, taker, noun in ((site, connected, "site"), (connected, site, "trust")):
            card = self.world.path / f"{giver.path.name}.card"
            card.write_text(gapferry("identity", "show", "--mirror", giver.path).out)
            taker.run(noun, "add", card, "--yes")

    def check_since(self, connected):
        """Without a receipt all is sent again, unless somebody knows that a bundle has arrived."""
        again = connected.run("export", "--for", "plant", "--dry-run")
        self.assertEqual((again["scope"], again["held_by_site"]), ("full", 0))
        known = connected.run("export", "--for", "plant", "--since", "1", "--dry-run")
        self.assertEqual((known["scope"], known["content_files"]), ("delta", 1))

    def export(self, connected, *words):
        result = connected.run("export", "--to", self.world.directory("stick"), "--for", "plant", *words)
        bundle = pathlib.Path(result["bundle"])
        # The reader that was written from docs/format.md alone finds nothing wrong either.
        self.assertEqual(self.read_independently("check", bundle, "connected.card"), 0)
        return bundle

    def read_independently(self, verb, path, card):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return bundle_reader.main([verb, str(path), "--card", str(self.world.path / card)])

    def test_whole_loop(self):
        upstream = catalogue.upstream(self.world, "upstream")
        with upstream.serve() as upstream_server:
            connected = self.connected_side(upstream_server)
            site = self.world.init("site", "--gap", "--name", "plant")
            self.exchange_cards(connected, site)

            first = self.export(connected)
            self.check_by_hand(first)
            self.check_damage(first, site)
            self.check_strangers(first, connected, site)
            self.import_bundle(first, connected, site)
            with site.serve() as server:
                machines = Site(self.world, server)
                self.first_scans(machines, site)
                catalogue.advance(upstream, 1)
                catalogue.wait_for_index(upstream_server)
                connected.run("sync", "--metadata-only")
                connected.run("update", "unapprove", self.guid(WITHDRAWN), "--group", "Workstations")
                connected.run("update", "approve", self.guid(CUMULATIVE + "5", 1), self.guid("tool/0", 1),
                              "--group", "Workstations")
                connected.run("sync")
                self.check_since(connected)
                self.bring_back(connected, site)
                second = self.export(connected)
                sizes = [sum(f.stat().st_size for f in b.iterdir()) for b in (first, second)]
                print(f"first bundle {sizes[0]:,} bytes, delta {sizes[1]:,} bytes", flush=True)
                self.assertLess(sizes[1], sizes[0] / 2)
                self.check_order(first, second, connected, site)
                catalogue.wait_for_index(server)
                self.second_scans(machines)
                self.return_and_rollup(connected, site, upstream)

                # The receipt moves the base: what was acknowledged is not sent again.
                third = self.export(connected)
                size = sum(f.stat().st_size for f in third.iterdir())
                self.assertLess(size, sizes[1] / 2, "the acknowledged delta was sent again")
                site.run("import", third, "--yes")
                self.assertEqual(site.state()["state_digest"], connected.state()["state_digest"])

    def check_by_hand(self, bundle):
        """The three steps of README.txt, with openssl and sha256sum only."""
        readme = (bundle / "README.txt").read_text()
        self.assertIn("openssl pkeyutl -verify", readme)
        self.assertIn("sha256sum", readme)
        manifest = json.loads((bundle / "manifest.json").read_bytes())
        sums = hashlib.sha256((bundle / "SHA256SUMS").read_bytes()).hexdigest()
        self.assertIn(sums, json.dumps(manifest))
        done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=bundle,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        listed = {line.split()[-1].lstrip("*") for line in (bundle / "SHA256SUMS").read_text().splitlines()}
        present = {p.name for p in bundle.iterdir()}
        self.assertEqual(present - listed, {"SHA256SUMS", "manifest.json", "manifest.json.sig"})

    def check_damage(self, bundle, site):
        """One flipped byte, and a replaced volume with rewritten sums."""
        damaged = self.world.path / "damaged"
        shutil.copytree(bundle, damaged)
        volume = damaged / "volume-0001.tar"
        data = bytearray(volume.read_bytes())
        data[len(data) // 2] ^= 1
        volume.write_bytes(data)
        for words in (("verify", damaged), ("import", damaged, "--yes")):
            error = self.assert_refused(site, 20, *words)
            self.assertIn("volume-0001.tar", error["message"])
            self.assertRegex(error["message"], r"(content|metadata|intent)")
        self.assertEqual(self.read_independently("check", damaged, "connected.card"), 1)
        by_hand = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=damaged, capture_output=True,
                                 text=True)
        self.assertIn("volume-0001.tar: FAILED", by_hand.stdout)

        lines = (damaged / "SHA256SUMS").read_text().splitlines()
        good = hashlib.sha256(data).hexdigest()
        rewritten = [f"{good}{line[64:]}" if line.endswith("volume-0001.tar") else line for line in lines]
        (damaged / "SHA256SUMS").write_text("\n".join(rewritten) + "\n")
        for words in (("verify", damaged), ("import", damaged, "--yes")):
            before = site.state()
            done = site.try_run(*words)
            self.assertIn(done.code, (20, 21), done)
            self.assertIn("SHA256SUMS", done.error()["message"])
            self.assertEqual(site.state(), before)
        self.assertEqual(self.read_independently("check", damaged, "connected.card"), 1)
        shutil.rmtree(damaged)

    def check_strangers(self, bundle, connected, site):
        """Another site, an unknown sender, a changed manifest."""
        other = self.world.init("other", "--gap", "--name", "other")
        self.assert_refused(other, 21, "import", bundle, "--yes")
        card = self.world.path / "connected.card"
        other.run("trust", "add", card, "--yes")
        self.assert_refused(other, 21, "import", bundle, "--yes")  # not its recipient

        forged = self.world.path / "forged"
        shutil.copytree(bundle, forged)
        manifest = (forged / "manifest.json").read_text()
        (forged / "manifest.json").write_text(manifest.replace('"plant"', '"pla/t"')
                                              if '"plant"' in manifest else manifest.replace("1", "2", 1))
        self.assert_refused(site, 21, "import", forged, "--yes")
        (forged / "manifest.json.sig").unlink()
        before = site.state()
        self.assertNotEqual(site.try_run("import", forged, "--yes").code, 0)
        self.assertEqual(site.state(), before)
        shutil.rmtree(forged)

    def import_bundle(self, bundle, connected, site):
        for path in bundle.iterdir():
            path.chmod(0o444)
        before, bytes_before = site.state(), tree_digest(bundle)
        plan = site.run("import", bundle, "--dry-run")
        self.assertTrue(plan)
        self.assertEqual(site.state(), before)
        site.run("import", bundle, "--yes")
        after = site.state()
        self.assertEqual(after["state_digest"], connected.state()["state_digest"])
        self.assertNotEqual(after, before)
        site.run("store", "check", "--deep")
        self.assertEqual(tree_digest(bundle), bytes_before)
        # Applied twice it changes nothing.
        again = site.try_run("import", bundle, "--yes")
        self.assertIn(again.code, (0, 21), again)
        self.assertEqual(site.state(), after)
        error = self.assert_refused(site, 2, "update", "approve", self.guid("tool/5"), "--group",
                                    "Workstations")
        self.assertTrue(error["next"])

    def first_scans(self, machines, site):
        machines.client("scan", "ws", WORKSTATION)
        machines.client("scan", "srv", SERVER)
        for computer, group in (("ws", "Workstations"), ("srv", "Servers")):
            looks = len(machines.server.indexed())
            site.run("group", "assign", self.computer(site, computer), "--group", group)
            catalogue.wait_for_index(machines.server, looks)
        self.compare(machines, "ws", WORKSTATION, FIRST_APPROVALS, 0)
        server_paths = [row["path"] for row in self.server_approvals()]
        self.compare(machines, "srv", SERVER, server_paths, 0)
        scan = machines.client("scan", "ws", WORKSTATION)
        self.assertEqual(set(offers(scan, "uninstall")), {self.guid(UNINSTALLED)})
        for name, profile in (("ws", WORKSTATION), ("srv", SERVER)):
            machines.client("download", name, profile)
            machines.client("report", name, profile)
        self.check_files("ws", FIRST_APPROVALS)

    def compare(self, machines, name, profile, approved, step):
        scan = machines.client("scan", name, profile)
        self.assertEqual(set(offers(scan)), catalogue.offered(profile, approved, step))

    def check_files(self, name, approved):
        """What the client has downloaded are files of its offers, by SHA-1 and SHA-256: all of them,
        of a bundle those of the members that apply to it."""
        have = set()
        for path in (self.world.path / f"{name}.state").rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                have.add((hashlib.sha1(data).hexdigest().upper(), hashlib.sha256(data).hexdigest(),
                          len(data)))
        for path, files in catalogue.files_of(approved).items():
            if len(files) == 1:
                self.assertLessEqual(files, have, path)
            else:
                self.assertTrue(files & have, path)

    @staticmethod
    def computer(site, name):
        profile = {"ws": WORKSTATION, "srv": SERVER}[name]
        found = [c for c in site.rows("computer", "list") if profile in json.dumps(c)]
        assert len(found) == 1, found
        return found[0]["id"]

    def check_order(self, first, second, connected, site):
        """Import of the delta; afterwards the older bundle is refused."""
        site.run("import", second, "--yes")
        self.assertEqual(site.state()["state_digest"], connected.state()["state_digest"])
        before = site.state()
        again = site.try_run("import", first, "--yes")
        self.assertIn(again.code, (0, 21), again)
        self.assertEqual(site.state(), before)
        late = self.world.init("late", "--gap", "--name", "late")
        self.assert_refused(late, 21, "import", second, "--yes")

    def second_scans(self, machines):
        approved = [p for p in FIRST_APPROVALS if p != WITHDRAWN] + [CUMULATIVE + "5"]
        self.compare(machines, "ws", WORKSTATION, approved, 1)
        server_paths = [row["path"] for row in self.server_approvals()]
        self.compare(machines, "srv", SERVER, server_paths, 1)
        for name, profile in (("ws", WORKSTATION), ("srv", SERVER)):
            machines.client("report", name, profile)

    def bring_back(self, connected, site):
        """The smallest return: without a receipt the next bundle would carry everything again."""
        result = site.run("export", "--return", "--to", self.world.directory("receipt"), "--yes")
        connected.run("import", result["return"], "--yes")

    def return_and_rollup(self, connected, site, upstream):
        site.configure(**{"return__level": "detailed"})
        folder = self.world.directory("return")
        result = site.run("export", "--return", "--to", folder, "--yes")
        file = pathlib.Path(result["return"])
        text = file.read_bytes()
        text.decode("ascii")
        self.assertEqual(self.read_independently("return", file, "site.card"), 0)

        forged = folder / "forged"
        forged.mkdir()
        changed = bytearray(text)
        changed[len(changed) // 2] ^= 1
        (forged / file.name).write_bytes(changed)
        for signature in folder.glob(f"{file.name}.sig"):
            shutil.copy(signature, forged)
        before = connected.state()
        self.assertIn(connected.try_run("import", forged / file.name, "--yes").code, (20, 21))
        self.assertEqual(self.read_independently("return", forged / file.name, "site.card"), 1)
        self.assertEqual(connected.state(), before)

        connected.run("import", file, "--yes")
        shown = json.dumps(connected.run("site", "show", "plant"))
        self.assertIn(str(site.state()["generation"]), shown + json.dumps(connected.state()))
        connected.run("rollup")
        computers = upstream.rows("computer", "list")
        names = json.dumps(computers)
        self.assertEqual(len(computers), 2, names)
        for guid in (self.computer(site, "ws"), self.computer(site, "srv")):
            self.assertIn(guid, names)
        status = json.dumps(upstream.run("computer", "show", self.computer(site, "ws")))
        self.assertIn(self.guid(CUMULATIVE + "5", 1), status)


if __name__ == "__main__":
    unittest.main()
