"""`gapferry sync` as a replica: the five lists of GetDeployments, each with a semantics of its own.

Groups, hidden updates and licences are whole each time; deployments and dead ones are a delta between two
anchors. What the administrator of the upstream ends must end here, and nothing else.
"""
import hashlib
import re
import unittest

import small_catalogue
from small_catalogue import BUNDLE, CLASSIFICATION, LEAVES, PRODUCT, guid
from sync_support import SyncCase
from wsus import ALL_COMPUTERS, UNASSIGNED, WsusServer, document

OFFICE, LAB = guid("office"), guid("lab")
D = [guid(f"deployment {i}") for i in range(12)]


class ReplicaTest(SyncCase, unittest.TestCase):
    init_options = ("--replica",)

    def fill(self):
        small_catalogue.fill(self.upstream)
        self.upstream.groups = {OFFICE: ("Office", ALL_COMPUTERS, False), LAB: ("Lab", OFFICE, False)}
        self.upstream.deploy(D[0], (LEAVES[0], 100), OFFICE, 0, deadline="2027-03-01T10:00:00")
        self.upstream.deploy(D[1], (LEAVES[1], 100), LAB, 1)
        self.upstream.deploy(D[2], (LEAVES[1], 100), ALL_COMPUTERS, 2)
        self.upstream.deploy(D[3], (BUNDLE, 100), LAB, 3)
        self.upstream.hidden = [LEAVES[2]]

    def setUp(self):
        super().setUp()
        self.sync()
        self.before = self.mirror.state()
        self.upstream.calm()

    def approvals(self):
        """{(update, group): action} of everything that is approved."""
        return {(row["guid"], a["group"]): a["action"] for row in self.mirror.rows("update", "list")
                for a in row["approvals"]}

    def declined(self):
        return {row["guid"] for row in self.mirror.rows("update", "list") if row["state"] == "Declined"}

    def groups(self):
        return {row["name"]: row["parent"] for row in self.mirror.rows("group", "list")}

    def asked(self):
        """The deploymentAnchor of each GetDeployments."""
        found = [re.search(r"deploymentAnchor>([^<]*)<", r.text) for r in self.upstream.requests
                 if r.operation == "GetDeployments"]
        return [one.group(1) if one else None for one in found]

    FIRST = {(LEAVES[0], "Office"): "Install", (LEAVES[1], "Lab"): "Uninstall",
             (LEAVES[1], "All Computers"): "PreDeploymentCheck", (BUNDLE, "Lab"): "Block"}

    def test_the_first_sync_takes_everything(self):
        self.assertEqual(self.approvals(), self.FIRST)
        self.assertEqual(self.groups(), {"All Computers": None, "Unassigned Computers": "All Computers",
                                         "Office": "All Computers", "Lab": "Office"})
        self.assertEqual(self.declined(), {LEAVES[2]})
        shown = self.mirror.run("update", "show", LEAVES[0])["approvals"][0]
        self.assertEqual(shown["deadline"], "2027-03-01T10:00:00Z")
        self.assertEqual(shown["approved_by"], "CORP\\Alice")
        # Content of what is to be installed or uninstalled, not of what is blocked or scanned for.
        self.assertEqual(self.upstream.calls["content"], 0)
        self.assertEqual(self.mirror.status()["content"]["files"], 2)

    def test_nothing_new(self):
        self.assertFalse(self.sync()["changed"])
        self.assertEqual(len(self.asked()), 1)
        self.assertTrue(self.asked()[0])
        self.assert_unchanged(self.before)

    def test_a_delta_adds_changes_and_ends(self):
        self.upstream.deploy(D[4], (BUNDLE, 100), OFFICE, 0)
        self.upstream.deploy(D[1], (LEAVES[1], 100), LAB, 0)  # the same GUID, another action
        self.upstream.end_deployment(D[3])
        self.sync()
        wanted = dict(self.FIRST)
        wanted[(BUNDLE, "Office")] = "Install"
        wanted[(LEAVES[1], "Lab")] = "Install"
        del wanted[(BUNDLE, "Lab")]
        self.assertEqual(self.approvals(), wanted)
        self.assertTrue(all(self.asked()))

    def test_made_and_ended_between_two_syncs(self):
        self.upstream.deploy(D[5], (BUNDLE, 100), OFFICE, 0)
        self.upstream.end_deployment(D[5])
        self.sync()
        self.assertEqual(self.approvals(), self.FIRST)

    def test_a_group_that_is_not_listed_goes_with_its_deployments(self):
        del self.upstream.groups[LAB]
        for one in (D[1], D[3]):
            del self.upstream.deployments[one]  # without a word among the dead
        self.sync()
        self.assertNotIn("Lab", self.groups())
        self.assertEqual(self.approvals(), {k: v for k, v in self.FIRST.items() if k[1] != "Lab"})

    def test_a_group_is_renamed_and_moved(self):
        self.upstream.groups[LAB] = ("Laboratory", ALL_COMPUTERS, False)
        self.sync()
        self.assertEqual(self.groups()["Laboratory"], "All Computers")
        self.assertEqual(self.approvals()[(BUNDLE, "Laboratory")], "Block")

    def test_hidden_updates_are_the_whole_list(self):
        self.upstream.hidden = []
        self.sync()
        self.assertEqual(self.declined(), set())
        self.upstream.hidden = [LEAVES[2], guid("not here")]
        self.sync("--accept-removals", 1)
        self.assertEqual(self.declined(), {LEAVES[2]})

    def test_hiding_much_needs_consent(self):
        self.upstream.hidden = [LEAVES[2], LEAVES[0], LEAVES[1]]
        done = self.sync(code=2)
        error = self.assert_error(done, "decline", reason="removals-need-acceptance")
        self.assert_unchanged(self.before)
        self.assertIn("--accept-removals 2", error["next"])
        self.sync("--accept-removals", 2)
        self.assertEqual(self.declined(), set(LEAVES))

    def test_a_reset_ends_what_is_not_listed(self):
        # The upstream was replaced: its anchors are new, and nobody tells of the dead.
        self.upstream.on("GetRevisionIdList", call=1, run=WsusServer.become_another)
        del self.upstream.deployments[D[0]]
        self.upstream.deploy(D[6], (LEAVES[0], 100), LAB, 0)
        self.sync()
        wanted = dict(self.FIRST)
        del wanted[(LEAVES[0], "Office")]
        wanted[(LEAVES[0], "Lab")] = "Install"
        self.assertEqual(self.approvals(), wanted)
        self.assertEqual(self.asked()[-1], None)

    def test_a_server_changed_while_deployments_are_asked_for(self):
        self.upstream.on("GetDeployments", call=1, run=WsusServer.become_another)
        self.upstream.deploy(D[6], (BUNDLE, 100), OFFICE, 0)
        self.sync()
        self.assertEqual(self.approvals()[(BUNDLE, "Office")], "Install")
        self.assertEqual(self.asked()[-1], None)
        self.assert_calls(GetDeployments=2)

    def test_a_deployment_anchor_that_is_not_understood(self):
        self.upstream.on("GetDeployments", call=1, fault=("InvalidParameters", "deploymentAnchor"))
        self.upstream.deploy(D[6], (BUNDLE, 100), OFFICE, 0)
        self.sync()
        self.assertEqual(self.approvals()[(BUNDLE, "Office")], "Install")
        self.assertEqual(self.asked()[-1], None)

    def test_nothing_is_visible_when_deployments_do_not_come(self):
        small_catalogue.advance(self.upstream)
        self.upstream.deploy(D[6], (BUNDLE, 100), OFFICE, 0)
        for trouble in ({"status": 503}, {"reset_after_bytes": 300}, {"cut_without_length": 700},
                        {"fault": ("InternalServerError", "")}, {"fault": ("ServerBusy", "")}):
            with self.subTest(**trouble):
                self.upstream.calm()
                self.upstream.on("GetDeployments", **trouble)
                done = self.sync(code=1)
                self.assert_error(done, "")
                self.assertIn(self.upstream.calls["GetDeployments"], range(3, 9))
                self.assert_unchanged(self.before)
        self.upstream.calm()
        self.sync()
        self.assertEqual(self.approvals()[(BUNDLE, "Office")], "Install")
        self.assertIn(small_catalogue.NEW_LEAF, {r["guid"] for r in self.mirror.rows("update", "list")})

    def test_a_server_without_any_group_takes_nothing_away(self):
        self.upstream.xpress = False
        self.upstream.on("GetDeployments", edit=lambda body: re.sub(
            rb"<Groups>.*</Groups>", b"<Groups />", body, flags=re.S))
        done = self.sync(code=1)
        self.assert_error(done, "group")
        self.assert_unchanged(self.before)

    def test_deployments_that_make_no_sense(self):
        self.upstream.deploy(D[7], (BUNDLE, 100), OFFICE, 9)                    # no such action
        self.upstream.deploy(D[8], (guid("not here"), 100), OFFICE, 0)           # no such update
        self.upstream.deploy(D[9], (BUNDLE, 777), OFFICE, 0)                     # no such revision
        self.upstream.deploy(D[10], (BUNDLE, 100), guid("no such group"), 0)
        self.upstream.deploy(D[11], (BUNDLE, 100), UNASSIGNED, 0, priority=200)  # priority out of range
        done = self.sync()
        wanted = dict(self.FIRST)
        wanted[(BUNDLE, "Unassigned Computers")] = "Install"
        shown = self.approvals()
        self.assertEqual({k: v for k, v in shown.items() if k in wanted}, wanted, done)
        self.assertNotIn(9, shown.values())
        # What it names but the server does not offer waits for it: another revision is not approved.
        named = self.mirror.run("update", "show", BUNDLE)["approvals"]
        self.assertEqual({a["revision"] for a in named if a["group"] == "Office"}, {777})
        self.mirror.run("store", "check")

    def test_an_approval_made_here_is_refused(self):
        error = self.mirror.refuse(2, "update", "approve", BUNDLE, "--group", "Office")
        self.assertIn("replica", error["reason"] + error["message"])

    def test_a_new_approval_brings_its_update_and_its_files(self):
        data = b"new payload" * 500
        self.upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
        self.upstream.add(document(guid("brand new"), 100, "Software", title="Brand new", explicitly=True,
                                   prerequisites=[PRODUCT, CLASSIFICATION], files=[("new.exe", data)]))
        self.upstream.deploy(D[6], (guid("brand new"), 100), OFFICE, 0)
        done = self.sync()
        self.assertEqual(done["content"]["fetched_files"], 1)
        self.assertEqual(self.approvals()[(guid("brand new"), "Office")], "Install")


class AutonomousTest(SyncCase, unittest.TestCase):
    def test_deployments_are_never_asked_for(self):
        self.upstream.hidden = [LEAVES[0]]
        self.sync()
        self.assert_calls(GetDeployments=0)
        self.assertEqual({r["state"] for r in self.mirror.rows("update", "list")}, {"NotApproved"})


if __name__ == "__main__":
    unittest.main()
