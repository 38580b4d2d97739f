"""An update server for the workloads of large answers: one static list or document over HTTP, made
once per size, and just enough of the dialogue of MS-WSUSSS around it."""
import hashlib
import http.server
import re
import struct
import threading
import uuid

NAMESPACE = "http://www.microsoft.com/SoftwareDistribution"
HEAD = ('<?xml version="1.0" encoding="utf-8"?>'
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>')
TAIL = "</soap:Body></soap:Envelope>"
UPDATE = "http://schemas.microsoft.com/msus/2002/12/Update"
LARGE = "33333333-0000-4000-8000-000000000001"


def answer(operation, body, namespace=NAMESPACE):
    return f'{HEAD}<{operation}Response xmlns="{namespace}">{body}</{operation}Response>{TAIL}'


def revision_list(path, entries):
    """An answer to GetRevisionIdList with so many entries, in no order, as a server gives them."""
    with open(path, "w") as out:
        out.write(f'{HEAD}<GetRevisionIdListResponse xmlns="{NAMESPACE}"><GetRevisionIdListResult>'
                  "<Anchor>1,2026-10-04 16:33:26.668</Anchor><NewRevisions>")
        for number in range(entries):
            name = uuid.UUID(bytes=hashlib.md5(struct.pack("<I", number)).digest())
            out.write(f"<UpdateIdentity><UpdateID>{name}</UpdateID>"
                      f"<RevisionNumber>{100 + number % 100}</RevisionNumber></UpdateIdentity>")
        out.write("</NewRevisions></GetRevisionIdListResult></GetRevisionIdListResponse>" + TAIL)


def document(path, size):
    """A cumulative update with a package manifest of `size` bytes in its rules."""
    with open(path, "w") as out:
        out.write(f'<upd:Update xmlns:upd="{UPDATE}"><upd:UpdateIdentity UpdateID="{LARGE}" '
                  'RevisionNumber="200" /><upd:Properties UpdateType="Software" '
                  'DefaultPropertiesLanguage="en" ExplicitlyDeployable="true" />'
                  "<upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en"
                  "</upd:Language><upd:Title>Cumulative update</upd:Title>"
                  "</upd:LocalizedProperties></upd:LocalizedPropertiesCollection>"
                  "<upd:ApplicabilityRules><upd:Metadata><cbs:CbsPackageApplicabilityMetadata "
                  'xmlns:cbs="http://schemas.microsoft.com/msus/2002/12/CbsApplicabilityRules">'
                  '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">')
        number = 0
        while out.tell() < size:
            digest = hashlib.sha1(struct.pack("<I", number)).hexdigest()
            out.write(f'<package identifier="KB{number}" applicabilityEvaluation="deep"><update '
                      f'name="{digest}"><component><assemblyIdentity name="c-{digest[:12]}" '
                      'version="10.0.26100.1742" processorArchitecture="amd64" language="neutral" '
                      'buildType="release" publicKeyToken="31bf3856ad364e35" '
                      'versionScope="nonSxS" /></component></update></package>')
            number += 1
        out.write("</assembly></cbs:CbsPackageApplicabilityMetadata></upd:Metadata>"
                  "</upd:ApplicabilityRules></upd:Update>")


def document_answer(source, path):
    """The document as XmlUpdateBlob, escaped as the server does."""
    text = open(source).read().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    with open(path, "w") as out:
        out.write(f'{HEAD}<GetUpdateDataResponse xmlns="{NAMESPACE}"><GetUpdateDataResult><updates>'
                  f"<ServerSyncUpdateData><Id><UpdateID>{LARGE}</UpdateID><RevisionNumber>200"
                  "</RevisionNumber></Id><XmlUpdateBlob>")
        out.write(text)
        out.write("</XmlUpdateBlob></ServerSyncUpdateData></updates><fileUrls /></GetUpdateDataResult>"
                  "</GetUpdateDataResponse>" + TAIL)


class BigUpstream:
    """Serves while the block runs. `updates`: a file with the answer to GetRevisionIdList;
    `data`: one with that to GetUpdateData, or none."""

    def __init__(self, updates, data=None):
        upstream = self
        self.files = {"updates": updates, "data": data}
        expiry = "<Expiration>9999-12-31T23:59:59Z</Expiration><EncryptedData>AQID</EncryptedData>"
        self.fixed = {
            "GetAuthConfig": answer("GetAuthConfig", "<GetAuthConfigResult><LastChange>"
                                    "2026-01-01T00:00:00Z</LastChange><AuthInfo><AuthPlugInInfo>"
                                    "<PlugInID>DssTargeting</PlugInID><ServiceUrl>DssAuthWebService/"
                                    "DssAuthWebService.asmx</ServiceUrl><Parameter /></AuthPlugInInfo>"
                                    "</AuthInfo></GetAuthConfigResult>"),
            "GetAuthorizationCookie": answer(
                "GetAuthorizationCookie", "<GetAuthorizationCookieResult><PlugInId>DssTargeting"
                "</PlugInId><CookieData>AQID</CookieData></GetAuthorizationCookieResult>",
                NAMESPACE + "/Server/DssAuthWebService"),
            "GetCookie": answer("GetCookie", f"<GetCookieResult>{expiry}</GetCookieResult>"),
            "GetConfigData": answer(
                "GetConfigData", "<GetConfigDataResult><CatalogOnlySync>false</CatalogOnlySync>"
                "<MaxNumberOfUpdatesPerRequest>100</MaxNumberOfUpdatesPerRequest><NewConfigAnchor>1"
                "</NewConfigAnchor><ProtocolVersion>1.20</ProtocolVersion><LanguageUpdateList />"
                "</GetConfigDataResult>"),
            "categories": answer("GetRevisionIdList", "<GetRevisionIdListResult><Anchor>1</Anchor>"
                                 "<NewRevisions /></GetRevisionIdListResult>"),
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers["SOAPAction"].strip('"').rsplit("/", 1)[1]
                upstream.reply(self, operation, body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def reply(self, handler, operation, body):
        file = None
        if operation == "GetRevisionIdList":
            is_config = re.search(rb"<GetConfig>(true|1)</GetConfig>", body)
            file = None if is_config else self.files["updates"]
            operation = "categories"
        elif operation == "GetUpdateData":
            file = self.files["data"]
        text = self.fixed.get(operation)
        status = 200 if file or text else 500
        if not file and not text:
            text = (HEAD + "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>Fault occurred"
                    "</faultstring><detail><ErrorCode>InternalServerError</ErrorCode></detail>"
                    "</soap:Fault>" + TAIL)
        size = file.stat().st_size if file else len(text.encode())
        handler.send_response(status)
        handler.send_header("Content-Type", "text/xml; charset=utf-8")
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        if not file:
            handler.wfile.write(text.encode())
            return
        with open(file, "rb") as source:
            handler.wfile.flush()
            handler.connection.sendfile(source)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
