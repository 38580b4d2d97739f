"""Damaged bundles: found block by block, mended from parity, asked for again, refused when nothing helps.

One connected mirror with a file of some megabytes and its site; the bundles are written once, each test
damages copies of them and imports into copies of the site.
"""
import hashlib
import json
import os
import pathlib
import random
import shutil
import unittest

import small_catalogue as small
from harness import BUILD, World, gapferry
from wsus import WsusServer, document

BLOCK = 65536
BAD_SECTORS = BUILD / "tests/bad_sectors.so"


def blocks_of(runs):
    return [block for first, count in runs for block in range(first, first + count)]


class DamageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        with WsusServer() as upstream:
            small.fill(upstream)
            data = random.Random(5).randbytes(6_300_000)
            upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
            upstream.add(document(small.guid("large"), 100, "Software", title="Large", explicitly=True,
                                  prerequisites=[small.PRODUCT, small.CLASSIFICATION],
                                  installed="<lar:False />", files=[("large.exe", data)]))
            cls.large = hashlib.sha1(data).hexdigest().upper()
            cls.hub = small.connected(cls.world, upstream, "hub")
            cls.hub.run("update", "approve", small.guid("large"), "--group", "Office")
        cls.site = small.join(cls.world, cls.hub)
        cls.hubs, bundles = {}, []
        for kind, words in (("plain", ["--volume-size", "4194304"]), ("mending", ["--parity", "5"]),
                            ("sealed", ["--encrypt"])):
            cls.hubs[kind] = cls.world.copy(cls.hub, "hub-" + kind)
            result = cls.hubs[kind].run("export", "--for", "site", "--to", cls.world.directory(kind), *words)
            bundles.append(pathlib.Path(result["bundle"]))
        cls.plain, cls.mending, cls.sealed = bundles
        state = cls.hub.state()
        cls.digests = state["documents_digest"], state["content_digest"]

    def setUp(self):
        self.folder = self.world.directory(self.id().split(".")[-1])

    # ---- Tools -----------------------------------------------------------------------------------

    def copied(self, bundle):
        path = self.folder / bundle.parent.name / bundle.name
        shutil.copytree(bundle, path)
        return path

    def copied_site(self):
        self.copies = getattr(self, "copies", 0) + 1
        return self.world.copy(self.site, f"site-{self.copies}-{self.id().split('.')[-1]}")

    def damage(self, path, offset, count=1):
        with open(path, "r+b") as file:
            file.seek(offset)
            bad = bytes(byte ^ 0xFF for byte in file.read(count))
            file.seek(offset)
            file.write(bad)

    def verify(self, bundle, code, *words, **options):
        done = self.site.try_run("verify", bundle, *words, **options)
        self.assertEqual(done.code, code, done)
        return done.objects()[0]

    def imports_as_a_sound_one(self, bundle, *words, **options):
        """What a damaged bundle leads to is what a sound one leads to. Returns the result."""
        site = self.copied_site()
        result = site.run("import", bundle, *words, **options)
        self.assertEqual(result["already_imported"], False)
        state = site.state()
        self.assertEqual((state["documents_digest"], state["content_digest"]), self.digests)
        return result

    def refused(self, site, bundle, *parts):
        before = site.state()
        error = site.refuse(20, "import", bundle)
        self.assertEqual(site.state(), before)
        for part in parts:
            self.assertIn(part, error["message"])
        return error

    # ---- Parity ----------------------------------------------------------------------------------

    def test_a_run_of_four_percent_and_a_damaged_repair_file_are_mended(self):
        bundle = self.copied(self.mending)
        volume = bundle / "volume-0001.tar"
        run = volume.stat().st_size * 4 // 100
        self.damage(volume, 1_000_001, run)
        self.damage(bundle / "repair-0001", 5, 1)
        self.damage(bundle / "SHA256SUMS", 7, 1)
        found = self.verify(bundle, 3)
        expected = list(range(1_000_001 // BLOCK, (1_000_000 + run) // BLOCK + 1))
        [damage] = found["damaged_volumes"]
        self.assertEqual(blocks_of(damage["bad_runs"]), expected)
        self.assertEqual((damage["lost"], damage["from_parity"], damage["bad_repair_blocks"]),
                         (0, len(expected), 1))
        self.assertEqual((found["verified"], found["damaged"], found["mended_files"]),
                         (True, True, ["SHA256SUMS"]))
        text = gapferry("verify", bundle, "--mirror", self.site.path).out
        self.assertIn(f"volume 1: {len(expected)} of {damage['blocks']} blocks damaged, repaired from parity",
                      text)
        self.assertNotIn("every byte is as it was signed", text)
        result = self.imports_as_a_sound_one(bundle)
        self.assertEqual(blocks_of(result["damaged_volumes"][0]["bad_runs"]), expected)

    def test_a_volume_that_ends_early_is_mended(self):
        bundle = self.copied(self.mending)
        size = (bundle / "volume-0001.tar").stat().st_size
        os.truncate(bundle / "volume-0001.tar", size - size * 4 // 100)
        [damage] = self.verify(bundle, 3)["damaged_volumes"]
        self.assertEqual(blocks_of(damage["bad_runs"])[-1], damage["blocks"] - 1)
        self.imports_as_a_sound_one(bundle)

    def test_a_scratch_that_cannot_be_read_is_mended(self):
        bundle = self.copied(self.mending)
        env = {"LD_PRELOAD": str(BAD_SECTORS),
               "GAPFERRY_BAD_SECTORS": f"volume-0001.tar:{30 * BLOCK + 9}:{33 * BLOCK}"}
        [damage] = self.verify(bundle, 3, env=env)["damaged_volumes"]
        self.assertEqual(blocks_of(damage["bad_runs"]), [30, 31, 32])
        self.imports_as_a_sound_one(bundle, env=env)

    def test_small_files_are_taken_from_their_copies(self):
        bundle = self.copied(self.mending)
        (bundle / "index.jsonl.zst").unlink()
        self.damage(bundle / "blocks-0001", 0, 50)
        (bundle / "README.txt").write_text("")
        found = self.verify(bundle, 3)
        self.assertEqual(found["mended_files"], ["README.txt", "blocks-0001", "index.jsonl.zst"])
        self.imports_as_a_sound_one(bundle)

    def test_too_much_damage_is_refused_and_the_next_return_asks_for_the_blocks(self):
        bundle = self.copied(self.mending)
        self.damage(bundle / "volume-0001.tar", 20 * BLOCK, 30 * BLOCK)
        self.damage(bundle / "volume-0001.tar", 80 * BLOCK, 1)
        lost = [*range(20, 50), 80]
        site = self.copied_site()
        error = self.refused(site, bundle, "object 'content/", "in volume-0001.tar at offset",
                             "blocks of its stripe are lost and", "repair blocks are left")
        self.assertIn("repair-request", error["next"])
        found = self.verify(bundle, 20)
        self.assertEqual(blocks_of(found["damaged_volumes"][0]["lost_runs"]), lost)
        self.assertEqual(found["verified"], False)
        self.assertEqual(found["damaged_objects_count"], len(found["damaged_objects"]))
        self.assertIn(f"content/{self.large[-2:]}/{self.large}.exe", [o["name"] for o in found["damaged_objects"]])
        self.assertEqual(found["good_bytes"],
                         found["bytes"] - sum(o["size"] for o in found["damaged_objects"]))

        written = site.run("export", "--return", "--to", self.folder, "--yes")
        rows = [json.loads(line) for line in pathlib.Path(written["return"]).read_text().splitlines()]
        asked = [row for row in rows if row.get("record") == "block"]
        self.assertEqual([(r["stream"], r["sequence"], r["volume"], r["block"], r["count"]) for r in asked],
                         [("site", 1, 1, 20, 30), ("site", 1, 1, 80, 1)])
        hub = self.hubs["mending"]
        hub.run("import", written["return"])
        [notice] = [n for n in hub.status()["notices"] if n["reason"] == "repair-asked"]
        self.assertIn("could not read 31 blocks of bundle 1", notice["message"])
        command = f"gapferry export --repair-asked --for site --to DIR --mirror {hub.path}"
        self.assertEqual(notice["next"], command)
        self.assertIn(command, hub.try_run("export", "--for", "site", "--to", self.world.directory("more")).err)
        repair = hub.run("export", "--repair-asked", "--for", "site", "--to", self.folder)
        self.assertEqual((repair["blocks"], repair["files"]), (31, 0))
        self.assertEqual(self.verify(bundle, 3, "--repair", repair["repair"])["damaged_volumes"][0]["from_repair"], 31)
        site.run("import", bundle, "--repair", repair["repair"])
        after = site.run("export", "--return", "--to", self.folder, "--yes")
        self.assertNotIn('"block"', pathlib.Path(after["return"]).read_text())

    # ---- Copies ----------------------------------------------------------------------------------

    def test_two_damaged_copies_of_a_bundle_make_a_sound_one(self):
        first = self.copied(self.plain)
        second = self.folder / "second" / first.name
        shutil.copytree(first, second)
        self.damage(first / "volume-0001.tar", 700_000, 3 * BLOCK)
        self.damage(first / "manifest.json", 100, 1)
        self.damage(second / "volume-0002.tar", 9, 1)
        self.damage(second / "SHA256SUMS", 1, 1)
        self.verify(first, 21)
        self.verify(second, 20)
        for media in (first, second), (second, first):
            found = self.verify(media[0], 3, media[1])
            self.assertEqual((found["verified"], sum(v["lost"] for v in found["damaged_volumes"])), (True, 0))
            # Damage of the copy that was not read is not met.
            self.assertGreaterEqual(sum(v["from_copies"] for v in found["damaged_volumes"]), 1)
            result = self.imports_as_a_sound_one(media[0], media[1])
            self.assertEqual(result["damaged_volumes"], found["damaged_volumes"])
        text = gapferry("verify", first, second, "--mirror", self.site.path).out
        self.assertIn("taken from another copy", text)

    # ---- Repair requests -------------------------------------------------------------------------

    def mended_by_request(self, kind, bundle, blocks, files):
        """Asks, answers, imports. Returns the sender, the request and the repair folder."""
        asked = self.site.run("repair-request", bundle, "--to", self.folder)
        self.assertEqual((asked["blocks"], asked["files"]), (blocks, files))
        hub = self.hubs[kind]
        repair = hub.run("export", "--repair", asked["request"], "--to", self.folder)
        self.assertEqual((repair["blocks"], repair["files"], repair["missing_files"]), (blocks, files, []))
        found = self.verify(bundle, 3, "--repair", repair["repair"])
        self.assertEqual(found["verified"], True)
        self.imports_as_a_sound_one(bundle, "--repair", repair["repair"])
        return hub, asked["request"], pathlib.Path(repair["repair"])

    def test_a_missing_volume_and_small_files_are_asked_for(self):
        bundle = self.copied(self.plain)
        last = (bundle / "volume-0002.tar").stat().st_size
        (bundle / "volume-0002.tar").unlink()
        self.damage(bundle / "volume-0001.tar", 700_000, 1)
        self.damage(bundle / "README.txt", 3, 1)
        found = self.verify(bundle, 20)
        self.assertEqual([v["missing"] for v in found["damaged_volumes"]], [False, True])
        self.assertEqual(list(found["damaged_files"]), ["README.txt"])
        self.mended_by_request("plain", bundle, 1 + -(-last // BLOCK), 1)

    def test_a_damaged_index_is_asked_for(self):
        bundle = self.copied(self.plain)
        self.damage(bundle / "index.jsonl.zst", 30, 4)
        self.damage(bundle / "volume-0001.tar", 9 * BLOCK, 1)
        self.mended_by_request("plain", bundle, 1, 1)

    def test_a_damaged_list_of_sums_is_asked_for(self):
        bundle = self.copied(self.plain)
        self.damage(bundle / "SHA256SUMS", 1, 1)
        self.refused(self.copied_site(), bundle, "SHA256SUMS")
        self.assertEqual(list(self.verify(bundle, 20)["damaged_files"]), ["SHA256SUMS"])
        self.mended_by_request("plain", bundle, 0, 1)

    def test_blocks_of_an_encrypted_bundle_are_made_again(self):
        bundle = self.copied(self.sealed)
        self.damage(bundle / "volume-0001.tar.sealed", 40 * BLOCK + 7, 2 * BLOCK)
        error = self.refused(self.copied_site(), bundle)
        self.assertIn("repair-request", error["next"])
        hub, request, repair = self.mended_by_request("sealed", bundle, 3, 0)
        # The same question has the same answer.
        again = hub.run("export", "--repair", request, "--to", self.world.directory("again"))["repair"]
        for name in ("repair.jsonl", "repair.blocks"):
            self.assertEqual((pathlib.Path(again) / name).read_bytes(), (repair / name).read_bytes())

    def test_a_block_file_that_is_lost_too_costs_the_whole_object(self):
        bundle = self.copied(self.plain)
        (bundle / "blocks-0001").unlink()
        self.damage(bundle / "volume-0001.tar", 2_000_000, 1)
        asked = self.site.run("repair-request", bundle, "--to", self.folder)
        self.assertGreater(asked["blocks"], 1)
        self.assertEqual(asked["files"], 1)

    def test_what_is_asked_for_wrongly_is_refused(self):
        bundle = self.copied(self.plain)
        self.damage(bundle / "volume-0001.tar", 2_000_000, 1)
        sound = self.site.run("repair-request", self.plain, "--to", self.folder)
        self.assertEqual((sound["request"], sound["blocks"]), (None, 0))
        path = pathlib.Path(self.site.run("repair-request", bundle, "--to", self.folder)["request"])
        text = path.read_text()
        good = self.hubs["plain"].run("export", "--repair", path, "--to", self.folder)["repair"]

        def refused(code, changed, *parts):
            path.write_text(changed)
            error = self.hubs["plain"].refuse(code, "export", "--repair", path, "--to", self.folder)
            for part in parts:
                self.assertIn(part, error["message"])
            self.assertTrue(error["next"], error)

        refused(20, text + " ", "line 3")
        refused(20, text.replace('"count":1', '"count":0'), "line 2")
        refused(20, "", "is empty")
        refused(10, text.replace('"sequence":1', '"sequence":77'), "has signed no bundle 77 of 'site'")
        digest = json.loads(text.splitlines()[0])["manifest"]
        refused(21, text.replace(digest, "0" * 64), "has the manifest sha256:" + digest)
        refused(10, text.replace('"volume":1', '"volume":9'), "no volume 9")
        digests = json.loads(text.splitlines()[1])["digests"]
        refused(20, text.replace(digests, "0" * 16), "cannot be made again as it was", "0" * 16, digests)
        other = self.copied(self.mending)
        error = self.site.refuse(21, "verify", other, "--repair", good)
        self.assertIn("this bundle's is sha256:", error["message"])
        self.damage(pathlib.Path(good) / "repair.blocks", 100, 1)
        self.assertEqual(self.verify(bundle, 20, "--repair", good)["damaged_volumes"][0]["lost"], 1)

    def test_content_that_is_gone_is_named(self):
        bundle = self.copied(self.plain)
        self.damage(bundle / "volume-0001.tar", 2_000_000, 1)
        asked = self.site.run("repair-request", bundle, "--to", self.folder)["request"]
        hub = self.world.copy(self.hubs["plain"], "hub-gone")
        for held in hub.path.glob(f"content/**/{self.large}.exe"):
            held.unlink()
        error = hub.refuse(10, "export", "--repair", asked, "--to", self.folder)
        self.assertIn(self.large, error["message"])
        self.assertIn("gapferry export", error["next"])
        self.assertEqual([], [p for p in self.folder.glob("*-repair-*/repair.jsonl")])

    def test_files_that_went_bad_inside_a_site_are_asked_for_by_its_next_return(self):
        site = self.copied_site()
        site.run("import", self.plain)
        [held] = site.path.glob(f"content/**/{self.large}.exe")
        self.damage(held, 3_000_000, 1)
        self.assertIn("drop-damaged", site.refuse(20, "store", "check", "--deep")["next"])
        self.assertIn("export --return",
                      site.refuse(20, "store", "check", "--deep", "--drop-damaged")["next"])
        written = site.run("export", "--return", "--to", self.folder, "--yes")
        rows = [json.loads(line) for line in pathlib.Path(written["return"]).read_text().splitlines()]
        self.assertEqual([(r["record"], r["sha1"].upper()) for r in rows if r.get("record") in ("request", "removed")],
                         [("request", self.large), ("removed", self.large)])

    def test_percentages_that_are_none(self):
        error = self.hub.refuse(2, "export", "--for", "site", "--to", self.folder, "--parity", "101")
        self.assertIn("0 to 100", error["message"])
        hub = self.world.copy(self.hub, "hub-percent")
        hub.configure(export__parity="7")
        result = hub.run("export", "--for", "site", "--to", self.folder, "--full")
        self.assertEqual(result["parity"], 7)
        self.assertEqual(hub.run("export", "--for", "site", "--to", self.world.directory("none"), "--full",
                                 "--parity", "0")["parity"], 0)


if __name__ == "__main__":
    unittest.main()
