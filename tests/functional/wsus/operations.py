"""The operations of the server synchronization protocol, as the update server of the tests answers them.

Written after protocol descriptions and recordings of a real server, independent of the product's code.
Requests are checked as strictly as any server was seen to: a request that breaks a rule is remembered in
`violations`, which each test expects to be empty.
"""
import base64
import datetime
import json
import uuid
import xml.etree.ElementTree as ET

from .catalogue import EVER, BadAnchor, Catalogue, Selection
from .documents import identity

SD = "http://www.microsoft.com/SoftwareDistribution"
AUTH = SD + "/Server/DssAuthWebService"
REPORTING = {"GetRollupConfiguration", "RollupDownstreamServers", "RollupComputers",
             "GetOutOfSyncComputers", "RollupComputerStatus"}
ZERO = "00000000-0000-0000-0000-000000000000"
ALL_COMPUTERS = "a0a08746-4dbe-4a37-9adf-9e7652c0b421"
UNASSIGNED = "b73ca6ed-5727-47f3-84de-015e03f6a88a"
BUILTIN = {ALL_COMPUTERS: ("All Computers", ZERO, True),
           UNASSIGNED: ("Unassigned Computers", ALL_COMPUTERS, True)}
CHILDREN = {
    "GetAuthConfig": (), "GetAuthorizationCookie": ("accountName", "accountGuid", "programKeys"),
    "GetCookie": ("authCookies", "oldCookie", "protocolVersion"),
    "GetConfigData": ("cookie", "configAnchor"), "GetRevisionIdList": ("cookie", "filter"),
    "GetUpdateData": ("cookie", "updateIds"), "GetUpdateDecryptionData": ("cookie", "updateIds"),
    "DownloadFiles": ("cookie", "fileDigestList"),
    "GetDeployments": ("cookie", "deploymentAnchor", "syncAnchor"),
}
FILTER = ("Anchor", "GetConfig", "Get63LanguageOnly", "Categories", "Classifications", "Languages")
LANGUAGES = {0: ("all", "all", False), 1033: ("en", "English", True), 1031: ("de", "German", False),
             1041: ("ja", "Japanese", False), 1028: ("zh-tw", "Chinese (Traditional)", False)}


class Fault(Exception):
    """A fault with an ErrorCode, or without any."""

    def __init__(self, code, message="", caller=True):
        super().__init__(code, message)
        self.code, self.message, self.caller = code, message, caller


def envelope(body):
    return ('<?xml version="1.0" encoding="utf-8"?><soap:Envelope '
            'xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            f'xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soap:Body>{body}</soap:Body></soap:Envelope>'
            ).encode()


def answer(operation, inner, namespace=SD):
    return envelope(f'<{operation}Response xmlns="{namespace}"><{operation}Result>{inner}'
                    f"</{operation}Result></{operation}Response>")


def fault_body(code, message="", operation="", caller=True, url=""):
    """`code` None: a fault as something else than the update server writes it, without ErrorCode."""
    detail = ("" if code is None else
              f"<detail><ErrorCode>{code}</ErrorCode><Message>{message}</Message><ID>{uuid.uuid4()}</ID>"
              f'<Method>"{SD}/{operation}"</Method></detail>')
    return envelope(f"<soap:Fault><faultcode>soap:{'Client' if caller else 'Server'}</faultcode>"
                    f"<faultstring>Fault occurred</faultstring><faultactor>{url}</faultactor>{detail}"
                    "</soap:Fault>")


def text_of(element, name):
    found = element.find(f"{{{SD}}}{name}") if element is not None else None
    return None if found is None else (found.text or "")


def local(element):
    return element.tag.rsplit("}", 1)[-1]


class Operations(Catalogue):
    def __init__(self, kind="ws2025"):
        super().__init__(bare_anchors=kind == "mu")
        self.kind, self.mu = kind, kind == "mu"
        self.fault, self.mu_url = None, ""
        self.version = "1.21" if self.mu else "1.20"
        self.cookie_minutes, self.clock_skew = (60 if self.mu else 240), datetime.timedelta()
        self.max_updates, self.max_decryption = 100, (500 if self.mu else 100)
        self.answer_bytes = 2_000_000
        self.lazy = True
        self.anchors_of_ours_only = False  # another product: ServerChanged where WSUS answers something
        self.guid, self.cookies_before = uuid.uuid4().hex, 0
        self.cookie_serial = 0
        self.authorized, self.violations, self.asked_files = [], [], []
        self.held_back, self.list_anchors = {}, set()
        self.issued_anchors = set()

    # ---- Checks ----------------------------------------------------------------------------------

    def violation(self, text):
        self.violations.append(text)

    def check_order(self, element, allowed):
        names = [local(child) for child in element]
        positions = [allowed.index(n) if n in allowed else -1 for n in names]
        if -1 in positions or positions != sorted(set(positions)):
            self.violation(f"{local(element)}: children {names}, expected the order {allowed}")
            raise Fault("InvalidParameters", local(element))

    def now(self):
        return datetime.datetime.utcnow() + self.clock_skew

    def check_cookie(self, request):
        cookie = request.find(f"{{{SD}}}cookie")
        try:
            blob = json.loads(base64.b64decode(text_of(cookie, "EncryptedData")))
            expires = datetime.datetime.fromisoformat(blob["expires"])
        except (TypeError, ValueError, KeyError) as error:
            raise Fault("InvalidCookie") from error
        if expires < self.now():
            self.violation("an expired cookie was sent")
            raise Fault("InvalidCookie")
        if blob["serial"] <= self.cookies_before:
            raise Fault("InvalidCookie")
        if blob["server"] != self.guid:
            raise Fault("ServerChanged")
        return blob

    def forget_cookies(self):
        """As a restart of the server with new keys: each cookie given so far is refused."""
        self.cookies_before = self.cookie_serial

    def become_another(self):
        """The identity changes (restored or replaced): cookies of before get ServerChanged."""
        self.guid = uuid.uuid4().hex

    def known_since(self, anchor, parameter):
        if anchor and self.anchors_of_ours_only and anchor not in self.issued_anchors:
            raise Fault("ServerChanged")
        try:
            return self.since(anchor)
        except BadAnchor as error:
            raise Fault("InvalidParameters", parameter) from error

    def new_anchor(self):
        anchor = self.anchor()
        self.issued_anchors.add(anchor)
        return anchor

    # ---- Authorization ---------------------------------------------------------------------------

    def GetAuthConfig(self, _):
        return answer("GetAuthConfig", "<LastChange>2026-10-04T13:16:35.433Z</LastChange><AuthInfo>"
                      "<AuthPlugInInfo><PlugInID>DssTargeting</PlugInID>"
                      "<ServiceUrl>DssAuthWebService/DssAuthWebService.asmx</ServiceUrl><Parameter />"
                      "</AuthPlugInInfo></AuthInfo>")

    def GetAuthorizationCookie(self, request):
        name, guid = (request.findtext(f"{{{AUTH}}}{n}") for n in ("accountName", "accountGuid"))
        if not name or not all(part for part in name.split(".")) or " " in name:
            raise Fault("InvalidParameters", "machineName")
        self.authorized.append((name, str(uuid.UUID(guid))))
        data = base64.b64encode(json.dumps({"dss": guid}).encode()).decode()
        return answer("GetAuthorizationCookie", "<PlugInId>DssTargeting</PlugInId>"
                      f"<CookieData>{data}</CookieData>", AUTH)

    def GetCookie(self, request):
        given = request.findall(f"{{{SD}}}authCookies/{{{SD}}}AuthorizationCookie")
        if len(given) != 1:
            raise Fault("InvalidParameters", "authCookies")
        try:
            dss = json.loads(base64.b64decode(text_of(given[0], "CookieData")))["dss"]
        except (TypeError, ValueError, KeyError) as error:
            raise Fault("InvalidAuthorizationCookie") from error
        version = text_of(request, "protocolVersion") or ""
        if not all(part.isdigit() for part in version.split(".")) or version.count(".") != 1:
            raise Fault("InvalidParameters", "protocolVersion")
        if version.split(".")[0] != "1":
            raise Fault("IncompatibleProtocolVersion")
        self.cookie_serial += 1
        expires = self.now() + datetime.timedelta(minutes=self.cookie_minutes)
        blob = json.dumps({"dss": dss, "expires": expires.isoformat(), "server": self.guid,
                           "serial": self.cookie_serial})
        return answer("GetCookie", f"<Expiration>{expires.isoformat()}Z</Expiration>"
                      f"<EncryptedData>{base64.b64encode(blob.encode()).decode()}</EncryptedData>")

    # ---- Configuration ---------------------------------------------------------------------------

    def GetConfigData(self, request):
        self.check_cookie(request)
        anchor = text_of(request, "configAnchor")
        self.known_since(anchor, "configAnchor")
        languages = "" if anchor else "".join(
            f"<ServerSyncLanguageData><LanguageID>{id}</LanguageID><ShortLanguage>{short}</ShortLanguage>"
            f"<LongLanguage>{name}</LongLanguage><Enabled>{str(on).lower()}</Enabled>"
            "</ServerSyncLanguageData>" for id, (short, name, on) in LANGUAGES.items())
        drivers = (200, 100, 450) if self.mu else (0, 0, 0)
        limits = [f"<MaxNumberOf{name}InRequest>{n}</MaxNumberOf{name}InRequest>"
                  for name, n in zip(("ComputerIds", "", "PnpHardwareIds"), drivers) if name]
        sets = (f"<MaxNumberOfDriverSetsPerRequest>{drivers[1]}</MaxNumberOfDriverSetsPerRequest>")
        updates = f"<MaxNumberOfUpdatesPerRequest>{self.max_updates}</MaxNumberOfUpdatesPerRequest>"
        catalog, lazy, psf = (f"<{name}>{str(value).lower()}</{name}>" for name, value in
                              (("CatalogOnlySync", self.mu), ("LazySync", self.lazy),
                               ("ServerHostsPsfFiles", self.mu)))
        version = f"<ProtocolVersion>{self.version}</ProtocolVersion>"
        after = f"<NewConfigAnchor>{self.new_anchor()}</NewConfigAnchor>"
        languages = f"<LanguageUpdateList>{languages}</LanguageUpdateList>"
        keys = ("<MaxUpdatesPerRequestInGetUpdateDecryptionData>"
                f"{self.max_decryption}</MaxUpdatesPerRequestInGetUpdateDecryptionData>")
        if self.mu:  # the order of the prose, as Microsoft's service sends it
            inner = (after + languages + version + updates + catalog + lazy + psf + sets
                     + limits[1] + limits[0] + keys)
        else:
            inner = (catalog + lazy + psf + limits[0] + sets + limits[1] + updates + after + version
                     + languages + keys)
        return answer("GetConfigData", inner)

    # ---- Revisions -------------------------------------------------------------------------------

    def selection(self, wanted, name, item="IdAndDelta"):
        found = wanted.find(f"{{{SD}}}{name}")
        if found is None or not len(found):
            return None
        return [Selection(text_of(one, "Id"), text_of(one, "Delta") == "true")
                for one in found.findall(f"{{{SD}}}{item}")]

    def GetRevisionIdList(self, request):
        self.check_cookie(request)
        wanted = request.find(f"{{{SD}}}filter")
        self.check_order(wanted, FILTER)
        if text_of(wanted, "Get63LanguageOnly") != "false":
            self.violation("Get63LanguageOnly must be present and false")
        anchor = text_of(wanted, "Anchor")
        since = self.known_since(anchor, "filter")
        products, classifications = (self.selection(wanted, n) for n in ("Categories", "Classifications"))
        if text_of(wanted, "GetConfig") == "true":
            keys = self.list_config(since)
        else:
            if (products is None) != (classifications is None):
                self.violation("one list of the filter without the other")
            for one in (products or []) + (classifications or []):
                if one.delta != bool(anchor):
                    self.violation(f"Delta={one.delta} with anchor '{anchor}'")
            keys = self.list_updates(since, products, classifications)
            self.list_anchors.add(self.anchor())
        listed = "".join(f"<UpdateIdentity>{identity(key)}</UpdateIdentity>" for key in keys)
        return answer("GetRevisionIdList", f"<Anchor>{self.new_anchor()}</Anchor>"
                      f"<NewRevisions>{listed}</NewRevisions>")

    def asked_ids(self, request, limit):
        keys = [(text_of(i, "UpdateID").lower(), int(text_of(i, "RevisionNumber")))
                for i in request.iter(f"{{{SD}}}UpdateIdentity")]
        if not keys or len(keys) > limit:
            self.violation(f"{len(keys)} ids in one request")
            raise Fault("InvalidParameters", "updateIds")
        if len(set(keys)) < len(keys):
            self.violation("an id twice in one request")
        missing = [key for key in keys if key not in self.documents]
        if missing:
            raise Fault("InternalServerError", caller=False)
        return keys

    def GetUpdateData(self, request):
        self.check_cookie(request)
        sent, size, digests = [], 0, []
        for key in self.asked_ids(request, self.max_updates):
            document = self.documents[key]
            entry = document.entry()
            if sent and size + len(entry) > self.answer_bytes:
                break
            sent.append(entry)
            size += len(entry)
            digests += [d for d in document.digests if d not in digests]
        urls = "".join(f"<ServerSyncUrlData><FileDigest>{d}</FileDigest>"
                       + (f"<MUUrl>{url}</MUUrl>" if (url := self.vendor_url(d)) else "")
                       + "<UssUrl /></ServerSyncUrlData>" for d in digests)
        return answer("GetUpdateData", f"<updates>{''.join(sent)}</updates><fileUrls>{urls}</fileUrls>")

    def vendor_url(self, digest):
        if self.mu_url or not self.mu:
            return self.mu_url
        return f"{self.url}/d/msdownload/update/file_{base64.b64decode(digest).hex()}.cab"

    def GetUpdateDecryptionData(self, request):
        self.check_cookie(request)
        items = ""
        for key in self.asked_ids(request, self.max_decryption):
            files = "".join(
                f"<ServerSyncFileDecryption><FileDigest>{d}</FileDigest>"
                f"<DecryptionKey>{base64.b64encode(self.keys[d]).decode()}</DecryptionKey>"
                "</ServerSyncFileDecryption>" for d in self.documents[key].digests if d in self.keys)
            items += (f"<ServerSyncUpdateFileDecryption><UpdateId>{identity(key)}</UpdateId>"
                      f"<FileDecryptionData>{files}</FileDecryptionData></ServerSyncUpdateFileDecryption>")
        return answer("GetUpdateDecryptionData",
                      f"<UpdateFileDecryptionData>{items}</UpdateFileDecryptionData>")

    # ---- Replicas and content ----------------------------------------------------------------------

    def GetDeployments(self, request):
        self.check_cookie(request)
        sync_anchor = text_of(request, "syncAnchor")
        if not sync_anchor or sync_anchor not in self.list_anchors:
            self.violation(f"syncAnchor '{sync_anchor}' is of no list of updates")
            raise Fault("InvalidParameters", "syncAnchor")
        until = self.since(sync_anchor)
        after = self.known_since(text_of(request, "deploymentAnchor"), "deploymentAnchor")
        groups = "".join(
            f"<ServerSyncTargetGroup><TargetGroupID>{guid}</TargetGroupID>"
            + ("" if parent == ZERO else f"<ParentGroupId>{parent}</ParentGroupId>")
            + f"<Name>{name}</Name><IsBuiltin>{str(builtin).lower()}</IsBuiltin></ServerSyncTargetGroup>"
            for guid, (name, parent, builtin) in {**BUILTIN, **self.groups}.items())
        made = "".join(
            f"<ServerSyncDeployment><UpdateId>{d['update'][0]}</UpdateId>"
            f"<RevisionNumber>{d['update'][1]}</RevisionNumber><Action>{d['action']}</Action>"
            f"<AdminName>{d['admin']}</AdminName><Deadline>{d['deadline']}</Deadline>"
            f"<IsAssigned>{str(d['assigned']).lower()}</IsAssigned><GoLiveTime>{d['live']}</GoLiveTime>"
            f"<DeploymentGuid>{guid}</DeploymentGuid><TargetGroupId>{d['group']}</TargetGroupId>"
            f"<DownloadPriority>{d['priority']}</DownloadPriority></ServerSyncDeployment>"
            for guid, d in self.deployments.items() if after < d["tick"] <= until)
        dead = "".join(f"<guid>{guid}</guid>" for guid, tick in self.dead.items()
                       if after < tick <= until and after > EVER)
        return answer("GetDeployments", f"<Anchor>{sync_anchor}</Anchor><Groups>{groups}</Groups>"
                      f"<Deployments>{made}</Deployments><DeadDeployments>{dead}</DeadDeployments>"
                      f"<HiddenUpdates>{''.join(f'<guid>{g}</guid>' for g in self.hidden)}</HiddenUpdates>"
                      f"<AcceptedEulas>{''.join(f'<guid>{g}</guid>' for g in self.eulas)}</AcceptedEulas>")

    def DownloadFiles(self, request):
        self.check_cookie(request)
        digests = [e.text for e in request.iter(f"{{{SD}}}base64Binary")]
        if not 1 <= len(digests) <= 100:
            self.violation(f"{len(digests)} digests in DownloadFiles")
            raise Fault("InvalidParameters", "fileDigestList")
        known = {d for document in self.documents.values() for d in document.digests}
        if missing := [d for d in digests if d not in known]:
            raise Fault("FileDigestsMissing", "|".join(missing))
        self.asked_files += [base64.b64decode(d).hex().upper() for d in digests]
        return envelope(f'<DownloadFilesResponse xmlns="{SD}" />')

    def hold_back(self, sha1, polls=1):
        """The file is not there (404) until DownloadFiles named it and `polls` more requests came."""
        self.held_back[sha1.upper()] = polls

    def content_for(self, sha1):
        """The bytes of a file, or None for 404."""
        if sha1 in self.held_back:
            if sha1 not in self.asked_files or self.held_back[sha1] > 0:
                if sha1 in self.asked_files:
                    self.held_back[sha1] -= 1
                return None
        return self.content.get(sha1)

    # ---- One call ----------------------------------------------------------------------------------

    def perform(self, operation, body):
        """(status, body) of a request that reached the service."""
        try:
            if self.fault is not None:
                raise Fault(*self.fault, caller=False)
            envelope_root = ET.fromstring(body)
            request = envelope_root[-1][0]
            if local(request) != operation:
                self.violation(f"SOAPAction {operation}, body {local(request)}")
            if operation not in CHILDREN:
                self.violation(f"{operation} must never be called here")
                raise Fault("InternalServerError", caller=False)
            self.check_order(request, CHILDREN[operation])
            return 200, getattr(self, operation)(request)
        except Fault as fault:
            return 500, fault_body(fault.code, fault.message, operation, fault.caller, self.url)
