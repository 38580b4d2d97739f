"""Workloads of `serve` under life: its start and memory, a boot storm while an import commits, events of
computers, content for many, the same over TLS."""
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import threading
import time

import ranges
from bundles import catch_up
from measure import Failed, Missing, Row, result, run
from mirrors import content_pair
from references import Nginx, warm
from registry import workload
from scans import load_row
from world import free_port

MIB = 1 << 20


@workload("serve", "start to the first answer, anonymous memory at rest")
def serve(world, repeats):
    for revisions in (world.small, world.large):
        mirror = world.mirror(revisions)
        starts, memory, cpu = [], [], []
        for number in range(repeats + 1):
            with world.serve(mirror) as server:
                used = server.cpu_seconds()
                time.sleep(0.5)
                if number:
                    starts.append(server.started_in)
                    cpu.append(used)
                    memory.append(server.anonymous_bytes())
        yield Row.rates(f"start of serve on {revisions:,} revisions", "s", starts, goal=5.0,
                        cpu=statistics.median(cpu))
        yield Row.rates(f"memory of serve at rest on {revisions:,}", "bytes", memory, goal=2**30)


# ---- Many clients ----------------------------------------------------------------------------------

def approve(world, mirror, guids):
    for start in range(0, len(guids), 500):
        world.run(mirror, "update", "approve", *guids[start:start + 500], "--group", "All Computers",
                  "--accept-eula")


def offered(world, revisions, step=0):
    """What can be approved of a catalogue of so many revisions, in the order of the catalogue."""
    listed = json.loads(run(world.catalogue, "ids", "--json", *world.catalogue_of(revisions), "--step",
                            str(step)).out)
    return [r["guid"] for r in listed["revisions"]
            if r["visible"] and r["newest"] and not r["expired"] and r["kind"] != "driver"]


def load(world, url, *words):
    sample = run(world.gapferry, "client", "load", "--server", url, "--json", *map(str, words))
    found = result(sample)
    if found["errors"]:
        raise Failed(f"client load: {found['error_texts']}")
    return found


def set_key(mirror, key, value):
    """Sets a plain key that the configuration spells out, such as max_connections."""
    path = mirror / "gapferry.yaml"
    lines = path.read_text().splitlines()
    found = [n for n, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
    if len(found) != 1:
        raise Failed(f"{path} has {len(found)} lines for {key}")
    indent = lines[found[0]][:-len(lines[found[0]].lstrip())]
    lines[found[0]] = f"{indent}{key}: {value}"
    path.write_text("\n".join(lines) + "\n")


@workload("memory", "anonymous memory of serve under 2,000 computers, each with a connection")
def memory(world, repeats):
    mirror = world.copy(world.mirror(world.large), "memory")
    set_key(mirror, "max_connections_per_address", 4000)
    approve(world, mirror, offered(world, world.large)[::4])
    seconds = 10 if world.quick else 40
    with world.serve(mirror) as server:
        rest = server.anonymous_bytes()
        with Watch(server.anonymous_bytes) as largest:
            found = load(world, server.url, "--clients", 2000, "--connections", 2000, "--scan", "first",
                         "--holds", 30, "--seconds", seconds)
    shutil.rmtree(mirror)
    return [Row(f"memory of serve under 2,000 computers on {world.large:,}", "bytes", ours=largest.value,
                goal=2**30, samples=[largest.value],
                note=f"{rest / MIB:.0f} MiB before; first scans on 2,000 connections: {found['requests']} answers, "
                     f"p50 {found['request_latency']['p50_ms']:.0f} ms, "
                     f"{found['answer_bytes'] / found['seconds'] / MIB:.0f} MiB/s")]


class Watch:
    """The largest value of a function while the block runs."""

    def __init__(self, function):
        self.function, self.value, self.stop = function, 0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def _run(self):
        while not self.stop.wait(0.05):
            self.value = max(self.value, self.function())

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


# ---- The storm -------------------------------------------------------------------------------------

STEPS = {True: 250, False: 750}  # by quick: publications of the bundle, about four revisions each


def storm_pair(world):
    """A site with everything and approvals of its own, and a bundle with thousands of new revisions and
    approvals for it."""
    name = f"storm-{world.large}"
    site, bundles = world.path / f"{name}-site", world.path / f"{name}-bundles"
    if not site.exists():
        source = world.copy(world.mirror(world.large), name)
        part = world.init(f"{name}-site.part", "--gap")
        set_key(part, "replica", "false")  # a site that decides itself, so that somebody can approve there
        catch_up(world, source, part, bundles)
        guids = offered(world, world.large)
        approve(world, part, guids[::4])
        world.fill(source, *world.catalogue_of(world.large), "--content", "none", "--step",
                   str(STEPS[world.quick]))
        approve(world, source, offered(world, world.large, STEPS[world.quick])[1::4])
        world.export(source, json.loads(world.card(part).read_text())["name"], bundles)
        shutil.rmtree(source)
        part.rename(site)
    return site, max(bundles.glob("gapferry-*"), key=lambda path: path.name)


class Approvals:
    """One approval each second by the command line, taken back the next time; how long each took."""

    def __init__(self, world, mirror, guids):
        self.world, self.mirror, self.guids = world, mirror, guids
        self.seconds, self.failed, self.stop = [], "", threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def _run(self):
        turn = 0
        while not self.stop.wait(1):
            guid = self.guids[turn // 2 % len(self.guids)]
            words = ("approve", guid, "--accept-eula") if turn % 2 == 0 else ("unapprove", guid)
            try:
                sample = self.world.run(self.mirror, "update", *words, "--group", "All Computers")
            except Failed as error:
                self.failed = str(error)
                return
            self.seconds.append(sample.seconds)
            turn += 1

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


@workload("storm", "20 scans a second with reports and an approval each second, while an import commits")
def storm(world, repeats):
    base, bundle = storm_pair(world)
    site = world.copy(base, "storm")
    seconds = 30 if world.quick else 150
    clients = 300 if world.quick else 2000

    def write_ahead():
        return max((path.stat().st_size for path in site.glob("*.db-wal")), default=0)

    lasting = set(offered(world, world.large, STEPS[world.quick]))
    # The generator expires more updates than a site takes without asking.
    removals = result(world.run(site, "import", bundle, "--dry-run"))["removals"]
    changing = [guid for guid in offered(world, world.large)[2::4] if guid in lasting][:50]
    with world.serve(site) as server, Watch(write_ahead) as wal:
        log = world.path / "storm.load"
        with open(log, "wb") as out, open(world.path / "storm.talk", "wb") as talk:
            generator = subprocess.Popen(
                [str(word) for word in (
                    world.gapferry, "client", "load", "--server", server.url, "--clients", clients,
                    "--connections", 256, "--scan", "mixed", "--mix", "1:20:79", "--holds", 30, "--rate", 20,
                    "--events", 9, "--seconds", seconds, "--json")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=talk)
            try:
                wait_for_scanning(generator, world.path / "storm.talk")
                before = server.cpu_seconds()
                with Approvals(world, site, changing) as approvals:
                    time.sleep(seconds / 3)
                    imported = world.run(site, "import", bundle, "--yes", "--accept-removals", removals)
                    generator.wait(seconds * 2 + 60)
                used = server.cpu_seconds() - before
            finally:
                if generator.poll() is None:
                    generator.kill()
                    generator.wait()
    if approvals.failed:
        raise Failed(f"an approval: {approvals.failed}")
    found = json.loads([line for line in log.read_text().splitlines() if line.strip()][-1])
    if found.get("errors", 1):
        raise Failed(f"client load: {found.get('error_texts', found)}")
    shutil.rmtree(site)
    return storm_rows(world, found, imported, approvals, wal.value, used)


def wait_for_scanning(generator, talk):
    """Until the generator has registered its computers and begins to measure."""
    until = time.monotonic() + 300
    while '"scanning"' not in talk.read_text():
        if generator.poll() is not None or time.monotonic() > until:
            raise Failed(f"client load: {talk.read_text()[-500:]}")
        time.sleep(0.1)


def storm_rows(world, found, imported, approvals, wal, used):
    latest = found["latest_ms_by_second"]
    brought = result(imported)
    every = [ms / 1e3 for ms in latest]
    answers = found["request_latency"]
    took = sorted(approvals.seconds)
    return [
        Row(f"boot storm on {world.large:,}: latest answer", "s", ours=max(every), goal=1.0, cpu=used,
            samples=every,
            note=f"asked in second {latest.index(max(latest))} of {len(latest)}; p50 {answers['p50_ms']:.1f} ms, "
                 f"p99 {answers['p99_ms']:.0f} ms of {answers['count']} answers, {found['scans']} scans (1 % first, "
                 f"20 % catch-up), {found['late']} late, {found['events']} events in {found['reports']} reports, "
                 f"{found['errors']} errors; samples are the latest of each second"),
        Row(f"boot storm on {world.large:,}: largest WAL", "bytes", ours=wal, goal=256 * MIB, samples=[wal]),
        Row(f"boot storm on {world.large:,}: longest approval", "s", ours=took[-1], samples=took,
            note=f"the whole command, median {statistics.median(took):.3f} s of {len(took)}"),
        Row(f"boot storm on {world.large:,}: the import", "s", ours=imported.seconds, cpu=imported.cpu,
            peak=imported.peak, samples=[imported.seconds],
            note=f"{brought['documents']} revisions, {brought['intent_changes']} changes of intent"),
    ]


# ---- Events ----------------------------------------------------------------------------------------

@workload("events", "reports of 1 to 9 events on 32 connections, stored before they are acknowledged")
def events(world, repeats):
    mirror = world.copy(world.mirror(world.small), "events")
    seconds = 3 if world.quick else 10
    mine, other, cost, beside = [], [], [], []
    with world.serve(mirror) as server:
        for number in range(repeats + 1):
            before = server.cpu_seconds()
            found = load(world, server.url, "--scan", "none", "--events", 9, "--connections", 32,
                         "--clients", 320, "--seconds", seconds)
            used = server.cpu_seconds() - before
            rate, processor, rows = insert_same(mirror / "activity.db", world.path / "events.db", seconds / 2)
            if number:
                mine.append(found["events"] / found["seconds"])
                cost.append(used / found["events"])
                other.append(rate)
                beside.append(processor)
        latency = found["report_latency"]
    shutil.rmtree(mirror)
    return [Row.rates("events of computers", "1/s", mine, other,
                      against="the same rows into the same tables by SQLite, 32 reports in a transaction, synchronous=FULL",
                      note=f"p50 {latency['p50_ms']:.1f} ms, p99 {latency['p99_ms']:.0f} ms of a report with handshake, "
                           f"HTTP and SOAP; processor for one event: {1e6 * statistics.median(cost):.0f} us, "
                           f"SQLite {1e6 * statistics.median(beside):.0f} us")]


def insert_same(source, target, seconds):
    """Events per second that go from one activity.db into an empty one, batch by batch, and processor
    seconds of each."""
    for path in target.parent.glob(target.name + "*"):
        path.unlink()
    old = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    new = sqlite3.connect(target, isolation_level=None)
    new.execute("PRAGMA page_size=16384")
    new.execute("PRAGMA journal_mode=WAL")
    new.execute("PRAGMA synchronous=FULL")
    for (sql,) in old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
                              "AND tbl_name IN ('event', 'computer', 'update_status')"):
        new.execute(sql)
    rows = old.execute("SELECT instance_id, computer_id, received_at, event_id, body FROM event "
                       "ORDER BY id DESC LIMIT 60000").fetchall()
    computers = old.execute("SELECT * FROM computer LIMIT 32").fetchall()
    states = old.execute("SELECT * FROM update_status ORDER BY computer LIMIT ?", (60 * 32,)).fetchall()
    batch = 32 * 5
    put_computer = f"INSERT OR REPLACE INTO computer VALUES ({','.join('?' * len(computers[0]))})"
    put_state = f"INSERT OR REPLACE INTO update_status VALUES ({','.join('?' * len(states[0]))})"
    began, cpu, done = time.monotonic(), time.process_time(), 0
    new.execute("PRAGMA foreign_keys=OFF")
    while time.monotonic() - began < seconds and done + batch <= len(rows):
        new.execute("BEGIN IMMEDIATE")
        new.executemany(put_computer, computers)
        new.executemany("INSERT INTO event (instance_id, computer_id, received_at, event_id, body) "
                        "VALUES (?, ?, ?, ?, ?)", rows[done:done + batch])
        # Most reports carry one status of 60 updates.
        new.executemany(put_state, states)
        new.execute("COMMIT")
        done += batch
    elapsed, cpu = time.monotonic() - began, time.process_time() - cpu
    new.close()
    return done / elapsed, cpu / max(1, done), done


# ---- Content and TLS -------------------------------------------------------------------------------

def content_files(source):
    return [("/Content/" + str(f.relative_to(source / "content")), f.stat().st_size)
            for f in (source / "content").rglob("*") if f.is_file() and f.stat().st_size >= MIB]


@workload("content", "ranges of 1 MiB in shuffled order on seven connections")
def content(world, repeats):
    source, _ = content_pair(world)
    warm(source / "content")
    nginx = shutil.which("nginx")
    with world.serve(source) as server, Nginx(world, source, nginx) as reference:
        return [content_row(world, repeats, source, server, server.port, reference, "content by 1 MiB ranges",
                            "nginx with sendfile", None)]


def content_row(world, repeats, source, server, port, reference, name, against, authority):
    files = content_files(source)
    seconds, connections = (2 if world.quick else 5), 7
    mine, other, cost = [], [], []
    for number in range(repeats + 1):
        before = server.cpu_seconds()
        rate = ranges.measure("127.0.0.1", port, seconds, connections, files, authority)
        used = server.cpu_seconds() - before
        beside = (ranges.measure("127.0.0.1", reference.port, seconds, connections, files, authority)
                  if reference.program else 0)
        if number:
            mine.append(rate)
            other.append(beside)
            cost.append(used / (rate * seconds / 2**30))
    row = Row.rates(name, "bytes/s", mine, other if reference.program else (), goal=0.95, at_least=True,
                    against=against,
                    note=f"processor of serve for a GiB: {statistics.median(cost):.2f} s; the generator uses the "
                         "same processors")
    if not reference.program:
        row.goal, row.note = None, "nginx is not installed: no reference"
    return row


class Tls:
    """A certificate of its own authority; the mirror gets an https listener while the block runs."""

    def __init__(self, world, mirror):
        self.mirror, self.port = mirror, free_port()
        self.certificate, self.key = (mirror / "keys" / f"bench.{kind}" for kind in ("pem", "key"))
        self.before = (mirror / "gapferry.yaml").read_text()

    def __enter__(self):
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.key, "-out", self.certificate)
        lines = []
        for line in self.before.splitlines():
            lines.append(line)
            if line.strip() == "serve:":
                lines += ["  https:", f'    listen: "127.0.0.1:{self.port}"', "    certificate: keys/bench.pem",
                          "    key: keys/bench.key"]
        (self.mirror / "gapferry.yaml").write_text("\n".join(lines) + "\n")
        return self

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def __exit__(self, *_):
        (self.mirror / "gapferry.yaml").write_text(self.before)


@workload("tls", "scans and content over HTTPS")
def tls(world, repeats):
    if not shutil.which("openssl"):
        raise Missing("openssl is not installed")
    source, _ = content_pair(world)
    warm(source / "content")
    with Tls(world, source) as secure, world.serve(source) as server, \
            Nginx(world, source, shutil.which("nginx"), (secure.certificate, secure.key)) as reference:
        yield content_row(world, repeats, source, server, secure.port, reference,
                          "content by 1 MiB ranges, https", "nginx with TLS", secure.certificate)
    mirror = world.mirror(world.small)
    with Tls(world, mirror) as secure, world.serve(mirror) as server:
        for url, options in ((server.url, ()), (secure.url, ("--ca-file", secure.certificate))):
            yield load_row(world, server, url, "idle", 100, True, options)
