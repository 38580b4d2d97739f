"""Workloads of scans: what computers ask of `serve`."""
import json
import shutil
import statistics
import time

import scan_pages
from measure import Failed, Missing, Row, result, run
from mirrors import approve_everything, approved_mirror
from registry import workload


@workload("scan", "the first and the idle scan of one computer, everything approved")
def scan(world, repeats):
    mirror = approved_mirror(world)
    facts = world.facts(world.small, "workstation-x64")
    first, idle = [], []
    pages = 0
    with world.serve(mirror) as server:
        for number in range(repeats + 1):
            state = world.path / f"client-{number}"
            before = server.cpu_seconds()
            cold = run(world.gapferry, "client", "scan", "--server", server.url, "--as", facts,
                       "--state", state, "--json")
            served = server.cpu_seconds() - before
            again = run(world.gapferry, "client", "scan", "--server", server.url, "--as", facts,
                        "--state", state, "--json")
            if number:
                first.append(cold)
                idle.append(again)
                pages = served
        held = server.anonymous_bytes()
    return [Row.timed(f"first scan of a computer on {world.small:,}", first,
                      note=f"serve used {pages:.3f} s of processor for the last one, "
                           f"{held / 2**20:.0f} MiB after all; processor time shown is the client's"),
            Row.timed(f"idle scan of a computer on {world.small:,}", idle)]


def scanned_mirror(world):
    """The large catalogue, everything approved, and a group of a few computers."""
    path = world.path / f"scanned-{world.large}"
    if not path.exists():
        # Small files, but all of them: what lacks content is presented otherwise.
        mirror = world.mirror(world.large, "all", 512, name=path.name + ".part")
        approve_everything(world, mirror, world.large)
        world.run(mirror, "group", "add", "Pilot")
        mirror.rename(path)
    return path


def changing(world):
    """Updates whose approvals change while pages are asked for, spread over the catalogue."""
    listed = json.loads(run(world.catalogue, "ids", "--json", *world.catalogue_of(world.large)).out)
    guids = [r["guid"] for r in listed["revisions"]
             if r["visible"] and r["newest"] and not r["expired"] and r["kind"] in ("leaf", "bundle")]
    return guids[::max(1, len(guids) // 50)]


@workload("pages", "first-scan pages for 200 client states in rotation, an approval each second")
def pages(world, repeats):
    for program in ("wrk", "nginx"):
        if not shutil.which(program):
            raise Missing(f"{program} is not installed")
    mirror = scanned_mirror(world)
    guids = changing(world)
    seconds = 3 if world.quick else 5
    with world.serve(mirror) as server:
        directory = world.path / "pages"
        scan_pages.record(world, mirror, server, directory)
        asked = statistics.mean((directory / f"{n}.request").stat().st_size for n in range(scan_pages.STATES))
        for xpress in (True, False):
            yield pages_row(world, mirror, server, directory, xpress, seconds, repeats, guids, asked)
        yield Row.rates(f"memory of serve after pages on {world.large:,}", "bytes",
                        [server.anonymous_bytes()], goal=2**30)


def pages_row(world, mirror, server, directory, xpress, seconds, repeats, guids, asked):
    sizes = scan_pages.fetch_answers(server.port, directory, xpress)
    mine, other, cost, beside, latency, busy = [], [], [], [], [], []
    with scan_pages.Answers(world, directory) as nginx:
        for number in range(repeats + 1):
            with scan_pages.Approvals(world, mirror, guids):
                before = server.cpu_seconds()
                ours = scan_pages.generate(world, server.port, directory, scan_pages.PATH, xpress, seconds)
                used = server.cpu_seconds() - before
            with scan_pages.Approvals(world, mirror, guids):
                before = nginx.cpu_seconds()
                theirs = scan_pages.generate(world, nginx.port, directory, "", xpress, seconds)
                reference = nginx.cpu_seconds() - before
            if number:
                mine.append(ours["requests"] / ours["seconds"])
                other.append(theirs["requests"] / theirs["seconds"])
                cost.append(used / ours["requests"])
                beside.append(reference / theirs["requests"])
                busy.append(ours["generator_cpu"] / ours["requests"])
                latency.append(ours)
    row = Row.rates(f"first-scan pages on {world.large:,}, {'xpress' if xpress else 'plain'}", "1/s",
                    mine, other, goal=0.5 if xpress else None, at_least=True,
                    against="nginx answering as many bytes from files")
    last = latency[-1]
    row.note = (f"{asked / 1024:.0f} KiB asked, {statistics.mean(sizes) / 1024:.0f} KiB answered on average; "
                f"processor for one: {1e6 * statistics.median(cost):.0f} us, nginx "
                f"{1e6 * statistics.median(beside):.0f} us, generator {1e6 * statistics.median(busy):.0f} us; "
                f"p50 {1e3 * last['p50']:.1f} ms, p99 {1e3 * last['p99']:.1f} ms, max {1e3 * last['max']:.0f} ms")
    return row


@workload("scans", "first, catch-up and idle scans of 1, 100 and 2,000 computers")
def scans(world, repeats):
    """Latencies of whole scans, with the product's own load generator beside serve."""
    mirror = scanned_mirror(world)
    with world.serve(mirror) as server:
        for kind in ("first", "catch-up", "idle"):
            for clients in (1, 100, 2000):
                for xpress in ((True, False) if clients == 100 else (True,)):
                    yield load_row(world, server, server.url, kind, clients, xpress)


def load_row(world, server, url, kind, clients, xpress, options=()):
    """One run of `client load`; `options` are more words for it (a CA for https)."""
    before = server.cpu_seconds()
    sample = run(world.gapferry, "client", "load", "--server", url, "--clients", clients, "--scan", kind,
                 "--seconds", 3 if world.quick else 10, *([] if xpress else ["--no-xpress"]), *options, "--json")
    found = result(sample)
    used = server.cpu_seconds() - before
    if found["errors"]:
        raise Failed(f"client load: {found}")
    scheme = url.split(":")[0]
    name = f"{kind} scan, {clients:,} computers, {scheme}{'' if xpress else ', plain'}: p99"
    latency = found["scan_latency"] if found["scans"] else found["request_latency"]
    row = Row.rates(name, "s", [latency["p99_ms"] / 1e3], cpu=used)
    row.note = (f"p50 {latency['p50_ms']:.1f} ms, max {latency['max_ms']:.0f} ms"
                f"{'' if found['scans'] else ' of single requests'}; {found['scans']} scans, "
                f"{found['requests'] / found['seconds']:.0f} requests/s; processor is that of serve")
    return row
