"""Workloads of sync and of filling a mirror: revisions, the list of identities, a large document."""
import shutil
import statistics

import big_upstream
from measure import Row, in_turn, result, run, shell
from registry import workload


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


@workload("sync", "the metadata of a served mirror")
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
    return [Row.timed(f"document of {size >> 20} MiB, sync", mine, reference,
                      against="xmllint --stream of answer and document, sha256sum, gzip -1, cp, sync",
                      note=f"{rate / 2**20:.0f} MiB of document per second of processor time"),
            Row(f"document of {size >> 20} MiB, peak memory", "bytes",
                ours=max(sample.peak for sample in mine), goal=6 * size,
                note="bound: six times the document")]
