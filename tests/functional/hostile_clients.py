"""Hostile requests against `gapferry serve`: bombs, nesting, absurd lists, forged cookies, slow senders,
garbage. Each is answered by a fault or a 4xx (or cut off), memory stays bounded, and a well-behaved client
goes on scanning meanwhile."""
import http.client
import pathlib
import re
import socket
import threading
import time
import unittest
import uuid

import catalogue
from harness import World, sanitized

CLIENT = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"
SIMPLE = "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService"
REPORTING = "http://www.microsoft.com/SoftwareDistribution"
EVENT = """<ReportingEvent><BasicData><TargetID><Sid>{}</Sid></TargetID><SequenceNumber>0</SequenceNumber>
<TimeAtTarget>2026-11-22T08:00:00Z</TimeAtTarget><EventInstanceID>{}</EventInstanceID>
<NamespaceID>1</NamespaceID><EventID>156</EventID><SourceID>104</SourceID><UpdateID>
<UpdateID>00000000-0000-0000-0000-000000000000</UpdateID><RevisionNumber>0</RevisionNumber></UpdateID>
<Win32HResult>0</Win32HResult></BasicData><ExtendedData><MiscData><string>U={}</string></MiscData>
<ComputerBrand>a</ComputerBrand><ComputerModel>b</ComputerModel><BiosRevision>c</BiosRevision>
<ProcessorArchitecture>Amd64Compatible</ProcessorArchitecture><OSVersion><Major>10</Major><Minor>0</Minor>
<Build>26200</Build><Revision>1</Revision><ServicePackMajor>0</ServicePackMajor>
<ServicePackMinor>0</ServicePackMinor></OSVersion><OSLocaleID>1033</OSLocaleID></ExtendedData>
<PrivateData/></ReportingEvent>"""
CLIENT_PATH = "/ClientWebService/client.asmx"


def envelope(inner):
    return ('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f"{inner}</s:Body></s:Envelope>").encode()


def operation(name, inner, namespace=CLIENT):
    return envelope(f'<{name} xmlns="{namespace}">{inner}</{name}>')


class Caller:
    """Posts and reads with nothing but HTTP, so that what is sent is exactly what the test says."""

    def __init__(self, port):
        self.port = port

    def post(self, body, path=CLIENT_PATH, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", path, body, {"Content-Type": "text/xml; charset=utf-8",
                                                    **{k.replace("_", "-"): v for k, v in headers.items()}})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def value(self, text, name):
        return re.search(rf"<{name}>([^<]*)</{name}>", text).group(1)

    def cookie(self, computer=None):
        computer = computer or str(uuid.uuid4())
        _, config = self.post(operation("GetConfig", "<protocolVersion>2.90</protocolVersion>"))
        _, granted = self.post(operation("GetAuthorizationCookie",
                                         f"<clientId>{computer}</clientId><dnsName>pc</dnsName>", SIMPLE),
                               "/SimpleAuthWebService/SimpleAuth.asmx")
        status, text = self.post(operation(
            "GetCookie",
            "<authCookies><AuthorizationCookie><PlugInId>SimpleTargeting</PlugInId>"
            f"<CookieData>{self.value(granted, 'CookieData')}</CookieData></AuthorizationCookie></authCookies>"
            f"<lastChange>{self.value(config, 'LastChange')}</lastChange>"
            "<currentTime>2026-11-22T08:00:00Z</currentTime><protocolVersion>2.90</protocolVersion>"))
        assert status == 200, text
        cookie = (f"<cookie><Expiration>{self.value(text, 'Expiration')}</Expiration>"
                  f"<EncryptedData>{self.value(text, 'EncryptedData')}</EncryptedData></cookie>")
        status, text = self.post(operation("RegisterComputer", cookie + (
            "<computerInfo><DnsName>pc</DnsName><OSMajorVersion>10</OSMajorVersion></computerInfo>")))
        assert status == 200, text
        return cookie

    def scan(self, cookie, parameters=""):
        return self.post(operation("SyncUpdates", cookie + (
            "<parameters><ExpressQuery>false</ExpressQuery>" + parameters +
            "<SkipSoftwareSync>false</SkipSoftwareSync></parameters>")))


class GoodClient(threading.Thread):
    """Scans again and again; remembers how long each answer took."""

    def __init__(self, port):
        super().__init__()
        self.caller, self.stop, self.times, self.wrong = Caller(port), threading.Event(), [], []
        self.cookie = self.caller.cookie()

    def run(self):
        while not self.stop.is_set():
            began = time.monotonic()
            status, text = self.caller.scan(self.cookie)
            self.times.append(time.monotonic() - began)
            if status != 200 or "<UpdateInfo>" not in text:
                self.wrong.append((status, text[:300]))
            self.stop.wait(0.05)


class HostileTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.mirror = catalogue.upstream(cls.world, "m", content="none")
        cls.mirror.configure(serve__client_timeout="3s")
        serving = cls.mirror.serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)
        cls.caller = Caller(cls.server.port)
        cls.cookie = cls.caller.cookie()

    def memory(self):
        """Bytes of anonymous memory that the server holds."""
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1)) << 10

    def setUp(self):
        self.before = self.memory()
        self.good = GoodClient(self.server.port)
        self.good.start()

    def tearDown(self):
        self.good.stop.set()
        self.good.join(120)
        self.assertEqual(self.good.wrong, [])
        self.assertTrue(self.good.times)
        self.assertLess(max(self.good.times), 90 if sanitized() else 20, "the good client had to wait")
        self.assertIsNone(self.server.process.poll())
        if not sanitized():
            self.assertLess(self.memory() - self.before, 600 << 20)

    def refused(self, answer, *codes):
        status, text = answer
        if status == 500:
            self.assertIn(self.caller.value(text, "ErrorCode"), codes, text[:500])
        else:
            self.assertIn(status, (400, 404, 405, 411, 413, 415, 431, 501, 503), text[:500])

    def test_bombs_and_nesting(self):
        entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
        bomb = f'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY e0 "x">{entities}]>'.encode()
        outside = b'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        valid = operation("GetConfig", "<protocolVersion>&f;</protocolVersion>")
        began = time.monotonic()
        for body in (bomb + operation("GetConfig", "<protocolVersion>&e9;</protocolVersion>"),
                     outside + valid,
                     b"<a>" * 1_000_000,
                     envelope("<a>" * 100_000 + "</a>" * 100_000),
                     envelope("<a " + " ".join(f'b{i}="c"' for i in range(200_000)) + "/>"),
                     envelope("".join(f'<a xmlns:p{i}="u{i}"/>' for i in range(50_000)) * 3),
                     b"\x00" * 1000, b"", b"<", bytes(range(256)) * 100,
                     "<a/>".encode("utf-16"), b'<?xml version="1.0" encoding="EBCDIC-CP-US"?><a/>'):
            with self.subTest(body[:60]):
                status, text = self.caller.post(body)
                self.assertNotIn("root:", text)
                self.refused((status, text), "InvalidParameters")
        self.assertLess(time.monotonic() - began, 120 if sanitized() else 30)

    def test_absurd_lists_and_numbers(self):
        def ints(name, values):
            return f"<{name}>" + "".join(f"<int>{v}</int>" for v in values) + f"</{name}>"

        many = ints("OtherCachedUpdateIDs", range(1, 300_000))
        self.refused(self.caller.scan(self.cookie, many), "InvalidParameters")
        for wrong in ("99999999999999999999", "x", "1.5", "", "0x10", "--1"):
            self.refused(self.caller.scan(self.cookie, ints("OtherCachedUpdateIDs", [wrong])),
                         "InvalidParameters")
        # Negative and foreign ids are no error: the client is told to drop them.
        status, text = self.caller.scan(self.cookie, ints("OtherCachedUpdateIDs", [-1, 0, -2147483648,
                                                                                   2147483647]))
        self.assertEqual(status, 200, text[:500])
        out = re.search(r"<OutOfScopeRevisionIDs>(.*?)</OutOfScopeRevisionIDs>", text).group(1)
        self.assertEqual(set(re.findall(r"<int>(-?\d+)</int>", out)),
                         {"-1", "0", "-2147483648", "2147483647"})
        for operation_name, inner in (
                ("GetExtendedUpdateInfo", ints("revisionIDs", range(5000)) +
                 "<infoTypes><XmlUpdateFragmentType>Extended</XmlUpdateFragmentType></infoTypes>"),
                ("GetFileLocations", "<fileDigests><base64Binary>AAAA</base64Binary></fileDigests>"),
                ("GetFileLocations", "<fileDigests>" + "<base64Binary>%</base64Binary>" * 3 +
                 "</fileDigests>"),
                ("RefreshCache", "<globalIDs>" + "<UpdateIdentity><UpdateID>x</UpdateID>"
                 "<RevisionNumber>1</RevisionNumber></UpdateIdentity></globalIDs>"),
                ("SyncPrinterCatalog", ints("printerUpdateIDs", range(300_000)))):
            with self.subTest(operation_name):
                self.refused(self.caller.post(operation(operation_name, self.cookie + inner)),
                             "InvalidParameters")
        self.refused(self.caller.post(operation("StartCategoryScan", "<requestedCategories>" + (
            "<CategoryRelationship><IndexOfAndGroup>0</IndexOfAndGroup>"
            f"<CategoryId>{uuid.uuid4()}</CategoryId></CategoryRelationship>") * 500 +
            "</requestedCategories>")), "InvalidParameters")
        self.refused(self.caller.post(operation("NoSuchThing", "")), "InvalidParameters")
        self.refused(self.caller.post(operation("GetConfig", "", "urn:other")), "InvalidParameters")

    def test_forged_cookies(self):
        def with_data(data):
            return (f"<cookie><Expiration>2030-01-01T00:00:00Z</Expiration>"
                    f"<EncryptedData>{data}</EncryptedData></cookie>")

        own = self.caller.value(self.cookie, "EncryptedData")
        for data in ("", "AAAA", own[:-8] + "AAAAAAA=", own[:40], "A" * 400_000, "not base64", own * 2):
            status, text = self.caller.scan(with_data(data))
            self.refused((status, text), "InvalidCookie")
            self.assertEqual(status, 500, text[:300])
        self.refused(self.caller.scan(""), "InvalidCookie", "InvalidParameters")

    def test_bodies_that_are_too_large_or_lie(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.putrequest("POST", CLIENT_PATH)
        connection.putheader("Content-Length", str(1 << 40))
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 413)
        connection.close()
        self.refused(self.caller.post(operation("GetConfig", "x" * 100), Content_Encoding="gzip"))
        for raw in (b"POST " + CLIENT_PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000,
                    b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"):
            with self.subTest(raw[:40]), socket.create_connection(("127.0.0.1", self.server.port), 30) as s:
                s.sendall(raw)
                s.settimeout(30)
                answer = s.recv(100)
                self.assertRegex(answer, rb"^HTTP/1\.1 (4\d\d|505)")

    def test_a_flood_of_large_messages(self):
        # Just below what is worked on one at a time, as many elements as fit, by many at once.
        body = operation("SyncUpdates", self.cookie + "<parameters><OtherCachedUpdateIDs>" +
                         "<int>7</int>" * 320_000 + "</OtherCachedUpdateIDs></parameters>")
        self.assertLess(len(body), 4 << 20)
        until = time.monotonic() + 6
        codes = []

        def flood():
            while time.monotonic() < until:
                try:
                    codes.append(self.caller.post(body)[0])
                except (http.client.HTTPException, OSError) as error:
                    codes.append(type(error).__name__)

        threads = [threading.Thread(target=flood) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertGreaterEqual(len(codes), len(threads))
        self.assertLessEqual({code for code in codes if isinstance(code, int)}, {400, 500, 503})

    def test_a_stream_of_reports_does_not_slow_scans(self):
        # A million events a day are 12 in a second.
        until, counts = time.monotonic() + 4, []
        needed = ";".join(str(uuid.uuid4()).upper() for _ in range(30))

        def report():
            computer = str(uuid.uuid4())
            cookie = self.caller.cookie(computer)
            while time.monotonic() < until:
                events = "".join(EVENT.format(computer, uuid.uuid4(), needed) for _ in range(6))
                status, text = self.caller.post(operation(
                    "ReportEventBatch", cookie + "<clientTime>2026-11-22T08:00:00Z</clientTime>"
                    f"<eventBatch>{events}</eventBatch>", REPORTING),
                    "/ReportingWebService/ReportingWebService.asmx")
                self.assertEqual(status, 200, text[:500])
                counts.append(6)

        threads = [threading.Thread(target=report) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertGreater(sum(counts) / 4, 24)
        self.assertGreater(len(self.good.times), 4)

    def test_slow_senders_are_left_and_hold_nobody_up(self):
        slow = []
        for i in range(200):
            s = socket.create_connection(("127.0.0.1", self.server.port), 30)
            s.sendall(b"POST " + CLIENT_PATH.encode() + b" HTTP/1.1\r\nHost: x\r\n" + (
                b"Content-Length: 100000\r\n\r\n<" if i % 2 else b"X-Header: "))
            slow.append(s)
        until = time.monotonic() + (90 if sanitized() else 30)
        for s in slow:
            s.settimeout(max(0.1, until - time.monotonic()))
            try:
                while s.recv(4096):
                    pass
            except ConnectionError:
                pass
            s.close()
        self.assertLess(time.monotonic(), until)


if __name__ == "__main__":
    unittest.main()
