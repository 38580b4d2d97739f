"""The independent reader (bundle_reader.py, written from docs/format.md) and the program agree.

Good bundles, returns and cards are read by both; damaged ones are refused by both.
"""
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import bundle_reader
from bundle_reader import Bundle, Refused, read_card, read_return
from harness import ROOT, World, gapferry

GOLDEN = ROOT / "tests/golden"


def refused(call):
    try:
        call()
    except (Refused, ValueError, OSError):
        return True
    return False


class GoldenTest(unittest.TestCase):
    def setUp(self):
        self.card = read_card(GOLDEN / "sender.card")
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.copy = pathlib.Path(temporary.name) / "bundle"

    def test_reads_the_golden_bundle(self):
        bundle = Bundle(GOLDEN / "bundle", [self.card])
        self.assertEqual([line["name"].split("/")[0] for line in bundle.index], ["intent", "content"])
        self.assertEqual(bundle.manifest["stream"], "ship-7")
        self.assertEqual(bundle.index[-1]["size"], 5)

    def test_opens_the_sealed_one_and_extracts_parts(self):
        key = GOLDEN / "recipient.pem"
        sealed = Bundle(GOLDEN / "sealed", [self.card], key)
        self.assertEqual(sealed.index, Bundle(GOLDEN / "bundle", [self.card]).index)
        self.assertEqual(sealed.manifest["base"]["generation"], 7)
        sealed.extract(self.copy)
        files = [p for p in self.copy.glob("content/*/*")]
        self.assertEqual([p.read_bytes() for p in files], [b"alpha"])
        self.assertTrue(refused(lambda: Bundle(GOLDEN / "sealed", [self.card])))
        shutil.rmtree(self.copy)
        parts = Bundle(GOLDEN / "parts", [self.card])
        self.assertEqual([line["name"][-9:] for line in parts.index[1:]], [".part0001", ".part0002"])
        parts.extract(self.copy)
        (file,) = self.copy.glob("content/*/*")
        self.assertEqual(hashlib.sha1(file.read_bytes()).hexdigest().upper(), file.stem)

    def test_a_sealed_bundle_without_key_is_checked_but_for_its_contents(self):
        words = ("verify", "--trust", GOLDEN / "sender.card", "--json")
        done = gapferry(*words, GOLDEN / "sealed")
        self.assertEqual(done.code, 3, done)
        shown = done.result()
        self.assertIs(shown["verified"], False)
        self.assertEqual(shown["not_checked"], ["details", "index", "objects"])
        for name in ("volume-0001.tar.sealed", "index.jsonl.zst.sealed", "details.json.sealed"):
            shutil.rmtree(self.copy, ignore_errors=True)
            shutil.copytree(GOLDEN / "sealed", self.copy)
            bad = bytearray((self.copy / name).read_bytes())
            bad[len(bad) // 2] ^= 1
            (self.copy / name).write_bytes(bad)
            self.assertEqual(gapferry(*words, self.copy).code, 20, name)

    def test_both_refuse_every_damaged_byte_in_a_sample(self):
        for path in sorted((GOLDEN / "bundle").iterdir()):
            data = path.read_bytes()
            for at in range(0, len(data), max(1, len(data) // 6)):
                shutil.rmtree(self.copy, ignore_errors=True)
                shutil.copytree(GOLDEN / "bundle", self.copy)
                bad = bytearray(data)
                bad[at] ^= 1
                (self.copy / path.name).write_bytes(bad)
                where = f"{path.name} byte {at}"
                self.assertTrue(refused(lambda: Bundle(self.copy, [self.card])), where)
                done = gapferry("verify", self.copy, "--trust", GOLDEN / "sender.card")
                # SHA256SUMS can be made again from the files, and is then right as it was signed.
                mended = path.name == "SHA256SUMS" and done.code == 3 and "damaged" in done.out
                self.assertTrue(mended or done.code in (20, 21, 10), f"{where}: {done}")

    def test_both_refuse_what_is_missing_or_unlisted(self):
        for change in ("missing", "unlisted", "link"):
            shutil.rmtree(self.copy, ignore_errors=True)
            shutil.copytree(GOLDEN / "bundle", self.copy)
            if change == "missing":
                (self.copy / "blocks-0001").unlink()
            elif change == "unlisted":
                (self.copy / "autorun.inf").write_text("x")
            else:
                (self.copy / "README.txt").rename(self.copy.parent / "elsewhere")
                (self.copy / "README.txt").symlink_to(self.copy.parent / "elsewhere")
            self.assertTrue(refused(lambda: Bundle(self.copy, [self.card])), change)
            self.assertNotEqual(
                gapferry("verify", self.copy, "--trust", GOLDEN / "sender.card").code, 0, change)

    def test_the_document_shows_the_golden_bundle(self):
        """The worked example of docs/format.md has real bytes."""
        text = (ROOT / "docs/format.md").read_text()
        index = subprocess.run(["zstd", "-dcq", GOLDEN / "bundle/index.jsonl.zst"],
                               capture_output=True, text=True, check=True).stdout
        self.assertIn(index, text)
        self.assertIn((GOLDEN / "bundle/manifest.json.sig").read_text(), text)
        self.assertIn((GOLDEN / "bundle/manifest.json").read_text(), text)

    def test_the_steps_by_hand_are_true(self):
        """Each command of README.txt, as it is printed."""
        for name in ("bundle", "sealed"):
            with self.subTest(name):
                self.steps_by_hand(GOLDEN / name)

    def steps_by_hand(self, bundle):
        readme = (bundle / "README.txt").read_text()
        commands = re.findall(r"^    ((?:sed|openssl|sha256sum|grep) .*)$", readme, re.M)
        self.assertGreaterEqual(len(commands), 6)
        for command in commands:
            done = subprocess.run(command.replace("CARD", str(GOLDEN / "sender.card")), shell=True,
                                  cwd=bundle, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")


class AgreementTest(unittest.TestCase):
    """What the program writes today is what the document says."""

    def test_bundles_returns_and_cards(self):
        with World() as world:
            near = world.init("near", "--name", "harbour")
            far = world.init("far", "--gap", "--name", "plant")
            cards = {}
            for giver, taker, noun in ((far, near, "site"), (near, far, "trust")):
                cards[giver] = world.path / f"{giver.path.name}.card"
                cards[giver].write_text(gapferry("identity", "show", "--mirror", giver.path).out)
                taker.run(noun, "add", cards[giver], "--yes")
            near.run("group", "add", "Office")
            path = near.run("export", "--to", world.directory("stick"), "--for", "plant")["bundle"]
            bundle = Bundle(path, [read_card(cards[near])])
            shown = gapferry("verify", path, "--trust", cards[near], "--json").result()
            self.assertEqual(shown["objects"], len(bundle.index))
            self.assertEqual(shown["target"], bundle.manifest["target"]["generation"])
            groups = [r["name"] for r in bundle.intent if r["record"] == "group"]
            self.assertEqual(groups, ["Office"])
            far.run("import", path)
            far.configure(**{"return__level": "detailed"})
            file = far.run("export", "--return", "--to", world.directory("stick"), "--yes")["return"]
            lines = read_return(file, [read_card(cards[far])])
            self.assertEqual(lines[1]["record"], "receipt")
            self.assertEqual(lines[1]["sequence"], 1)
            self.assertEqual(lines[1]["target"], bundle.manifest["target"])
            self.assertTrue(json.dumps(lines).isascii())
            self.assertEqual(bundle_reader.main(["check", path, "--card", str(cards[near])]), 0)
            self.assertEqual(bundle_reader.main(["check", path, "--card", str(cards[far])]), 1)


if __name__ == "__main__":
    unittest.main()
