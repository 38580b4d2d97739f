"""Private keys: passphrases, tokens, changes of keys that are broken off, and what a reviewer signs with.

The token is SoftHSM; without it its tests say so and are passed over.
"""
import json
import os
import pathlib
import pty
import shutil
import subprocess
import unittest

import small_catalogue as small
from harness import KILL_POINTS, PROGRAM, World, gapferry, tree_digest
from wsus import WsusServer

SOFTHSM = pathlib.Path("/usr/lib/softhsm/libsofthsm2.so")
ALONE = ("setsid", "-w")  # without a terminal to ask on


def secret(world, text):
    path = world.path / f"secret-{abs(hash(text))}"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


class Passphrases(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        self.mirror = self.world.init("plant", "--gap", "--name", "plant", prefix=ALONE)
        self.right, self.wrong = secret(self.world, "correct horse"), secret(self.world, "battery staple")
        self.card = self.mirror.run("identity", "show")
        self.mirror.run("key", "passphrase", "--new-passphrase-file", self.right)

    def test_a_protected_key_opens_with_its_passphrase_only(self):
        for name in ("signing", "encryption"):
            self.assertIn("ENCRYPTED", (self.mirror.path / f"keys/{name}.pem").read_text())
        error = self.mirror.refuse(2, "identity", "show")
        self.assertEqual(error["reason"], "passphrase-needed")
        self.assertIn("--passphrase-file", error["next"])
        error = self.mirror.refuse(21, "identity", "show", "--passphrase-file", self.wrong)
        self.assertEqual(error["reason"], "passphrase-wrong")
        self.assertNotIn("battery", json.dumps(error))
        by_variable = self.mirror.run("identity", "show", env={"GAPFERRY_PASSPHRASE_FILE": str(self.right)})
        self.assertEqual(by_variable, self.card)
        self.right.chmod(0o644)
        error = self.mirror.refuse(21, "identity", "show", "--passphrase-file", self.right)
        self.assertEqual(error["reason"], "key-readable")
        self.right.chmod(0o600)
        self.mirror.run("status")  # what needs no private key asks for none
        self.assertTrue(self.mirror.run("key", "show")["signing_protected"])

    def test_it_is_changed_and_removed(self):
        new = secret(self.world, "a third one")
        error = self.mirror.refuse(21, "key", "passphrase", "--new-passphrase-file", new,
                                   "--passphrase-file", self.wrong)
        self.assertEqual(error["reason"], "passphrase-wrong")
        self.mirror.run("key", "passphrase", "--new-passphrase-file", new, "--passphrase-file", self.right)
        self.mirror.refuse(21, "identity", "show", "--passphrase-file", self.right)
        self.mirror.run("key", "passphrase", "--remove", "--yes", "--passphrase-file", new)
        self.assertEqual(self.mirror.run("identity", "show"), self.card)

    def test_it_is_asked_on_the_terminal_without_echo(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(PROGRAM, [str(PROGRAM), "identity", "show", "--mirror", str(self.mirror.path)])
        shown = b""
        while b": " not in shown:
            shown += os.read(terminal, 1000)
        self.assertIn(b"passphrase of", shown)
        os.write(terminal, b"correct horse\n")
        try:
            while data := os.read(terminal, 10000):
                shown += data
        except OSError:
            pass
        os.waitpid(pid, 0)
        os.close(terminal)
        self.assertIn(b"gapferry-card/1", shown)
        self.assertNotIn(b"horse", shown)


class Changes(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())

    def test_what_no_reader_would_take_is_not_made(self):
        keys = self.world.path / "keys"
        done = gapferry("key", "create", keys, "--name", "x" * 65, "--json")
        self.assertEqual((done.code, done.error()["reason"]), (2, "bad-name"))
        self.assertFalse((keys / "signing.pem").exists())
        self.assertEqual(gapferry("key", "create", keys, "--name", "Jane").code, 0)
        for verb in ("rotate", "revoke"):
            done = gapferry("key", verb, "--keys", keys, "--why", "y" * 121, "--yes", "--json")
            self.assertEqual((done.code, done.error()["reason"]), (2, "bad-why"))
            self.assertTrue(done.error()["next"])
        self.assertEqual(gapferry("key", "show", "--keys", keys, "--json").result()["documents"], [])

    def test_killed_anywhere_either_nothing_has_happened_or_all(self):
        """The card, the keys and the document that is carried always belong together."""
        whole = self.world.init("whole", "--gap", "--name", "whole")
        count = self.world.path / "count"
        whole.run("key", "rotate", "--yes", env={"LD_PRELOAD": str(KILL_POINTS),
                                                 "GAPFERRY_KILL_COUNT": str(count)})
        points = int(count.read_text().split()[0])
        self.assertGreater(points, 15)
        outcomes = set()
        for point in range(1, points + 1, 2):
            mirror = self.world.init(f"m{point}", "--gap", "--name", "plant")
            old = mirror.run("identity", "show")
            mirror.try_run("key", "rotate", "--yes", env={"LD_PRELOAD": str(KILL_POINTS),
                                                          "GAPFERRY_KILL_AT": str(point)})
            card = mirror.run("identity", "show")
            carried = mirror.run("key", "show")["documents"]
            changed = card["signing_key_id"] != old["signing_key_id"]
            outcomes.add(changed)
            self.assertEqual(card["encryption_key"] != old["encryption_key"], changed)
            self.assertEqual([d["key_id"] for d in carried], [card["signing_key_id"]] if changed else [])
            self.assertEqual(card.get("number", 0), int(changed))
            mirror.run("key", "rotate", "--yes")
            shutil.rmtree(mirror.path)
        self.assertEqual(outcomes, {False, True})


@unittest.skipUnless(SOFTHSM.exists() and shutil.which("pkcs11-tool"),
                     "softhsm2 and opensc are not installed: scripts/packages --install test")
class Tokens(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        tokens = self.world.directory("tokens")
        conf = self.world.path / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        # The library of the token leaks a little at its end, which is not ours to report.
        leaks = self.world.path / "leaks"
        leaks.write_text("leak:libsofthsm2\n")
        self.env = {"SOFTHSM2_CONF": str(conf), "LSAN_OPTIONS": f"suppressions={leaks}",
                    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":fast_unwind_on_malloc=0"}
        self.tool(["softhsm2-util", "--init-token", "--free", "--label", "gapferry", "--pin", "1234",
                   "--so-pin", "5678"])
        self.tool(["pkcs11-tool", "--module", SOFTHSM, "--login", "--pin", "1234", "--keypairgen", "--key-type",
                   "EC:edwards25519", "--label", "signing", "--id", "01"])
        self.pin = secret(self.world, "1234")
        self.uri = f"pkcs11:token=gapferry;object=signing?module-path={SOFTHSM}"

    def tool(self, command):
        subprocess.run(list(map(str, command)), env=dict(os.environ, **self.env), check=True, capture_output=True)

    def test_a_mirror_signs_with_a_key_on_a_token(self):
        mirror = self.world.init("m", "--gap", "--name", "m", prefix=ALONE, env=self.env)
        old = mirror.run("identity", "show")
        mirror.configure(keys__signing=f'"{self.uri}"')
        error = mirror.refuse(2, "identity", "show")
        self.assertEqual(error["reason"], "passphrase-needed")
        error = mirror.refuse(21, "identity", "show", "--passphrase-file", secret(self.world, "4321"))
        self.assertEqual(error["reason"], "passphrase-wrong")
        self.assertNotIn("4321", json.dumps(error))
        error = mirror.refuse(2, "key", "rotate", "--yes", "--passphrase-file", self.pin)
        self.assertEqual(error["reason"], "key-configured")
        document = mirror.run("key", "rotate", "--old", mirror.path / "keys/signing.pem", "--yes",
                              "--passphrase-file", self.pin)
        card = mirror.run("identity", "show", "--passphrase-file", self.pin)
        self.assertEqual((card["signing_key_id"], card["number"]), (document["key_id"], 1))
        self.assertNotEqual(card["signing_key"], old["signing_key"])
        site = self.world.init("site", "--gap", "--name", "site")
        path = self.world.path / "m.card"
        path.write_text(gapferry("identity", "show", "--mirror", mirror.path, "--passphrase-file", self.pin,
                                 env=self.env).out)
        site.run("trust", "add", path, "--yes")  # reads it, so the signature is good
        mirror.configure(keys__signing=f'"{self.uri.replace("object=signing", "object=other")}"')
        error = mirror.refuse(10, "identity", "show", "--passphrase-file", self.pin)
        self.assertEqual(error["reason"], "token-missing")
        self.assertTrue(error["next"])
        mirror.configure(keys__signing=f'"{self.uri}&pin-value=1234"')
        error = mirror.refuse(2, "identity", "show", "--passphrase-file", self.pin)
        self.assertEqual(error["reason"], "token-pin")
        self.assertTrue(error["next"])
        self.assertNotIn("1234", json.dumps(error))

    def test_a_reviewer_signs_with_a_key_on_a_token(self):
        done = gapferry("key", "create", self.world.path / "jane", "--name", "Jane", "--signing", self.uri,
                        "--passphrase-file", self.pin, "--json", env=self.env)
        self.assertEqual(done.code, 0, done)
        thief = self.world.init("thief", "--gap", "--name", "thief")
        document = self.world.path / "thief.rotation"
        thief.run("key", "rotate", "--lost", "--to", document, "--yes")
        done = gapferry("sign", document, "--key", self.uri, "--state", self.world.path / "seen", "--yes",
                        "--passphrase-file", self.pin, "--json", env=self.env)
        self.assertEqual(done.code, 0, done)
        self.assertEqual(json.loads(document.read_text())["signatures"][0]["key_id"],
                         json.loads((self.world.path / "jane/card").read_text())["signing_key_id"])


class Reviews(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        with WsusServer() as upstream:
            small.fill(upstream)
            cls.connected = small.connected(cls.world, upstream)
            cls.site = small.join(cls.world, cls.connected)
            stick = cls.world.directory("stick")
            cls.first = cls.connected.run("export", "--to", stick, "--for", "site")["bundle"]
            cls.connected.run("update", "decline", small.LEAVES[2])
            cls.second = cls.connected.run("export", "--to", stick, "--for", "site")["bundle"]
        cls.card = cls.world.path / "connected.card"

    def reviewer(self, name):
        path = self.world.path / name
        done = gapferry("key", "create", path, "--name", name)
        self.assertEqual(done.code, 0, done)
        return path

    def sign(self, bundle, keys, *words):
        return gapferry("sign", bundle, "--key", keys, "--trust", self.card, "--json", *words)

    def test_the_plan_shows_what_is_new_in_kind(self):
        keys = self.reviewer("ann")
        plan = self.sign(self.first, keys, "--dry-run").result()
        self.assertEqual((plan["signed"], plan["updates"], plan["documents"]), (False, 4, 10))
        self.assertIn("Leaf0.exe /q", plan["new_commands"])
        self.assertTrue(plan["new_handlers"] and plan["new_publishers"])
        self.assertEqual({a["group"] for a in plan["approvals"]}, {"Office"})
        self.assertFalse((keys / "signed.json").exists())
        self.assertEqual(self.sign(self.first, keys, "--yes").code, 0)
        plan = self.sign(self.second, keys, "--dry-run").result()
        self.assertEqual((plan["new_commands"], plan["new_handlers"]), ([], []))

    def test_only_the_signature_file_is_touched_or_one_elsewhere(self):
        keys = self.reviewer("bob")
        bundle = self.world.path / "copy" / pathlib.Path(self.second).name
        shutil.copytree(self.second, bundle)
        before = tree_digest(bundle)
        elsewhere = self.world.directory("elsewhere")
        self.assertEqual(self.sign(bundle, keys, "--to", elsewhere, "--yes").code, 0)
        self.assertEqual(tree_digest(bundle), before)
        signature = elsewhere / "manifest.json.sig"
        self.assertEqual(len(signature.read_text().splitlines()), 2)
        before = {p.name: p.read_bytes() for p in bundle.iterdir()}
        self.assertEqual(self.sign(bundle, keys, "--yes").code, 0)
        changed = [p.name for p in bundle.iterdir() if p.read_bytes() != before.get(p.name)]
        self.assertEqual(changed, ["manifest.json.sig"])
        self.assertEqual((bundle / "manifest.json.sig").read_bytes(), signature.read_bytes())

    def test_nothing_is_signed_that_was_not_checked(self):
        keys = self.reviewer("cid")
        bundle = self.world.path / "damaged" / pathlib.Path(self.second).name
        shutil.copytree(self.second, bundle)
        data = bytearray((bundle / "volume-0001.tar").read_bytes())
        data[3000] ^= 1
        (bundle / "volume-0001.tar").write_bytes(data)
        before = tree_digest(bundle)
        outcome = self.sign(bundle, keys, "--yes")
        self.assertEqual((outcome.code, outcome.error()["reason"]), (20, "object-damaged"))
        self.assertTrue(outcome.error()["next"])
        self.assertEqual(tree_digest(bundle), before)
        outcome = gapferry("sign", self.second, "--key", keys, "--trust", keys / "card", "--yes", "--json")
        self.assertEqual(outcome.error()["reason"], "signature-unknown-key")
        outcome = self.sign(self.second, keys)  # nobody answers
        self.assertEqual((outcome.code, outcome.error()["reason"]), (2, "needs-answer"))
        outcome = gapferry("sign", self.second, "--key", keys, "--yes", "--json")
        self.assertEqual(outcome.error()["reason"], "no-trust")
        outcome = gapferry("sign", self.card, "--key", keys, "--yes", "--json")
        self.assertEqual((outcome.code, outcome.error()["reason"]), (2, "document-type"))

    def test_a_bundle_that_is_not_finished_keeps_its_key(self):
        mirror = self.world.copy(self.connected, "unfinished")
        mirror.run("update", "decline", small.LEAVES[1])
        medium = self.world.directory("in-the-way")
        (medium / "gapferry-site-000003").write_text("a file where the bundle's folder is to be")
        self.assertEqual(mirror.try_run("export", "--to", medium, "--for", "site", "--full").code, 1)
        error = mirror.refuse(2, "key", "rotate", "--yes")
        self.assertEqual(error["reason"], "unfinished-export")
        self.assertIn("bundle abandon", error["next"])

    def test_a_card_counts_when_somebody_compared_it(self):
        site = self.world.copy(self.site, "compared")
        card = self.reviewer("ida") / "card"
        right = json.loads(card.read_text())["fingerprint"]
        wrong = right[:-1] + ("a" if right[-1] != "a" else "b")
        others = json.loads(self.card.read_text())["fingerprint"]
        before = site.state(), site.rows("trust", "list")
        error = site.refuse(2, "trust", "add", card, "--role", "release")
        self.assertEqual(error["reason"], "needs-answer")
        self.assertIn(f"gapferry trust add {card} --role release --mirror {site.path} --fingerprint", error["next"])
        for typed, code, reason in ((wrong, 21, "fingerprint-differs"), (others, 21, "fingerprint-differs"),
                                    (right[:-1], 2, "fingerprint-malformed"), ("", 2, "fingerprint-malformed"),
                                    (right[:-1] + "!", 2, "fingerprint-malformed")):
            error = site.refuse(code, "trust", "add", card, "--fingerprint", typed)
            self.assertEqual((error["reason"], bool(error["next"])), (reason, True), typed)
        self.assertEqual((site.state(), site.rows("trust", "list")), before)
        site.run("trust", "add", card, "--fingerprint", right.upper().replace("-", " "))
        self.assertEqual(self.connected.refuse(2, "site", "add", self.world.path / "site.card")["reason"],
                         "needs-answer")

    def test_a_change_of_files_is_recorded_before_it_is_made(self):
        site = self.world.copy(self.site, "recorded")
        site.run("trust", "add", self.reviewer("kai") / "card", "--yes")
        # Where the file is written before it is renamed.
        (site.path / "keys/trusted/policy.json.tmp").mkdir()
        self.assertEqual(site.try_run("trust", "policy", "--release", "1").code, 1)
        self.assertEqual([r["action"] for r in site.rows("log", "--limit", "2")],
                         ["trust.policy.failed", "trust.policy"])
        self.assertEqual([r["policy"] for r in site.run("trust", "policy")["rules"]], ["origin"])

    def test_policies(self):
        site = self.world.copy(self.site, "policies")
        error = site.refuse(2, "trust", "policy", "--release", "1")
        self.assertEqual(error["reason"], "policy-impossible")
        for name in ("dan", "eve"):
            site.run("trust", "add", self.reviewer(name) / "card", "--role", "release", "--yes")
        error = site.refuse(2, "trust", "add", self.card, "--role", "release", "--yes")
        self.assertEqual(error["reason"], "card-role")
        site.run("trust", "policy", "connected", "--release", "1", "--reviewer", "eve")
        site.run("trust", "policy", "connected", "--stream", "site", "--release", "2")
        self.assertEqual([(r["stream"], r["policy"]) for r in site.run("trust", "policy")["rules"]],
                         [("", "origin"), ("", "origin + 1 release"), ("site", "origin + 2 release")])
        self.assertEqual(site.status()["trust"], site.run("trust", "policy")["rules"])
        bundle = self.world.path / "policy" / pathlib.Path(self.first).name
        shutil.copytree(self.first, bundle)
        self.assertEqual(self.sign(bundle, self.world.path / "dan", "--yes").code, 0)
        self.assertEqual(site.refuse(21, "import", bundle)["reason"], "signature-threshold")
        site.run("trust", "policy", "connected", "--stream", "site", "--default")
        self.assertEqual(site.refuse(21, "import", bundle)["reason"], "signature-threshold")  # only eve counts
        self.assertEqual(self.sign(bundle, self.world.path / "eve", "--yes").code, 0)
        site.run("import", bundle)
        site.run("trust", "revoke", "eve", "--why", "left", "--yes")
        self.assertIn("policy-impossible", [n["reason"] for n in site.status()["notices"]])


if __name__ == "__main__":
    unittest.main()
