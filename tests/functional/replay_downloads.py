"""Replays the recorded downloads of a Windows 11 client, and its driver pass, against `gapferry serve`:
same status, same headers, same lengths as the real server."""
import http.client
import re
import sqlite3
import unittest
import xml.etree.ElementTree as ET

import xpress
from harness import SHARED, World
from replay_captures import SCAN, Replay, structure

DOWNLOADS = SHARED / "captures/content-headers"
MISSING = None if DOWNLOADS.is_dir() else "the captures are not here"
# Names of the real server itself, and what belongs to its copy of the file and to the moment.
THEIRS = {"server", "x-powered-by", "x-aspnet-version"}
OWN_VALUES = {"date", "etag", "last-modified"}

# One device as Windows sends it (wusp.md 7.9), with what the specification does not list.
DEVICE = """<Device><HardwareIDs><string>PCI\\VEN_8086&amp;DEV_{0:04X}&amp;SUBSYS_00000000</string>
<string>PCI\\VEN_8086&amp;DEV_{0:04X}</string></HardwareIDs><CompatibleIDs><string>PCI\\VEN_8086</string>
</CompatibleIDs><installedDriver><MatchingID>PCI\\VEN_8086</MatchingID>
<DriverVerDate>2006-06-21T00:00:00Z</DriverVerDate><DriverVerVersion>2814751477604196</DriverVerVersion>
<Class>{{4d36e97d-e325-11ce-bfc1-08002be10318}}</Class><Manufacturer>Intel</Manufacturer>
<Provider>Microsoft</Provider><Model>Bridge</Model>
<MatchingComputerHWID a:nil="true" xmlns:a="http://www.w3.org/2001/XMLSchema-instance"/>
<DriverRank>16719875</DriverRank><SkipProviderFiltering>false</SkipProviderFiltering>
<IsGeneric>true</IsGeneric></installedDriver><extensionDrivers><ExtensionDriver>
<ExtensionId>b2d9c0ef-f1e0-4f3c-9ad4-e5a2a1dd1a34</ExtensionId>
<DriverVerDate>0001-01-01T00:00:00Z</DriverVerDate><DriverVerVersion>0</DriverVerVersion>
<DriverRank>-1</DriverRank></ExtensionDriver></extensionDrivers><DeviceFlags>1</DeviceFlags></Device>"""
DRIVER_PASS = """<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
<SyncUpdates xmlns="http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService">
<cookie><Expiration>2026-10-04T16:03:35Z</Expiration><EncryptedData>AAAA</EncryptedData></cookie>
<parameters><ExpressQuery>false</ExpressQuery><InstalledNonLeafUpdateIDs><int>1</int>
</InstalledNonLeafUpdateIDs><SystemSpec>{}</SystemSpec><SkipSoftwareSync>true</SkipSoftwareSync>
<NeedTwoGroupOutOfScopeUpdates>true</NeedTwoGroupOutOfScopeUpdates>
<AlsoPerformRegularSync>false</AlsoPerformRegularSync><ComputerSpec><HardwareIDs>
<guid>6de5d951-d755-576b-bd09-c5cf66b27234</guid></HardwareIDs></ComputerSpec>
<FeatureScoreMatchingKey>AMD64.10.0</FeatureScoreMatchingKey></parameters></SyncUpdates></s:Body></s:Envelope>"""


def headers_of(path):
    """The first line and the headers, names in lower case."""
    first, *rest = path.read_text().splitlines()
    return first, {name.lower(): value for name, value in (l.split(": ", 1) for l in rest if ": " in l)}


def hold(mirror, url_path, size):
    """A sparse file under the recorded name, as a job would have put it there."""
    sha1, extension = re.search(r"/([0-9A-F]{40})\.(\w+)$", url_path).groups()
    file = mirror.path / "content" / sha1[-2:] / f"{sha1}.{extension}"
    if file.exists():
        return
    file.parent.mkdir(exist_ok=True)
    with open(file, "wb") as out:
        out.truncate(size)
    db = sqlite3.connect(mirror.path / "catalog.db")
    with db:
        db.execute("UPDATE mirror SET content_sequence = content_sequence + 1")
        db.execute("INSERT INTO content SELECT ?, ?, ?, ?, content_sequence FROM mirror",
                   (bytes.fromhex(sha1), bytes(32), size, extension))
    db.close()


@unittest.skipIf(MISSING, MISSING)
class DownloadReplayTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.mirror = cls.world.init("m", "--upstream", "http://127.0.0.1:9")
        cls.recorded = sorted(DOWNLOADS.iterdir())
        for folder in cls.recorded:
            path = headers_of(folder / "request.headers")[0].split()[1]
            total = headers_of(folder / "response.headers")[1]["content-range"].rsplit("/", 1)[1]
            hold(cls.mirror, path, int(total))
        serving = cls.mirror.serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)

    def test_downloads(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        for folder in self.recorded:
            with self.subTest(folder.name):
                first, asked = headers_of(folder / "request.headers")
                asked["host"] = f"127.0.0.1:{self.server.port}"
                method, path, _ = first.split()
                connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
                for name, value in asked.items():
                    connection.putheader(name, value)
                connection.endheaders()
                answer = connection.getresponse()
                body = answer.read()
                status, wanted = headers_of(folder / "response.headers")
                self.assertEqual(answer.status, int(status.split()[1]))
                got = {name.lower(): value for name, value in answer.getheaders()}
                self.assertEqual(set(got), set(wanted) - THEIRS)
                for name in set(got) - OWN_VALUES:
                    self.assertEqual(got[name], wanted[name], name)
                self.assertRegex(got["etag"], r'^"[^"]+"$')
                self.assertEqual(len(body), int(wanted["content-length"]))
        connection.close()

    def test_driver_pass(self):
        for encoding in ("identity", "xpress"):
            replay = Replay(self.server.port, encoding)
            for number in (1, 2, 3, 4):
                replay.send(SCAN / f"{number:06}")
            body = replay.substitute(DRIVER_PASS.format("".join(DEVICE.format(i) for i in range(70))))
            self.assertGreater(len(body), 46_134, "as large as a real one")
            headers = headers_of(SCAN / "000009/request.headers")[1]
            headers.pop("content-length")
            replay.connection.request("POST", "/ClientWebService/client.asmx", body.encode(),
                                      {**headers, "accept-encoding": encoding,
                                       "host": f"127.0.0.1:{self.server.port}"})
            answer = replay.connection.getresponse()
            data = answer.read()
            if encoding == "xpress":
                data = xpress.decode(data)
            self.assertEqual(answer.status, 200, data[:500])
            ours, theirs = ET.fromstring(data), ET.fromstring(
                (SCAN / "000009/response.body").read_bytes())
            # The id of the recording's other server is not ours: the driver pass does not list caches.
            self.assertEqual(structure(ours), structure(theirs))


if __name__ == "__main__":
    unittest.main()
