"""What a bundle carries: nothing that clients cannot need at its target, everything that the state of the
site lacks, whatever was lost on the way."""
import unittest

import small_catalogue as small
from delta_support import DEFINITIONS, TwoSides, add, sha1_of


class Interval(TwoSides):
    """Approvals that came and went between two bundles."""

    @classmethod
    def prepare(cls):
        cls.plant = cls.site("plant")
        cls.publish(add(cls.upstream, "base"))

    def test_superseded_and_declined_travel_as_metadata_only(self):
        self.bring(self.plant, "plant")
        self.bring_back(self.plant)
        before = self.plan("plant")["replaced_updates"]
        old, gone = add(self.upstream, "old"), add(self.upstream, "gone")
        self.publish(old, gone)
        new = add(self.upstream, "new", superseded=[old])
        self.publish(new)
        self.near.run("update", "decline", gone)
        plan = self.plan("plant")
        self.assertEqual((plan["content_files"], plan["replaced_updates"]), (1, before + 1))
        self.assertEqual((plan["updates"]["added"], plan["updates"]["expired"]), (3, 0))
        self.assertEqual([row["group"] for row in plan["approvals"]], ["Office"])
        done = self.bring(self.plant, "plant")
        self.assertEqual((done["content_files"], done["revisions"], done["scope"]), (1, 3, "delta"))
        self.assert_holds(self.plant, "base", "new")
        self.assert_lacks(self.plant, "old", "gone")
        approved = {row["guid"] for row in self.plant.rows("update", "list") if row["approvals"]}
        self.assertLessEqual({small.guid("base"), old, new}, approved)
        self.assertNotIn(gone, approved)
        self.assertEqual(self.plant.run("request", "list")["files"], [], "nothing is wanted")

        # What replaces it only for some computers replaces nothing for the others.
        self.near.run("group", "add", "Pilot")
        stays = add(self.upstream, "stays")
        self.publish(stays)
        self.publish(add(self.upstream, "pilot", superseded=[stays]), group="Pilot")
        self.assertEqual(self.bring(self.plant, "plant")["content_files"], 3)  # and "new", not acknowledged
        self.assert_holds(self.plant, "stays", "pilot")

    def test_of_definitions_only_the_newest(self):
        first = add(self.upstream, "definition 1", classification=DEFINITIONS, kb="2267602", day=12,
                    title="Definition Update - KB2267602 (Version 1.401.22.0)")
        second = add(self.upstream, "definition 2", classification=DEFINITIONS, kb="2267602", day=13,
                     superseded=[first], title="Definition Update - KB2267602 (Version 1.401.30.0)")
        third = add(self.upstream, "definition 3", classification=DEFINITIONS, kb="2267602", day=14,
                    title="Definition Update - KB2267602 (Version 1.402.1.0)")
        elsewhere = add(self.upstream, "definition x", classification=DEFINITIONS, kb="4052623", day=11,
                        title="Definition Update - KB4052623 (Version 4.18.1.0)")
        site = self.site("defended")
        before = self.plan("defended")["content_files"]
        self.publish(first, second, third, elsewhere)
        self.assertEqual(self.plan("defended")["content_files"], before + 2)
        self.bring(site, "defended")
        self.assert_holds(site, "definition 3", "definition x")
        self.assert_lacks(site, "definition 1", "definition 2")
        self.assertEqual(site.run("request", "list")["files"], [])


class Losses(TwoSides):
    """Bundles and receipts that do not arrive."""

    def test_lost_bundles_and_receipts_cost_a_repetition(self):
        plant = self.site("plant")
        self.publish(add(self.upstream, "one"))
        self.bring(plant, "plant")
        self.bring_back(plant)
        self.publish(add(self.upstream, "two"))
        lost = self.export("plant")
        self.publish(add(self.upstream, "three"))
        third = self.bring(plant, "plant")  # the second one never came
        self.assertEqual((third["base"], third["content_files"]), (lost["base"], 2))
        plant.refuse(21, "import", lost["bundle"], "--yes")
        self.publish(add(self.upstream, "four"))
        fourth = self.bring(plant, "plant")  # the receipt for the third one is under way
        self.assertEqual((fourth["base"], fourth["content_files"]), (lost["base"], 3))
        self.bring_back(plant)
        self.publish(add(self.upstream, "five"))
        fifth = self.bring(plant, "plant")
        self.assertEqual((fifth["base"], fifth["content_files"]), (fourth["target"], 1))
        self.assert_holds(plant, "one", "two", "three", "four", "five")
        self.what_people_assert(plant, fifth)

    def what_people_assert(self, plant, fifth):
        """`--since` believes what the bundle brought, not what the site has denied since."""
        self.assertEqual(self.plan("plant")["content_files"], 1)
        known = self.plan("plant", "--since", fifth["sequence"])
        self.assertEqual((known["base"], known["content_files"]), (fifth["target"], 0))
        self.bring_back(plant)
        name = sha1_of("five")
        next((plant.path / "content").rglob(name + ".*")).unlink()
        plant.try_run("store", "check", "--drop-damaged")
        self.bring_back(plant)
        self.assertEqual(self.plan("plant")["content_files"], 1)
        self.assertEqual(self.plan("plant", "--since", fifth["sequence"])["content_files"], 1)
        self.near.refuse(10, "export", "--for", "plant", "--dry-run", "--since", "99")
        # As if everything since the fourth were lost.
        again = self.plan("plant", "--resend-since", "4")
        self.assertEqual((again["scope"], again["content_files"]), ("delta", 4))
        self.assertEqual(self.plan("plant", "--resend-since", "1")["scope"], "full")
        self.assertEqual(self.plan("plant", "--resend-since", "2020-01-01")["scope"], "full")
        error = self.near.refuse(2, "export", "--for", "plant", "--dry-run", "--resend-since", "soon")
        self.assertIn("--resend-since", error["message"])

    def test_without_returns_any_of_the_last_bundles_may_be_lost(self):
        ship = self.site("ship")
        self.near.run("site", "set", "ship", "--no-returns", "--overlap", "1")
        bundles = []
        for number in range(7):
            self.publish(add(self.upstream, f"weekly {number}"))
            bundles.append(self.export("ship"))
        self.assertEqual([b["scope"] for b in bundles], ["full"] * 2 + ["delta"] * 5)
        for number, bundle in enumerate(bundles[2:]):
            self.assertEqual(bundle["base"], bundles[number]["target"])
            self.assertEqual(bundle["content_files"], 2)
        for number in (0, 2, 4):  # every other one is lost
            ship.run("import", bundles[number]["bundle"], "--yes")
        self.assert_holds(ship, *(f"weekly {n}" for n in range(5)))
        # Two in a row are more than was asked for: it says so, and the sender can go back.
        self.publish(add(self.upstream, "weekly 7"))
        last = self.export("ship")
        error = ship.refuse(10, "import", last["bundle"], "--yes")
        self.assertEqual(error["reason"], "base-missing")
        again = self.bring(ship, "ship", "--resend-since", "6")
        self.assertEqual((again["base"], again["content_files"]), (bundles[4]["target"], 3))
        self.assert_holds(ship, *(f"weekly {n}" for n in range(8)))
        self.assertEqual(ship.run("request", "list")["files"], [])


if __name__ == "__main__":
    unittest.main()
