"""An update server that answers a downstream server with documents given to it, right or wrong.

    with FakeUpstream() as upstream:
        upstream.add(xml_text)                  # a document; its identity is read from it
        upstream.content[sha1_hex] = data       # a file
        upstream.fault = ("ServerBusy", "")     # the next calls end so, until it is None again
        mirror = world.init("m", "--upstream", upstream.url)

It knows one subscription (everything), two kinds of anchors, and counts what it was asked in `calls`.
"""
import base64
import collections
import hashlib
import http.server
import re
import threading
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

SD = "http://www.microsoft.com/SoftwareDistribution"
UPD = "{http://schemas.microsoft.com/msus/2002/12/Update}"


def envelope(body):
    return ('<?xml version="1.0" encoding="utf-8"?><soap:Envelope '
            'xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
            f"{body}</soap:Body></soap:Envelope>").encode()


def answer(operation, inner, namespace=SD):
    return envelope(f'<{operation}Response xmlns="{namespace}"><{operation}Result>{inner}'
                    f"</{operation}Result></{operation}Response>")


def identity(key):
    return f"<UpdateID>{key[0]}</UpdateID><RevisionNumber>{key[1]}</RevisionNumber>"


class Document:
    def __init__(self, text, cabinet=None):
        root = ET.fromstring(text)
        own = root.find(UPD + "UpdateIdentity")
        self.key = (own.get("UpdateID").lower(), int(own.get("RevisionNumber")))
        self.kind = root.find(UPD + "Properties").get("UpdateType")
        self.text, self.cabinet, self.tick = text, cabinet, 0
        self.digests = [f.get("Digest") for f in root.iter(UPD + "File")
                        if f.get("DigestAlgorithm", "SHA1") == "SHA1"]

    def entry(self):
        digests = "".join(f"<base64Binary>{d}</base64Binary>" for d in self.digests)
        blob = (f"<XmlUpdateBlobCompressed>{base64.b64encode(self.cabinet).decode()}"
                "</XmlUpdateBlobCompressed>" if self.cabinet else
                f"<XmlUpdateBlob>{escape(self.text)}</XmlUpdateBlob>")
        return (f"<ServerSyncUpdateData><Id>{identity(self.key)}</Id>"
                + (f"<FileDigestList>{digests}</FileDigestList>" if digests else "")
                + blob + "</ServerSyncUpdateData>")


class FakeUpstream:
    def __init__(self):
        self.documents, self.content = {}, {}
        self.fault, self.mu_url = None, ""
        self.calls = collections.Counter()
        self.tick = 0
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers["SOAPAction"].strip('"').rsplit("/", 1)[1]
                status, data = upstream.call(operation, body)
                self.send_response(status)
                self.send_header("Content-Type", "text/xml; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                upstream.calls["content"] += 1
                name = self.path.rsplit("/", 1)[-1].split(".")[0].upper()
                data = upstream.content.get(name)
                if data is None:
                    self.send_error(404)
                    return
                first = 0
                if wanted := re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", "")):
                    first = int(wanted.group(1))
                    last = min(int(wanted.group(2) or len(data) - 1), len(data) - 1)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                    data = data[first:last + 1]
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # a caller that was killed in the middle is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def add(self, text, cabinet=None):
        document = Document(text, cabinet)
        self.tick += 1
        document.tick = self.tick
        self.documents[document.key] = document
        return document

    def call(self, operation, body):
        self.calls[operation] += 1
        if self.fault is not None:
            code, message = self.fault
            return 500, envelope(
                "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>Fault occurred</faultstring>"
                f"<detail><ErrorCode>{code}</ErrorCode><Message>{message}</Message>"
                "<ID>b6114a8d-9939-41e0-ad7f-0d9a72260804</ID></detail></soap:Fault>")
        return 200, getattr(self, operation)(ET.fromstring(body))

    def GetAuthConfig(self, _):
        return answer("GetAuthConfig", "<LastChange>2026-10-04T13:16:35.433Z</LastChange><AuthInfo>"
                      "<AuthPlugInInfo><PlugInID>DssTargeting</PlugInID>"
                      "<ServiceUrl>DssAuthWebService/DssAuthWebService.asmx</ServiceUrl><Parameter />"
                      "</AuthPlugInInfo></AuthInfo>")

    def GetAuthorizationCookie(self, _):
        return answer("GetAuthorizationCookie", "<PlugInId>DssTargeting</PlugInId>"
                      "<CookieData>AAAA</CookieData>", SD + "/Server/DssAuthWebService")

    def GetCookie(self, _):
        return answer("GetCookie", "<Expiration>2099-01-01T00:00:00Z</Expiration>"
                      "<EncryptedData>AAAA</EncryptedData>")

    def GetConfigData(self, _):
        zero = "".join(f"<MaxNumberOf{n}>0</MaxNumberOf{n}>" for n in
                       ("ComputerIdsInRequest", "DriverSetsPerRequest", "PnpHardwareIdsInRequest"))
        return answer("GetConfigData", "<CatalogOnlySync>false</CatalogOnlySync><LazySync>true</LazySync>"
                      f"<ServerHostsPsfFiles>false</ServerHostsPsfFiles>{zero}"
                      "<MaxNumberOfUpdatesPerRequest>100</MaxNumberOfUpdatesPerRequest>"
                      "<NewConfigAnchor>1,2026-10-04 16:33:26.668</NewConfigAnchor>"
                      "<ProtocolVersion>1.20</ProtocolVersion><LanguageUpdateList><ServerSyncLanguageData>"
                      "<LanguageID>1033</LanguageID><ShortLanguage>en</ShortLanguage>"
                      "<LongLanguage>English</LongLanguage><Enabled>true</Enabled>"
                      "</ServerSyncLanguageData></LanguageUpdateList>"
                      "<MaxUpdatesPerRequestInGetUpdateDecryptionData>100"
                      "</MaxUpdatesPerRequestInGetUpdateDecryptionData>")

    def GetRevisionIdList(self, root):
        config = root.find(f".//{{{SD}}}GetConfig").text == "true"
        anchor = root.find(f".//{{{SD}}}Anchor")
        since = int(anchor.text.split(",")[0]) if anchor is not None and anchor.text else 0
        kinds = ("Category", "Detectoid")
        listed = "".join(f"<UpdateIdentity>{identity(key)}</UpdateIdentity>"
                         for key, d in self.documents.items()
                         if (d.kind in kinds) == config and d.tick > since)
        return answer("GetRevisionIdList", f"<Anchor>{self.tick},2026-10-04 16:33:26.734</Anchor>"
                      f"<NewRevisions>{listed}</NewRevisions>")

    def GetUpdateData(self, root):
        keys = [(i.find(f"{{{SD}}}UpdateID").text.lower(), int(i.find(f"{{{SD}}}RevisionNumber").text))
                for i in root.iter(f"{{{SD}}}UpdateIdentity")]
        entries = [self.documents[key] for key in keys]
        urls = "".join(f"<ServerSyncUrlData><FileDigest>{d}</FileDigest><MUUrl>{self.mu_url}</MUUrl>"
                       "<UssUrl></UssUrl>"
                       "</ServerSyncUrlData>" for e in entries for d in e.digests)
        return answer("GetUpdateData", f"<updates>{''.join(e.entry() for e in entries)}</updates>"
                      f"<fileUrls>{urls}</fileUrls>")

    def GetDeployments(self, _):
        return answer("GetDeployments", "<Anchor>1,2026-10-04 16:33:26.734</Anchor><Groups />"
                      "<Deployments /><DeadDeployments /><HiddenUpdates /><AcceptedEulas />")

    def DownloadFiles(self, _):
        return envelope(f'<DownloadFilesResponse xmlns="{SD}" />')


def file_element(name, data):
    """A file of a document, as real ones declare it."""
    sha1, sha256 = (base64.b64encode(hashlib.new(a, data).digest()).decode() for a in ("sha1", "sha256"))
    return (f'<upd:File Digest="{sha1}" DigestAlgorithm="SHA1" FileName="{name}" Size="{len(data)}" '
            'Modified="2026-10-04T09:39:26Z"><upd:AdditionalDigest Algorithm="SHA256">'
            f"{sha256}</upd:AdditionalDigest></upd:File>")


HANDLERS = "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/"


def document(guid, revision=100, kind="Category", *, title="Title", category=None, prerequisites=(),
             bundled=(), superseded=(), explicitly=False, files=(), installed="<lar:True />",
             state="Published"):
    """A small document of the shape that real ones have; `files` are (name, bytes)."""
    def groups(ids, attribute):
        return "".join(f"<upd:AtLeastOne{attribute}>"
                       f'<upd:UpdateIdentity UpdateID="{i}" /></upd:AtLeastOne>' for i in ids)

    handler, data = "", ""
    if category:
        handler = f'Handler="{HANDLERS}Category"'
        data = ('<upd:HandlerSpecificData xsi:type="cat:Category"><cat:CategoryInformation '
                f'CategoryType="{category}" ProhibitsSubcategories="false" /></upd:HandlerSpecificData>')
    elif files:
        handler = f'Handler="{HANDLERS}CommandLineInstallation"'
        declared = "".join(file_element(name, content) for name, content in files)
        data = (f"<upd:Files>{declared}</upd:Files>"
                '<upd:HandlerSpecificData xsi:type="cmd:CommandLineInstallation"><cmd:InstallCommand '
                f'Program="{files[0][0]}" Arguments="/q"><cmd:ReturnCode Code="0" Result="Succeeded" />'
                "</cmd:InstallCommand></upd:HandlerSpecificData>")
    old = "".join(f'<upd:UpdateIdentity UpdateID="{g}" />' for g in superseded)
    new = "".join(f'<upd:UpdateIdentity UpdateID="{g}" RevisionNumber="{r}" />' for g, r in bundled)
    attribute = ' IsCategory="true"' if kind in ("Category", "Software") else ""
    relations = ((f"<upd:Prerequisites>{groups(prerequisites, attribute)}</upd:Prerequisites>"
                  if prerequisites else "")
                 + (f"<upd:SupersededUpdates>{old}</upd:SupersededUpdates>" if old else "")
                 + (f"<upd:BundledUpdates>{new}</upd:BundledUpdates>" if new else ""))
    return (
        '<upd:Update xmlns:upd="http://schemas.microsoft.com/msus/2002/12/Update" '
        'xmlns:pub="http://schemas.microsoft.com/msus/2002/12/Publishing" '
        f'xmlns:cat="{HANDLERS}Category" xmlns:cmd="{HANDLERS}CommandLineInstallation" '
        'xmlns:lar="http://schemas.microsoft.com/msus/2002/12/LogicalApplicabilityRules" '
        'xmlns:bar="http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<upd:UpdateIdentity UpdateID="{guid}" RevisionNumber="{revision}" />'
        f'<upd:Properties UpdateType="{kind}" DefaultPropertiesLanguage="en" {handler} '
        f'ExplicitlyDeployable="{str(explicitly).lower()}" '
        f'PublicationState="{state}" CreationDate="2024-01-11T20:15:45.051Z" '
        'PublisherID="395392a0-19c0-48b7-a927-f7c15066d905" />'
        "<upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en</upd:Language>"
        f"<upd:Title>{escape(title)}</upd:Title><upd:Description>{escape(title)}</upd:Description>"
        "</upd:LocalizedProperties></upd:LocalizedPropertiesCollection>"
        + (f"<upd:Relationships>{relations}</upd:Relationships>" if relations else "")
        + f"<upd:ApplicabilityRules><upd:IsInstalled>{installed}</upd:IsInstalled>"
        "</upd:ApplicabilityRules>" + data + "</upd:Update>")
