"""What the same documents and rows cost with standard tools, for the workload `sync`.

From a mirror that a sync has filled, `prepare` takes the documents as they came (cabinets, and the text
of small ones) and the statements that make the same rows. One run of `Reference.run` then

  - decodes all cabinets with one cabextract for as many as fit a command line, and turns their UTF-16
    into UTF-8 with iconv,
  - hashes all texts (sha256sum: a revision is known by its text's digest),
  - reads all of them as XML with one `xmllint --stream`,
  - makes catalog.db and fragments.db again with the sqlite3 shell: same schema, indexes, page size and
    foreign keys, write-ahead log, synchronous=FULL, and per 512 revisions one transaction for rows and
    one for fragments, by INSERT ... SELECT from the mirror, so that no SQL values are parsed or bound.

That is less than a sync does: no HTTP, no SOAP envelope, no Base64, nothing is looked for in the documents,
fragments are not derived and large ones not packed, files' addresses are not asked for. Everything the
tools read is in the page cache, and no process is started per document."""
import pathlib
import shutil
import sqlite3

from measure import Missing, shell

REVISIONS_PER_TRANSACTION = 512
# By revision id; revision_identity comes first, since the others refer to it.
ROWS = {"revision_identity": "id", "revision": "id", "revision_text": "revision_id",
        "prerequisite": "revision_id", "bundle_member": "revision_id", "superseded": "revision_id",
        "revision_file": "revision_id", "driver": "revision_id"}


def parts(revision):
    return f"{revision << 12} AND {((revision + 1) << 12) - 1}"


class Reference:
    def __init__(self, mirror, directory):
        """`mirror` must not change while this is used; `directory` is made anew."""
        for program in ("cabextract", "iconv", "xmllint", "sqlite3"):
            if not shutil.which(program):
                raise Missing(f"{program} is not installed")
        self.mirror, self.path = pathlib.Path(mirror), pathlib.Path(directory)
        shutil.rmtree(self.path, ignore_errors=True)
        (self.path / "cabinets").mkdir(parents=True)
        self._documents()
        for name in ("catalog.db", "fragments.db"):
            (self.path / f"make-{name}").write_text("\n".join(self._statements(name)) + "\n")

    def _documents(self):
        self.document_bytes = self.cabinets = self.texts = 0
        db = sqlite3.connect(self.mirror / "catalog.db")
        with open(self.path / "small.xml", "wb") as small:
            query = "SELECT id, document_form, document_bytes FROM revision ORDER BY id"
            for revision, form, size in db.execute(query):
                pieces = db.execute(f"SELECT bytes FROM document_part WHERE id BETWEEN {parts(revision)} ORDER BY id")
                document = b"".join(piece for piece, in pieces)
                self.document_bytes += size
                if form == 0:
                    self.texts += 1
                    small.write(document + b"\n")
                else:
                    self.cabinets += 1
                    (self.path / "cabinets" / f"{revision:08}.cab").write_bytes(document)
        db.close()

    def _statements(self, name):
        db = sqlite3.connect(self.mirror / name)
        yield ".bail on"
        yield f".open {self.path / name}"
        yield ("PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
               "PRAGMA foreign_keys=ON; PRAGMA cache_size=-32768;")
        for text, in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL "
                                "AND name NOT LIKE 'sqlite_%' ORDER BY rowid"):
            yield text + ";"
        yield f"ATTACH '{self.mirror / name}' AS held;"
        is_catalog = name == "catalog.db"
        if is_catalog:
            yield "INSERT INTO generation_log SELECT * FROM held.generation_log;"
            yield "INSERT INTO change SELECT * FROM held.change;"
        column = "id FROM revision" if is_catalog else "revision_id FROM fragment"
        key = column.split()[0]
        first, last = db.execute(f"SELECT min({key}), max({key}) FROM {column.split()[-1]}").fetchone()
        for begin in range(first, last + 1, REVISIONS_PER_TRANSACTION):
            end = begin + REVISIONS_PER_TRANSACTION - 1
            yield "BEGIN IMMEDIATE;"
            if is_catalog:
                for table, owner in ROWS.items():
                    yield f"INSERT INTO {table} SELECT * FROM held.{table} WHERE {owner} BETWEEN {begin} AND {end};"
                yield ("INSERT INTO document_part SELECT * FROM held.document_part "
                       f"WHERE id BETWEEN {begin << 12} AND {((end + 1) << 12) - 1};")
            else:
                yield f"INSERT INTO fragment SELECT * FROM held.fragment WHERE revision_id BETWEEN {begin} AND {end};"
                yield ("INSERT INTO fragment_part SELECT p.* FROM held.fragment f JOIN held.fragment_part p "
                       "ON p.id BETWEEN f.id << 12 AND (f.id << 12) + 4095 "
                       f"WHERE f.revision_id BETWEEN {begin} AND {end} AND f.bytes IS NULL;")
            yield "COMMIT;"
        db.close()

    def run(self, _=0):
        return shell(f'''
            cd "{self.path}"; rm -f catalog.db* fragments.db* cabinets.u16 cabinets.xml
            find cabinets -name "*.cab" -print0 | sort -z | xargs -0 -r cabextract -q -p > cabinets.u16
            iconv -f UTF-16LE -t UTF-8 cabinets.u16 > cabinets.xml
            cat small.xml cabinets.xml | sha256sum > /dev/null
            {{ echo "<all>"; cat small.xml cabinets.xml; echo "</all>"; }} > all.xml
            xmllint --huge --stream --noout all.xml
            sqlite3 < make-catalog.db > /dev/null
            sqlite3 < make-fragments.db > /dev/null''')

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)
