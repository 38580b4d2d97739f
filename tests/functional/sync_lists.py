"""`gapferry sync` and what an update server lists: anchors, filters, empty and shrunk lists, another history.

The list never says what disappeared and an empty one looks like "nothing new": these are the silent
failures of the protocol. A mirror must lose nothing by them, and must find out in the end.
"""
import os
import re
import shlex
import sqlite3
import unittest

import small_catalogue
from harness import sanitized
from small_catalogue import CLASSIFICATION, LEAVES, PRODUCT, guid
from sync_support import SyncCase
from wsus import WsusServer, document

LIST, DATA = "GetRevisionIdList", "GetUpdateData"
MANY = 60


def anchor_of(request):
    found = re.search(r"<(?:\w+:)?Anchor>([^<]*)<", request.text)
    return found.group(1) if found else None


class ListCase(SyncCase):
    """A catalogue of one product with 60 leaves, one bundle and its child, and another with two."""

    def fill(self):
        small_catalogue.fill(self.upstream)
        for i in range(MANY):
            self.add_leaf(i)

    def add_leaf(self, number, product=PRODUCT, revision=100, **more):
        self.upstream.add(document(guid(f"many {number}"), revision, "Software", title=f"Many {number}",
                                   explicitly=True, prerequisites=[product, CLASSIFICATION], **more))

    def list_requests(self, config=False):
        word = "true" if config else "false"
        return [r for r in self.upstream.requests
                if r.operation == LIST and re.search(rf"GetConfig>{word}<", r.text)]

    def withdrawn(self):
        return {row["guid"] for row in self.mirror.rows("update", "list") if row["withdrawn"]}

    def shown(self):
        return {row["guid"] for row in self.mirror.rows("update", "list")}

    def run_next(self, error):
        """Types the command that the error names."""
        words = shlex.split(error["next"])
        self.assertEqual(words[:2], ["gapferry", "sync"], error)
        return self.sync(*words[2:])


class ListTest(ListCase, unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.sync()
        self.before = self.mirror.state()
        self.upstream.calm()

    def refused_removal(self, removed, *options):
        done = self.sync(*options, code=2)
        error = self.assert_error(done, str(removed), "withdraw", reason="removals-need-acceptance")
        self.assert_unchanged(self.before)
        self.assertEqual(self.withdrawn(), set())
        return error

    def test_nothing_new(self):
        done = self.sync()
        self.assertFalse(done["changed"])
        self.assert_unchanged(self.before)
        self.assert_calls(GetRevisionIdList=2, GetUpdateData=0)
        self.assertTrue(all(anchor_of(r) for r in self.upstream.requests if r.operation == LIST))

    def test_an_empty_delta_removes_nothing(self):
        self.upstream.documents.clear()
        done = self.sync()
        self.assertFalse(done["changed"])
        self.assert_unchanged(self.before)

    def test_an_empty_complete_list_needs_consent(self):
        self.upstream.documents.clear()
        error = self.refused_removal(MANY + 5, "--full")
        done = self.run_next(error)
        self.assertEqual(len(done["withdrawn"]), MANY + 5)
        self.assertEqual(self.withdrawn(), self.shown())

    def test_a_list_shrunk_to_a_tenth_needs_consent(self):
        for i in range(MANY - 6):
            self.upstream.remove(guid(f"many {i}"))
        error = self.refused_removal(MANY - 6, "--full")
        self.sync("--full", "--accept-removals", MANY - 7, code=2)
        self.assert_unchanged(self.before)
        self.run_next(error)
        self.assertEqual(len(self.withdrawn()), MANY - 6)
        # Withdrawn is not gone: the documents stay.
        self.assertIn(guid("many 0"), self.shown())

    def test_a_small_withdrawal_is_taken_and_returns(self):
        taken = self.upstream.documents[(guid("many 7"), 100)]
        self.upstream.remove(guid("many 7"))
        done = self.sync("--full")
        self.assertEqual(done["withdrawn"], [f"{guid('many 7')}/100"])
        self.assertEqual(self.withdrawn(), {guid("many 7")})
        self.upstream.documents[taken.key] = taken
        self.sync("--full")
        self.assertEqual(self.withdrawn(), set())

    def test_a_product_without_any_update_left_needs_consent(self):
        other = guid("other product")
        self.upstream.add(document(other, category="Product", title="Painter",
                                   prerequisites=[small_catalogue.FAMILY]))
        self.add_leaf("of the other", other)
        self.sync()
        self.before = self.mirror.state()
        self.upstream.remove(guid("many of the other"))
        error = self.refused_removal(1, "--full")
        self.assertIn("product", error["message"])

    def test_a_category_list_that_is_empty_removes_nothing(self):
        for key in [k for k, d in self.upstream.documents.items() if d.is_config]:
            del self.upstream.documents[key]
        self.sync("--full")
        self.assertEqual(self.mirror.status()["documents_digest"], self.before["documents_digest"])

    def test_half_of_the_filter_is_never_sent(self):
        for option, value in (("--product", PRODUCT), ("--classification", CLASSIFICATION)):
            with self.subTest(option=option):
                mirror = self.world.init("m" + option, "--upstream", self.upstream.url)
                self.mirror, first = mirror, self.mirror
                self.sync("--categories-only")
                mirror.run("subscription", "set", option, value)
                done = self.sync()
                self.assertEqual(done["new_revisions"], MANY + 5)
                self.mirror = first

    def test_a_changed_subscription_asks_for_everything(self):
        self.mirror.run("subscription", "set", "--product", PRODUCT, "--classification", CLASSIFICATION)
        self.upstream.calm()
        done = self.sync()
        self.assertTrue(done["full_list"])
        self.assertEqual([anchor_of(r) for r in self.list_requests()], [None])
        self.assert_calls(GetUpdateData=0)
        self.sync()
        self.assertTrue(anchor_of(self.list_requests()[-1]))

    def test_languages_stay_known_when_the_server_lists_only_changes(self):
        self.sync()  # with the anchor of the configuration, if the product keeps one
        self.mirror.run("subscription", "set", "--language", "de")
        for _ in range(2):
            self.upstream.calm()
            self.sync()
            self.assertIn("<Id>1031<", re.sub(r"<\w+:", "<", self.list_requests()[0].text))

    def test_a_language_that_the_server_does_not_have(self):
        # Chosen while the upstream still had it.
        with sqlite3.connect(self.mirror.path / "catalog.db") as db:
            db.execute("INSERT INTO subscription (kind, value) VALUES (3, 'fr')")
        done = self.sync(code=2)
        self.assert_error(done, "fr", " de", " ja", "subscription set --language", reason="unknown-language")
        self.assert_unchanged(self.before)

    def test_the_anchor_goes_back_byte_for_byte(self):
        self.upstream.on(LIST, times=2, edit=lambda body: re.sub(
            rb"<Anchor>[^<]*<", b"<Anchor>77,2026-10-04 16:40:00.000<", body))
        self.add_leaf("new")
        self.sync()
        self.upstream.calm()
        self.sync()
        self.assertEqual({anchor_of(r) for r in self.upstream.requests if r.operation == LIST},
                         {"77,2026-10-04 16:40:00.000"})

    def test_an_anchor_that_the_server_does_not_know_is_dropped_once(self):
        self.upstream.on(LIST, when=lambda r: "GetConfig>false" in r.text and anchor_of(r),
                         fault=("InvalidParameters", "filter"))
        self.add_leaf("new")
        done = self.sync()
        self.assertTrue(done["full_list"])
        self.assertEqual(done["new_revisions"], 1)
        self.assert_calls(GetRevisionIdList=range(3, 5), GetUpdateData=1)

    def test_a_filter_that_is_always_wrong_ends_the_run(self):
        self.upstream.on(LIST, fault=("InvalidParameters", "filter"))
        done = self.sync(code=2)
        self.assert_error(done, "filter")
        self.assert_calls(GetRevisionIdList=2)
        self.assert_unchanged(self.before)

    def test_several_revisions_of_a_category(self):
        self.upstream.add(document(PRODUCT, 101, category="Product", title="Writer, renamed",
                                   prerequisites=[small_catalogue.FAMILY]))
        self.mirror = self.world.init("fresh", "--upstream", self.upstream.url)
        done = self.sync()
        self.assertEqual(done["new_categories"], 5)
        asked = "".join(r.text for r in self.upstream.requests if r.operation == DATA)
        self.assertEqual([int(n) for n in re.findall(rf"{PRODUCT}</(?:\w+:)?UpdateID><(?:\w+:)?RevisionNumber>"
                                                     r"(\d+)", asked)], [101])

    def test_expired_updates_are_taken_and_not_offered(self):
        self.add_leaf(3, revision=101, state="Expired")
        done = self.sync()
        self.assertEqual(done["expired"], 1)
        self.assertNotIn(guid("many 3"), self.shown())
        self.assertTrue(self.mirror.run("update", "show", guid("many 3"))["expired"])


class HistoryTest(ListCase, unittest.TestCase):
    """The server was restored, replaced or is another one."""

    def setUp(self):
        super().setUp()
        self.sync()
        self.saved = self.upstream.snapshot()
        self.add_leaf("later")
        self.upstream.add(document(PRODUCT, 101, category="Product", title="Writer 2",
                                   prerequisites=[small_catalogue.FAMILY]))
        self.sync()
        self.before = self.mirror.state()
        self.upstream.calm()

    def test_the_server_changed_in_the_middle(self):
        for operation, call in (("GetConfigData", 1), (LIST, 1), (LIST, 2), (DATA, 1)):
            with self.subTest(operation=operation, call=call):
                self.add_leaf(f"{operation}{call}")
                self.upstream.calm()
                self.upstream.on(operation, call=call, run=WsusServer.become_another)
                done = self.sync()
                self.assertTrue(done["full_list"])
                self.assertEqual([anchor_of(r) for r in self.list_requests()][-1], None)
                self.assert_calls(GetCookie=range(2, 4), GetConfigData=range(2, 4),
                                  GetRevisionIdList=range(2, 5))
                self.assertIn(guid(f"many {operation}{call}"),
                              self.shown())

    def test_a_server_that_changes_all_the_time(self):
        self.upstream.on(LIST, run=WsusServer.become_another)
        done = self.sync(code=22)
        self.assert_error(done, "ServerChanged")
        self.assert_calls(GetRevisionIdList=range(2, 4))
        self.assert_unchanged(self.before)

    def test_a_restored_server_that_says_so(self):
        self.upstream.anchors_of_ours_only = True
        self.upstream.restore(self.saved)
        self.upstream.issued_anchors.clear()
        done = self.sync()
        self.assertTrue(done["full_list"])
        # One update of 66 is not listed any more: it stays, marked. Two revisions of a category stay.
        self.assertEqual(done["withdrawn"], [f"{guid('many later')}/100"])
        self.assert_calls(GetUpdateData=0)
        self.upstream.calm()
        self.add_leaf("after the restore")
        self.assertEqual(self.sync()["new_revisions"], 1)

    def test_a_restored_server_that_does_not_say_so(self):
        # Its time is behind our anchor, so that its list is empty and looks like "nothing new" ...
        self.upstream.restore(self.saved)
        self.upstream.documents.pop((guid("many later"), 100), None)
        self.add_leaf("after the restore")
        self.sync()
        self.assertIn(guid("many later"), self.shown())
        # ... until the next complete list, which comes by itself.
        done = self.sync(env={"GAPFERRY_CLOCK": "2027-12-22T12:00:00Z"})
        self.assertTrue(done["full_list"])
        listed = self.shown()
        self.assertIn(guid("many after the restore"), listed)

    def test_another_server_with_another_catalogue(self):
        with WsusServer() as other:
            for key, found in list(self.upstream.documents.items()):
                if found.is_config or key[0] in (guid("many 1"), guid("many 2")):
                    other.add(found.text)
            self.mirror.configure(upstream__wsus=other.url)
            done = self.sync(code=2)
            self.assert_error(done, "withdraw", reason="removals-need-acceptance")
            self.assert_unchanged(self.before)
            requests = [r for r in other.requests if r.operation == LIST]
            self.assertEqual({anchor_of(r) for r in requests}, {None},
                             "anchors of one server are not shown to another")
            self.assertEqual(other.violations, [])

    def test_a_clock_of_the_server_that_jumps_back(self):
        # Anchors go on being the server's: only it compares them.
        self.upstream.tick -= 1000
        self.add_leaf("during the jump")
        self.sync()
        self.upstream.tick += 2000
        self.add_leaf("after the jump")
        self.sync("--full")
        listed = self.shown()
        self.assertIn(guid("many during the jump"), listed)
        self.assertIn(guid("many after the jump"), listed)


class InterruptedTest(ListCase, unittest.TestCase):
    """Anchors move only with what they cover."""

    def stopped_at(self, call, **trouble):
        self.upstream.max_updates = 10
        met = self.upstream.on(DATA, call=call, times=99, **trouble)
        self.sync(code=1)
        self.assertGreater(met.hits, 0)
        self.assertEqual(self.mirror.status()["generation"], 0)

    def test_what_came_before_a_break_is_not_asked_for_again(self):
        self.stopped_at(4, reset="before")
        asked = self.upstream.calls[DATA]
        self.assertLess(asked, 30)
        self.upstream.calm()
        self.sync()
        self.assertEqual([anchor_of(r) for r in self.upstream.requests if r.operation == LIST],
                         [None, None])
        fresh = self.world.init("fresh", "--upstream", self.upstream.url)
        calls = self.upstream.calls[DATA]
        self.mirror, first = fresh, self.mirror
        self.upstream.calm()
        self.sync()
        self.assertLess(calls, self.upstream.calls[DATA])
        self.assertEqual(first.status()["documents_digest"], fresh.status()["documents_digest"])

    def test_a_second_sync_that_breaks_lists_again(self):
        self.sync()
        first = self.mirror.state()
        for i in range(30):
            self.add_leaf(f"new {i}")
        self.upstream.max_updates = 10
        self.upstream.calm()
        self.upstream.on(DATA, call=2, times=99, status=503)
        self.sync(code=1)
        self.assert_unchanged(first)
        sent = {anchor_of(r) for r in self.list_requests()}
        self.upstream.calm()
        self.add_leaf("newest")
        self.sync()
        self.assertEqual({anchor_of(r) for r in self.list_requests()}, sent)
        titles = [row["title"] for row in self.mirror.rows("update", "list")]
        self.assertEqual(sum(title.startswith("Many new") for title in titles), 31)


class LargeListTest(SyncCase, unittest.TestCase):
    def test_a_list_of_many_entries_in_bounded_memory(self):
        self.sync()
        before = self.mirror.state()
        count = int(os.environ.get("GAPFERRY_LIST_ENTRIES", "300000"))
        entry = ("<UpdateIdentity><UpdateID>%08x-1111-4222-8333-944445555666</UpdateID>"
                 "<RevisionNumber>100</RevisionNumber></UpdateIdentity>")
        entries = "".join(entry % i for i in range(count)).encode()
        self.upstream.xpress = False
        self.upstream.on(LIST, call=2, edit=lambda body: body.replace(
            b"<NewRevisions>", b"<NewRevisions>" + entries))
        done = self.sync("--full", "--dry-run", "--accept-removals", 5)
        self.assertEqual(done["new_revisions"], count)
        if not sanitized():
            self.assertLess(done.peak_kib, 60_000 + count // 8, f"{len(entries)} bytes of list")
        self.assert_unchanged(before)


if __name__ == "__main__":
    unittest.main()
