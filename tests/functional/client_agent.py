"""A Windows agent in Python, as small as can be: raw SOAP over one connection, a cache of revisions, the walk.

It shares no code with the program. What a computer "has" is a function of the update's GUID: rules are
not evaluated here, so that every set of installed updates can be tried.
"""
import base64
import http.client
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.sax.saxutils import escape

CLIENT = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"
SIMPLE_AUTH = "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService"
PATHS = {CLIENT: "/ClientWebService/client.asmx", SIMPLE_AUTH: "/SimpleAuthWebService/SimpleAuth.asmx"}
NOW = "2026-11-22T08:00:00Z"
MAX_CALLS = 5000


class Fault(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code} {message}".strip())
        self.code, self.message = code, message


@dataclass
class Cached:
    """A revision as the server last described it."""
    guid: str
    revision: int
    action: str
    deadline: str
    leaf: bool
    core: str


@dataclass
class Answer:
    new: dict        # id -> Cached
    changed: dict    # id -> (action, deadline, leaf)
    gone: list
    elsewhere: list  # deployed, out of the category filter
    truncated: bool


def local(element):
    return element.tag.rpartition("}")[2]


def children(element, name):
    return [c for c in element if local(c) == name] if element is not None else []


def child(element, *names):
    for name in names:
        element = next(iter(children(element, name)), None)
    return element


def text(element, *names):
    found = child(element, *names)
    return None if found is None else found.text or ""


def ints(name, values):
    return f"<{name}>" + "".join(f"<int>{v}</int>" for v in values) + f"</{name}>" if values else ""


@dataclass
class Device:
    """A device and the driver it has; rank -1: none."""
    ids: list          # hardware ids, then compatible ones, in lower case
    hardware: int      # how many of them are hardware ids
    rank: int = -1
    date: str = "0001-01-01"
    version: tuple = (0, 0, 0, 0)
    matching_id: str = ""

    def xml(self):
        packed = 0
        for part in self.version:
            packed = packed << 16 | part
        strings = ["".join(f"<string>{escape(i)}</string>" for i in ids)
                   for ids in (self.ids[:self.hardware], self.ids[self.hardware:])]
        matching = f"<MatchingID>{escape(self.matching_id)}</MatchingID>" if self.matching_id else ""
        return (f"<Device><HardwareIDs>{strings[0]}</HardwareIDs>"
                + (f"<CompatibleIDs>{strings[1]}</CompatibleIDs>" if strings[1] else "") +
                f"<installedDriver>{matching}<DriverVerDate>{self.date}T00:00:00Z</DriverVerDate>"
                f"<DriverVerVersion>{packed}</DriverVerVersion>"
                "<Class>{4d36e97d-e325-11ce-bfc1-08002be10318}</Class>"
                f"<DriverRank>{self.rank}</DriverRank></installedDriver></Device>")


class Agent:
    def __init__(self, url, has, name="agent.example", protocol="2.90"):
        self.host = url.removeprefix("http://")
        self.has, self.name, self.protocol = has, name, protocol
        self.id = str(uuid.uuid4())
        self.cache, self.cookie, self.calls = {}, None, 0
        self.connection = http.client.HTTPConnection(self.host, timeout=120)

    # ---- Calls -----------------------------------------------------------------------------------

    def post(self, space, operation, body):
        envelope = ('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
                    f'<{operation} xmlns="{space}">{body}</{operation}></s:Body></s:Envelope>')
        self.connection.request("POST", PATHS[space], envelope.encode(), {
            "Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{space}/{operation}"'})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status not in (200, 500):
            raise AssertionError(f"{operation}: HTTP {answer.status} {data[:200]}")
        found = child(ET.fromstring(data), "Body")[0]
        if local(found) == "Fault":
            detail = child(found, "detail")
            raise Fault(text(detail, "ErrorCode"), text(detail, "Message"))
        return found

    def cookie_xml(self):
        expiration, data = self.cookie
        return (f"<cookie><Expiration>{expiration}</Expiration>"
                f"<EncryptedData>{data}</EncryptedData></cookie>")

    def take_cookie(self, element):
        self.cookie = (text(element, "Expiration"), text(element, "EncryptedData"))

    def handshake(self, keep=True):
        """`keep`: hand in the old cookie, which says what we have been told."""
        change = text(self.post(CLIENT, "GetConfig", f"<protocolVersion>{self.protocol}</protocolVersion>"),
                      "GetConfigResult", "LastChange")
        granted = self.post(SIMPLE_AUTH, "GetAuthorizationCookie",
                            f"<clientId>{self.id}</clientId><targetGroupName/><dnsName>{self.name}</dnsName>")
        granted = child(granted, "GetAuthorizationCookieResult")
        old = f"<oldCookie><Expiration>{NOW}</Expiration></oldCookie>"
        if keep and self.cookie:
            old = self.cookie_xml().replace("cookie>", "oldCookie>")
        answer = self.post(CLIENT, "GetCookie", (
            f"<authCookies><AuthorizationCookie><PlugInId>{text(granted, 'PlugInId')}</PlugInId>"
            f"<CookieData>{text(granted, 'CookieData')}</CookieData></AuthorizationCookie></authCookies>"
            f"{old}<lastChange>{change}</lastChange><currentTime>{NOW}</currentTime>"
            f"<protocolVersion>{self.protocol}</protocolVersion>"))
        self.take_cookie(child(answer, "GetCookieResult"))

    def register(self):
        self.post(CLIENT, "RegisterComputer", (
            f"{self.cookie_xml()}<computerInfo><DnsName>{escape(self.name)}</DnsName>"
            "<OSMajorVersion>10</OSMajorVersion><OSMinorVersion>0</OSMinorVersion>"
            "<OSBuildNumber>26200</OSBuildNumber><OSLocale>en-US</OSLocale>"
            "<ProcessorArchitecture>AMD64</ProcessorArchitecture></computerInfo>"))

    def join(self):
        self.handshake()
        self.register()
        return self

    def sync(self, installed, other, categories=(), more=""):
        filters = "".join(f"<CategoryIdentifier><Id>{c}</Id></CategoryIdentifier>" for c in categories)
        filters = f"<FilterCategoryIds>{filters}</FilterCategoryIds>" if categories else ""
        body = (f"{self.cookie_xml()}<parameters><ExpressQuery>false</ExpressQuery>"
                + ints("InstalledNonLeafUpdateIDs", installed) + ints("OtherCachedUpdateIDs", other)
                + f"<SkipSoftwareSync>false</SkipSoftwareSync>{filters}"
                "<NeedTwoGroupOutOfScopeUpdates>true</NeedTwoGroupOutOfScopeUpdates>"
                f"<AlsoPerformRegularSync>false</AlsoPerformRegularSync><ComputerSpec/>{more}</parameters>")
        self.calls += 1
        result = child(self.post(CLIENT, "SyncUpdates", body), "SyncUpdatesResult")
        self.take_cookie(child(result, "NewCookie"))
        return read_answer(result)

    def sync_drivers(self, devices, computers, key):
        """{(guid, revision): (action, deadline, leaf, hardware ids)}: each answer is the whole list."""
        installed, _ = self.lists()
        guids = "".join(f"<guid>{c}</guid>" for c in computers)
        body = (f"{self.cookie_xml()}<parameters><ExpressQuery>false</ExpressQuery>"
                + ints("InstalledNonLeafUpdateIDs", installed)
                + f"<SystemSpec>{''.join(d.xml() for d in devices)}</SystemSpec>"
                "<SkipSoftwareSync>true</SkipSoftwareSync>"
                "<NeedTwoGroupOutOfScopeUpdates>true</NeedTwoGroupOutOfScopeUpdates>"
                f"<ComputerSpec><HardwareIDs>{guids}</HardwareIDs></ComputerSpec>"
                f"<FeatureScoreMatchingKey>{key}</FeatureScoreMatchingKey></parameters>")
        result = child(self.post(CLIENT, "SyncUpdates", body), "SyncUpdatesResult")
        self.take_cookie(child(result, "NewCookie"))
        found = {}
        for info in children(child(result, "NewUpdates"), "UpdateInfo"):
            identity = ET.fromstring(f"<r>{text(info, 'Xml')}</r>").find("UpdateIdentity")
            ids = children(child(info, "Deployment", "HardwareIds"), "string")
            key = (identity.get("UpdateID").lower(), int(identity.get("RevisionNumber")))
            assert key not in found, f"{key} twice"
            found[key] = (*read_deployment(info), text(info, "IsLeaf") == "true",
                          frozenset(i.text.lower() for i in ids))
        return found

    def refresh_cache(self):
        """RefreshCache: ids are given anew, what is not answered is forgotten."""
        asked = "".join(f"<UpdateIdentity><UpdateID>{c.guid}</UpdateID><RevisionNumber>{c.revision}"
                        "</RevisionNumber></UpdateIdentity>" for c in self.cache.values())
        if not asked:
            return
        answer = self.post(CLIENT, "RefreshCache", f"{self.cookie_xml()}<globalIDs>{asked}</globalIDs>")
        known = {(c.guid, c.revision): c for c in self.cache.values()}
        self.cache = {}
        for row in children(child(answer, "RefreshCacheResult"), "RefreshCacheResult"):
            identity = child(row, "GlobalID")
            key = (text(identity, "UpdateID").lower(), int(text(identity, "RevisionNumber")))
            cached = known[key]
            deployment = child(row, "Deployment")
            cached.action, cached.deadline = text(deployment, "Action"), text(deployment, "Deadline")
            cached.leaf = text(row, "IsLeaf") == "true"
            self.cache[int(text(row, "RevisionID"))] = cached

    # ---- The walk --------------------------------------------------------------------------------

    def lists(self):
        installed, other = [], []
        for number, cached in sorted(self.cache.items()):
            (installed if not cached.leaf and self.has(cached.guid) else other).append(number)
        return installed, other

    def scan(self, categories=(), check=None):
        """Software passes until nothing more can come; returns the answers. `check` sees each request
        and answer. Unlike Windows it goes on after losing a non-leaf, which Windows leaves to its next
        scan: what depended on it is lost by then."""
        answers = []
        while True:
            assert len(answers) < MAX_CALLS, "the server does not come to an end"
            installed, other = self.lists()
            answer = self.sync(installed, other, categories)
            answers.append(answer)
            assert answer.new or not answer.truncated, "truncated without anything new"
            if check:
                check(self, installed, other, answer)
            goes_on = answer.truncated or any(not c.leaf for c in answer.new.values())
            for number in answer.gone:
                assert number in self.cache, f"{number} is out of scope, but was never told"
                goes_on = goes_on or not self.cache[number].leaf
                del self.cache[number]
            for number in answer.elsewhere:
                assert number in self.cache, f"{number} is deployed elsewhere, but was never told"
            for number, (action, deadline, leaf) in answer.changed.items():
                cached = self.cache[number]
                goes_on = goes_on or cached.leaf != leaf
                cached.action, cached.deadline, cached.leaf = action, deadline, leaf
            for number, cached in answer.new.items():
                assert number not in self.cache, f"{number} is new, but was told before"
                self.cache[number] = cached
            if not goes_on:
                return answers

    def known(self):
        """{(guid, revision): (action, deadline, leaf)}"""
        found = {(c.guid, c.revision): (c.action, c.deadline, c.leaf) for c in self.cache.values()}
        assert len(found) == len(self.cache), "one revision under two ids"
        return found


def read_deployment(info):
    deployment = child(info, "Deployment")
    assert deployment is not None, "no deployment"
    assert text(deployment, "IsAssigned") == "true"
    return text(deployment, "Action"), text(deployment, "Deadline")


def read_answer(result):
    new, changed = {}, {}
    for info in children(child(result, "NewUpdates"), "UpdateInfo"):
        core = text(info, "Xml")
        identity = ET.fromstring(f"<r>{core}</r>").find("UpdateIdentity")
        action, deadline = read_deployment(info)
        number = int(text(info, "ID"))
        assert number not in new, f"{number} twice in one answer"
        new[number] = Cached(identity.get("UpdateID").lower(), int(identity.get("RevisionNumber")),
                             action, deadline, text(info, "IsLeaf") == "true", core)
    for info in children(child(result, "ChangedUpdates"), "UpdateInfo"):
        assert child(info, "Xml") is None, "a changed update carries its fragment"
        changed[int(text(info, "ID"))] = (*read_deployment(info), text(info, "IsLeaf") == "true")
    numbers = {name: [int(e.text) for e in children(child(result, name), "int")]
               for name in ("OutOfScopeRevisionIDs", "DeployedOutOfScopeRevisionIds")}
    return Answer(new, changed, numbers["OutOfScopeRevisionIDs"], numbers["DeployedOutOfScopeRevisionIds"],
                  text(result, "Truncated") == "true")


def forged(cookie):
    """The same cookie with one bit changed."""
    data = bytearray(base64.b64decode(cookie[1]))
    data[len(data) // 2] ^= 1
    return cookie[0], base64.b64encode(data).decode()
