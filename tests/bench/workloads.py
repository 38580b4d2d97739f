"""The workloads of the design's section 8, as far as the product has them. Each takes a World and
the number of runs and returns rows. References do the same duty as ours: what is written is synced,
what is read back is read from the medium."""
import json
import os
import shutil
import statistics
import subprocess
import time

import big_upstream
import ranges
from measure import Row, in_turn, result, run, shell
from world import free_port

WORKLOADS = {}


def workload(name):
    def register(function):
        WORKLOADS[name] = function
        return function
    return register


# Drops a file's pages, as our read-back does, without needing to be root.
DROP = 'drop() { for f in "$@"; do dd of="$f" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null; done; }\n'


def warm(path):
    """Reads everything below `path`, so that sources are in the page cache."""
    shell(f'find "{path}" -type f -exec cat {{}} + > /dev/null')


CONTENT_REVISIONS = 800


def content_pair(world):
    """A mirror with much content, all of it approved, and a site it knows."""
    source = world.path / "content-source"
    if not source.exists():
        part = world.mirror(CONTENT_REVISIONS, "all", world.content_median, name="content-source.part")
        approve_everything(world, part, CONTENT_REVISIONS)
        part.rename(source)
    site = world.path / "content-site"
    if not site.exists():
        site = world.init("content-site", "--gap")
        world.introduce(source, site)
    return source, site


def content_bundle(world):
    source, _ = content_pair(world)
    to = world.path / "content-bundle"
    found = sorted(to.glob("gapferry-*")) if to.exists() else []
    if found:
        return found[-1]
    return world.export(source, "content-site", to, "--full")[1]


def carried_files(world):
    """The names below content/ that the bundle carries: what the references have to carry too."""
    bundle = content_bundle(world)
    index = run("zstd", "-dc", bundle / "index.jsonl.zst").out
    names = {json.loads(line)["name"].split(".part")[0] for line in index.splitlines()}
    listing = world.path / "carried-files"
    listing.write_text("".join(f"{name}\n" for name in sorted(names) if name.startswith("content/")))
    return listing


@workload("export")
def export(world, repeats):
    source, site = content_pair(world)
    carried = carried_files(world)
    warm(source / "content")
    to = world.path / "export-runs"

    def ours(_):
        shutil.rmtree(to, ignore_errors=True)
        return world.export(source, site.name, to, "--full")[0]

    def tar(_):
        target = world.path / "reference.tar"
        target.unlink(missing_ok=True)
        return shell(DROP + f'''
            cd "{source}"
            tar -cf "{target}" -T "{carried}"
            sync -f "{target}"; drop "{target}"
            xargs -d "\\n" sha256sum < "{carried}" > "{target}.source"
            sha256sum "{target}" > "{target}.copy"''')

    mine, reference = in_turn(repeats, ours, tar)
    shutil.rmtree(to, ignore_errors=True)
    size = sum((source / name).stat().st_size for name in carried.read_text().splitlines())
    return [Row.timed("export of stored content", mine, reference, goal=1.0,
                      against="tar c + sync + sha256sum of source and of copy",
                      note=f"{size / 2**20:.0f} MiB of content")]


@workload("verify")
def verify(world, repeats):
    bundle = content_bundle(world)
    _, site = content_pair(world)
    warm(bundle)
    mine, reference = in_turn(
        repeats,
        lambda _: run(world.gapferry, "verify", bundle, "--mirror", site, "--json"),
        lambda _: run("sha256sum", "--quiet", "-c", "SHA256SUMS", cwd=bundle))
    return [Row.timed("verify a bundle", mine, reference, goal=0.6, against="sha256sum -c")]


@workload("import")
def import_(world, repeats):
    bundle = content_bundle(world)
    _, site = content_pair(world)
    warm(bundle)

    def ours(number):
        fresh = world.copy(site, f"import-{number}")
        sample = world.run(fresh, "import", bundle, "--yes")
        shutil.rmtree(fresh)
        return sample

    def tar(number):
        target = world.path / f"untar-{number}"
        target.mkdir()
        sample = shell(f'''
            cat "{bundle}"/volume-*.tar > /dev/null
            for volume in "{bundle}"/volume-*.tar; do tar -xf "$volume" -C "{target}"; done
            sync -f "{target}"
            cd "{bundle}"; sha256sum --quiet -c SHA256SUMS''')
        shutil.rmtree(target)
        return sample

    mine, reference = in_turn(repeats, ours, tar)
    return [Row.timed("import", mine, reference, goal=1.0, against="tar x + sync + sha256sum -c")]


def caught_up_pair(world, revisions):
    """A mirror whose site has acknowledged everything, then advanced by about 100 updates."""
    name = f"delta-{revisions}"
    done = world.path / f"{name}-done"
    if done.exists():
        return done, f"{name}-site"
    source = world.copy(world.mirror(revisions), name)
    site = world.init(f"{name}-site", "--gap")
    world.introduce(source, site)
    _, bundle = world.export(source, site.name, world.path / f"{name}-bundles", "--full")
    world.run(site, "import", bundle, "--yes")
    back = result(world.run(site, "export", "--return", "--to", world.path / f"{name}-bundles", "--yes"))
    world.run(source, "import", back["return"], "--yes")
    world.fill(source, "--size", str(revisions), "--content", "none", "--step", "25")
    source.rename(done)
    return done, site.name


@workload("delta")
def delta(world, repeats):
    pairs = {size: caught_up_pair(world, size) for size in (world.small, world.large)}

    def one(size):
        def make(number):
            source, site = pairs[size]
            to = world.path / f"delta-out-{size}-{number}"
            sample, _ = world.export(source, site, to)
            shutil.rmtree(to)
            return sample
        return make

    large, small = in_turn(repeats, one(world.large), one(world.small))
    return [Row.timed(f"delta of 100 revisions on {world.large:,}", large, small, goal=1.2,
                      against=f"the same on {world.small:,}")]


@workload("fill")
def fill(world, repeats):
    """Not a goal of the design: how fast documents are decoded, derived and stored."""
    mirror = world.init("fill-run")
    sample = world.fill(mirror, "--size", str(world.small), "--content", "none")
    report = result(sample)
    shutil.rmtree(mirror)
    return [Row("load revisions into a mirror", "1/s", ours=report["new_revisions"] / sample.seconds,
                cpu=sample.cpu, peak=sample.peak,
                note=f"{report['new_revisions']} revisions, {report['document_bytes'] / 2**20:.0f} MiB of "
                     "documents, generated and packed in the same run")]


@workload("sync")
def sync(world, repeats):
    source = world.mirror(world.small)
    rows = []
    with world.serve(source) as upstream:
        before = upstream.cpu_seconds()
        mirror = world.init("sync-run", "--upstream", upstream.url)
        world.run(mirror, "subscription", "set", "--product", "all", "--classification", "all")
        sample = world.run(mirror, "sync", "--metadata-only")
        brought = result(world.run(mirror, "status"))["counts"]["updates"]
        there = result(world.run(source, "status"))["counts"]["updates"]
        if brought != there:
            raise RuntimeError(f"sync brought {brought} of {there} updates")
        served = upstream.cpu_seconds() - before
    reference = world.init("sync-reference")
    loaded = world.fill(reference, "--size", str(world.small), "--content", "none")
    rows.append(Row("sync, processor time", "s", ours=sample.cpu, reference=loaded.cpu, goal=2.0,
                    cpu=sample.cpu, peak=sample.peak,
                    against="generating, decoding and inserting the same revisions without network",
                    note=f"{world.small} revisions in {sample.seconds:.1f} s; upstream used "
                         f"{served:.1f} s of processor"))
    for path in (mirror, reference):
        shutil.rmtree(path)
    return rows


LIST_ENTRIES = {True: 200_000, False: 1_000_000}  # by --quick; the second is 126 MB
DOCUMENT_BYTES = 47 << 20
INSERT_LIST = """
import sqlite3, sys, xml.parsers.expat
db = sqlite3.connect(sys.argv[2])
db.execute("CREATE TABLE entry (guid TEXT, revision INTEGER, PRIMARY KEY (guid, revision)) WITHOUT ROWID")
rows, text, guid = [], [], None
def end(name):
    global guid
    if name == "UpdateID": guid = "".join(text).strip()
    elif name == "RevisionNumber": rows.append((guid, int("".join(text))))
    text.clear()
    if len(rows) == 10000: flush()
def flush():
    db.executemany("INSERT INTO entry VALUES (?, ?)", rows)
    rows.clear()
parser = xml.parsers.expat.ParserCreate()
parser.EndElementHandler, parser.CharacterDataHandler = end, text.append
parser.ParseFile(open(sys.argv[1], "rb"))
flush()
db.commit()
"""


@workload("list")
def revision_list(world, repeats):
    """A whole catalogue's identities: fetched, decoded, compared with what is held."""
    entries = LIST_ENTRIES[world.quick]
    path = world.path / f"list-{entries}"
    if not path.exists():
        big_upstream.revision_list(path, entries)
    size = path.stat().st_size
    database = world.path / "list.db"

    def stream(_):
        return run("xmllint", "--stream", "--noout", path)

    def insert(_):
        database.unlink(missing_ok=True)
        return run("/usr/bin/python3", "-c", INSERT_LIST, path, database)

    with big_upstream.BigUpstream(path) as upstream:
        mirror = world.init("list-mirror", "--upstream", upstream.url)

        def ours(_):
            sample = world.run(mirror, "sync", "--dry-run", "--full")
            assert result(sample)["listed"] == entries, sample.out
            return sample

        mine, reader = in_turn(repeats, ours, stream)
        reference = [insert(0)]
    shutil.rmtree(mirror)
    cpu = statistics.median(sample.cpu for sample in mine)
    what = f"list of {entries:,} ({size >> 20} MiB)"
    return [Row.timed(f"{what}, sync --dry-run", mine, reader, against="xmllint --stream of the file"),
            Row(f"{what}, processor time", "s", ours=cpu,
                reference=statistics.median(sample.cpu for sample in reference), goal=1.0,
                against="Python's expat into a table of SQLite"),
            Row(f"{what}, peak memory", "bytes", ours=max(sample.peak for sample in mine),
                goal=(32 << 20) + 64 * entries,
                note="bound: 64 bytes for each entry above the program itself")]


@workload("document")
def large_document(world, repeats):
    """One document of 47 MB: fetched, parsed, its fragments derived and packed, all stored."""
    source, data, updates = (world.path / name for name in ("large.xml", "large-answer", "large-list"))
    if not data.exists():
        big_upstream.document(source, DOCUMENT_BYTES)
        big_upstream.document_answer(source, data)
        updates.write_text(big_upstream.answer(
            "GetRevisionIdList", "<GetRevisionIdListResult><Anchor>1</Anchor><NewRevisions>"
            f"<UpdateIdentity><UpdateID>{big_upstream.LARGE}</UpdateID><RevisionNumber>200"
            "</RevisionNumber></UpdateIdentity></NewRevisions></GetRevisionIdListResult>"))
    with big_upstream.BigUpstream(updates, data) as upstream:
        def ours(number):
            mirror = world.init(f"document-{number}", "--upstream", upstream.url)
            sample = world.run(mirror, "sync", "--metadata-only")
            assert result(sample)["new_revisions"] == 1 and result(sample)["complete"], sample.out
            shutil.rmtree(mirror)
            return sample

        def parse(_):  # the answer, the document in it, what is kept packed and on the disk
            copy = world.path / "document-copy"
            return shell(f'''xmllint --huge --stream --noout "{data}"
                xmllint --huge --stream --noout "{source}"
                sha256sum "{source}" > /dev/null; cp "{source}" "{copy}"; gzip -1 < "{source}" > "{copy}.gz"
                sync -f "{copy}"; rm "{copy}" "{copy}.gz"''')

        mine, reference = in_turn(repeats, ours, parse)
    size = source.stat().st_size
    rate = size / statistics.median(sample.cpu for sample in mine)
    return [Row.timed(f"document of {size >> 20} MiB, sync", mine, reference,
                      against="xmllint --stream of answer and document, sha256sum, gzip -1, cp, sync",
                      note=f"{rate / 2**20:.0f} MiB of document per second of processor time"),
            Row(f"document of {size >> 20} MiB, peak memory", "bytes",
                ours=max(sample.peak for sample in mine), goal=6 * size,
                note="bound: six times the document")]


@workload("serve")
def serve(world, repeats):
    mirror = world.mirror(world.large)
    starts, memory = [], []
    for number in range(repeats + 1):
        with world.serve(mirror) as server:
            time.sleep(1)
            if number:
                starts.append(server.started_in)
                memory.append(server.anonymous_bytes())
    return [Row(f"start of serve on {world.large:,} revisions", "s", ours=statistics.median(starts),
                goal=5.0, samples=[round(s, 3) for s in starts]),
            Row(f"memory of serve at rest on {world.large:,}", "bytes",
                ours=statistics.median(memory), goal=2**30)]


def approve_everything(world, mirror, revisions):
    """Approves all visible updates for all computers and accepts their EULAs."""
    listed = json.loads(run(world.catalogue, "ids", "--json", "--size", str(revisions)).out)
    ids = [r["guid"] for r in listed["revisions"]
           if r["visible"] and r["newest"] and not r["expired"] and r["kind"] != "driver"]
    for start in range(0, len(ids), 500):
        world.run(mirror, "update", "approve", *ids[start:start + 500], "--group", "All Computers",
                  "--accept-eula")
    return len(ids)


def approved_mirror(world):
    name = f"approved-{world.small}"
    path = world.path / name
    if not path.exists():
        mirror = world.mirror(world.small, "all", name=name + ".part")
        approve_everything(world, mirror, world.small)
        mirror.rename(path)
    return path


@workload("scan")
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


@workload("content")
def content(world, repeats):
    source, _ = content_pair(world)
    files = [("/Content/" + str(f.relative_to(source / "content")), f.stat().st_size)
             for f in (source / "content").rglob("*") if f.is_file() and f.stat().st_size >= 1 << 20]
    seconds, connections = (2 if world.quick else 5), 7
    warm(source / "content")
    nginx = shutil.which("nginx")
    with world.serve(source) as server, Nginx(world, source, nginx) as reference:
        mine, other = [], []
        for number in range(repeats + 1):
            rate = ranges.measure("127.0.0.1", server.port, seconds, connections, files)
            beside = ranges.measure("127.0.0.1", reference.port, seconds, connections, files) if nginx else 0
            if number:
                mine.append(rate)
                other.append(beside)
    row = Row("content by 1 MiB ranges", "bytes/s", ours=statistics.median(mine), goal=0.95,
              at_least=True, against="nginx with sendfile", samples=[round(m) for m in mine])
    if nginx:
        row.reference = statistics.median(other)
    else:
        row.goal, row.note = None, "nginx is not installed: no reference"
    return [row]


class Nginx:
    """nginx with sendfile on the same files, on a port of its own; nothing when it is not there."""

    def __init__(self, world, mirror, program):
        self.world, self.mirror, self.program, self.port = world, mirror, program, 0

    def __enter__(self):
        if not self.program:
            return self
        self.port = free_port()
        base = self.world.path / "nginx"
        base.mkdir(exist_ok=True)
        # As root it would change to a user who may not read the mirror.
        user = "user root;" if os.geteuid() == 0 else ""
        (base / "nginx.conf").write_text(f'''
            {user} worker_processes auto; daemon off; pid {base}/pid; error_log {base}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
              client_body_temp_path {base}/b; proxy_temp_path {base}/p; fastcgi_temp_path {base}/f;
              uwsgi_temp_path {base}/u; scgi_temp_path {base}/s;
              server {{ listen 127.0.0.1:{self.port}; location /Content/ {{ alias {self.mirror}/content/; }} }} }}''')
        self.process = subprocess.Popen([self.program, "-p", str(base), "-c", str(base / "nginx.conf")])
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        if self.program:
            self.process.terminate()
            self.process.wait(10)


