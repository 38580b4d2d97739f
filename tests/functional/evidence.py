"""Evidence: what each side writes for its security officer, and logs that were cut or rewritten.

A bundle goes over, its receipt comes back, the next bundle tells that the receipt was seen. Then both sides write
evidence of the same bundle, and the site's log is forged in each way there is: the other side sees every one.
"""
import hashlib
import html.parser
import json
import pathlib
import shutil
import sqlite3
import unittest

import small_catalogue as small
from harness import World, gapferry
from wsus import WsusServer, document


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: tags that load something, and whether all are closed."""

    LOADING = {"script", "img", "link", "iframe", "object", "embed", "video", "audio", "base", "form"}
    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.loading, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag in self.LOADING or any(name in ("src", "href", "style") or name.startswith("on")
                                      for name, _ in attributes):
            self.loading.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def chain(records):
    """Hashes of records as docs/format.md describes them, written from there."""
    previous = b"\0" * 32
    for record in records:
        # 100-ns ticks since 1970 are not in the file; they follow from `at`.
        texts = "|".join(f"{len(record[k].encode())}:{record[k]}" for k in ("actor", "action", "object", "detail"))
        line = f"{record['number']}|{ticks(record['at'])}|{texts}\n"
        previous = hashlib.sha256(previous + line.encode()).digest()
        record["hash"] = previous.hex()
    return records


def ticks(text):
    import calendar
    import time
    whole, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**7 + int((fraction or "0").ljust(7, "0"))


class EvidenceTest(unittest.TestCase):
    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(WsusServer())
        small.fill(self.upstream)
        # A title that would be markup if somebody let it.
        data = small.payload(f"{small.LEAVES[0]}/100")
        self.upstream.add(document(small.LEAVES[0], 100, "Software", explicitly=True, installed="<lar:False />",
                                   title="Leaf <script>alert(1)</script> & \u202egnp",
                                   prerequisites=[small.PRODUCT, small.CLASSIFICATION], files=[("leaf.exe", data)]))
        self.hub = small.connected(self.world, self.upstream, "hub")
        self.site = small.join(self.world, self.hub, "plant")
        self.stick = self.world.directory("stick")

    def carry(self):
        bundle = pathlib.Path(self.hub.run("export", "--to", self.stick, "--for", "plant")["bundle"])
        self.site.run("import", bundle)
        return bundle

    def bring_back(self):
        path = pathlib.Path(self.site.run("export", "--return", "--to", self.stick, "--yes")["return"])
        self.hub.run("import", path)
        return path

    def test_evidence(self):
        first = self.carry()
        self.bring_back()
        self.hub.run("update", "approve", small.LEAVES[2], "--group", "Office")
        self.carry()
        self.bring_back()
        self.both_sides(first)
        self.forgeries()
        self.own_log()
        self.refused()
        self.allowed_media()

    # ---- What is handed over

    def both_sides(self, first):
        here = self.hub.run("evidence", "--bundle", "1", "--to", self.stick)
        there = self.site.run("evidence", "--bundle", "1", "--to", self.stick)
        self.assertEqual(here["bundle"], there["bundle"])
        sides = {}
        for name, result in (("sender", here), ("recipient", there)):
            text = pathlib.Path(result["evidence"]).read_text()
            self.assertEqual(hashlib.sha256(text.encode()).hexdigest(), result["sha256"])
            document = json.loads(text)
            self.assertEqual(canonical(document) + "\n", text)
            self.assertEqual((document["_type"], document["side"]), ("gapferry-evidence/1", name))
            sides[name] = document
            page = Page(pathlib.Path(result["page"]).read_text())
            self.assertEqual((page.loading, page.open), ([], []))
            shown = "".join(page.text)
            self.assertIn("Leaf <script>alert(1)</script> & [U+202E]gnp", shown)
            self.assertIn(document["bundle"]["manifest"], shown)
        manifest = hashlib.sha256((first / "manifest.json").read_bytes()).hexdigest()
        for document in sides.values():
            self.assertEqual(document["bundle"]["manifest"], manifest)
            event = next(e for e in document["events"] if e["kind"] in ("export", "import"))
            self.assertIn("updates", event["facts"]["contents"])
            self.assertTrue(event["actor"].startswith("user:"))
            self.assertEqual([s["role"] for s in event["facts"]["signatures"]["counted"]], ["origin"])
            self.assertTrue(event["facts"]["media"][0]["mount_point"])
            # The audit trail covers the event.
            self.assertTrue(any(event["sha256"] in r["detail"] for r in document["audit"]["speaking_of_it"]))
            parts = {p["part"]: p for p in document["parties"]}
            self.assertEqual(len(parts), 2, parts)
        self.assertEqual(sides["sender"]["receipts"][0]["acknowledged"], True)
        imported = next(e for e in sides["recipient"]["events"] if e["kind"] == "import")
        self.assertEqual(imported["facts"]["scanner"], {"configured": False})
        self.assertEqual(imported["facts"]["policy"], "origin")
        self.assertEqual(imported["facts"]["counts"]["documents"], 10)
        titles = {u["update"]: u["title"] for u in sides["recipient"]["updates"]}
        self.assertIn("<script>", titles[f"{small.LEAVES[0]}/100"])

        # Each reads the other's, and sees one changed byte.
        done = self.site.run("evidence", "verify", here["evidence"])
        self.assertEqual((done["verified"], done["signer"]), (True, "hub"))
        self.site.refuse(10, "evidence", "--bundle", "99")
        error = self.hub.refuse(10, "evidence", "--bundle", "1", "--site", "nobody")
        self.assertIn("nobody", error["message"])
        forged = self.stick / "forged.json"
        forged.write_text(pathlib.Path(here["evidence"]).read_text().replace("user:", "usar:", 1))
        self.assertEqual(self.site.refuse(21, "evidence", "verify", forged)["reason"], "evidence-signature")
        stranger = self.world.init("stranger", "--gap", "--name", "stranger")
        error = stranger.refuse(21, "evidence", "verify", here["evidence"])
        self.assertEqual(error["reason"], "evidence-unknown-key")
        # Without a mirror, with the card alone.
        outcome = gapferry("evidence", "verify", here["evidence"], "--trust", self.world.path / "hub.card", "--json",
                           cwd=self.stick)
        self.assertEqual(outcome.code, 0, outcome)
        self.evidence = here["evidence"]

    # ---- Logs

    def export_log(self, mirror, name):
        path = self.stick / name
        mirror.run("log", "--export", path)
        return path

    def write_log(self, records, **header):
        """A log as a forger who knows the format would write it."""
        path = self.stick / "forged.log"
        first = dict(json.loads(self.log.read_text().splitlines()[0]), records=len(records),
                     head=records[-1]["hash"], **header)
        path.write_text("".join(canonical(line) + "\n" for line in [first, *records]))
        return path

    def records(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()[1:]]

    def see(self, path, *words):
        """Both ways to check give the same answer: on the partner's mirror, and anywhere with its evidence."""
        error = self.hub.refuse(21, "evidence", "verify", path)
        self.assertIn("security officer", error["next"])
        for word in words:
            self.assertIn(word, error["message"])
        outcome = gapferry("evidence", "verify", path, "--evidence", self.evidence, "--trust",
                           self.world.path / "hub.card", "--json", cwd=self.stick)
        self.assertEqual((outcome.code, outcome.error()["reason"]), (21, error["reason"]), outcome)
        return error["reason"]

    def forgeries(self):
        self.log = self.export_log(self.site, "plant.log")
        records = self.records()
        self.assertEqual(chain([dict(r) for r in records]), records, "docs/format.md describes the chain")
        good = self.hub.run("evidence", "verify", self.log)
        self.assertEqual(good["records"], len(records))
        seen = good["intact_up_to"]
        self.assertGreater(seen, 2)
        self.assertLess(seen, len(records), "the return itself was written down after it was made")
        # The head in the last return is the one that counts.
        self.assertEqual(good["witnessed_in"], "return 2")
        stranger = self.world.init("nobody", "--gap", "--name", "nobody")
        outcome = stranger.try_run("evidence", "verify", self.log)
        self.assertEqual((outcome.code, outcome.result()["intact_up_to"]), (3, None))

        lines = self.log.read_text().splitlines(keepends=True)
        cut = self.stick / "cut.log"
        cut.write_text("".join(lines[:seen]))
        self.assertEqual(self.see(cut, "its first line says"), "log-truncated")
        self.assertEqual(self.see(self.write_log(records[:seen - 1]), f"it had {seen} records"), "log-truncated")
        altered = [dict(r) for r in records]
        altered[1]["actor"] = "user:nobody"
        self.assertEqual(self.see(self.write_log(altered), "record 2 does not follow"), "log-record-altered")
        self.assertEqual(self.see(self.write_log(records[:1] + records[2:]), "record 3 follows record 1"),
                         "log-record-removed")
        swapped = [dict(r) for r in records]
        swapped[0], swapped[1] = swapped[1], swapped[0]
        self.assertEqual(self.see(self.write_log(swapped)), "log-reordered")
        self.assertEqual(self.see(self.write_log(chain(altered)), "it was rewritten"), "log-rewritten")
        removed = [dict(r, number=n) for n, r in enumerate(records[:1] + records[2:], 1)]
        self.assertEqual(self.see(self.write_log(chain(removed)), "it was rewritten"), "log-rewritten")
        self.assertEqual(self.hub.refuse(20, "evidence", "verify", self.write_log(records, name="x" * 99))["reason"],
                         "log-malformed")
        self.assertEqual(self.hub.refuse(2, "evidence", "verify", self.world.path / "hub.card")["reason"],
                         "evidence-kind")

    def own_log(self):
        """A mirror compares its own log with what its partner says it saw."""
        self.carry()  # tells the site what was seen of it
        done = self.site.run("log", "--verify")
        self.assertGreater(done["witnessed_up_to"], 2)
        self.assertEqual(done["witness"], self.hub.status()["guid"])
        # Somebody with the database in hand writes history anew, hashes and all.
        copy = self.world.path / "plant-copy"
        shutil.copytree(self.site.path, copy)
        with sqlite3.connect(copy / "catalog.db") as db:
            rows = db.execute("SELECT id, at, actor, action, object, detail FROM audit ORDER BY id").fetchall()
            previous = b"\0" * 32
            for number, at, actor, action, name, detail in rows:
                actor = "user:nobody" if number == 2 else actor
                texts = "|".join(f"{len(t.encode())}:{t}" for t in (actor, action, name, detail))
                previous = hashlib.sha256(previous + f"{number}|{at}|{texts}\n".encode()).digest()
                db.execute("UPDATE audit SET actor = ?, hash = ? WHERE id = ?", (actor, previous, number))
        forged = type(self.site)(copy)
        error = forged.refuse(20, "log", "--verify")
        self.assertEqual(error["reason"], "audit-contradicted")
        self.assertIn("audit-contradicted", [n["reason"] for n in forged.status()["notices"]])
        # And in each return it goes on to be seen.
        path = self.stick / "copy.log"
        forged.run("log", "--export", path)
        self.assertEqual(self.hub.refuse(21, "evidence", "verify", path)["reason"], "log-rewritten")

    def refused(self):
        self.hub.run("update", "approve", small.LEAVES[1], "--group", "Office")
        bundle = pathlib.Path(self.hub.run("export", "--to", self.stick, "--for", "plant")["bundle"])
        volume = next(bundle.glob("volume-*"))
        data = bytearray(volume.read_bytes())
        data[600] ^= 1
        good = volume.read_bytes()
        volume.write_bytes(data)
        self.site.refuse(20, "import", bundle)
        number = str(int(bundle.name.rsplit("-", 1)[1]))
        result = self.site.run("evidence", "--bundle", number, "--to", self.stick)
        document = json.loads(pathlib.Path(result["evidence"]).read_text())
        self.assertEqual(document["bundle"]["outcome"], "refused")
        self.assertIn("Refused here", pathlib.Path(result["page"]).read_text())
        volume.write_bytes(good)
        self.site.run("import", bundle)

    def allowed_media(self):
        """No stick here has a serial number: with a list nothing is let in or out."""
        for mirror in (self.hub, self.site):
            mirror.configure(media__allowed='["4C530001230101117362"]')
        before = self.site.state()
        error = self.hub.refuse(21, "export", "--to", self.stick, "--for", "plant")
        self.assertEqual(error["reason"], "medium-not-allowed")
        self.assertIn("media.allowed", error["next"])
        bundle = sorted(self.stick.glob("gapferry-*"))[-1]
        error = self.site.refuse(21, "import", bundle)
        self.assertEqual(error["reason"], "medium-not-allowed")
        self.assertIn("4C530001230101117362", error["message"])
        self.assertEqual(self.site.refuse(21, "import", bundle, "--dry-run")["reason"], "medium-not-allowed")
        back = sorted(self.stick.glob("return-*.jsonl"))[-1]
        self.assertEqual(self.hub.refuse(21, "import", back)["reason"], "medium-not-allowed")
        self.assertEqual(self.site.state(), before)


if __name__ == "__main__":
    unittest.main()
