"""Every machine of the generated catalogue, against a real server: with everything approved it is offered
exactly what the generator, which evaluates rules by itself, says; and after a publication what that changed.
"""
import unittest

import catalogue
from harness import World, gapferry

PROFILES = ("workstation-x64", "workstation-arm64", "server-x64", "workstation-current", "kiosk-x64")


class Machines(unittest.TestCase):
    def scan(self, server, folder, profile):
        facts = folder / f"{profile}.yaml"
        facts.write_text(catalogue.facts(profile))
        outcome = gapferry("client", "scan", "--server", server.url, "--as", facts,
                           "--state", folder / profile, "--json")
        self.assertEqual(outcome.code, 0, outcome)
        return outcome.result()

    def approve_all(self, mirror, step):
        guids = [row["guid"] for row in catalogue.listing(step).values()
                 if row["visible"] and not row["expired"]]
        mirror.run("update", "approve", *guids, "--group", "All Computers", "--accept-eula")

    def compare(self, server, folder, step):
        for profile in PROFILES:
            with self.subTest(profile=profile, step=step):
                result = self.scan(server, folder, profile)
                expected = catalogue.expectation(profile, step)
                drivers = {row["guid"] for row in catalogue.listing(step).values()
                           if row["kind"] == "driver"}
                for mine, theirs in (("offered", "offered"), ("needed", "applicable"),
                                     ("installed", "installed")):
                    found = {row if isinstance(row, str) else row["update_id"] for row in result[mine]}
                    self.assertEqual(found - drivers, {row["guid"] for row in expected[theirs]}, mine)
                # The server gives one driver per device: the best of those that are newer.
                offered = {row["update_id"] for row in result["offered"]} & drivers
                newer = {row["guid"] for row in expected["drivers"]}
                self.assertLessEqual(offered, newer)
                self.assertEqual(bool(offered), bool(newer))

    def test_are_offered_what_they_lack(self):
        with World() as world:
            mirror = catalogue.upstream(world, "mirror")
            self.approve_all(mirror, 0)
            with mirror.serve() as server:
                self.compare(server, world.path, 0)
                catalogue.advance(mirror, 1)
                self.approve_all(mirror, 1)
                catalogue.wait_for_index(server)
                self.compare(server, world.path, 1)


if __name__ == "__main__":
    unittest.main()
