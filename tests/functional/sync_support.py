"""What the tests of `gapferry sync` against a misbehaving update server share.

    class SomeTest(SyncCase, unittest.TestCase):
        def test_...(self):
            self.upstream.on("GetCookie", call=1, reset="before")
            done = self.sync(self.mirror)             # exit code 0, or what `code` says
            self.assert_complete(self.mirror)

Waits of the product pass at once and are seen in `done.waits` (tests/support/fast_waits.c). Each test ends
with the check that no request broke a rule of the protocol.
"""
import functools
import hashlib
import pathlib

import small_catalogue
from harness import FAST_WAITS, World, measured
from wsus import WsusServer



class Done:
    """How a sync ended, what it waited for (seconds) and the most memory it had (KiB)."""

    def __init__(self, outcome, waits, peak_kib):
        self.outcome, self.waits, self.peak_kib = outcome, waits, peak_kib
        objects = outcome.objects()
        self.result = objects[-1] if objects else {}

    def __getitem__(self, key):
        return self.result[key]

    def __str__(self):
        return f"{self.outcome}\nwaits {self.waits}"


def sync(mirror, *options, code=0, env=None, fast_poll=False):
    """Runs `gapferry sync`, which must end with `code`."""
    folder = mirror.path.parent
    waits, peak = folder / f"{mirror.path.name}.waits", folder / f"{mirror.path.name}.peak"
    waits.write_text("")
    environment = dict(env or {}, LD_PRELOAD=str(FAST_WAITS), GAPFERRY_WAIT_LOG=str(waits))
    if fast_poll:
        environment["GAPFERRY_FAST_POLL"] = "1"
    words = tuple(map(str, ("sync", *options)))
    before, mirror.prefix = mirror.prefix, (*measured(peak), *mirror.prefix)
    try:
        outcome = mirror.try_run(*words, env=environment)
    finally:
        mirror.prefix = before
    done = Done(outcome, [float(line) for line in waits.read_text().split()], int(peak.read_text()))
    assert outcome.code == code, f"expected exit code {code}\n{done}"
    if code not in (0, 3):
        outcome.error()  # the last line of both streams
    return done


@functools.cache
def wanted_digest(*steps):
    """The digest of the documents after undisturbed syncs of the small catalogue, before `steps` changed
    it and after each of them."""
    with World() as world, WsusServer() as upstream:
        small_catalogue.fill(upstream)
        mirror = world.init("m", "--upstream", upstream.url)
        for step in (lambda _: None, *steps):
            step(upstream)
            sync(mirror, "--metadata-only")
        return mirror.status()["documents_digest"]


def wrong_files(mirror):
    """Files below content/ whose bytes are not those that their names promise: must be none, ever."""
    wrong = []
    for path in sorted((mirror.path / "content").rglob("*")):
        if path.is_file() and hashlib.sha1(path.read_bytes()).hexdigest().upper() != path.stem:
            wrong.append(path.name)
    return wrong


def held_files(mirror):
    return {path.stem for path in pathlib.Path(mirror.path / "content").rglob("*") if path.is_file()}


class SyncCase:
    kind = "ws2025"
    init_options = ()

    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(WsusServer(self.kind))
        self.fill()
        self.mirror = self.world.init("m", "--upstream", self.upstream.url, *self.init_options)

    def fill(self):
        small_catalogue.fill(self.upstream)

    def tearDown(self):
        self.assertEqual(self.upstream.violations, [])

    def sync(self, *options, **more):
        return sync(self.mirror, *options, **more)

    def listed(self):
        """GUID -> row of every update that the mirror shows."""
        return {row["id"]: row for row in self.mirror.rows("update", "list")}

    def assert_complete(self, *steps):
        """The metadata is what an undisturbed sync brings, and the store is in order."""
        self.assertEqual(self.mirror.status()["documents_digest"], wanted_digest(*steps))
        self.mirror.run("store", "check")
        self.assertEqual(wrong_files(self.mirror), [])

    def assert_unchanged(self, state):
        self.assertEqual(self.mirror.state(), state)
        self.assertEqual(wrong_files(self.mirror), [])

    def assert_error(self, done, *parts, reason=None):
        """The error's text and next step are there, in words; returns the object."""
        error = done.outcome.error()
        for part in parts:
            self.assertIn(part.lower(), (error["message"] + " " + error.get("next", "")).lower(), done)
        if reason is not None:
            self.assertEqual(error.get("reason"), reason, done)
        self.assertTrue(error.get("next"), f"no next step\n{done}")
        return error

    def assert_calls(self, **wanted):
        """Exact numbers of calls, or ranges."""
        for operation, number in wanted.items():
            got = self.upstream.calls[operation]
            if isinstance(number, range):
                self.assertIn(got, number, f"{operation}: {dict(self.upstream.calls)}")
            else:
                self.assertEqual(got, number, f"{operation}: {dict(self.upstream.calls)}")
