"""A test for every entry of the threat lists of TUF and of Uptane, against the real program.

Each refusal has a reason of its own, a sentence and a next command, and leaves everything that can be
seen as it was, plus exactly one audit record. What the attacker holds is made here with openssl and a
text editor's means: bundles that were changed, renumbered, signed again with stolen keys.
(Eavesdropping is what sealing is for: see the tests of encrypted bundles.)
"""
import base64
import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import unittest

import bundle_reader
import small_catalogue as small
from harness import World, gapferry
from wsus import WsusServer


def key_id(pem):
    der = subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-outform", "DER"], check=True,
                         capture_output=True).stdout
    return hashlib.sha256(der[-32:]).hexdigest()[:32]


def signature(document, pem):
    done = subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", pem, "-rawin", "-in", document],
                          check=True, capture_output=True)
    return base64.b64encode(done.stdout).decode()


class Bundle:
    """A bundle as an attacker has it in hands."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def __truediv__(self, name):
        return self.path / name

    def sign(self, *signers):
        """Writes the signature file anew; signers are (key file, role)."""
        lines = sorted(f"{key_id(pem)} {role} {signature(self / 'manifest.json', pem)}\n"
                       for pem, role in signers)
        (self / "manifest.json.sig").write_text("".join(lines))

    def edit(self, change, pem):
        """Changes the manifest and signs it again with a stolen key of the sender."""
        manifest = json.loads((self / "manifest.json").read_text())
        change(manifest)
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        (self / "manifest.json").write_text(text + "\n")
        self.sign((pem, "origin"))
        return self

    def flip(self, name, at):
        data = bytearray((self / name).read_bytes())
        data[at] ^= 1
        (self / name).write_bytes(data)


class Threats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        with WsusServer() as upstream:
            small.fill(upstream)
            cls.connected = small.connected(cls.world, upstream)
            cls.other = small.join(cls.world, cls.connected, "other")
            cls.site = small.join(cls.world, cls.connected)
            stick = cls.world.directory("stick")
            cls.first = cls.connected.run("export", "--to", stick, "--for", "site")["bundle"]
            cls.connected.run("update", "decline", small.LEAVES[2])
            cls.second = cls.connected.run("export", "--to", stick, "--for", "site")["bundle"]
            cls.foreign = cls.connected.run("export", "--to", stick, "--for", "other")["bundle"]
        cls.fresh = cls.world.copy(cls.site, "fresh")
        cls.site.run("import", cls.first)
        cls.origin_key = cls.connected.path / "keys/signing.pem"
        cls.card = cls.world.path / "connected.card"
        for name in ("jane", "joe", "mallory"):
            done = gapferry("key", "create", cls.world.path / name, "--name", name.title())
            assert done.code == 0, done

    # ---- Means ---------------------------------------------------------------------------------

    def copy_of(self, bundle):
        target = self.world.directory(self.id().split(".")[-1]) / pathlib.Path(bundle).name
        shutil.copytree(bundle, target)
        self.addCleanup(shutil.rmtree, target.parent, True)
        return Bundle(target)

    def a_site(self, of=None):
        type(self).copies = getattr(self, "copies", 0) + 1
        site = self.world.copy(of or self.site, f"copy-{self.copies}")
        self.addCleanup(shutil.rmtree, site.path, True)
        return site

    def keys(self, name):
        return self.world.path / name / "signing.pem"

    @staticmethod
    def audit(mirror):
        return [e for e in mirror.run("log", "--limit", "0")["entries"] if e["type"] == "audit"]

    def visible(self, mirror):
        status = mirror.status()
        content = sorted(str(p) for p in (mirror.path / "content").rglob("*") if p.is_file())
        return (mirror.state(), content, mirror.run("trust", "list"), status["counts"])

    def refused(self, mirror, reason, path, *, code=21, says="", next=""):
        """Refused with this reason; nothing visible changed; one audit record says so."""
        before, records = self.visible(mirror), len(self.audit(mirror))
        error = mirror.refuse(code, "import", getattr(path, "path", path))
        self.assertEqual(error["reason"], reason, error)
        self.assertTrue(error["message"] and error["next"], error)
        self.assertIn(says, error["message"])
        self.assertIn(next, error["next"])
        self.assertEqual(self.visible(mirror), before)
        audit = self.audit(mirror)
        self.assertEqual(len(audit), records + 1)
        self.assertEqual((audit[0]["action"], audit[0]["detail"]["reason"]),
                         ("import.refused", reason))
        return error

    def under_review(self, site, persons=1, names=("jane", "joe")):
        for name in names:
            site.run("trust", "add", self.world.path / name / "card", "--yes")
        site.run("trust", "policy", "--release", persons)
        return site

    def sign(self, bundle, name, *words):
        done = gapferry("sign", getattr(bundle, "path", bundle), "--key", self.world.path / name, "--trust",
                        self.card, "--yes", "--json", *words)
        self.assertEqual(done.code, 0, done)
        return done.result()

    # ---- TUF -----------------------------------------------------------------------------------

    def test_arbitrary_software(self):
        """Anybody can make a bundle; only a trusted sender's is taken, and none of it may be changed."""
        bundle = self.copy_of(self.second)
        bundle.sign((self.keys("mallory"), "origin"))
        self.refused(self.site, "signature-unknown-key", bundle, says=key_id(self.keys("mallory")),
                     next="trust add")
        bundle = Bundle(shutil.copytree(self.first, bundle.path.parent / "changed"))
        volume = (bundle / "volume-0001.tar").read_bytes()
        bundle.flip("volume-0001.tar", volume.index(small.payload("child")) + 5000)
        self.refused(self.a_site(self.fresh), "object-damaged", bundle, code=20, says="volume-0001.tar",
                     next="another copy")

    def test_endless_data(self):
        """Every file has a limit that is known before it is read."""
        bundle = self.copy_of(self.second)
        for name, size, code, reason in (("trust.jsonl", 1 << 40, 20, "file-too-large"),
                                         ("manifest.json.sig", 1 << 40, 20, "file-too-large"),
                                         ("manifest.json", 1 << 40, 20, "file-too-large"),
                                         ("volume-0001.tar", 1 << 40, 20, "file-size"),
                                         ("index.jsonl.zst", 1 << 40, 20, "file-size"),
                                         ("SHA256SUMS", 1 << 40, 20, "file-too-large")):
            with self.subTest(name):
                kept = (bundle / name).read_bytes() if (bundle / name).exists() else None
                with open(bundle / name, "ab") as file:
                    file.truncate(size)
                self.refused(self.site, reason, bundle, code=code)
                (bundle / name).unlink()
                if kept is not None:
                    (bundle / name).write_bytes(kept)

    def test_extraneous_dependencies(self):
        """What nobody signed for is not looked at, let alone stored."""
        bundle = self.copy_of(self.second)
        (bundle / "volume-0002.tar").write_bytes(b"more")
        self.refused(self.site, "file-unlisted", bundle, code=20, says="volume-0002.tar", next="remove")

    def fast_forward(self, site):
        """With the sender's stolen key: the highest number there is, and a state far ahead."""
        def ahead(manifest):
            manifest["sequence"] = 999_999_999
        bundle = self.copy_of(self.second).edit(ahead, self.origin_key)
        target = bundle.path.parent / "gapferry-site-999999999"
        bundle.path.rename(target)
        site.run("import", target)

    def test_fast_forward(self):
        """A stolen key can lock a site by the highest number, as long as it counts."""
        site = self.a_site()
        self.fast_forward(site)
        third = self.world.copy(self.connected, "connected-ff")
        self.addCleanup(shutil.rmtree, third.path, True)
        third.run("update", "decline", small.LEAVES[1])
        bundle = third.run("export", "--to", self.world.directory("ff"), "--for", "site", "--full")["bundle"]
        self.refused(site, "bundle-replayed", bundle, says="999999999", next="newest bundle")

    def test_fast_forward_recovery(self):
        """Once the key is rotated (or revoked), what it signed binds no order any more."""
        site = self.a_site()
        self.fast_forward(site)
        mirror = self.world.copy(self.connected, "connected-recovers")
        self.addCleanup(shutil.rmtree, mirror.path, True)
        mirror.run("key", "rotate", "--why", "stolen", "--yes")
        mirror.run("update", "decline", small.LEAVES[1])
        bundle = mirror.run("export", "--to", self.world.directory("recovered"), "--for", "site",
                            "--full")["bundle"]
        card = self.world.path / "recovered" / "new.card"
        card.write_text(gapferry("identity", "show", "--mirror", mirror.path).out)
        with contextlib.redirect_stdout(io.StringIO()):  # the second reader knows numbered cards, too
            self.assertEqual(bundle_reader.main(["check", bundle, "--card", str(card)]), 0)
        self.assertEqual(site.run("import", bundle)["bundle"], pathlib.Path(bundle).name)
        self.assertEqual(site.status()["state_digest"], mirror.status()["state_digest"])
        self.assertEqual(site.status()["last_bundle"]["sequence"], 3)
        actions = [entry["action"] for entry in self.audit(site)[:4]]
        self.assertIn("trust.rotate", actions)
        # What the old key signs is refused from now on, whatever its number.
        self.refused(site, "signature-revoked-key", self.second, says="stolen", next="present key")

    def test_freeze_is_a_warning(self):
        """No clock decides about trust: after N days without a bundle the site says so, and takes the
        old one that comes then."""
        site = self.a_site()
        self.assertNotIn("bundle-old", [n["reason"] for n in site.status()["notices"]])
        site.env = {"GAPFERRY_CLOCK": "2031-01-01T00:00:00Z"}
        notice, = [n for n in site.status()["notices"] if n["reason"] == "bundle-old"]
        self.assertIn("35 days", notice["message"])
        self.assertTrue(notice["next"])
        site.run("import", self.second)
        self.assertNotIn("bundle-old", [n["reason"] for n in site.status()["notices"]])

    def test_indefinite_freeze(self):
        """The warning stays and its limit is the site's to choose; 0 switches it off."""
        site = self.a_site()
        site.env = {"GAPFERRY_CLOCK": "2039-01-01T00:00:00Z"}
        site.configure(import__warn_after_days=10)
        self.assertIn("10 days", [n for n in site.status()["notices"] if n["reason"] == "bundle-old"][0]["message"])
        site.configure(import__warn_after_days=0)
        self.assertNotIn("bundle-old", [n["reason"] for n in site.status()["notices"]])

    def test_malicious_mirror(self):
        """A carrier that leaves out, cuts or renames what it carries."""
        bundle = self.copy_of(self.second)
        (bundle / "index.jsonl.zst").unlink()
        self.refused(self.site, "file-missing", bundle, code=20, says="index.jsonl.zst")
        bundle = Bundle(shutil.copytree(self.second, bundle.path.parent / "cut"))
        os.truncate(bundle / "volume-0001.tar", 1024)
        self.refused(self.site, "file-size", bundle, code=20, says="1024")

    def test_mix_and_match(self):
        """Files of two bundles of the same sender do not make a third."""
        bundle = self.copy_of(self.second)
        shutil.copy(pathlib.Path(self.first) / "SHA256SUMS", bundle / "SHA256SUMS")
        self.refused(self.site, "sums-digest", bundle, code=20, says="SHA256SUMS")
        bundle = Bundle(shutil.copytree(self.second, bundle.path.parent / "mixed"))
        shutil.copy(pathlib.Path(self.first) / "manifest.json.sig", bundle / "manifest.json.sig")
        self.refused(self.site, "signature-bad", bundle, says="does not match")

    def test_rollback(self):
        """An older state under a newer number, signed by the sender's own key."""
        site = self.a_site()
        site.run("import", self.second)
        bundle = self.copy_of(self.first).edit(lambda m: m.update(sequence=9), self.origin_key)
        self.refused(site, "bundle-older", bundle, says="generation", next="status")

    def test_replay(self):
        """An old bundle after a newer one is refused; the same one again changes nothing."""
        site = self.a_site()
        site.run("import", self.second)
        before, records = self.visible(site), len(self.audit(site))
        self.assertTrue(site.run("import", self.second)["already_imported"])
        self.assertEqual((self.visible(site), len(self.audit(site))), (before, records))
        self.refused(site, "bundle-replayed", self.first, says="imported was already 2", next="newest")

    def test_key_compromise_under_review(self):
        """The exporter is taken over: without the release key nothing gets in."""
        site = self.under_review(self.a_site())
        bundle = self.copy_of(self.second).edit(lambda m: m.update(sequence=7), self.origin_key)
        self.refused(site, "signature-threshold", bundle, says="released by 0", next="gapferry sign")

    def test_key_compromise_is_ended_by_revocation(self):
        """At once by one command; everywhere by a document of the reviewers, which bundles carry."""
        site = self.a_site()
        site.run("trust", "revoke", "connected", "--why", "host taken over", "--yes")
        self.refused(site, "signature-revoked-key", self.second, says="host taken over",
                     next="present key")
        self.assertIn("key-revoked", [n["reason"] for n in site.status()["notices"]])
        site = self.under_review(self.a_site(self.fresh), 2)
        document = self.world.directory("revocation") / "connected.revocation"
        site.run("trust", "revoke", "connected", "--why", "host taken over", "--to", document)
        error = site.refuse(21, "trust", "rotate", document)
        self.assertEqual(error["reason"], "trust-unproven")
        for name in ("jane", "joe"):
            done = gapferry("sign", document, "--key", self.world.path / name, "--yes")
            self.assertEqual(done.code, 0, done)
        self.assertEqual(site.run("trust", "rotate", document)["outcome"], "applied")
        bundle = self.copy_of(self.first)
        self.sign(bundle, "jane")
        self.sign(bundle, "joe")
        self.refused(site, "signature-revoked-key", bundle, says="host taken over")

    def test_lost_key_is_replaced_by_the_reviewers(self):
        """Nobody can sign with the old key: as many reviewers as the site asks for do."""
        mirror = self.world.copy(self.connected, "connected-lost")
        self.addCleanup(shutil.rmtree, mirror.path, True)
        (mirror.path / "keys/signing.pem").unlink()
        document = self.world.directory("lost") / "connected.rotation"
        mirror.run("key", "rotate", "--lost", "--to", document, "--yes")
        bundle = Bundle(mirror.run("export", "--to", self.world.directory("lost"), "--for", "site",
                                   "--full")["bundle"])
        site = self.under_review(self.a_site(), 2)
        self.refused(site, "signature-unknown-key", bundle)
        for name in ("jane", "joe"):
            self.assertEqual(gapferry("sign", document, "--key", self.world.path / name, "--yes").code, 0)
        mirror.run("key", "carry", document)
        bundle = Bundle(mirror.run("export", "--to", self.world.directory("lost2"), "--for", "site",
                                   "--full")["bundle"])
        new_card = self.world.path / "lost" / "new.card"
        new_card.write_text(gapferry("identity", "show", "--mirror", mirror.path).out)
        for name in ("jane", "joe"):
            done = gapferry("sign", bundle.path, "--key", self.world.path / name, "--trust", new_card, "--yes")
            self.assertEqual(done.code, 0, done)
        site.run("import", bundle.path)
        # Without reviewers: people compare the new card by voice.
        site = self.a_site()
        self.refused(site, "signature-unknown-key", bundle)
        error = site.refuse(2, "trust", "add", new_card, "--yes")
        self.assertEqual(error["reason"], "card-known")
        self.assertIn("--replace", error["next"])
        site.run("trust", "add", new_card, "--replace", "--yes")
        site.run("import", bundle.path)
        self.refused(site, "signature-revoked-key", self.second)

    def test_wrong_software_for_another_site(self):
        """A bundle of the trusted sender, for somebody else."""
        self.refused(self.site, "recipient-foreign", self.foreign, says="is for other", next="site")

    def test_threshold_bypass(self):
        """Persons are counted: not keys, not the sender, not unknown people, not repetitions."""
        site = self.under_review(self.a_site(), 2)
        bundle = self.copy_of(self.second)
        self.sign(bundle, "jane")
        self.refused(site, "signature-threshold", bundle, says="released by 1")
        self.sign(bundle, "mallory")
        self.refused(site, "signature-threshold", bundle, says="released by 1")
        lines = (bundle / "manifest.json.sig").read_text().splitlines(True)
        jane = [line for line in lines if line.startswith(key_id(self.keys("jane")))]
        (bundle / "manifest.json.sig").write_text("".join(sorted(lines + jane)))
        self.refused(site, "signature-repeated-key", bundle, code=20, says="repeats")
        bundle.sign((self.origin_key, "release"), (self.keys("jane"), "release"))
        self.refused(site, "signature-role", bundle, says="trusted as origin", next="trust list")
        bundle.sign((self.origin_key, "origin"), (self.keys("jane"), "origin"))
        self.refused(site, "signature-role", bundle, says="trusted as release")
        self.refused(site, "signature-threshold", self.second, says="asks for 2")
        good = self.copy_of_again(self.second)
        self.sign(good, "jane")
        self.sign(good, "joe")
        site.run("import", good.path)

    def copy_of_again(self, bundle):
        target = self.world.directory(self.id().split(".")[-1]) / "again" / pathlib.Path(bundle).name
        shutil.copytree(bundle, target)
        return Bundle(target)

    def test_cross_use_of_signed_documents(self):
        """A signature over one kind of document is worth nothing for another."""
        giver = self.a_site()
        written = giver.run("export", "--return", "--to", self.world.directory("cross"), "--yes")["return"]
        bundle = self.copy_of(self.second)
        for source in (written, self.card, self.world.path / "jane/card"):
            (bundle / "manifest.json").write_bytes(pathlib.Path(source).read_bytes())
            bundle.sign((self.origin_key, "origin"))
            self.refused(self.site, "document-type", bundle, code=20, says="gapferry-manifest",
                         next="right kind")
        # A manifest in place of a return, on the connected side.
        path = pathlib.Path(written)
        path.write_bytes((pathlib.Path(self.second) / "manifest.json").read_bytes())
        shutil.copy(pathlib.Path(self.second) / "manifest.json.sig", str(path) + ".sig")
        error = self.connected.refuse(20, "import", path)
        self.assertEqual(error["reason"], "document-type")
        # A trust document that was signed as something else.
        (bundle / "trust.jsonl").write_bytes(self.card.read_bytes())
        self.refused(self.site, "trust-malformed", bundle, code=20)

    # ---- Uptane --------------------------------------------------------------------------------

    def test_drop_request(self):
        """A return that never arrives costs a repetition: without a receipt all is sent again."""
        site = self.a_site()
        mirror = self.world.copy(self.connected, "connected-drop")
        self.addCleanup(shutil.rmtree, mirror.path, True)
        site.run("export", "--return", "--to", self.world.directory("dropped"), "--yes")
        mirror.run("group", "add", "Labs")
        bundle = mirror.run("export", "--to", self.world.directory("drop"), "--for", "site")
        self.assertEqual(bundle["scope"], "full")
        site.run("import", bundle["bundle"], "--accept-removals", "1")  # what bundle 2 declined
        self.assertEqual(site.status()["state_digest"], mirror.status()["state_digest"])

    def test_slow_retrieval(self):
        """Something that gives no bytes at all in place of a file holds nobody."""
        bundle = self.copy_of(self.second)
        (bundle / "volume-0001.tar").unlink()
        os.mkfifo(bundle / "volume-0001.tar")
        self.refused(self.site, "file-not-regular", bundle, code=20, says="volume-0001.tar")

    def test_partial_bundle_installation(self):
        """Cut in the middle nothing of it is seen; the whole one is taken afterwards."""
        site = self.a_site(self.fresh)
        bundle = self.copy_of(self.first)
        size = (bundle / "volume-0001.tar").stat().st_size
        data = bytearray((bundle / "volume-0001.tar").read_bytes())
        data[size // 2:] = bytes(len(data) - size // 2)
        (bundle / "volume-0001.tar").write_bytes(data)
        self.refused(site, "object-damaged", bundle, code=20, next="another copy")
        site.run("import", self.first)
        self.assertEqual(site.status()["counts"]["approved"], 2)

    # ---- Keys of a site, on the way back ---------------------------------------------------------

    def test_keys_of_a_site_change_with_its_return(self):
        site = self.a_site()
        mirror = self.world.copy(self.connected, "connected-site-keys")
        self.addCleanup(shutil.rmtree, mirror.path, True)
        old = key_id(site.path / "keys/encryption.pem")
        site.run("key", "rotate", "--why", "yearly", "--yes")
        self.assertTrue((site.path / f"keys/old/encryption-{old}.pem").exists())
        site.run("import", self.second)  # under way when the keys changed: still for this site
        path = site.run("export", "--return", "--to", self.world.directory("back"), "--yes")["return"]
        stolen = self.world.directory("back-stolen") / pathlib.Path(path).name
        shutil.copy(path, stolen)
        shutil.copy(path + ".sig", str(stolen) + ".sig")
        error = mirror.refuse(21, "import", stolen)  # without the document that its signature rests on
        self.assertEqual(error["reason"], "signature-unknown-key")
        self.assertEqual(mirror.run("import", path)["outcome"], "applied")
        bundle = mirror.run("export", "--to", self.world.directory("forth"), "--for", "site", "--full")["bundle"]
        manifest = json.loads((pathlib.Path(bundle) / "manifest.json").read_text())
        self.assertEqual(manifest["recipients"][0]["key_id"], key_id(site.path / "keys/encryption.pem"))
        site.run("import", bundle)


if __name__ == "__main__":
    unittest.main()
