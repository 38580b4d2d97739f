"""Content: where it comes from, how it is resumed, how fast and when, and what may become visible.

The files come from a small server of their own (`Files`), so that each request, range and validator can be
looked at; the metadata comes from the update server of wsus/. A thread watches content/ all the while: every
name that shows up there must be the digest of the bytes behind it, at any moment.
"""
import contextlib
import hashlib
import http.server
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import small_catalogue
from harness import KILL_POINTS, PROGRAM, World, gapferry, sanitized
from small_catalogue import CLASSIFICATION, PRODUCT, guid, payload
from wsus import WsusServer, document

MIB = 1 << 20


def sha1_of(data):
    return hashlib.sha1(data).hexdigest().upper()


def content_path(sha1, extension="exe"):
    return f"{sha1[-2:]}/{sha1}.{extension}"


class Files:
    """A content server with ranges, ETags and If-Range; `files` by SHA-1, `requests` as they came:
    (path, Range, If-Range). `before(handler, name)` may answer instead, by returning True."""

    def __init__(self):
        self.files, self.requests, self.before = {}, [], None
        self.tags = {}
        self.lock = threading.Lock()
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                name = self.path.split("?")[0].rsplit("/", 1)[-1].split(".")[0].rsplit("_", 1)[-1].upper()
                with files.lock:
                    files.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
                if files.before is not None and files.before(self, name):
                    return
                data = files.files.get(name)
                if data is None:
                    self.send_error(404)
                    return
                self.answer(name, len(data), lambda first, last: self.wfile.write(data[first:last + 1]))

            def answer(self, name, size, send):
                tag = files.tags.get(name, f'"{name[:8]}"')
                first, last = 0, size - 1
                wanted = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
                if wanted and self.headers.get("If-Range", tag) == tag:
                    first = int(wanted.group(1))
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
                else:
                    self.send_response(200)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", str(last + 1 - first))
                self.end_headers()
                send(first, last)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def put(self, data):
        self.files[sha1_of(data)] = data
        return sha1_of(data)


class Watcher:
    """Hashes whatever shows up below content/ until the block ends."""

    def __init__(self, mirror):
        self.root = mirror.path / "content"
        self.seen, self.wrong = set(), []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def look(self):
        for path in list(self.root.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if not path.is_file() or (path, status.st_mtime_ns, status.st_size) in self.seen:
                    continue
                if sha1_of(path.read_bytes()) != path.stem.upper():
                    self.wrong.append(str(path))
                self.seen.add((path, status.st_mtime_ns, status.st_size))

    def watch(self):
        while not self.ended.wait(0.001):
            self.look()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.look()


class ContentCase(unittest.TestCase):
    def setUp(self):
        self.world = self.enter(World())
        self.upstream = self.enter(WsusServer())
        self.files = self.enter(Files())
        self.upstream.add(document(small_catalogue.COMPANY, category="Company", title="Contoso"))
        self.upstream.add(document(small_catalogue.FAMILY, category="ProductFamily", title="Office",
                                   prerequisites=[small_catalogue.COMPANY]))
        self.upstream.add(document(PRODUCT, category="Product", title="Writer",
                                   prerequisites=[small_catalogue.FAMILY]))
        self.upstream.add(document(CLASSIFICATION, category="UpdateClassification", title="Updates"))
        self.mirror = self.world.init("m", "--upstream", self.upstream.url)
        self.mirror.configure(upstream__content_url=self.files.url, content__download="all")

    def enter(self, context):
        entered = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return entered

    def update(self, name, *files, edit=None):
        """Adds an update with files of these bytes; the server of content has them not by itself."""
        text = document(guid(name), 100, "Software", title=name, explicitly=True,
                        prerequisites=[PRODUCT, CLASSIFICATION],
                        files=[(f"f{i}.exe", data) for i, data in enumerate(files)])
        self.upstream.add(edit(text) if edit else text)
        return guid(name)

    def offer(self, name, *files):
        for data in files:
            self.files.put(data)
        return self.update(name, *files)

    def sync(self, *options, code=0, **more):
        done = self.mirror.try_run("sync", *options, **more)
        self.assertEqual(done.code, code, done)
        return done.objects()[0]["content"] if code in (0, 3) else done.error()

    def held(self):
        return {path.stem for path in (self.mirror.path / "content").rglob("*") if path.is_file()}

    def paths(self):
        return [path for path, _, _ in self.files.requests]


# ---- Where from --------------------------------------------------------------------------------

class SourceTest(ContentCase):
    def test_the_vendor_instead_of_the_upstream(self):
        data = payload("one")
        self.offer("one", data)
        self.upstream.mu_url = f"{self.files.url}/vendor/x_{sha1_of(data).lower()}.exe"
        self.mirror.configure(content__source="vendor")
        self.sync()
        self.assertEqual(self.held(), {sha1_of(data)})
        self.assertTrue(all(path.startswith("/vendor/") for path in self.paths()), self.paths())

    def test_the_vendor_for_what_the_upstream_does_not_deliver(self):
        missing, wrong = payload("missing"), payload("wrong")
        self.offer("missing", missing)
        self.upstream.mu_url = f"{self.files.url}/vendor/x_{sha1_of(missing).lower()}.exe"

        def before(handler, name):
            if not handler.path.startswith("/vendor/"):
                handler.send_error(404)
                return True
            return False

        self.files.before = before
        self.mirror.configure(content__source="upstream")
        self.assertEqual(self.sync(code=3)["waiting_files"], 1)
        self.assertEqual(self.upstream.calls["DownloadFiles"], 1)
        self.mirror.configure(content__source="upstream-then-vendor")
        self.assertEqual(self.sync()["fetched_files"], 1)
        self.assertEqual(self.upstream.calls["DownloadFiles"], 1)
        self.assertNotIn(sha1_of(wrong), self.held())

    def test_without_an_address_of_the_vendor(self):
        self.offer("local", payload("local"))
        self.upstream.mu_url = ""
        self.mirror.configure(content__source="vendor")
        content = self.sync(code=3)
        self.assertEqual(content["failed"][0]["reason"], "no-url")
        self.assertEqual(self.files.requests, [])

    def test_the_operator_decides_whether_the_upstream_is_asked(self):
        self.update("absent", payload("absent"))
        self.mirror.configure(content__ask_upstream="false")
        done = gapferry("sync", "--mirror", self.mirror.path)
        self.assertEqual(done.code, 3, done)
        self.assertIn("was not asked for them (content.ask_upstream in gapferry.yaml)", done.err)
        self.assertEqual(self.upstream.calls["DownloadFiles"], 0)

    def test_waiting_for_what_the_upstream_was_asked_to_fetch(self):
        data = payload("late")
        self.update("late", data)
        polls = []

        def before(handler, name):
            polls.append(time.monotonic())
            if len(polls) == 4:
                self.files.put(data)
            return False

        self.files.before = before
        content = self.sync("--wait-for-content", "8s", "--bandwidth", "0")
        self.assertEqual(content["fetched_files"], 1)
        self.assertEqual(len(polls), 4)
        pauses = [b - a for a, b in zip(polls, polls[1:])]
        self.assertLess(pauses[0], pauses[1])
        self.assertLess(pauses[1], pauses[2])

    def test_waiting_ends(self):
        self.update("never", payload("never"))
        began = time.monotonic()
        content = self.sync("--wait-for-content", "2s", code=3)
        self.assertGreater(time.monotonic() - began, 2)
        self.assertEqual((content["waiting_files"], content["asked_files"]), (1, 1))
        self.assertEqual(self.upstream.calls["DownloadFiles"], 1)
        self.assertLess(len(self.files.requests), 8)

    def test_contradicting_declarations_do_not_keep_the_right_file_away(self):
        data = payload("shared")
        self.files.put(data)

        def lie(text):
            return re.sub(r'(<upd:AdditionalDigest Algorithm="SHA256">)[^<]+', r"\1" + "A" * 43 + "=", text)

        guids = sorted([guid("liar a"), guid("liar b")])
        names = {guid("liar a"): "liar a", guid("liar b"): "liar b"}
        liar, honest = names[guids[0]], names[guids[1]]  # the wrong one comes first in GUID order
        self.update(liar, data, edit=lie)
        self.update(honest, data)
        content = self.sync()
        self.assertEqual(self.held(), {sha1_of(data)})
        self.assertEqual(content["failed"], [])
        self.assertEqual(len(self.files.requests), 1)
        states = {row["guid"]: row for row in self.mirror.run("update", "list")["updates"]}
        self.assertTrue(states[guids[0]]["withheld"])
        self.assertFalse(states[guids[1]]["withheld"])


class PolicyTest(ContentCase):
    def test_all_approved_none_and_each_file_once(self):
        shared, own, other = payload("shared"), payload("own"), payload("other")
        one = self.offer("one", shared, own)
        self.offer("two", shared, other)
        self.mirror.configure(content__download="none")
        self.assertEqual(self.sync()["needed_files"], 0)
        self.mirror.configure(content__download="approved")
        self.assertEqual(self.sync()["needed_files"], 0)
        self.mirror.run("update", "approve", one, "--group", "All Computers")
        self.assertEqual(self.sync()["fetched_files"], 2)
        self.assertEqual(self.held(), {sha1_of(shared), sha1_of(own)})
        self.mirror.configure(content__download="all")
        self.assertEqual(self.sync()["fetched_files"], 1)
        self.assertEqual(len(self.files.requests), 3)

    def test_express_only_when_asked_for(self):
        whole, express = payload("whole"), payload("express")
        self.files.put(whole)
        self.files.put(express)

        def mark(text):
            at = text.index('FileName="f1.exe"')
            return text[:at] + 'PatchingType="Express" ' + text[at:].replace("f1.exe", "f1.psf", 1)

        self.update("both", whole, express, edit=mark)
        self.sync()
        self.assertEqual(self.held(), {sha1_of(whole)})
        self.mirror.configure(content__express="true")
        self.sync()
        self.assertEqual(self.held(), {sha1_of(whole), sha1_of(express)})
        self.assertIn(f"/Content/{content_path(sha1_of(express), 'psf')}", self.paths())


# ---- Space, bandwidth, window ------------------------------------------------------------------

class SpaceTest(ContentCase):
    def test_no_room_is_said_before_anything_is_fetched(self):
        self.offer("small", payload("small"))
        self.update("huge", payload("huge"), edit=lambda text: text.replace('Size="40000"',
                                                                            f'Size="{1 << 49}"'))
        # What is larger than allowed is refused and does not stand in the way of others.
        content = self.sync(code=3)
        self.assertEqual(content["failed"][0]["reason"], "file-too-large")
        self.assertEqual(content["fetched_files"], 1)
        self.offer("second", payload("second"))
        self.mirror.configure(import__max_file_bytes=1 << 50)
        self.files.requests.clear()
        error = self.sync(code=30)
        self.assertRegex(error["message"], r"has [\d.]+ \w+ free, needed are 512\.0 TiB")
        self.assertIn("make room", error["next"])
        self.assertEqual(self.files.requests, [])

    def test_what_is_staged_needs_no_room_again(self):
        data = payload("staged", 64 * MIB)
        sha1 = self.files.put(data)
        self.update("staged", data)
        self.sync("--metadata-only")
        staging = self.mirror.path / "staging/content"
        staging.mkdir(parents=True)
        (staging / f"{sha1}.exe").write_bytes(data)
        self.assertEqual(self.sync()["fetched_bytes"], 0)
        self.assertEqual(self.held(), {sha1})


class BandwidthTest(ContentCase):
    def test_all_downloads_together_keep_to_it(self):
        for i in range(4):
            self.offer(f"part {i}", payload(f"part {i}", MIB // 2))
        self.sync("--metadata-only")
        mirrors = {}
        for name, options in (("slow", ["--bandwidth", "1M"]), ("slower", ["--bandwidth", "512K"])):
            copy = self.world.copy(self.mirror, name)
            began = time.monotonic()
            copy.run("sync", *options)
            mirrors[name] = time.monotonic() - began
        # 2 MiB at 1 MiB/s, and at half of that: what a quarter of a second allows at once apart.
        self.assertGreater(mirrors["slow"], 1.7)
        self.assertGreater(mirrors["slower"], 3.6)
        self.assertGreater(mirrors["slower"] / mirrors["slow"], 1.4)

    def test_the_configuration_says_how_much(self):
        self.offer("one", payload("one", MIB))
        self.mirror.configure(content__bandwidth="512K")
        began = time.monotonic()
        self.sync()
        self.assertGreater(time.monotonic() - began, 1.6)

    def test_wrong_values_are_named(self):
        for option, value, words in (("--bandwidth", "fast", "'fast' is no number of bytes per second"),
                                     ("--bandwidth", "10", "at least 1K"),
                                     ("--wait-for-content", "10", "'10' is no time such as 90s")):
            error = self.sync(option, value, code=2)
            self.assertIn(option, error["message"])
            self.assertIn(words, error["message"])


class WindowTest(ContentCase):
    NOON = {"GAPFERRY_CLOCK": "2026-11-22T12:00:00Z", "TZ": "UTC"}
    NIGHT = {"GAPFERRY_CLOCK": "2026-11-22T23:30:00Z", "TZ": "UTC"}

    def setUp(self):
        super().setUp()
        self.offer("one", payload("one"))
        self.mirror.configure(content__window='"22:00-05:00"')

    def test_outside_it_metadata_comes_and_content_waits(self):
        done = gapferry("sync", "--mirror", self.mirror.path, env=self.NOON)
        self.assertEqual(done.code, 3, done)
        self.assertIn("1 file waits for content.window 22:00-05:00", done.err)
        self.assertIn("sync --now", done.err)
        self.assertEqual(self.files.requests, [])
        self.assertEqual(len(self.mirror.run("update", "list")["updates"]), 1)
        content = self.sync(code=3, env=self.NOON)
        self.assertEqual(content["postponed_files"], 1)
        self.sync(env=self.NIGHT)
        self.assertEqual(len(self.held()), 1)
        self.sync(env=self.NOON)  # nothing is needed, nothing waits

    def test_local_time_counts(self):
        content = self.sync(code=3, env={"GAPFERRY_CLOCK": "2026-11-22T23:30:00Z", "TZ": "UTC-8"})
        self.assertEqual(content["postponed_files"], 1)

    def test_now_fetches_all_the_same(self):
        self.sync("--now", env=self.NOON)
        self.assertEqual(len(self.held()), 1)


# ---- Resuming ----------------------------------------------------------------------------------

class ResumeTest(ContentCase):
    def setUp(self):
        super().setUp()
        self.data = payload("large", 3 * MIB)
        self.sha1 = self.files.put(self.data)
        self.update("large", self.data)

    def kill_after(self, size, data):
        """A sync that is killed when it has `size` bytes of what the server sends: the first part of `data`."""
        release = threading.Event()
        self.addCleanup(release.set)

        def before(handler, name):
            def send(first, last):
                handler.wfile.write(data[first:size])
                handler.wfile.flush()
                release.wait(60)

            handler.answer(name, len(data), send)
            return True

        self.files.before = before
        process = subprocess.Popen([str(PROGRAM), "sync", "--mirror", str(self.mirror.path)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        staged = self.mirror.path / f"staging/content/{self.sha1}.exe"
        until = time.monotonic() + 60
        while not (staged.exists() and staged.stat().st_size >= size):
            self.assertLess(time.monotonic(), until)
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        process.kill()
        process.wait()
        release.set()
        self.files.before = None
        self.files.requests.clear()

    def asked(self):
        return [(wanted, if_range) for _, wanted, if_range in self.files.requests]

    def test_the_next_run_goes_on_if_the_file_is_the_same(self):
        self.kill_after(2 * MIB, self.data)
        content = self.sync()
        self.assertEqual(self.asked(), [(f"bytes={2 * MIB}-", f'"{self.sha1[:8]}"')])
        self.assertEqual(content["fetched_bytes"], MIB)
        self.assertEqual(self.held(), {self.sha1})
        self.assertEqual(os.listdir(self.mirror.path / "staging/content"), [])

    def test_and_begins_again_if_it_has_changed(self):
        older = bytearray(self.data)
        older[17] ^= 1
        self.kill_after(2 * MIB, bytes(older))
        self.files.tags[self.sha1] = '"new"'
        content = self.sync()
        self.assertEqual(self.asked(), [(f"bytes={2 * MIB}-", f'"{self.sha1[:8]}"')])
        self.assertEqual(content["fetched_bytes"], len(self.data))
        self.assertEqual(self.held(), {self.sha1})

    def test_a_change_that_nobody_tells_costs_one_more_download(self):
        older = bytearray(self.data)
        older[17] ^= 1
        self.kill_after(2 * MIB, bytes(older))
        content = self.sync()
        self.assertEqual(self.asked(), [(f"bytes={2 * MIB}-", f'"{self.sha1[:8]}"'), (None, None)])
        self.assertEqual(content["fetched_bytes"], MIB + len(self.data))
        self.assertEqual(self.held(), {self.sha1})


def large_file(folder):
    """A sparse file of 5 GiB with 32 bytes of its own in every 256 MiB and at its end."""
    path = folder / "large.bin"
    with open(path, "wb") as file:
        for at in [*range(0, LARGE, 256 * MIB), LARGE - 32]:
            file.seek(at)
            file.write(hashlib.sha256(str(at).encode()).digest())
    return path


# Of large_file; tests/functional/content_download.py --large prints them.
LARGE = 5 << 30
LARGE_SHA1 = "909AF6BA453D5CE9F510CC1364F308F013B2202D"
LARGE_SHA256 = "a66a20d593612deeb81c9e364f81f40ccb859f5e9961de1819855f976253b348"


@unittest.skipIf(sanitized(), "hashing 5 GiB takes too long under sanitizers")
@unittest.skipIf(shutil.disk_usage(tempfile.gettempdir()).free < 12 << 30,
                 f"{tempfile.gettempdir()} has less than 12 GiB free")
class LargeFileTest(ContentCase):
    def test_five_gibibytes_with_a_break_in_the_middle(self):
        path = large_file(self.world.path)
        breaks = iter([3 * (1 << 30) + 12345])

        def before(handler, name):
            if name != LARGE_SHA1:
                return False

            def send(first, last):
                end = next(breaks, last + 1)
                handler.wfile.flush()
                with open(path, "rb") as file:
                    at = first
                    while at < end:
                        at += os.sendfile(handler.connection.fileno(), file.fileno(), at, end - at)
                if end <= last:
                    handler.close_connection = True

            handler.answer(name, LARGE, send)
            return True

        self.files.before = before
        digest = __import__("base64").b64encode(bytes.fromhex(LARGE_SHA1)).decode()
        sha256 = __import__("base64").b64encode(bytes.fromhex(LARGE_SHA256)).decode()
        self.upstream.add(re.sub(
            r'Digest="[^"]*" (.*?) Size="\d+"(.*?SHA256">)[^<]*', rf'Digest="{digest}" \1 Size="{LARGE}"\g<2>{sha256}',
            document(guid("large"), 100, "Software", title="Large", explicitly=True,
                     prerequisites=[PRODUCT, CLASSIFICATION], files=[("large.exe", b"x")])))
        content = self.sync()
        self.assertEqual(content["fetched_bytes"], LARGE)
        self.assertEqual([wanted for _, wanted, _ in self.files.requests],
                         [None, f"bytes={3 * (1 << 30) + 12345}-"])
        stored = self.mirror.path / "content" / content_path(LARGE_SHA1)
        self.assertEqual(stored.stat().st_size, LARGE)
        self.assertLess(stored.stat().st_blocks * 512, 64 * MIB, "what is sparse stays so")


# ---- What is visible ---------------------------------------------------------------------------

class VisibleTest(ContentCase):
    """Whatever servers send and whenever the process ends: what has a name below content/ has its bytes."""

    def test_while_servers_send_wrong_slow_and_broken_answers(self):
        good = [payload(f"good {i}", 200_000) for i in range(12)]
        for i, data in enumerate(good):
            self.offer(f"good {i}", data)
        wrong = payload("wrong", 200_000)
        self.update("wrong", wrong)
        self.files.files[sha1_of(wrong)] = payload("something else", 200_000)
        lock, met = threading.Lock(), {}

        def before(handler, name):
            with lock:
                met[name] = met.get(name, 0) + 1
                first_time = met[name] == 1
            data = self.files.files.get(name, b"")
            if not first_time or name == sha1_of(wrong):
                return False

            def send(first, last):
                for at in range(first, len(data) // 2, 10_000):  # half of it, in small pieces
                    handler.wfile.write(data[at:at + 10_000])
                    time.sleep(0.002)
                handler.close_connection = True

            handler.answer(name, len(data), send)
            return True

        self.files.before = before
        with Watcher(self.mirror) as watcher:
            self.sync(code=3)
        self.assertEqual(watcher.wrong, [])
        self.assertEqual(self.held(), {sha1_of(data) for data in good})
        self.assertGreaterEqual(len(watcher.seen), len(good))

    def test_wherever_the_process_is_killed(self):
        files = [payload(f"file {i}", 150_000) for i in range(3)]
        for i, data in enumerate(files):
            self.offer(f"file {i}", data)
        self.sync("--metadata-only")
        count = self.world.path / "count"
        whole = self.world.copy(self.mirror, "whole")
        whole.run("sync", env={"LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_KILL_COUNT": str(count)})
        points = int(count.read_text().split()[0])
        wanted = whole.status()["content_digest"]
        stride = max(1, points // 24)
        killed = 0
        for point in range(1, points + 1, stride):
            for how in ("kill", "torn") if point % 2 else ("kill",):
                mirror = self.world.copy(self.mirror, f"{how}-{point}")
                with Watcher(mirror) as watcher:
                    ended = mirror.try_run("sync", env={"LD_PRELOAD": str(KILL_POINTS),
                                                        "GAPFERRY_KILL_AT": str(point),
                                                        "GAPFERRY_KILL_HOW": how})
                killed += ended.code == -9
                self.assertEqual(watcher.wrong, [], f"{how} at {point}")
                mirror.run("sync")
                self.assertEqual(mirror.status()["content_digest"], wanted, f"{how} at {point}")
                shutil.rmtree(mirror.path)
        self.assertGreater(killed, 15)


# ---- The way there -----------------------------------------------------------------------------

class WayTest(ContentCase):
    def connections(self, *words, code=0):
        log = self.world.path / "connects"
        log.write_text("")
        done = self.mirror.try_run(*words, env={"LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_CONNECT_LOG": str(log),
                                                "no_proxy": "*", "NO_PROXY": "*"})
        self.assertEqual(done.code, code, done)
        return done, set(log.read_text().splitlines())

    def test_nothing_goes_around_the_proxy(self):
        from wsus.proxy import Proxy
        # A name that nobody can look up: only the proxy can reach the server behind it.
        data = payload("one")
        self.offer("one", data)
        with Proxy() as proxy:
            self.mirror.configure(upstream__proxy=proxy.url, upstream__content_url=self.files.url)
            _, connects = self.connections("sync")
            self.assertEqual(self.held(), {sha1_of(data)})
            self.assertEqual(connects - {"connect 127.0.0.1", "lookup 127.0.0.1"}, set())
            self.assertTrue(any("/Content/" in line for line in proxy.lines), proxy.lines)
            self.assertEqual(len(self.files.requests), sum("/Content/" in line for line in proxy.lines))
            self.mirror.configure(upstream__wsus="http://wsus.invalid:8530")
            before = len(proxy.lines)
            _, connects = self.connections("sync", code=1)
            self.assertEqual(connects - {"connect 127.0.0.1", "lookup 127.0.0.1"}, set())
            self.assertIn("wsus.invalid", " ".join(proxy.lines[before:]))

    def test_a_mirror_behind_a_gap_connects_nowhere(self):
        site = self.world.init("site", "--gap")
        site.configure(upstream__proxy="http://127.0.0.1:9", upstream__ca_file="keys/none.pem")
        self.mirror = site
        for words in (("sync",), ("rollup",), ("subscription", "show", "--available")):
            log = self.world.path / "connects"
            log.write_text("")
            site.try_run(*words, env={"LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_CONNECT_LOG": str(log)})
            self.assertEqual(log.read_text(), "", words)
        error = site.refuse(2, "sync")
        self.assertIn("fed by bundles", error["message"])


# ---- Taking over a WsusContent folder ----------------------------------------------------------

class AdoptTest(ContentCase):
    def setUp(self):
        super().setUp()
        self.data = [payload(f"file {i}") for i in range(5)]
        for i, data in enumerate(self.data):
            self.update(f"update {i}", data)
        self.mirror.run("sync", "--metadata-only")
        self.old = self.world.directory("old/WsusContent")
        for data in self.data:
            self.put(content_path(sha1_of(data)), data)

    def put(self, path, data):
        path = self.old / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def adopt(self, *options, code=0, mirror=None):
        done = (mirror or self.mirror).try_run("store", "adopt", self.old.parent, *options)
        self.assertEqual(done.code, code, done)
        return done.result()

    def test_nothing_is_downloaded_again(self):
        self.put("anonymousCheckFile.txt", b"")
        dry = self.adopt("--dry-run")
        self.assertEqual((dry["taken_files"], dry["foreign_files"], dry["complete"]), (5, 1, True))
        self.assertEqual(self.held(), set())
        taken = self.adopt()
        self.assertEqual((taken["taken_files"], taken["taken_bytes"]), (5, 5 * 40_000))
        self.assertEqual(self.sync()["needed_files"], 0)
        self.assertEqual(self.files.requests, [])
        self.mirror.run("store", "check", "--deep")
        self.assertEqual(self.adopt()["held_files"], 5)
        self.assertEqual(len([p for p in self.old.rglob("*") if p.is_file()]), 6)
        self.assertIn("store.adopt", str(self.mirror.rows("log")))

    def test_damage_is_listed_and_left(self):
        bad = self.put(content_path(sha1_of(self.data[0])), self.data[0][:-1] + b"?")
        short = self.put(content_path(sha1_of(self.data[1])), b"short")
        with Watcher(self.mirror) as watcher:
            report = self.adopt("--move", code=3)
        self.assertEqual(watcher.wrong, [])
        self.assertEqual((report["taken_files"], report["damaged_files"]), (3, 2))
        self.assertEqual({one["file"].rsplit("/", 1)[-1] for one in report["left"]}, {bad.name, short.name})
        self.assertEqual({p.name for p in self.old.rglob("*") if p.is_file()}, {bad.name, short.name})
        done = gapferry("store", "adopt", self.old, "--mirror", self.mirror.path)
        self.assertIn("damaged, left there: 2", done.out)
        self.assertIn("digest mismatch: expected sha1:", done.out)

    def test_a_hostile_folder(self):
        secret = self.world.path / "secret"
        secret.write_bytes(self.data[2])
        path = self.old / content_path(sha1_of(self.data[2]))
        path.unlink()
        path.symlink_to(secret)
        pipe = self.old / content_path(sha1_of(self.data[3]))
        pipe.unlink()
        os.mkfifo(pipe)
        (self.old / "EE").symlink_to("/etc")
        self.put("FF/" + "x" * 200, b"")
        self.put("FF/line\nbreak.exe", b"")
        report = self.adopt()
        self.assertEqual((report["taken_files"], report["foreign_files"]), (3, 5))
        self.assertNotIn(sha1_of(self.data[2]), self.held())

    def test_what_nobody_declares(self):
        strange = payload("strange")
        self.put(content_path(sha1_of(strange), "cab"), strange)
        done = gapferry("store", "adopt", self.old, "--mirror", self.mirror.path)
        self.assertEqual(done.code, 0, done)
        self.assertIn("declared by no update here, left there: 1", done.out)
        self.assertIn("no SHA-256", done.err)
        self.assertEqual(self.adopt("--all")["taken_files"], 1)

    def test_wrong_folders_are_named(self):
        error = self.mirror.refuse(10, "store", "adopt", self.world.directory("empty"))
        self.assertIn("holds neither folders 00 to FF nor WsusContent", error["message"])
        self.assertIn("WsusContent", error["next"])
        self.mirror.refuse(10, "store", "adopt", "/no/such/folder")
        self.adopt()
        self.mirror.refuse(2, "store", "adopt", self.mirror.path / "content", "--move")
        self.mirror.refuse(2, "store", "adopt", self.old, "--move", "--link")
        self.assertEqual(len(self.held()), 5)

    def test_linking_shares_the_file(self):
        self.adopt("--link")
        self.assertEqual(len(self.held()), 5)
        self.mirror.run("store", "check", "--deep")

    def test_killed_it_goes_on(self):
        count = self.world.path / "count"
        shutil.copytree(self.old.parent, self.world.path / "kept")
        whole = self.world.copy(self.mirror, "whole")
        done = whole.try_run("store", "adopt", self.world.path / "kept", "--move",
                             env={"LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_KILL_COUNT": str(count)})
        self.assertEqual(done.code, 0, done)
        wanted, points = whole.status()["content_digest"], int(count.read_text().split()[0])
        for point in range(1, points + 1, max(1, points // 20)):
            mirror = self.world.copy(self.mirror, f"m{point}")
            source = shutil.copytree(self.old.parent, self.world.path / f"old{point}")
            with Watcher(mirror) as watcher:
                mirror.try_run("store", "adopt", source, "--move",
                               env={"LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_KILL_AT": str(point)})
            self.assertEqual(watcher.wrong, [], point)
            mirror.run("store", "adopt", source, "--move")
            self.assertEqual(mirror.status()["content_digest"], wanted, point)
            shutil.rmtree(mirror.path)


if __name__ == "__main__":
    import sys
    if sys.argv[1:] == ["--large"]:
        with tempfile.TemporaryDirectory() as made:
            name = large_file(pathlib.Path(made))
            for algorithm in ("sha1sum", "sha256sum"):
                print(subprocess.run([algorithm, str(name)], capture_output=True, text=True).stdout.split()[0])
    else:
        unittest.main()
