"""Receipts without media: what a site shows, somebody types on the connected side.

One site lives through everything that may happen to its codes, in this order: nothing imported yet, typed as
people type, mistyped, of another site, repeated, late, sealed bundles, a group's stream, a number that was given
up, files missing, a site that was made anew, a site that has diverged, review asked for. Every refusal leaves what
the connected side believes as it was.
"""
import pathlib
import sqlite3
import unittest
import uuid

import small_catalogue as small
from harness import World
from wsus import WsusServer


class ReceiptCodes(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(WsusServer())
        small.fill(self.upstream)
        self.hub = small.connected(self.world, self.upstream, "hub")
        self.site = small.join(self.world, self.hub, "plant")
        self.other = small.join(self.world, self.hub, "other")
        self.changes = 0

    def change(self):
        self.changes += 1
        self.hub.run("group", "add", f"Group {self.changes}")

    def carry(self, *words, to="plant"):
        bundle = self.hub.run("export", "--to", self.world.directory("out"), "--for", to, *words)
        self.site.run("import", bundle["bundle"], "--yes")
        return bundle

    def code(self):
        return self.site.run("receipt", "show")["code"]

    def enter(self, *words):
        return self.hub.run("receipt", "enter", "plant", *words)

    def acknowledged(self):
        return (self.hub.run("site", "show", "plant")["acknowledged"] or {}).get("sequence")

    def refused(self, code, reason, *words):
        before = self.hub.run("site", "show", "plant")
        error = self.hub.refuse(code, "receipt", "enter", *words)
        self.assertEqual(error["reason"], reason)
        self.assertTrue(error["next"], error)
        self.assertEqual(self.hub.run("site", "show", "plant"), before)
        return error

    def change_database(self, statement, *values):
        with sqlite3.connect(self.site.path / "catalog.db") as database:
            database.execute(statement, values)
        database.close()

    def test_a_life_without_media(self):
        error = self.site.refuse(2, "receipt", "show")
        self.assertEqual((error["reason"], error["next"]), ("nothing-imported", "gapferry import BUNDLE"))
        self.carry()
        first = self.code()
        self.assertRegex(first, r"^([0-9A-Z]{4}-){9}[0-9A-Z]{4}$")

        # Mistyped: the group is named. Too short. Of another site.
        wrong = first[:11] + ("2" if first[11] != "2" else "3") + first[12:]
        error = self.refused(2, "receipt-code-mistyped", "plant", wrong)
        self.assertIn("group 3 is mistyped", error["message"])
        self.refused(2, "receipt-code-length", "plant", first[:-5])
        self.refused(21, "receipt-code-foreign", "other", first)
        self.refused(10, "site-unknown", "nobody", first)

        # As people type; again; and the next bundle is a delta.
        typed = first.lower().replace("-", " ").replace("0", "o").replace("1", "l").split()
        entered = self.enter(*typed)
        self.assertEqual((entered["outcome"], entered["acknowledged"]["sequence"], entered["diverged"],
                          entered["restored"]), ("applied", 1, "", False))
        self.assertEqual(self.enter(first)["outcome"], "already-applied")
        believed = self.hub.run("site", "show", "plant")["believed_files"]
        self.assertGreater(believed, 0)

        # Late, a sealed bundle.
        self.change()
        self.assertEqual(self.carry("--encrypt")["scope"], "delta")
        second = self.code()
        self.change()
        self.carry()
        third = self.code()
        self.assertEqual(self.enter(third)["acknowledged"]["sequence"], 3)
        self.assertEqual(self.enter(second)["outcome"], "late")
        self.assertEqual(self.acknowledged(), 3)

        self.in_a_groups_stream()
        self.given_up()
        self.files_missing()
        self.sheets()
        self.made_anew(third)
        self.diverged()
        self.reviewed()

    def in_a_groups_stream(self):
        self.hub.run("site", "group", "add", "ships", "plant")
        self.change()
        bundle = self.carry(to="ships")
        self.assertIn("gapferry-ships-", pathlib.Path(bundle["bundle"]).name)
        entered = self.enter(self.code())
        self.assertEqual((entered["stream"], entered["outcome"]), ("ships", "applied"))
        self.assertEqual(entered["acknowledged"]["generation"], bundle["target"])

    def given_up(self):
        self.change()
        bundle = self.carry()
        self.hub.run("bundle", "abandon", "plant", bundle["sequence"], "--yes")
        self.refused(21, "receipt-code-void", "plant", self.code())

    def files_missing(self):
        small.leaf(self.upstream, small.NEW_LEAF, title="New leaf")
        self.hub.run("sync")
        self.hub.run("update", "approve", small.NEW_LEAF, "--group", "Office")
        bundle = self.carry()
        self.assertEqual(bundle["content_files"], 1)
        wanted = max(self.site.path.glob("content/*/*"), key=lambda p: p.stat().st_mtime_ns)
        wanted.unlink()
        self.assertEqual(self.site.try_run("store", "check", "--drop-damaged").code, 20)
        self.assertEqual(self.site.run("receipt", "show")["missing_files"], 1)
        entered = self.enter(self.code())
        self.assertEqual((entered["outcome"], entered["files_are_missing"]), ("applied", True))
        self.change()
        bundle = self.carry()
        self.assertEqual((bundle["scope"], bundle["content_files"]), ("delta", 1))
        self.assertFalse(self.enter(self.code())["files_are_missing"])

    def sheets(self):
        code = self.code()
        for name in ("receipt.html", "receipt.txt"):
            self.site.run("receipt", "show", "--sheet", self.world.path / name)
            text = (self.world.path / name).read_text()
            self.assertIn(code, text)
            self.assertIn("gapferry receipt enter", text)
        self.assertEqual(self.site.refuse(2, "receipt", "show", "--sheet", "x.pdf")["error"], "usage")

    def made_anew(self, old):
        self.change_database("UPDATE mirror SET epoch = ?", uuid.uuid4().bytes)
        entered = self.enter(self.code())
        self.assertEqual((entered["outcome"], entered["restored"]), ("applied", True))
        self.assertEqual(self.hub.run("site", "show", "plant")["believed_files"], 0)
        self.assertIn(self.enter(old)["outcome"], ("late", "already-applied"))

    def diverged(self):
        self.change_database("UPDATE generation_log SET state_digest = zeroblob(32) WHERE generation = "
                             "(SELECT published FROM mirror)")
        entered = self.enter(self.code())
        self.assertIn("holds something else", entered["diverged"])
        error = self.hub.refuse(2, "export", "--for", "plant", "--dry-run")
        self.assertEqual(error["reason"], "diverged")
        self.assertIn("--full", error["next"])

    def reviewed(self):
        person = self.world.init("person")
        self.site.configure(return__review="required")
        error = self.site.refuse(2, "receipt", "show")
        self.assertEqual(error["reason"], "review-required")
        self.assertIn("--review", error["next"])
        card = self.world.path / "person.card"
        card.write_text(small.world_card(person))
        error = self.hub.refuse(2, "site", "review", "plant", "--require", "1", "--reviewer", card)
        self.assertIn("no role release", error["message"])


if __name__ == "__main__":
    unittest.main()
