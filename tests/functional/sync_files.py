"""`gapferry sync` and the files of an update server: wrong bytes, wrong sizes, missing, broken off, endless.

At no moment a file below content/ may have other bytes than its name promises, whatever the server sends;
one bad file does not stop the others; what came of a good one is not asked for again.
"""
import base64
import hashlib
import re
import signal
import subprocess
import time
import unittest

from harness import PROGRAM
from small_catalogue import CHILD, CLASSIFICATION, LEAVES, PRODUCT, guid, payload
from sync_support import SyncCase, held_files, wrong_files
from wsus import document

FILES = {name: hashlib.sha1(payload(name)).hexdigest().upper()
         for name in ("child", *(f"{leaf}/100" for leaf in LEAVES))}
ONE = FILES[f"{LEAVES[0]}/100"]


def of(sha1):
    return lambda request: sha1 in request.path.upper()


class FileCase(SyncCase):
    def setUp(self):
        super().setUp()
        self.mirror.configure(content__download="all")
        self.sync("--metadata-only")
        self.metadata = self.mirror.status()["documents_digest"]
        self.upstream.calm()
        self.seen = []
        self.good = dict(self.upstream.content)

    def watch(self):
        """Each request for a file looks at what is visible at that moment."""
        self.upstream.on("content", run=lambda _: self.seen.extend(wrong_files(self.mirror)))

    def tearDown(self):
        super().tearDown()
        self.assertEqual(self.seen, [])
        self.assertEqual(wrong_files(self.mirror), [])

    def partly(self, missing=(ONE,), failed=True):
        """Syncs; all files but the missing ones are held, and the report names those."""
        done = self.sync(code=3)
        self.assertEqual(held_files(self.mirror), set(FILES.values()) - set(missing))
        if failed:
            self.assertEqual({one["sha1"] for one in done["content"]["failed"]}, set(missing))
        self.assertEqual(self.mirror.status()["documents_digest"], self.metadata)
        return done

    def mends(self):
        self.upstream.calm()
        self.upstream.content = dict(self.good)
        self.sync()
        self.assertEqual(held_files(self.mirror), set(FILES.values()))
        self.mirror.run("store", "check", "--deep")
        # What was held is not fetched again.
        self.assertEqual({r.path.rsplit("/", 1)[-1][:40].upper() for r in self.upstream.requests
                          if r.operation == "content"}, {ONE})


class WrongFileTest(FileCase, unittest.TestCase):
    def test_other_bytes_of_the_same_size(self):
        data = bytearray(self.good[ONE])
        data[len(data) // 2] ^= 1
        self.upstream.content[ONE] = bytes(data)
        self.watch()
        done = self.partly()
        self.assertIn("SHA", done["content"]["failed"][0]["why"].upper())
        self.assertIn(sum(of(ONE)(r) for r in self.upstream.requests if r.operation == "content"),
                      range(1, 4))
        self.mends()

    def test_fewer_and_more_bytes_and_a_page(self):
        for data in (self.good[ONE][:-7], self.good[ONE] + b"more", b"",
                     b"<html>The file is being scanned. Please wait.</html>"):
            with self.subTest(size=len(data)):
                self.upstream.calm()
                self.upstream.content[ONE] = data
                self.partly()
                self.assertLessEqual(self.upstream.calls["content"], 3 + 5)
        self.mends()

    def test_a_file_without_end(self):
        met = self.upstream.on("content", when=of(ONE), endless=b"x")
        self.partly()
        self.assertLess(met.bytes_sent, 64 << 20)
        self.mends()

    def test_a_right_sha1_and_a_wrong_sha256(self):
        # What a second preimage of SHA-1 would look like.
        data, other = payload("forged"), payload("true one")
        sha1 = hashlib.sha1(data).hexdigest().upper()
        self.upstream.content[sha1] = data
        text = document(guid("forged"), 100, "Software", title="Forged", explicitly=True,
                        prerequisites=[PRODUCT, CLASSIFICATION], files=[("forged.exe", data)])
        right, wrong = (base64.b64encode(hashlib.sha256(d).digest()).decode() for d in (data, other))
        self.assertIn(right, text)
        self.upstream.add(text.replace(right, wrong))
        done = self.sync(code=3)
        self.assertEqual(held_files(self.mirror), set(FILES.values()))
        self.assertIn("256", done["content"]["failed"][0]["why"])


class StoppedTest(FileCase, unittest.TestCase):
    """The process ends in the middle of a file; the next sync goes on there."""

    def ends_in_the_middle(self, how):
        self.upstream.on("content", when=of(ONE), times=1, stall_after_bytes=20_000)
        process = subprocess.Popen([str(PROGRAM), "sync", "--mirror", str(self.mirror.path), "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 60
        while time.monotonic() < until and not any(
                ONE.lower() in p.name.lower() and p.stat().st_size >= 20_000
                for p in (self.mirror.path / "staging").rglob("*") if p.is_file()):
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - began, 10, "stops at once, although the server sends nothing")
        self.assertNotIn(ONE, held_files(self.mirror))
        self.upstream.calm()
        self.sync()
        self.assertEqual(held_files(self.mirror), set(FILES.values()))
        ranges = [r.headers.get("Range") for r in self.upstream.requests
                  if r.operation == "content" and of(ONE)(r)]
        self.assertEqual(len(ranges), 1)
        self.assertRegex(ranges[0], r"^bytes=[12]\d{4}-")
        return process.returncode, out + err

    def test_killed(self):
        code, said = self.ends_in_the_middle(signal.SIGKILL)
        self.assertEqual(code, -9, said)

    def test_stopped_by_the_administrator(self):
        code, said = self.ends_in_the_middle(signal.SIGINT)
        self.assertEqual(code, 130, said)


class BrokenTransferTest(FileCase, unittest.TestCase):
    def test_a_break_goes_on_where_it_stopped(self):
        for trouble in ({"reset_after_bytes": 15_000}, {"cut_after_bytes": 15_000}):
            with self.subTest(**trouble):
                self.upstream.calm()
                self.mirror = self.world.init(f"m{len(list(self.world.path.iterdir()))}", "--upstream",
                                              self.upstream.url)
                self.mirror.configure(content__download="all")
                self.upstream.on("content", when=of(ONE), times=1, **trouble)
                done = self.sync()
                self.assertEqual(held_files(self.mirror), set(FILES.values()))
                ranges = [r.headers.get("Range") for r in self.upstream.requests
                          if r.operation == "content" and of(ONE)(r)]
                self.assertEqual(len(ranges), 2)
                self.assertRegex(ranges[1], r"^bytes=\d{4,5}-")
                self.assertLessEqual(done["content"]["fetched_bytes"], 4 * 40_000 + 1)

    def test_a_file_that_changes_between_two_parts(self):
        self.upstream.content[ONE] = bytes(40_000)
        self.upstream.on("content", when=of(ONE), times=1, reset_after_bytes=15_000)
        self.upstream.on("content", when=of(ONE), times=1,
                         run=lambda upstream: upstream.content.update(self.good))
        self.sync()
        self.assertEqual(held_files(self.mirror), set(FILES.values()))

    def test_a_server_that_only_breaks_off(self):
        self.upstream.on("content", when=of(ONE), reset_after_bytes=0)
        done = self.partly()
        self.assertLessEqual(self.upstream.calls["content"], 3 + 10)
        self.assertLess(sum(done.waits), 200)
        self.mends()

    def test_statuses(self):
        for status, most in ((403, 1), (500, 8), (503, 8), (429, 8)):
            with self.subTest(status=status):
                self.upstream.calm()
                self.upstream.on("content", when=of(ONE), status=status, body=b"<html>no</html>")
                done = self.partly()
                self.assertIn(str(status), done["content"]["failed"][0]["why"])
                self.assertLessEqual(self.upstream.calls["content"], 3 + most)
        self.mends()

    def test_redirects(self):
        target = f"{self.upstream.url}/elsewhere/{ONE}.exe"
        self.upstream.on("content", when=lambda r: of(ONE)(r) and "elsewhere" not in r.path, status=302,
                         headers={"Location": target})
        self.sync()
        self.assertEqual(held_files(self.mirror), set(FILES.values()))

    def test_redirects_in_a_circle_and_to_another_scheme(self):
        for target in (f"{self.upstream.url}/content/{ONE}.exe", "file:///etc/passwd", "ftp://127.0.0.1/x"):
            with self.subTest(target=target):
                self.upstream.calm()
                self.upstream.on("content", when=of(ONE), status=302, headers={"Location": target})
                self.partly()
                self.assertLessEqual(self.upstream.calls["content"], 3 + 16)
        self.mends()

    def test_a_transfer_that_stalls(self):
        self.upstream.on("content", when=of(ONE), times=1, stall_after_bytes=20_000)
        self.sync(fast_poll=True)
        self.assertEqual(held_files(self.mirror), set(FILES.values()))


class MissingFileTest(FileCase, unittest.TestCase):
    def test_a_lazy_server_fetches_when_asked(self):
        self.upstream.hold_back(ONE, polls=1)
        done = self.partly(failed=False)
        self.assertEqual(done["content"]["waiting_files"], 1)
        self.assertEqual(self.upstream.asked_files, [ONE])
        self.assert_calls(DownloadFiles=1)
        self.upstream.calm()
        for _ in range(3):
            if held_files(self.mirror) != set(FILES.values()):
                self.sync(code=0 if self.upstream.held_back[ONE] == 0 else 3)
        self.assertEqual(held_files(self.mirror), set(FILES.values()))
        self.assertLessEqual(self.upstream.calls["DownloadFiles"], 2)

    def test_a_server_that_has_lost_all_files(self):
        self.upstream.content.clear()
        done = self.partly(missing=FILES.values(), failed=False)
        self.assertEqual(done["content"]["waiting_files"], 4)
        self.assertEqual(sorted(self.upstream.asked_files), sorted(FILES.values()))
        self.assert_calls(DownloadFiles=1, content=range(4, 9))

    def test_a_server_that_does_not_know_the_files(self):
        for update in (LEAVES[0], CHILD):
            self.upstream.remove(update)
        self.upstream.content.pop(ONE)
        self.upstream.content.pop(FILES["child"])
        self.sync(code=3)
        self.assertEqual(len(held_files(self.mirror)), 2)
        # FileDigestsMissing: divided until it is known which, metadata once more, and no loop.
        self.assertLessEqual(self.upstream.calls["DownloadFiles"], 6)
        self.assertLessEqual(self.upstream.calls["GetRevisionIdList"], 6)

    def test_a_server_too_busy_to_be_asked(self):
        self.upstream.content.pop(ONE)
        self.upstream.on("DownloadFiles", fault=("ServerBusy", ""))
        self.partly(failed=False)
        self.assertLessEqual(self.upstream.calls["DownloadFiles"], 4)

    def test_more_than_a_hundred_files_are_asked_for_in_parts(self):
        for i in range(120):
            data = f"small {i}".encode()
            self.upstream.add(document(guid(f"small {i}"), 100, "Software", title=f"Small {i}",
                                       explicitly=True, prerequisites=[PRODUCT, CLASSIFICATION],
                                       files=[(f"s{i}.exe", data)]))
        self.sync(code=3)
        self.assertEqual(len(self.upstream.asked_files), 120)
        self.assert_calls(DownloadFiles=2)

    def test_names_that_lead_elsewhere_are_never_asked_for(self):
        names = {"../../../etc/x.e/../xe": 1, "a.ex e": 2, "a.%2e%2e": 3, "a." + "x" * 40: 4, "noextension": 5}
        for name, i in names.items():
            data = b"%d" % i * 50
            self.upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
            text = document(guid(name), 100, "Software", title=f"Odd {i}", explicitly=True,
                            prerequisites=[PRODUCT, CLASSIFICATION], files=[("NAME", data)])
            self.upstream.add(text.replace('FileName="NAME"', f'FileName="{name}"'))
        self.sync()
        self.assertEqual(len(held_files(self.mirror)), len(FILES) + len(names))
        asked = [r.path for r in self.upstream.requests if r.operation == "content"]
        self.assertTrue(all(re.match(r"/content/[0-9a-f]{2}/[0-9a-f]{40}(\.[a-z0-9]{1,16})?$", p, re.I)
                            for p in asked), asked)


if __name__ == "__main__":
    unittest.main()
