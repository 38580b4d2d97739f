"""Sites as the sender sees them: what each is sent, groups of them, what they ask for."""
import unittest

import small_catalogue as small
from delta_support import DEFINITIONS, SECURITY, TwoSides, add, sha1_of
from harness import gapferry

KIB = 1024


class Filters(TwoSides):
    """Settings decide which files travel; documents and decisions are complete in every case."""

    @classmethod
    def prepare(cls):
        up = cls.upstream
        cls.near.run("group", "add", "Lab")
        cls.publish(add(up, "wide x64", title="Update for x64-based Systems"),
                    add(up, "wide arm", title="Update for ARM64-based Systems"),
                    add(up, "file x86", file="setup-x86.exe"),
                    add(up, "german", language="de"), add(up, "french", language="fr"),
                    add(up, "plain"))
        cls.publish(add(up, "lab"), group="Lab")

    def test_what_a_filter_left_out_comes_once_it_is_wider(self):
        site = self.site("narrow")
        self.near.run("site", "set", "narrow", "--content", "none")
        done = self.bring(site, "narrow")
        self.assertEqual((done["content_files"], self.held(site)), (0, set()))
        self.bring_back(site)
        # The site asks for what its approvals need; its settings still say no.
        plan = self.plan("narrow")
        self.assertEqual(plan["content_files"], 0)
        self.assertGreater(plan["requests"]["filtered"], 0)

        error = self.near.refuse(2, "site", "set", "narrow", "--language", "xq")
        self.assertEqual(error["reason"], "language-unknown")
        self.assertIn(", de, ", error["message"])
        self.assertIn("site set narrow --language en", error["next"])

        self.near.run("site", "set", "narrow", "--content", "approved", "--architecture", "x64", "--language",
                      "de", "--group", "Office")
        shown = self.near.run("site", "show", "narrow")["settings"]
        self.assertEqual((shown["architectures"], shown["languages"]), (["x64"], ["de"]))
        plan = self.plan("narrow")
        self.assertEqual(plan["left_out"]["architecture"]["updates"], 2)
        self.assertEqual(plan["left_out"]["language"]["updates"], 1)
        self.near.refuse(2, "site", "set", "narrow", "--parity", "101")
        self.near.run("site", "set", "narrow", "--encrypt", "yes", "--parity", "7")
        done = self.bring(site, "narrow")
        self.assertEqual((done["scope"], done["revisions"], done["content_files"]), ("delta", 0, 3))
        self.assertEqual((done["encrypted"], done["parity"]), (True, 7))
        shown = self.near.run("site", "set", "narrow", "--encrypt", "as-mirror", "--parity", "as-mirror")
        self.assertEqual((shown["settings"]["encrypt"], shown["settings"]["parity"]), (None, None))
        self.assert_holds(site, "wide x64", "german", "plain")
        self.assert_lacks(site, "wide arm", "file x86", "french", "lab")
        self.bring_back(site)

        self.near.run("site", "set", "narrow", "--architecture", "all", "--language", "all", "--group", "all")
        self.assertEqual(self.bring(site, "narrow")["content_files"], 4)
        self.assert_holds(site, "wide arm", "file x86", "french", "lab")

    def test_what_is_needed_most_goes_first(self):
        up = self.upstream
        site = self.site("thin")
        self.bring(site, "thin")
        self.bring_back(site)
        low, high, defs, due = (add(up, "low", classification=SECURITY, severity="Low"),
                                add(up, "high", classification=SECURITY, severity="Critical"),
                                add(up, "defs", classification=DEFINITIONS), add(up, "due"))
        late, large = add(up, "late"), add(up, "large", size=400_000)
        self.publish(low, high, defs, late, large)
        self.near.run("update", "approve", due, "--group", "Office", "--deadline", "2030-01-31")
        self.near.run("sync")
        self.near.run("site", "set", "thin", "--max-bytes", 90 * KIB)
        plan = self.plan("thin")
        self.assertEqual(plan["left_out"]["max_bytes"]["never_fitting"], 1)
        order = []
        for _ in range(3):
            before = self.held(site)
            self.bring(site, "thin")
            self.bring_back(site)
            order.append(self.held(site) - before)
        names = [{sha1_of(n) for n in pair} for pair in (("defs", "high"), ("low", "due"), ("late",))]
        self.assertEqual(order, names)
        self.near.run("site", "set", "thin", "--max-bytes", "0")
        self.assertEqual(self.bring(site, "thin")["content_files"], 1)

    def test_wrong_settings(self):
        self.site("strict")
        for words, told in ((("--architecture", "sparc"), "x86, x64, arm64"), (("--language", "d"), "no language"),
                            (("--overlap", "101"), "100"), (("--content", "some"), "as-mirror"),
                            (("--returns", "--no-returns"), "exclude"),
                            (("--architecture", "all", "--architecture", "x64"), "not both")):
            error = self.near.refuse(2, "site", "set", "strict", *words)
            self.assertIn(told, error["message"])
        self.near.refuse(10, "site", "set", "strict", "--group", "Nowhere")
        for words in (("site", "set", "nowhere", "--content", "all"), ("site", "show", "nowhere"),
                      ("site", "group", "add", "fleet", "nowhere"), ("site", "remove", "nowhere", "--yes")):
            self.assertIn("site list", self.near.refuse(10, *words)["next"])


class Fleets(TwoSides):
    """One bundle for several sites in different states."""

    def test_one_bundle_for_all(self):
        north, south = self.site("north"), self.site("south")
        self.publish(add(self.upstream, "first"))
        for name, site in (("north", north), ("south", south)):
            self.bring(site, name)
            self.bring_back(site)
        self.publish(add(self.upstream, "second"))
        ahead = self.bring(north, "north")
        self.bring_back(north)
        self.publish(add(self.upstream, "third"))
        self.assertIn("ANOTHER", self.near.refuse(2, "site", "group", "add", "north", "south")["next"])
        self.near.refuse(10, "site", "group", "remove", "fleet", "--yes")
        self.near.run("site", "group", "add", "fleet", "north", "south")
        self.assertEqual(self.near.run("site", "show", "north")["groups"], ["fleet"])
        plan = self.plan("fleet")
        self.assertEqual((plan["recipients"], plan["content_files"]), (["north", "south"], 2)
                         if plan["recipients"][0] == "north" else (["south", "north"], 2))
        done = self.export("fleet")
        self.assertLess(done["base"], ahead["target"])  # the oldest state among them
        for site in (north, south):
            site.run("import", done["bundle"], "--yes")
            self.assert_holds(site, "first", "second", "third")
        self.assert_same_state(north, south)
        other = self.site("other")
        other.refuse(21, "import", done["bundle"], "--yes")

        # Each acknowledges it by itself, and goes on in its own stream.
        self.bring_back(north)
        self.assertEqual(self.plan("north")["content_files"], 0)
        self.assertEqual(self.plan("south")["content_files"], 2)
        self.assertEqual(self.plan("fleet")["content_files"], 2)
        self.bring_back(south)
        self.assertEqual((self.plan("fleet")["content_files"], self.plan("fleet")["base"]),
                         (0, done["target"]))
        self.publish(add(self.upstream, "fourth"))
        self.bring(south, "south")
        self.near.run("site", "group", "remove", "fleet", "north", "--yes")
        self.near.run("site", "group", "remove", "fleet", "south", "--yes")
        error = self.near.refuse(2, "export", "--for", "fleet", "--dry-run")
        self.assertIn("site group add fleet", error["next"])

    def test_a_site_that_is_removed_keeps_its_numbers(self):
        gone = self.site("gone")
        self.bring(gone, "gone")
        file = gone.run("export", "--return", "--to", self.world.directory("back"), "--yes")["return"]
        self.near.run("site", "remove", "gone", "--yes")
        self.near.refuse(10, "export", "--for", "gone", "--dry-run")
        self.near.refuse(21, "import", file, "--yes")
        self.near.run("site", "add", self.world.path / "gone.card", "--yes")
        self.publish(add(self.upstream, "since"))
        again = self.bring(gone, "gone")
        self.assertEqual((again["sequence"], again["scope"]), (2, "full"))


class Requests(TwoSides):
    """What the far side asks for is sent with the next bundle."""

    def test_requests_travel_with_the_return(self):
        named = add(self.upstream, "named")
        self.publish(add(self.upstream, "usual"))
        self.near.configure(content__download="all")
        self.near.run("sync")
        site = self.site("asking")
        self.near.run("site", "set", "asking", "--content", "approved")
        self.bring(site, "asking")
        self.assert_lacks(site, "named")
        for code, words in ((10, ("add", "0" * 40)), (2, ("add",)), (2, ("add", "--bundle", "0")),
                            (2, ("add", named, "--all"))):
            self.assertTrue(site.refuse(code, "request", *words)["next"])
        self.assertTrue(self.near.refuse(2, "request", "list")["next"])
        self.assertEqual(site.run("request", "add", named)["files"], 1)
        self.assertEqual(site.run("request", "add", sha1_of("usual"))["held"], 1)
        self.assertEqual([row["asked"] for row in site.run("request", "list")["files"]], [True])
        site.run("request", "remove", named)
        self.assertEqual(site.run("request", "list")["files"], [])
        site.run("request", "add", named)
        self.bring_back(site)
        shown = self.near.run("site", "show", "asking")
        self.assertEqual([(r["sha1"].upper(), r["asked"]) for r in shown["requests"]], [(sha1_of("named"), True)])
        plan = self.plan("asking")
        self.assertEqual((plan["requests"]["honoured"], plan["content_files"]), (1, 1))
        self.bring(site, "asking")
        self.assert_holds(site, "named")
        self.assertEqual(site.run("request", "list")["files"], [])
        self.bring_back(site)
        self.assertEqual(self.plan("asking")["content_files"], 0)

        # Everything once more: nothing counts as held, and the next bundle is a full one.
        site.run("request", "add", "--all")
        site.run("request", "remove", "--all")
        self.assertEqual(site.run("request", "list")["bundles"], [])
        self.assertEqual(site.refuse(10, "request", "remove", "--all")["reason"], "request-unknown")
        site.run("request", "add", "--all")
        self.assertTrue(site.run("request", "list")["bundles"][0]["all"])
        self.bring_back(site)
        plan = self.plan("asking")
        self.assertEqual(plan["scope"], "full")
        self.assertEqual(plan["revisions_carried"], plan["revisions_listed"])
        self.assertEqual(plan["content_files"], 1)
        self.bring(site, "asking")
        self.bring_back(site)
        self.assertEqual(site.run("request", "list")["bundles"], [])
        self.assertEqual((self.plan("asking")["scope"], self.plan("asking")["content_files"]), ("delta", 0))

        self.near.run("site", "forget-content", "asking", "--yes")
        self.assertEqual(self.plan("asking")["content_files"], 1)
        text = gapferry("export", "--for", "asking", "--dry-run", "--to", self.world.directory("stick"),
                        "--mirror", self.near.path).out
        for word in ("updates", "documents", "approvals", "declined", "files", "free at"):
            self.assertIn(word, text)


if __name__ == "__main__":
    unittest.main()
