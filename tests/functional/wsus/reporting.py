"""The Reporting service of the update server of the tests: rollups (MS-WSUSSS 3.1.4.13 to 3.1.4.17).

Each request is validated against the schema of the published WSDL; what does not conform, and what breaks a
rule that the schema cannot say, is a violation.
"""
import pathlib
import tempfile
import uuid

from harness import SHARED

from .operations import CHILDREN, SD, ZERO, Fault, answer, envelope
from .server import WsusServer

XSD = "http://www.w3.org/2001/XMLSchema"
ROLLUP = {
    "GetRollupConfiguration": ("cookie",),
    "RollupDownstreamServers": ("cookie", "clientTime", "downstreamServers"),
    "RollupComputers": ("cookie", "clientTime", "computers"),
    "GetOutOfSyncComputers": ("cookie", "parentServerId", "lastRollupNumbers"),
    "RollupComputerStatus": ("cookie", "clientTime", "parentServerId", "computers"),
}


def wsdl_schema():
    """The types of the WSDL as one lxml schema."""
    from lxml import etree
    tree = etree.parse(str(SHARED / "specs/ReportingWebService-rollup.wsdl"))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gapferry-test-"))
    files = {}
    for i, schema in enumerate(tree.iter(f"{{{XSD}}}schema")):
        files[schema.get("targetNamespace")] = (folder / f"{i}.xsd", schema)
    for path, schema in files.values():
        for line in schema.iter(f"{{{XSD}}}import"):
            if line.get("namespace") in files:
                line.set("schemaLocation", str(files[line.get("namespace")][0]))
        path.write_bytes(etree.tostring(schema))
    schema = etree.XMLSchema(file=str(files[SD][0]))
    for path, _ in files.values():
        path.unlink()
    folder.rmdir()
    return schema


def fields(element):
    """The scalars of an element, attributes and children alike."""
    out = dict(element.attrib)
    for child in element:
        out[child.tag.rsplit("}", 1)[1]] = child if len(child) else (child.text or "")
    return out


def items(element, name):
    return element.findall(f".//{{{SD}}}{name}")


class ReportingServer(WsusServer):
    def __init__(self, kind="ws2025"):
        super().__init__(kind)
        self.schema = wsdl_schema()
        self.detailed, self.reset_guid = True, str(uuid.uuid4())
        self.rollup_server_id = str(uuid.uuid4())
        self.limits = (5000, 1500, 20000, 500)
        self.server_table, self.computer_table, self.numbers, self.status = {}, {}, {}, {}
        self.servers, self.last_computers = [], []
        self.installs, self.deleted, self.detected = 0, set(), {}

    def perform(self, operation, body):
        CHILDREN.update(ROLLUP)  # which other servers of the tests are never asked
        if operation in ROLLUP:
            self.validate(operation, body)
        return super().perform(operation, body)

    def validate(self, operation, body):
        from lxml import etree
        message = etree.fromstring(body).find(".//{http://schemas.xmlsoap.org/soap/envelope/}Body")[0]
        if not self.schema.validate(message):
            self.violation(f"{operation}: {self.schema.error_log.last_error}")

    def check_rollup(self, request, detailed=True):
        expiry = request.find(f"{{{SD}}}cookie/{{{SD}}}Expiration").text
        data = request.find(f"{{{SD}}}cookie/{{{SD}}}EncryptedData").text
        if not expiry.startswith("9999-12-31T23:59:59.99") or data:
            self.violation("a rollup call with another cookie than the dummy")
        if detailed and not self.detailed:
            self.violation("details for a server that takes sums only")
            raise Fault("InternalServerError", caller=False)

    def check_count(self, count, limit, what):
        if count > limit:
            self.violation(f"{count} {what} in one request, announced were {limit}")

    def GetRollupConfiguration(self, request):
        self.check_rollup(request, detailed=False)
        if not self.authorized:
            self.violation("a rollup before the authorization")
        self.server_table.setdefault(self.authorized[-1][1], {"LastRollupTime": "", "ParentServerId": ZERO})
        names = ("RollupDownstreamServers", "RollupComputers", "GetOutOfSyncComputers", "RollupComputerStatus")
        limits = "".join(f"<{n}MaxBatchSize>{v}</{n}MaxBatchSize>" for n, v in zip(names, self.limits))
        return answer("GetRollupConfiguration",
                      f"<DoDetailedRollup>{str(self.detailed).lower()}</DoDetailedRollup>"
                      f"<RollupResetGuid>{self.reset_guid}</RollupResetGuid>"
                      f"<ServerId>{self.rollup_server_id}</ServerId>{limits}")

    def RollupDownstreamServers(self, request):
        self.check_rollup(request, detailed=False)
        self.servers = [fields(s) for s in items(request, "DownstreamServerRollupInfo")]
        kinds = items(request, "DownstreamServerRollupClientSummary")
        self.check_count(max(len(kinds), len(self.servers)), self.limits[0], "client summaries")
        for element, server in zip(items(request, "DownstreamServerRollupInfo"), self.servers):
            parts = server["Version"].split(".")
            if not 1 <= len(parts) <= 4 or not all(p.isdigit() for p in parts):
                self.violation(f"version {server['Version']}")
            if server["ParentServerId"] != ZERO and server["ParentServerId"] not in self.server_table:
                self.violation(f"unknown parent {server['ParentServerId']}")
                raise Fault("InternalServerError", caller=False)
            known = self.server_table.get(server["ServerId"])
            if known and known["LastRollupTime"] > server["LastRollupTime"]:
                continue
            self.server_table[server["ServerId"]] = server
            for one in items(element, "DownstreamServerRollupClientActivitySummary"):
                told = fields(one)
                self.installs += int(told["InstallSuccessCount"]) + int(told["InstallFailureCount"])
        return envelope(f'<RollupDownstreamServersResponse xmlns="{SD}" />')

    def RollupComputers(self, request):
        self.check_rollup(request)
        self.last_computers, changes = [], []
        for element in items(request, "ComputerRollupInfo"):
            told = fields(element)
            told["Details"] = element.find(f"{{{SD}}}Details")
            self.last_computers.append(told)
            if told["ParentServerId"] not in self.server_table:
                self.violation(f"computer of unknown parent {told['ParentServerId']}")
                raise Fault("InternalServerError", caller=False)
            computer = told["ComputerId"]
            if computer in self.deleted:
                changes.append((computer, "Deleted"))
                continue
            known = self.computer_table.get(computer)
            if known is None:
                self.numbers[computer] = 0
            if told["Details"] is None and (
                    known is None or known["ParentServerId"] != told["ParentServerId"]):
                changes.append((computer, "NewParent"))
            self.computer_table[computer] = told
        self.check_count(len(self.last_computers), self.limits[1], "computers")
        return answer("RollupComputers", "".join(
            f'<ChangedComputer ComputerId="{c}" Change="{change}" />' for c, change in changes))

    def GetOutOfSyncComputers(self, request):
        self.check_rollup(request)
        told = [fields(e) for e in items(request, "ComputerLastRollupNumber")]
        self.check_count(len(told), self.limits[2], "numbers")
        stale = [t["ComputerId"] for t in told if t["ComputerId"] in self.computer_table
                 and self.numbers[t["ComputerId"]] != int(t["RollupNumber"])]
        return answer("GetOutOfSyncComputers", "".join(f"<string>{c}</string>" for c in stale))

    def RollupComputerStatus(self, request):
        self.check_rollup(request)
        told = items(request, "ComputerStatusRollupInfo")
        self.check_count(len(told), self.limits[3], "computers with status")
        for element in told:
            one = fields(element)
            computer, number = one["ComputerId"], int(one["RollupNumber"])
            if number < 1:
                self.violation(f"rollup number {number}")
            if computer not in self.computer_table:
                continue
            if one["IsFullRollup"] == "true":
                self.status[computer] = {}
            self.numbers[computer] = number
            self.detected[computer] = one["EffectiveLastDetectionTime"]
            for row in items(element, "ComputerStatusRollupUpdateStatus"):
                state = fields(row)
                self.status.setdefault(computer, {})[state["UpdateId"]] = int(state["SummarizationState"])
        return answer("RollupComputerStatus", "true")
