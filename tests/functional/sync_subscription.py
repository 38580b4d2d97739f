"""`gapferry subscription`, `sync --dry-run` and the keys of encrypted files, against an update server.

What a choice costs is said before and after it is made, a changed choice fetches only what is not here
and withdraws nothing, drivers come only when asked for, and keys go to the far side of a gap without
ever being shown.
"""
import base64
import hashlib
import sqlite3
import unittest

import small_catalogue
from harness import gapferry
from small_catalogue import CLASSIFICATION, LEAVES, NEW_LEAF, PRODUCT, guid
from sync_support import SyncCase
from wsus import document

PAINTER, DRIVERS = guid("painter"), "ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0"
PAINTINGS = [guid(f"painting {i}") for i in range(3)]


class SubscriptionTest(SyncCase, unittest.TestCase):
    def fill(self):
        super().fill()
        self.upstream.add(document(PAINTER, category="Product", title="Painter",
                                   prerequisites=[small_catalogue.FAMILY]))
        self.upstream.add(document(DRIVERS, category="UpdateClassification", title="Drivers"))
        for i, update in enumerate(PAINTINGS):
            self.add(update, PAINTER, CLASSIFICATION, f"Painting {i}")
        for i in range(2):
            self.add(guid(f"driver {i}"), PRODUCT, DRIVERS, f"Driver {i}")

    def add(self, update, product, classification, title):
        self.upstream.add(document(update, 100, "Software", title=title, explicitly=True,
                                   prerequisites=[product, classification]))

    def choose(self, *options, code=0):
        outcome = self.mirror.try_run("subscription", "set", *options)
        self.assertEqual(outcome.code, code, outcome)
        return outcome.error() if code else outcome.objects()[-1]

    def held(self):
        return {row["guid"] for row in self.mirror.rows("update", "list")}

    def test_names_guids_and_families(self):
        chosen = self.choose("--product", "writer", "--classification", CLASSIFICATION.upper())
        self.assertEqual([row["guid"] for row in chosen["products"]], [PRODUCT])
        chosen = self.choose("--product", "Office")  # the family
        self.assertEqual({row["guid"] for row in chosen["products"]}, {PRODUCT, PAINTER})
        self.assertEqual([row["title"] for row in chosen["classifications"]], ["Security Updates"])
        error = self.choose("--product", "paint", code=10)
        self.assertIn("Painter", error["message"])
        self.assertIn("subscription show --available", error["next"])
        self.assertIn("exclude", self.choose("--drivers", "--no-drivers", code=2)["message"])
        self.choose("--language", "not a tag!", code=2)
        self.choose(code=2)

    def test_an_unknown_language_names_those_there_are(self):
        error = self.choose("--language", "xx", code=2)
        self.assertEqual(error["reason"], "unknown-language")
        self.assertIn("the upstream offers zh-tw, de, en, ja", error["message"])
        self.assertIn("subscription set --language", error["next"])

    def test_counts_are_shown_where_they_are_known(self):
        available = self.mirror.run("subscription", "show", "--available")
        self.assertEqual({row["title"]: row["followed"] for row in available["products"]},
                         {"Writer": False, "Painter": False})
        self.choose("--product", "Painter")
        self.sync()
        available = self.mirror.run("subscription", "show", "--available")
        self.assertEqual({row["title"]: (row["followed"], row["updates"]) for row in available["products"]},
                         {"Writer": (False, 0), "Painter": (True, 3)})

    def test_what_a_choice_costs_is_said_first(self):
        self.choose("--product", "Painter")
        self.sync()
        before = self.mirror.state()
        cost = self.choose("--product", "Writer", "--dry-run")["cost"]
        self.assertEqual(cost, {"held_inside": 0, "held_outside": 3, "listed": 5, "unknown": 5})
        self.assertEqual(self.mirror.state(), before)
        shown = self.mirror.run("subscription", "show")
        self.assertEqual([row["title"] for row in shown["products"]], ["Painter"])
        self.assertEqual(self.choose("--product", "Writer")["cost"], {"held_inside": 0, "held_outside": 3})

    def test_wider_and_narrower(self):
        self.choose("--product", "Painter")
        self.assertEqual(self.sync()["new_revisions"], 3)
        self.choose("--product", "Painter", "--product", "Writer")
        done = self.sync()
        self.assertTrue(done["full_list"])
        self.assertEqual(done["new_revisions"], 5)  # three leaves, a bundle and its child
        for update in PAINTINGS:
            self.upstream.remove(update)
        self.choose("--product", "Writer")
        done = self.sync()
        self.assertEqual((done["withdrawn"], done["new_revisions"]), ([], 0))
        self.assertLessEqual(set(PAINTINGS), self.held())
        self.choose("--product", "all")
        self.assert_error(self.sync(code=2), "3 withdrawn", reason="removals-need-acceptance")

    def test_drivers_come_when_asked_for(self):
        self.assertEqual(self.sync()["new_revisions"], 8)
        self.choose("--drivers")
        self.assertEqual(self.sync()["new_revisions"], 2)
        self.choose("--no-drivers")
        done = self.sync()
        self.assertEqual((done["new_revisions"], done["withdrawn"]), (0, []))

    def test_drivers_that_are_named_are_meant(self):
        self.choose("--product", "Writer", "--classification", "Drivers")
        self.assertEqual(self.sync()["new_revisions"], 2)

    def test_a_dry_run_says_what_is_new(self):
        self.sync()
        before = self.mirror.state()
        small_catalogue.advance(self.upstream)
        done = self.sync("--dry-run")
        self.assertEqual(self.mirror.state(), before)
        preview = done["preview"]
        self.assertEqual((preview["looked_at"], preview["of"]), (3, 3))
        titles = {row["title"]: row["new"] for row in preview["updates"]}
        self.assertEqual(titles, {"New leaf": True, "Leaf 0, corrected": False, "Leaf 1": False})
        self.assertEqual([row["title"] for row in preview["products"]], ["Writer"])
        self.assertEqual(preview["expired"], [LEAVES[1] + "/101"])
        self.assertEqual(done["removals"]["needs_consent"], False)
        said = gapferry("sync", "--dry-run", "--mirror", self.mirror.path).out
        self.assertIn("New leaf", said)
        self.assertNotIn(NEW_LEAF, self.held())


class KeysTest(SyncCase, unittest.TestCase):
    def fill(self):
        super().fill()
        data = b"encrypted" * 100
        self.sha1 = hashlib.sha1(data)
        self.key = hashlib.sha256(b"a key").digest()
        self.upstream.keys[base64.b64encode(self.sha1.digest()).decode()] = self.key
        self.upstream.add(document(guid("secret"), 100, "Software", title="Secret", explicitly=True,
                                   prerequisites=[PRODUCT, CLASSIFICATION], secured="FileDecryption",
                                   files=[("secret.cab", data)], encrypted=True))

    def key_of(self, mirror):
        with sqlite3.connect(f"file:{mirror.path}/catalog.db?mode=ro", uri=True) as db:
            return db.execute("SELECT sha1, key FROM file_key").fetchall()

    def test_keys_cross_the_gap_and_are_never_shown(self):
        said = []

        def run(mirror, *words):
            outcome = mirror.try_run(*words)
            self.assertEqual(outcome.code, 0, outcome)
            said.append(outcome.out + outcome.err)
            return outcome

        run(self.mirror, "sync", "--metadata-only", "--dry-run", "-v")
        run(self.mirror, "sync", "--metadata-only", "-v")
        self.assertEqual(self.key_of(self.mirror), [(self.sha1.digest(), self.key)])
        site = small_catalogue.join(self.world, self.mirror)
        media = self.world.path / "media"
        media.mkdir()
        bundle = run(self.mirror, "export", "--to", media, "--for", "site", "-v").objects()[-1]["bundle"]
        run(site, "import", bundle, "--dry-run", "-v")
        run(site, "import", bundle, "--yes", "-v")
        self.assertEqual(self.key_of(site), [(self.sha1.digest(), self.key)])
        for mirror in (self.mirror, site):
            for words in (("log",), ("status",), ("update", "show", guid("secret")), ("update", "list")):
                run(mirror, *words)
            said.extend(path.read_text(errors="replace") for path in mirror.path.glob("**/*.log"))
            with sqlite3.connect(f"file:{mirror.path}/catalog.db?mode=ro", uri=True) as db:
                for table in ("audit", "job"):
                    said.append(repr(db.execute(f"SELECT * FROM {table}").fetchall()))
        spellings = (base64.b64encode(self.key).decode(), self.key.hex(), self.key.hex().upper(), repr(self.key))
        for text in said:
            for spelling in spellings:
                self.assertNotIn(spelling, text)

    def test_a_key_that_came_late_reaches_a_site_with_a_full_bundle(self):
        keys, self.upstream.keys = self.upstream.keys, {}
        self.mirror.run("sync", "--metadata-only")
        site = small_catalogue.join(self.world, self.mirror)
        media = self.world.path / "late"
        media.mkdir()

        def carry(*options):
            bundle = self.mirror.run("export", "--to", media, "--for", "site", *options)["bundle"]
            site.run("import", bundle, "--yes")

        carry()
        self.assertEqual(self.key_of(site), [])
        self.upstream.keys = keys
        self.mirror.run("sync", "--metadata-only")
        self.assertEqual(self.key_of(self.mirror), [(self.sha1.digest(), self.key)])
        carry("--full")
        self.assertEqual(self.key_of(site), [(self.sha1.digest(), self.key)])


if __name__ == "__main__":
    unittest.main()
