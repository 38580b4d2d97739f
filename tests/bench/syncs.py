"""Workloads of sync and of filling a mirror: revisions, the list of identities, a large document."""
import shutil
import statistics

import big_upstream
from measure import Failed, Row, in_turn, result, run, shell
from mirrors import approved_mirror
from registry import workload
from sync_reference import Reference


@workload("fill", "generating, decoding, deriving and storing revisions")
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


def plain_mirror(world, revisions):
    """Like world.mirror, with documents of ordinary size at every size of the benchmark: those over 1 MB
    are measured apart."""
    if not world.size.tail:
        return world.mirror(revisions)
    mirror = world.path / f"plain-{revisions}"
    if not mirror.exists():
        world.log(f"making {mirror.name}")
        part = world.init(mirror.name + ".part")
        world.fill(part, "--size", str(revisions), "--content", "none")
        part.rename(mirror)
    return mirror


def synced(world, upstream, name, *options):
    """A new mirror that has everything of a server, and the run that brought it."""
    mirror = world.init(name, "--upstream", upstream.url, *options)
    sample = world.run(mirror, "sync", "--metadata-only")
    brought, there = (result(world.run(path, "status"))["counts"]["updates"]
                      for path in (mirror, upstream.mirror))
    if brought != there or not result(sample)["complete"]:
        raise Failed(f"sync brought {brought} of {there} updates")
    return mirror, sample


@workload("sync", "the metadata of a served mirror, into an empty one")
def sync(world, repeats):
    """The reference is explained in sync_reference.py."""
    repeats = min(repeats, 3 if world.quick else 2)  # half a minute each at size l
    reference, served = None, []
    kept = world.path / "synced"
    try:
        with world.serve(plain_mirror(world, world.large)) as upstream:
            def ours(number):
                nonlocal reference
                before = upstream.cpu_seconds()
                mirror, sample = synced(world, upstream, f"sync-{number}")
                served.append(upstream.cpu_seconds() - before)
                if number:
                    shutil.rmtree(mirror)
                else:
                    mirror.rename(kept)
                    reference = Reference(kept, world.path / "sync-reference")
                return sample

            mine, other = in_turn(repeats, ours, lambda number: reference.run(number))
        size = reference.document_bytes
        what = f"sync of {world.large:,} revisions"
        return [Row.processor(f"{what}, processor time", mine, other, goal=2.0,
                              against="cabextract, iconv, sha256sum, xmllint --stream, the same rows by sqlite3",
                              note=f"{size >> 20} MiB of documents, {reference.cabinets:,} cabinets and "
                                   f"{reference.texts:,} texts; the upstream used "
                                   f"{statistics.median(served):.1f} s of processor beside it"),
                Row.timed(f"{what}, wall clock", mine, note="upstream and network included"),
                Row.largest(f"{what}, peak memory", mine,
                            note="mapped pages of the databases included")]
    finally:
        if reference:
            reference.close()
        shutil.rmtree(kept, ignore_errors=True)


NEW_REVISIONS = 100
PER_STEP = 4  # a cumulative update of two revisions, a changed tool, an expired one


def delta_runs(world, revisions, repeats):
    """Syncs of what is new at an upstream, each by a mirror that has all the rest."""
    source = world.copy(plain_mirror(world, revisions), f"delta-upstream-{revisions}")
    with world.serve(source) as upstream:
        held, _ = synced(world, upstream, f"delta-held-{revisions}")
    world.fill(source, "--size", str(revisions), "--content", "none", "--step", str(NEW_REVISIONS // PER_STEP))
    samples = []
    again = world.serve(source)
    again.port = upstream.port  # the same upstream
    with again:
        for number in range(repeats + 1):
            mirror = world.copy(held, f"delta-{revisions}-{number}")
            sample = world.run(mirror, "sync", "--metadata-only")
            found = result(sample)
            if found["new_revisions"] != NEW_REVISIONS or found["full_list"]:
                raise Failed(f"not a delta of {NEW_REVISIONS}: {sample.out}")
            if number:
                samples.append(sample)
            shutil.rmtree(mirror)
    for path in (source, held):
        shutil.rmtree(path)
    return samples


@workload("sync-delta", "100 new revisions at the upstream, by the size of the catalogue")
def sync_delta(world, repeats):
    large = delta_runs(world, world.large, repeats)
    small = delta_runs(world, world.small, repeats)
    what = f"sync of {NEW_REVISIONS} new revisions at {world.large:,}"
    return [Row.processor(f"{what}, processor time", large, small, goal=1.2,
                          against=f"the same at {world.small:,}"),
            Row.timed(f"{what}, wall clock", large, small, against=f"the same at {world.small:,}")]


@workload("sync-replica", "the metadata and all approvals of a served mirror")
def sync_replica(world, repeats):
    source = approved_mirror(world)
    mine = []
    with world.serve(source) as upstream:
        for number in range(min(repeats, 3) + 1):
            mirror, sample = synced(world, upstream, f"replica-{number}", "--replica")
            approvals = result(sample)["intent_changes"]
            if number:
                mine.append(sample)
            shutil.rmtree(mirror)
    return [Row.processor(f"sync of a replica, {world.small:,} revisions, processor time", mine,
                          note=f"{approvals:,} changes of groups, approvals and licences")]


@workload("sync-large", "documents over 1 MB: component manifests as large as observed")
def sync_large(world, repeats):
    """Revisions of one small catalogue with the observed tail; their MB per second of processor time."""
    source = world.path / "large-documents"
    if not source.exists():
        part = world.init(source.name + ".part")
        world.fill(part, "--size", LARGE_CATALOGUE, "--content", "none", "--real-tail")
        part.rename(source)
    mine, other, reference = [], [], None
    try:
        with world.serve(source) as upstream:
            for number in range(min(repeats, 2) + 1):
                mirror, sample = synced(world, upstream, "large-run")
                if not reference:
                    mirror.rename(world.path / "large-held")
                    reference = Reference(world.path / "large-held", world.path / "large-reference")
                else:
                    shutil.rmtree(mirror)
                beside = reference.run()
                if number:
                    mine.append(sample)
                    other.append(beside)
        size = reference.document_bytes
        return [Row.rates("documents over 1 MB, sync", "bytes/s", [size / sample.cpu for sample in mine],
                          [size / sample.cpu for sample in other], at_least=True, goal=0.5,
                          against="the reference of sync: decoded, hashed, parsed, same rows; not packed",
                          note=f"per second of processor time; {size >> 20} MiB in documents of which nearly "
                               "all bytes are in those over 1 MB"),
                Row.largest("documents over 1 MB, peak memory", mine,
                            note="mapped pages of the databases included")]
    finally:
        if reference:
            reference.close()
        shutil.rmtree(world.path / "large-held", ignore_errors=True)


LARGE_CATALOGUE = "900"
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


@workload("list", "a whole catalogue's identities: fetched, decoded, compared with what is held")
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
        reference = [insert(number) for number in range(2)]
    shutil.rmtree(mirror)
    what = f"list of {entries:,} ({size >> 20} MiB)"
    return [Row.timed(f"{what}, sync --dry-run", mine, reader, against="xmllint --stream of the file"),
            Row.processor(f"{what}, processor time", mine, reference, goal=1.0,
                          against="Python's expat into a table of SQLite"),
            Row.largest(f"{what}, peak memory", mine, goal=(32 << 20) + 64 * entries,
                        note="bound: 64 bytes for each entry above the program itself")]


@workload("document", "one document of 47 MB: fetched, parsed, fragments derived and stored")
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
    return [Row.processor(f"document of {size >> 20} MiB, sync", mine, reference,
                          against="xmllint --stream of answer and document, sha256sum, gzip -1, cp, sync",
                          note=f"{rate / 2**20:.0f} MiB of document per second of processor time"),
            Row.largest(f"document of {size >> 20} MiB, peak memory", mine, goal=6 * size,
                        note="bound: six times the document")]
