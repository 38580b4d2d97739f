"""Bundles that only their recipients can read: exported, found by a stranger, imported."""
import pathlib
import shutil
import subprocess
import unittest

import small_catalogue as small
from bundle_reader import Bundle, read_card
from harness import World, gapferry
from wsus import WsusServer


class SealedBundles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        with WsusServer() as upstream:
            small.fill(upstream)
            cls.titles = [b"Leaf 0", b"Contoso", b"Security Updates", b"Writer"]
            cls.near = small.connected(cls.world, upstream)
        cls.far = small.join(cls.world, cls.near)
        cls.card = cls.world.path / "connected.card"
        cls.near.configure(export__encrypt="true")
        cls.path = pathlib.Path(
            cls.near.run("export", "--to", cls.world.directory("stick"), "--for", "site")["bundle"])

    def secrets(self):
        return sorted(p.name for p in (self.near.path / "keys/sealing").iterdir())

    def test_1_a_stranger_finds_nothing_readable(self):
        names = {p.name for p in self.path.iterdir()}
        self.assertLessEqual({"volume-0001.tar.sealed", "index.jsonl.zst.sealed",
                              "details.json.sealed"}, names)
        found = b"".join(p.name.encode() + p.read_bytes() for p in self.path.iterdir())
        guids = [g.encode() for g in (*small.LEAVES, small.BUNDLE, small.CHILD, small.PRODUCT)]
        state = self.near.status()
        told = [state["epoch"].encode(), state["state_digest"].encode()]
        for word in (*self.titles, *guids, *told, b"ustar", b"content/", b"generation"):
            self.assertNotIn(word, found)
            self.assertNotIn(word.upper(), found)
            self.assertNotIn(word.decode().encode("utf-16le"), found)
        for file in (self.near.path / "content").glob("*/*"):
            self.assertNotIn(file.read_bytes()[:64], found)
            self.assertNotIn(file.stem.encode(), found)
        # The search finds these in the same bundle unsealed.
        opened = Bundle(self.path, [read_card(self.card)], self.far.path / "keys/encryption.pem")
        text = b"".join(d["bytes"] for d in opened.documents)
        plain = text + text.decode("utf-16le", "ignore").encode()
        index = b"".join(p.read_bytes() for p in opened.folder.iterdir()) + repr(opened.index).encode()
        self.assertIn(self.titles[0], plain)
        self.assertIn(b"content/", index)

    def test_2_without_the_key_everything_but_the_contents_is_checked(self):
        for words in (("--trust", self.card), ()):
            done = gapferry("verify", self.path, *words, "--json", "--mirror", self.far.path)
            self.assertEqual(done.code, 3 if words else 0, done)
            self.assertEqual(done.result()["opened"], not words)
        by_hand = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"],
                                 cwd=self.path, check=False)
        self.assertEqual(by_hand.returncode, 0)
        for name in ("volume-0001.tar.sealed", "index.jsonl.zst.sealed", "details.json.sealed"):
            copy = self.world.directory("copy") / self.path.name
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.path, copy)
            data = bytearray((copy / name).read_bytes())
            data[len(data) // 3] ^= 4
            (copy / name).write_bytes(data)
            self.assertEqual(gapferry("verify", copy, "--trust", self.card).code, 20, name)
            done = gapferry("import", copy, "--mirror", self.far.path, "--json")
            self.assertEqual(done.code, 20, done)
            self.assertIn(name, done.error()["message"])

    def test_3_another_mirror_cannot_read_it(self):
        other = self.world.init("other", "--gap", "--name", "other")
        other.run("trust", "add", self.card, "--yes")
        done = gapferry("import", self.path, "--mirror", other.path, "--json")
        self.assertEqual((done.code, done.error()["reason"]), (21, "recipient-foreign"), done)

    def test_4_its_recipient_needs_nothing_extra(self):
        plan = self.far.run("import", self.path, "--dry-run")
        self.far.run("import", self.path)
        here, there = self.near.status(), self.far.status()
        self.assertEqual(there["state_digest"], here["state_digest"])
        self.assertEqual(there["content_digest"], here["content_digest"])
        self.assertTrue(plan)

    def test_5_the_secret_goes_when_the_bundle_has_arrived(self):
        self.assertEqual(self.secrets(), [self.path.name])
        secret = self.near.path / "keys/sealing" / self.path.name
        self.assertEqual(secret.stat().st_mode & 0o777, 0o600)
        back = self.far.run("export", "--return", "--to", self.world.directory("stick"), "--yes")
        self.near.run("import", back["return"])
        self.near.run("group", "add", "Store")
        second = self.near.run("export", "--to", self.world.directory("stick"), "--for", "site")
        self.assertEqual(self.secrets(), [pathlib.Path(second["bundle"]).name])
        self.assertTrue(second["encrypted"])
        # That a key of ours is locked is no refusal of the bundle, also beside another one.
        locked = self.world.copy(self.far, "locked")
        secret = self.world.path / "secret"
        secret.write_text("correct horse\n")
        secret.chmod(0o600)
        locked.run("key", "passphrase", "--new-passphrase-file", secret)
        stick = pathlib.Path(second["bundle"]).parent
        error = locked.refuse(2, "import", stick)
        self.assertEqual(error["reason"], "passphrase-needed")
        self.assertIn("--passphrase-file", error["next"])
        error = locked.refuse(10, "import", stick, "--passphrase-file", self.world.path / "none")
        self.assertIn("first line is the passphrase", error["next"])
        self.assertFalse(locked.run("import", stick, "--passphrase-file", secret)["already_imported"])
        # A bundle that was on its way when the site replaced its keys still opens.
        self.far.run("key", "rotate", "--yes")
        self.far.run("import", second["bundle"])
        # One bundle may be plain all the same.
        self.near.run("group", "add", "Shop")
        third = self.near.run("export", "--to", self.world.directory("stick"), "--for", "site",
                              "--no-encrypt")
        self.assertFalse(third["encrypted"])
        self.assertTrue((pathlib.Path(third["bundle"]) / "volume-0001.tar").exists())
        self.far.run("import", third["bundle"])

    def test_6_a_signed_bundle_gets_no_other_secret(self):
        self.near.run("group", "add", "Attic")
        stick = self.world.directory("stick")
        bundle = pathlib.Path(self.near.run("export", "--to", stick, "--for", "site")["bundle"])
        (self.near.path / "keys/sealing" / bundle.name).unlink()
        error = self.near.refuse(2, "export", "--again", "1", "--to", self.world.directory("new"), "--for", "site")
        self.assertEqual(error["reason"], "plan-gone")
        number = str(int(bundle.name[-6:]))
        self.assertIn(f"gapferry bundle abandon site {number}", error["next"])
        self.assertNotIn(bundle.name, self.secrets())
        self.near.run("bundle", "abandon", "site", number, "--yes")
        self.far.run("import", self.near.run("export", "--to", stick, "--for", "site")["bundle"])


if __name__ == "__main__":
    unittest.main()
