"""Rollups over the published WSDL, in both roles.

As downstream server: python3-zeep tells `gapferry serve` of servers, computers and status, and what it is
told shows in `computer list`, `computer show` and `status`. As upstream: `gapferry rollup` against a server
of Python's, which checks each message against the schema and misbehaves.
"""
import datetime
import json
import unittest
import uuid

import small_catalogue
import soap
from harness import World
from wsus.reporting import ReportingServer

UTC = datetime.timezone.utc
NEVER = datetime.datetime(1753, 1, 1, tzinfo=UTC)
ZERO = "00000000-0000-0000-0000-000000000000"
UNASSIGNED = "b73ca6ed-5727-47f3-84de-015e03f6a88a"
UPDATE = "33333333-0000-4000-8000-000000000001"
DUMMY = {"Expiration": datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "EncryptedData": b""}
COUNTS = (
    "UpdateCount DeclinedUpdateCount ApprovedUpdateCount NotApprovedUpdateCount "
    "UpdatesWithStaleUpdateApprovalsCount ExpiredUpdateCount "
    "CriticalOrSecurityUpdatesNotApprovedForInstallCount "
    "WsusInfrastructureUpdatesNotApprovedForInstallCount UpdatesWithClientErrorsCount "
    "UpdatesWithServerErrorsCount UpdatesNeedingFilesCount UpdatesNeededByComputersCount "
    "UpdatesUpToDateCount CustomComputerTargetGroupCount ComputerTargetCount "
    "ComputerTargetsNeedingUpdatesCount ComputerTargetsWithUpdateErrorsCount ComputersUpToDateCount").split()


def now():
    return datetime.datetime.now(UTC)


def guid():
    return str(uuid.uuid4())


class Downstream:
    """A downstream server with computers."""

    def __init__(self, url):
        self.guid = guid()
        soap.dss_auth(url).GetAuthorizationCookie(accountName="below.example", accountGuid=self.guid)
        self.service = soap.proxy(url, "ReportingWebService-rollup.wsdl", f"{{{soap.SD}}}WebServiceSoap",
                                  "/ReportingWebService/ReportingWebService.asmx")
        self.config = self.service.GetRollupConfiguration(cookie=DUMMY)

    def server(self, server=None, parent=ZERO, activity=(), summaries=1, **more):
        summary = {"OSMajorVersion": 10, "OSMinorVersion": 0, "OSBuildNumber": 26100,
                   "OSServicePackMajorNumber": 0, "OSServicePackMinorNumber": 0, "OSLocale": "en-US",
                   "SuiteMask": 256, "OldProductType": 1, "NewProductType": 48, "SystemMetrics": 0,
                   "ProcessorArchitecture": "amd64", "Count": 1, "ActivitySummaries": {
                       "DownstreamServerRollupClientActivitySummary": [
                           {"UpdateId": u, "RevisionNumber": 1, "InstallSuccessCount": n,
                            "InstallFailureCount": 0} for u, n in activity]}}
        return dict({"ServerId": server or self.guid, "FullDomainName": "below.example",
                     "LastSyncTime": NEVER, "ParentServerId": parent, "Version": "10.0.26100.1",
                     "IsReplica": False, "LastRollupTime": now(),
                     "ServerSummary": {name: 0 for name in COUNTS},
                     "ClientSummaries": {"DownstreamServerRollupClientSummary": [
                         dict(summary, OSBuildNumber=i) for i in range(summaries)]}}, **more)

    def tell_servers(self, *servers):
        self.service.RollupDownstreamServers(
            cookie=DUMMY, clientTime=now(),
            downstreamServers={"DownstreamServerRollupInfo": list(servers)})

    def computer(self, computer, details=True, parent=None, sync=None, **more):
        record = dict({"ComputerId": computer, "LastSyncTime": sync or now(), "LastSyncResult": 1,
                       "LastReportedRebootTime": NEVER, "LastReportedStatusTime": now(),
                       "LastInventoryTime": NEVER, "ParentServerId": parent or self.guid}, **more)
        if details:
            record["Details"] = {
                "TargetGroupIdList": {"guid": [UNASSIGNED]}, "RequestedTargetGroupNames": {"string": ["Lab"]},
                "IPAddress": "10.0.0.7", "FullDomainName": f"{computer[:8]}.example", "OSMajorVersion": 10,
                "OSMinorVersion": 0, "OSBuildNumber": 26100, "OSServicePackMajorNumber": 0,
                "OSServicePackMinorNumber": 0, "OSLocale": "en-US", "OSFamily": "Windows",
                "OSDescription": "", "ComputerMake": "Contoso", "ComputerModel": "One",
                "BiosVersion": "1", "BiosName": "B", "BiosReleaseDate": NEVER,
                "ProcessorArchitecture": "amd64", "SuiteMask": 256, "OldProductType": 1,
                "NewProductType": 48, "SystemMetrics": 0, "ClientVersion": "10.0.26100.1"}
        return record

    def tell_computers(self, *computers, client_time=None):
        changes = self.service.RollupComputers(
            cookie=DUMMY, clientTime=client_time or now(),
            computers={"ComputerRollupInfo": list(computers)})
        return {c.ComputerId: c.Change for c in changes or []}

    def out_of_sync(self, numbers, parent=None):
        return self.service.GetOutOfSyncComputers(
            cookie=DUMMY, parentServerId=parent or self.guid, lastRollupNumbers={
                "ComputerLastRollupNumber": [{"ComputerId": c, "RollupNumber": n}
                                             for c, n in numbers.items()]}) or []

    def tell_status(self, computer, number, states, full=False, parent=None):
        return self.service.RollupComputerStatus(
            cookie=DUMMY, clientTime=now(), parentServerId=parent or self.guid,
            computers={"ComputerStatusRollupInfo": [{
                "InstanceId": guid(), "ComputerId": computer, "EffectiveLastDetectionTime": now(),
                "RollupNumber": number, "IsFullRollup": full,
                "UpdateStatus": {"ComputerStatusRollupUpdateStatus": [
                    {"UpdateId": u, "SummarizationState": s, "LastChangeTime": now()}
                    for u, s in states.items()]}}]})


@unittest.skipIf(soap.MISSING, soap.MISSING)
class UpstreamRoleTest(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        self.mirror = self.world.init("top", "--name", "top")

    def serve(self):
        serving = self.mirror.serve()
        server = serving.__enter__()
        self.addCleanup(serving.__exit__, None, None, None)
        return server

    def states(self, computer):
        shown = self.mirror.run("computer", "show", computer)
        return {u["guid"]: u["state"] for u in shown["updates"]}

    def fault(self, call, *words, **named):
        return soap.fault_of(call, *words, **named)[0]

    def test_the_whole_dialogue(self):
        with self.mirror.serve() as server:
            down = Downstream(server.url)
            config = down.config
            self.assertEqual(
                (config.DoDetailedRollup, config.ServerId, config.RollupDownstreamServersMaxBatchSize,
                 config.RollupComputersMaxBatchSize, config.GetOutOfSyncComputersMaxBatchSize,
                 config.RollupComputerStatusMaxBatchSize),
                (True, self.mirror.status()["guid"], 5000, 1500, 20000, 500))
            child = guid()
            down.tell_servers(down.server(child, parent=down.guid), down.server(activity=[(UPDATE, 3)]))
            pc, deep = guid(), guid()
            self.assertEqual(down.tell_computers(down.computer(pc, details=False)), {pc: "NewParent"})
            self.assertEqual(down.tell_computers(down.computer(pc), down.computer(deep, parent=child)), {})
            self.assertEqual(down.tell_computers(down.computer(pc, details=False)), {})
            rows = {row["id"]: row for row in self.mirror.rows("computer", "list")}
            self.assertEqual(set(rows), {pc, deep})
            self.assertEqual(rows[pc]["name"], f"{pc[:8]}.example")
            self.assertEqual((rows[pc]["server"], rows[deep]["server"]), (down.guid, child))
            self.assertEqual(rows[pc]["requested_groups"], ["Lab"])
            self.assertIn('"downstream_servers": 2', json.dumps(self.mirror.status()))

            self.assertEqual(down.out_of_sync({pc: 0, deep: 5, guid(): 1}), [deep])
            self.assertTrue(down.tell_status(pc, 1, {UPDATE: 2}, full=True))
            self.assertTrue(down.tell_status(deep, 1, {UPDATE: 4}, full=True))
            self.assertEqual(down.out_of_sync({pc: 1, deep: 1}), [])
            self.assertEqual(down.out_of_sync({pc: 2}), [pc])  # another number, not only a smaller one
            self.assertEqual(down.out_of_sync({pc: 0}, parent=guid()), [])
            self.assertEqual(self.states(pc), {UPDATE: "NotInstalled"})
            other = guid()
            self.assertTrue(down.tell_status(pc, 2, {UPDATE: 4, other: 5}))
            self.assertEqual(self.states(pc), {UPDATE: "Installed", other: "Failed"})
            self.assertTrue(down.tell_status(pc, 3, {other: 6}, full=True))
            self.assertEqual(self.states(pc), {other: "InstalledPendingReboot"})

            # Removed here: said for a while, and taken again when it has scanned since.
            before = now()
            self.mirror.run("computer", "remove", pc)
            self.assertEqual(down.tell_computers(down.computer(pc, sync=before)), {pc: "Deleted"})
            self.assertEqual(down.tell_computers(down.computer(pc)), {})
            self.assertEqual(len(self.mirror.rows("computer", "list")), 2)
            reset = down.config.RollupResetGuid
        with self.mirror.serve() as server:  # both identities persist
            again = Downstream(server.url).config
            self.assertEqual((again.RollupResetGuid, again.ServerId), (reset, config.ServerId))

    def test_what_is_refused_and_what_is_passed_over(self):
        server = self.serve()
        down, other = Downstream(server.url), Downstream(server.url)
        own = self.mirror.status()["guid"]
        servers = down.service.RollupDownstreamServers
        for record in (down.server(own), down.server(parent=down.guid), down.server(ZERO)):
            self.assertEqual(self.fault(down.tell_servers, record), "InvalidParameters")
        self.assertEqual(self.fault(down.tell_servers, down.server(guid(), parent=guid())),
                         "InternalServerError")
        loop = guid()
        down.tell_servers(down.server(loop, parent=down.guid))
        self.assertEqual(self.fault(down.tell_servers, down.server(parent=loop)), "InvalidParameters")
        self.assertEqual(self.fault(down.tell_servers, down.server(summaries=5001)), "InvalidParameters")
        self.assertTrue(servers)

        pc = guid()
        for parent in (guid(), own, ZERO):
            self.assertEqual(self.fault(down.tell_computers, down.computer(pc), down.computer(
                guid(), parent=parent)), "InternalServerError")
        self.assertEqual(self.mirror.rows("computer", "list"), [])
        many = [down.computer(f"pc{i}", details=False) for i in range(1501)]
        self.assertEqual(self.fault(down.tell_computers, *many), "InvalidParameters")
        self.assertEqual(len(down.tell_computers(*many[:1500])), 1500)
        down.tell_computers(down.computer(pc))
        self.assertEqual(self.fault(down.out_of_sync, {str(i): 0 for i in range(20001)}),
                         "InvalidParameters")
        self.assertEqual(self.fault(down.tell_status, pc, 1, {UPDATE: 9}), "InvalidParameters")
        self.assertEqual(self.fault(down.tell_status, pc, -1, {UPDATE: 4}), "InvalidParameters")
        # Nobody's, and somebody else's: passed over without a word.
        self.assertTrue(down.tell_status(guid(), 1, {UPDATE: 4}))
        self.assertTrue(other.tell_status(pc, 1, {UPDATE: 4}, full=True))
        self.assertEqual(self.states(pc), {})
        # Older news.
        late = down.computer(pc, sync=now() - datetime.timedelta(days=1))
        late["Details"]["IPAddress"] = "10.9.9.9"
        self.assertEqual(down.tell_computers(late), {})
        self.assertEqual(self.mirror.rows("computer", "list")[0]["ip_address"], "10.0.0.7")

    def test_the_senders_clock_is_corrected(self):
        server = self.serve()
        down = Downstream(server.url)
        slow = now() - datetime.timedelta(hours=5)
        pc = guid()
        down.tell_computers(down.computer(pc, sync=slow - datetime.timedelta(minutes=10)), client_time=slow)
        shown = self.mirror.rows("computer", "list")[0]["last_scan"]
        seen = datetime.datetime.fromisoformat(shown.replace("Z", "+00:00"))
        self.assertLess(abs(now() - seen - datetime.timedelta(minutes=10)), datetime.timedelta(minutes=1))

    def test_summaries_only(self):
        self.mirror.configure(serve__rollup="summary")
        server = self.serve()
        down = Downstream(server.url)
        self.assertFalse(down.config.DoDetailedRollup)
        down.tell_servers(down.server(activity=[(UPDATE, 3)]))
        self.assertEqual(self.fault(down.tell_computers, down.computer(guid())), "InvalidParameters")
        self.assertEqual(self.fault(down.out_of_sync, {"a": 0}), "InvalidParameters")
        self.assertEqual(self.fault(down.tell_status, "a", 1, {}), "InvalidParameters")


@unittest.skipIf(soap.MISSING, soap.MISSING)
class DownstreamRoleTest(unittest.TestCase):
    """A mirror with a server below it that has two computers, and a strict upstream in Python."""

    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(ReportingServer())
        self.mirror = self.world.init("middle", "--name", "middle", "--upstream", self.upstream.url)
        small_catalogue.fill(self.upstream)
        self.mirror.run("sync", "--metadata-only")
        self.update = small_catalogue.LEAVES[0]
        serving = self.mirror.serve()
        server = serving.__enter__()
        self.addCleanup(serving.__exit__, None, None, None)
        self.below = Downstream(server.url)
        self.computers = [guid(), guid()]
        self.tell_below(installs=2)

    def tell_below(self, installs=0, state=2, number=1):
        self.below.tell_servers(self.below.server(activity=[(self.update, installs)]))
        self.below.tell_computers(*[self.below.computer(c) for c in self.computers])
        for computer in self.computers:
            self.below.tell_status(computer, number, {self.update: state, guid(): 4}, full=True)

    def tearDown(self):
        self.assertEqual(self.upstream.violations, [])

    def rollup(self, code=0):
        outcome = self.mirror.try_run("rollup")
        self.assertEqual(outcome.code, code, outcome)
        return outcome.result() if code in (0, 3) else outcome.error()

    def test_everything_arrives_once(self):
        told = self.rollup()
        self.assertEqual((told["servers"], told["computers"], told["full_statuses"]), (2, 2, 2))
        up = self.upstream
        me = self.mirror.status()["guid"]
        self.assertEqual([s["ServerId"] for s in up.servers], [self.below.guid, me])
        self.assertEqual(up.server_table[self.below.guid]["ParentServerId"], me)
        self.assertEqual(up.installs, 2)
        # What was published below alone is unknown to the upstream and stays there.
        self.assertEqual({c: set(s) for c, s in up.status.items()},
                         {c: {self.update} for c in self.computers})
        again = self.rollup()
        self.assertEqual((again["full_statuses"], again["delta_statuses"], up.installs), (0, 0, 2))
        self.assertTrue(all(c["Details"] is None for c in up.last_computers))
        self.tell_below(installs=3, state=4, number=2)
        self.rollup()
        self.assertEqual(up.installs, 5)
        self.assertEqual([up.status[c][self.update] for c in self.computers], [4, 4])

    def test_new_parent_deleted_reset_and_another_server(self):
        self.rollup()
        up, (first, second) = self.upstream, self.computers
        up.computer_table.pop(first)
        up.status.pop(first)
        self.assertEqual(self.rollup()["computers_again"], 1)
        self.assertEqual(up.status[first], {self.update: 2})
        up.deleted.add(second)
        up.computer_table.pop(second)
        self.assertEqual(self.rollup()["deleted_upstream"], 1)
        up.deleted.clear()
        self.assertEqual(self.rollup()["computers"], 1)
        # The server below is told, scans again, and so the computer is back.
        self.assertEqual(self.below.tell_computers(self.below.computer(
            second, sync=now() - datetime.timedelta(hours=1))), {second: "Deleted"})
        self.assertEqual(self.below.tell_computers(self.below.computer(second)), {})
        self.assertEqual(self.rollup()["computers"], 2)
        self.assertIn(second, up.computer_table)
        up.reset_guid = guid()
        self.assertTrue(self.rollup()["everything_again"])
        up.rollup_server_id = guid()
        up.computer_table.clear()
        up.status.clear()
        self.assertTrue(self.rollup()["everything_again"])
        self.assertEqual(up.numbers[first], 1)

    def test_answers_that_are_lost(self):
        # Counters are added, so that this one is not repeated at once, and yet settled by the next.
        trouble = self.upstream.on("RollupDownstreamServers", call=1, reset="after")
        self.rollup(code=1)
        self.assertEqual(trouble.hits, 1)
        self.assertEqual(self.upstream.installs, 2)
        self.assertEqual(self.rollup()["uncertain_installs"], 0)
        self.assertEqual(self.upstream.installs, 2)
        self.tell_below(installs=1, state=4, number=2)
        for operation in ("RollupComputers", "GetOutOfSyncComputers", "RollupComputerStatus"):
            with self.subTest(operation):
                trouble = self.upstream.on(operation, call=1, reset="after")
                self.rollup()
                self.assertEqual(trouble.hits, 1)
                self.tell_below(state=5, number=3)
        self.assertEqual(self.upstream.installs, 3)
        self.rollup()
        self.assertEqual([self.upstream.status[c][self.update] for c in self.computers], [5, 5])

    def test_sums_only_and_no_rollup_at_all(self):
        self.upstream.detailed = False
        self.assertFalse(self.rollup()["detailed"])
        self.assertNotIn("RollupComputers", self.upstream.calls)
        self.upstream.version = "1.2"
        self.upstream.calm()
        self.assertFalse(self.rollup()["offered"])
        self.assertNotIn("GetRollupConfiguration", self.upstream.calls)


if __name__ == "__main__":
    unittest.main()
