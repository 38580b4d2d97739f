"""`gapferry sync` and the documents that an update server sends: short answers, lost ids, wrong, hostile and
changed documents, every form of cabinet, both kinds of real servers, keys of encrypted files.

One bad document must not stop the others, must not be stored, and must be asked for again.
"""
import base64
import functools
import hashlib
import os
import re
import unittest

import small_catalogue
from harness import SHARED, sanitized
from small_catalogue import CLASSIFICATION, LEAVES, PRODUCT, guid
from sync_support import SyncCase, sync, wanted_digest
from wsus import WsusServer, document
from wsus import cabinet as cabinets

LIST, DATA = "GetRevisionIdList", "GetUpdateData"


def software(name, **more):
    return document(guid(name), 100, "Software", title=name, explicitly=True,
                    prerequisites=[PRODUCT, CLASSIFICATION], **more)


class AnswerTest(SyncCase, unittest.TestCase):
    """What GetUpdateData leaves out, adds and repeats."""

    def test_answers_shorter_than_asked(self):
        self.upstream.answer_bytes = 3000  # one document, sometimes two
        self.sync()
        self.assert_complete()
        self.assert_calls(GetUpdateData=range(6, 11))

    def test_every_form_of_answer_gives_the_same(self):
        for kind, xpress in (("ws2025", False), ("mu", True)):
            with self.subTest(kind=kind, xpress=xpress), WsusServer(kind) as other:
                other.xpress = xpress
                small_catalogue.fill(other)
                mirror = self.world.init(f"m-{kind}-{xpress}", "--upstream", other.url)
                sync(mirror)
                self.assertEqual(mirror.status()["documents_digest"], wanted_digest())
                self.assertEqual(other.violations, [])

    def test_every_form_of_cabinet_gives_the_same(self):
        for make in (cabinets.lzx_cabinet, cabinets.mszip_cabinet, cabinets.stored_cabinet):
            for checksums in (True, False):
                with self.subTest(make=make.__name__, checksums=checksums):
                    for one in self.upstream.documents.values():
                        one.cabinet = make(one.text.encode("utf-16-le"), checksums=checksums)
                    self.mirror = self.world.init(f"m-{make.__name__}-{checksums}", "--upstream",
                                                  self.upstream.url)
                    self.sync("--metadata-only")
                    self.assert_complete()

    @unittest.skipUnless(SHARED.is_dir(), "the samples are not here")
    def test_a_cabinet_of_a_real_server(self):
        text = (SHARED / "samples/266f6222-r200.software-leaf.xml").read_text()
        cab = (SHARED / "samples/266f6222-r200.blob.cab").read_bytes()
        one = self.upstream.add(text, cabinet=cab)
        done = self.sync()
        self.assertEqual(done["refused"], [])
        self.assertIn(one.key[0], str(self.mirror.run("update", "show", one.key[0])))

    def test_an_id_that_went_between_list_and_fetch(self):
        victim = LEAVES[1]
        self.upstream.on(DATA, call=2, run=lambda upstream: upstream.remove(victim))
        done = self.sync()
        self.assertEqual(done["gone"], [f"{victim}/100"])
        self.assertNotIn(victim, {row["guid"] for row in self.mirror.rows("update", "list")})
        self.assertEqual(self.mirror.status()["counts"]["revisions"], 9)
        self.assert_calls(GetUpdateData=range(3, 10))  # bisected: 5 ids
        self.upstream.calm()
        self.assertFalse(self.sync()["changed"])

    def test_a_server_that_delivers_nothing_it_lists(self):
        for i in range(100):
            self.upstream.add(software(f"many {i}"))
        self.upstream.on(DATA, fault=("InternalServerError", ""))
        done = self.sync(code=1)
        self.assert_error(done, "delivered 0 of")
        self.assertLessEqual(self.upstream.calls[DATA], 250)
        self.assertEqual(self.mirror.status()["generation"], 0)

    def test_an_internal_error_of_a_moment_is_no_lost_id(self):
        self.upstream.on(DATA, call=2, fault=("InternalServerError", ""))
        done = self.sync()
        self.assertEqual(done["gone"], [])
        self.assert_complete()

    def test_answers_without_what_was_asked(self):
        # Empty, or with another id: the one that never comes is left out, and told.
        other = self.upstream.documents[(LEAVES[2], 100)].entry().encode()
        for name, replacement in (("empty", b""), ("another", other)):
            with self.subTest(name=name):
                self.upstream.calm()
                self.upstream.xpress = False
                self.upstream.max_updates = 1
                self.upstream.on(DATA, when=lambda r: LEAVES[0] in r.text, edit=lambda body: re.sub(
                    rb"<updates>.*</updates>", b"<updates>" + replacement + b"</updates>", body, flags=re.S))
                self.mirror = self.world.init(f"m-{name}", "--upstream", self.upstream.url)
                done = self.sync()
                self.assertEqual(done["gone"], [f"{LEAVES[0]}/100"])
                self.assertIn(self.upstream.calls[DATA], range(10, 14))

    def test_answers_with_more_than_was_asked_and_twice(self):
        self.upstream.xpress = False
        stranger = software("stranger")
        extra = b"".join(e.entry().encode() for e in
                         (self.upstream.documents[(LEAVES[0], 100)], WsusServer().add(stranger)))
        self.upstream.on(DATA, edit=lambda body: body.replace(b"</updates>", extra + b"</updates>"))
        self.sync()
        self.assert_complete()

    def test_the_limit_of_the_server_is_kept(self):
        self.upstream.max_updates = 3
        self.sync()
        self.assert_complete()
        self.assert_calls(GetUpdateData=4)

    def test_a_limit_of_zero_is_an_error(self):
        self.upstream.max_updates = 0
        done = self.sync(code=1)
        self.assert_error(done, "MaxNumberOfUpdatesPerRequest")
        self.assert_calls(GetUpdateData=0)


class BadDocumentTest(SyncCase, unittest.TestCase):
    """Documents that must not be taken, among good ones."""

    def offers(self, bad, limit_kib=120_000):
        """`bad` maps a name to what the server sends as the document of that name: its text, a cabinet or
        a whole entry. Each is refused, the rest is taken; then all are mended."""
        upstream, ticks = self.upstream, {}
        for name, sent in bad.items():
            one = upstream.add(sent if isinstance(sent, str) else software(name), key=(guid(name), 100),
                               cabinet=sent if isinstance(sent, bytes) else None)
            if callable(sent):
                one.entry = functools.partial(sent, one)
            ticks[name] = one.tick
        done = self.sync(code=3)
        ids = {f"{guid(name)}/100" for name in bad}
        self.assertEqual({r["update"] for r in done["refused"]}, ids, done)
        self.assertEqual(self.mirror.status()["documents_digest"], wanted_digest(), "the others are here")
        self.assertFalse({guid(name) for name in bad} & self.shown())
        for id in ids:
            self.assertIn(id[:36], done.outcome.err)
        if not sanitized():
            self.assertLess(done.peak_kib, limit_kib)
        # Mended: the anchors did not move past them.
        for name, tick in ticks.items():
            upstream.remove(guid(name))
            upstream.add(software(name)).tick = tick
        done = self.sync()
        self.assertEqual(done["refused"], [])
        self.assertEqual(done["new_revisions"], len(bad))
        self.assertLessEqual({guid(name) for name in bad}, self.shown())

    def shown(self):
        return {row["guid"] for row in self.mirror.rows("update", "list")}

    def test_the_identity_of_another(self):
        revision = software("revision").replace('RevisionNumber="100"', 'RevisionNumber="99"', 1)
        self.offers({"update": software("somebody else"), "revision": revision})

    def test_texts_that_are_no_documents(self):
        bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
        self.offers({
            "empty": " ", "html": "<html><body>hello</body></html>", "cut": software("cut")[:900],
            "twice": software("twice") * 2,
            "doctype": '<!DOCTYPE x SYSTEM "http://evil.example/x.dtd">' + software("doctype"),
            "entities": f'<!DOCTYPE x [<!ENTITY e0 "ha">{bomb}]>'
                        + software("entities").replace("<upd:Title>", "<upd:Title>&e11;"),
            "external": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
                        + software("external").replace("<upd:Title>", "<upd:Title>&e;"),
            "deep": software("deep", installed="<lar:And>" * 30_000 + "</lar:And>" * 30_000),
            "namespace": software("namespace").replace('msus/2002/12/Update"', 'msus/2002/13/Update"'),
            "attributes": software("attributes").replace("<upd:Update ", "<upd:Update " + " ".join(
                f'a{i}="{i}"' for i in range(20_000)) + " ", 1)})

    def test_cabinets_that_are_none(self):
        def utf16(name):
            return software(name).encode("utf-16-le")

        flipped = bytearray(cabinets.mszip_cabinet(utf16("flipped")))
        flipped[-20] ^= 0x40
        whole, text = cabinets.lzx_cabinet(utf16("cut")), utf16("size")
        self.offers({
            "garbage": b"\x00" * 500, "html": b"<html>proxy</html>", "cut": whole[:len(whole) // 2],
            "head": whole[:40], "flipped": bytes(flipped),
            "utf8": cabinets.lzx_cabinet(software("utf8").encode()),
            "odd": cabinets.lzx_cabinet(utf16("odd") + b"x"),
            "surrogate": cabinets.lzx_cabinet(text[:800] + b"\x00\xd8" + text[800:]),
            "size": cabinets.lzx_cabinet(text, size=len(text) - 100),
            "larger": cabinets.lzx_cabinet(text, size=len(text) + 100),
            "name": cabinets.lzx_cabinet(utf16("name"), name="../../blob")})

    def test_a_cabinet_that_unpacks_to_a_gigabyte(self):
        self.mirror.configure(import__max_document_bytes=16 << 20)
        self.offers({"bomb": cabinets.bomb(1 << 30)})

    def test_neither_text_nor_cabinet_and_both(self):
        def neither(one):
            return re.sub("<XmlUpdateBlob>.*</XmlUpdateBlob>", "", type(one).entry(one), flags=re.S)

        def both(one):
            cab = base64.b64encode(cabinets.metadata_cabinet(one.text)).decode()
            return type(one).entry(one).replace("</ServerSyncUpdateData>", f"<XmlUpdateBlobCompressed>{cab}"
                                                "</XmlUpdateBlobCompressed></ServerSyncUpdateData>")

        self.offers({"neither": neither, "both": both})

    def test_the_same_revision_with_another_text_changes_nothing(self):
        self.sync()
        before = self.mirror.state()
        for key, one in list(self.upstream.documents.items()):
            late = self.upstream.add(one.text.replace("<upd:Title>", "<upd:Title>Changed "), key=key)
            late.cabinet = None
        self.sync("--full")
        self.sync()
        self.assert_unchanged(before)


class LargeDocumentTest(SyncCase, unittest.TestCase):
    def test_a_large_document_in_bounded_memory(self):
        size = int(os.environ.get("GAPFERRY_DOCUMENT_MB", "8"))
        rules = "<lar:And>" + "<lar:Not><lar:False /></lar:Not>" * (size * 32_000) + "</lar:And>"
        text = software("large", installed=rules)
        self.upstream.add(text, cabinet=cabinets.mszip_cabinet(text.encode("utf-16-le")))
        done = self.sync()
        self.assertEqual(done["refused"], [], done)
        self.assertIn(guid("large"), {row["guid"] for row in self.mirror.rows("update", "list")})
        if not sanitized():
            self.assertLess(done.peak_kib, 120_000)


class KeysTest(SyncCase, unittest.TestCase):
    """GetUpdateDecryptionData: only for updates that need it, and never in anything people read."""

    def fill(self):
        super().fill()
        data = b"encrypted" * 100
        self.sha1 = base64.b64encode(hashlib.sha1(data).digest()).decode()
        self.key = hashlib.sha256(b"key").digest()
        self.upstream.keys[self.sha1] = self.key
        self.upstream.add(software("secret", files=[("secret.cab", data)], secured="FileDecryption",
                                   encrypted=True))

    def test_keys_are_fetched_once_and_not_shown(self):
        done = self.sync("--metadata-only", "-v")
        self.assert_calls(GetUpdateDecryptionData=1)
        asked = [r.text for r in self.upstream.requests if r.operation == "GetUpdateDecryptionData"]
        self.assertEqual(len(re.findall(r"<(?:\w+:)?UpdateID>", asked[0])), 1)
        said = done.outcome.out + done.outcome.err + str(self.mirror.run("log"))
        for spelling in (base64.b64encode(self.key).decode(), self.key.hex(), self.key.hex().upper()):
            self.assertNotIn(spelling, said)
        self.upstream.calm()
        self.sync("--metadata-only")
        self.assert_calls(GetUpdateDecryptionData=0)

    def test_a_server_without_keys_does_not_stop_the_sync(self):
        self.upstream.keys.clear()
        self.sync("--metadata-only")
        self.assertIn(guid("secret"), {row["guid"] for row in self.mirror.rows("update", "list")})


class MicrosoftTest(SyncCase, unittest.TestCase):
    """Microsoft's own service: version 1.21, other order, no content service, cookies of one hour."""

    kind = "mu"

    def test_everything_comes_and_content_from_its_addresses(self):
        self.mirror.configure(content__download="all")
        done = self.sync()
        self.assertEqual(done["upstream_version"], "1.21")
        self.assertEqual(done["content"]["fetched_files"], 4)
        self.assert_complete()
        paths = {r.path for r in self.upstream.requests if r.operation == "content"}
        self.assertTrue(all(re.match(r"/d/msdownload/update/file_[0-9a-f]{40}\.cab$", p) for p in paths), paths)
        self.assert_calls(DownloadFiles=0)

    def test_a_missing_file_is_not_asked_of_a_service_that_has_none(self):
        self.mirror.configure(content__download="all")
        self.upstream.content.popitem()
        done = self.sync(code=3)
        self.assert_calls(DownloadFiles=0)
        self.assertEqual(done["content"]["fetched_files"], 3)

    def test_its_anchors_are_opaque_too(self):
        self.sync()
        self.upstream.add(software("new"))
        self.upstream.calm()
        self.assertEqual(self.sync()["new_revisions"], 1)


if __name__ == "__main__":
    unittest.main()
