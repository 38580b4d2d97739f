"""Bundles on several media: filled one by one, lost, mixed up, read-only, too small, in any order.

One connected mirror with a file that is larger than a volume; each test works on copies of it and of the
site. Media are folders, and where the test may mount them, file systems of their own.
"""
import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import threading
import time
import unittest

import small_catalogue
from harness import KILL_POINTS, World, tree_digest
from wsus import WsusServer, document

MIB = 1 << 20
HUGE, LARGE = 5_000_000, 700_000
NAME = "gapferry-site-000001"
# README.txt, volumes and what lies beside them; manifest and label are on the last one.
MEDIUM = 3 * MIB


def add_file(upstream, title, size):
    data = random.Random(size).randbytes(size)
    upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
    upstream.add(document(small_catalogue.guid(title), 100, "Software", title=title, explicitly=True,
                          prerequisites=[small_catalogue.PRODUCT, small_catalogue.CLASSIFICATION],
                          installed="<lar:False />", files=[(f"{title}.exe", data)]))


def size_of(path):
    """Bytes of all files below `path`, as far as they stay."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total


class Watch:
    """The most bytes that a folder held while the block ran."""

    def __init__(self, path):
        self.path, self.before, self.most = path, size_of(path), 0

    def __enter__(self):
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while not self.ended.is_set():
            self.most = max(self.most, size_of(self.path))
            time.sleep(0.003)

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def grown(self):
        return self.most - self.before


class MediaTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        with WsusServer() as upstream:
            small_catalogue.fill(upstream)
            add_file(upstream, "huge", HUGE)
            add_file(upstream, "large", LARGE)
            cls.near = small_catalogue.connected(cls.world, upstream)
        cls.far = small_catalogue.join(cls.world, cls.near)

    def setUp(self):
        name = self.id().rsplit(".", 1)[-1]
        self.folder = self.world.directory(name)
        self.connected = self.world.copy(self.near, f"{name}/connected-mirror")
        self.site = self.world.copy(self.far, f"{name}/site-mirror")

    def export(self, *to, code=0, more=(), mirror=None):
        words = [w for path in to for w in ("--to", self.world.directory(path))]
        done = (mirror or self.connected).try_run("export", "--for", "site", *words, *more)
        self.assertEqual(done.code, code, done)
        return done.error() if code >= 10 or code == 2 else done.result()

    def three_media(self):
        """Two that are full, and the last one with the manifest."""
        a, b, c = (self.folder / name for name in "abc")
        part = self.export(a, b, code=3, more=("--medium-size", MEDIUM, "--volume-size", MIB))
        self.assertFalse(part["complete"])
        self.assertEqual(part["next"], "gapferry export --for site --to DIR")
        self.assertEqual([m["volumes"] for m in part["media"]], [[1, 2], [3, 4]])
        whole = self.export(c)
        self.assertTrue(whole["complete"] and whole["resumed"])
        self.assertEqual(whole["pending_volumes"], [])
        return a, b, c, whole

    def put_in(self, path, code=3):
        done = self.site.try_run("import", *([path] if isinstance(path, os.PathLike) else path))
        self.assertEqual(done.code, code, done)
        return done.result() if code < 10 else done.error()

    def check_arrived(self):
        near, far = self.connected.state(), self.site.state()
        self.assertEqual(far["state_digest"], near["state_digest"])
        self.assertEqual(far["content_digest"], near["content_digest"])
        self.assertEqual(sorted(os.listdir(self.site.path / "staging")), ["content"])

    # ---- Writing ---------------------------------------------------------------------------------

    def test_media_are_filled_one_by_one_and_accepted_in_any_order(self):
        a, b, c, whole = self.three_media()
        self.assertEqual([m["manifest"] for m in whole["media"]], [False, False, True])
        for medium in (a, b):
            self.assertLessEqual(size_of(medium), MEDIUM)
            self.assertFalse((medium / NAME / "manifest.json").exists())
        self.check_labels(a, c)
        self.check_shown(whole)
        error = self.put_in(a, 10)
        self.assertEqual(error["reason"], "manifest-elsewhere")
        self.assertIn("volume-0001.tar to volume-0002.tar", error["message"])
        before = self.site.state()
        first = self.put_in(c)
        self.assertEqual(first["missing_volumes"], [1, 2, 3, 4])
        self.assertEqual(self.site.state(), before)
        needs = self.site.refuse(10, "import", c, "--dry-run")
        self.assertEqual(needs["reason"], "volumes-missing")
        plan = self.site.run("import", a, "--dry-run")  # the manifest was kept
        self.assertEqual(plan["content_files"], 6)
        self.assertEqual(self.put_in(b)["missing_volumes"], [1, 2])
        # A medium that was read is not needed again, whatever becomes of it.
        for file in (b / NAME).iterdir():
            file.write_bytes(b"other bytes")
        self.assertTrue(self.put_in(a, 0)["complete"])
        self.check_arrived()
        self.assertEqual([j["result"] for j in self.jobs("import")],
                         ["done", "partly", "partly", "failed"])

    def check_labels(self, first, last):
        text = (last / "LABEL-site-000001.txt").read_text()
        for words in ("MEDIUM 3 OF 3", "stream site", "of 6", "and the manifest", "connected",
                      "do not open", "Return address: none", "read this medium first"):
            self.assertIn(words, text)
        self.assertIn("Carries   volumes 1-2 of 6", (first / "LABEL-site-000001.txt").read_text())

    def test_paths_that_tired_people_type(self):
        a = self.folder / "a"
        self.export(a)
        label, folder = a / "LABEL-site-000001.txt", a / NAME
        before = len(self.jobs("import"))
        for mirror, words, code, reason, says in (
                (self.site, ("verify", label), 10, "no-bundle", f"gapferry verify {folder}"),
                (self.site, ("verify", self.folder / "b"), 10, "no-bundle", "name the folder"),
                (self.site, ("import", label), 2, "no-return", f"gapferry import {folder}"),
                (self.site, ("import", folder / "volume-0001.tar"), 2, "no-return", str(folder)),
                (self.site, ("import", self.folder / "b"), 10, "no-bundle", "name the folder"),
                (self.connected, ("import", a), 2, "no-gap", "return-SITE-NUMBER.jsonl")):
            error = mirror.refuse(code, *words)
            self.assertEqual(error["reason"], reason, words)
            self.assertIn(says, error["next"])
        self.assertEqual(len(self.jobs("import")), before)
        # A bundle in a bundle would make the outer one worthless.
        error = self.connected.refuse(2, "export", "--for", "site", "--full", "--to", folder)
        self.assertEqual((error["reason"], error["next"].endswith(f"--to {a}")), ("folder-of-a-bundle", True))
        linked = self.folder / "linked" / NAME
        shutil.copytree(folder, linked)
        (linked / "README.txt").unlink()
        (linked / "README.txt").symlink_to("/etc/passwd")
        error = self.site.refuse(20, "import", linked)
        self.assertEqual(error["reason"], "file-not-regular")
        self.assertIn("plain files only", error["next"])
        self.assertIn("gapferry import PATH", self.site.refuse(2, "sync")["next"])
        self.site.run("verify", a)
        self.site.run("import", a)
        self.site.run("export", "--return", "--to", a, "--yes")
        error = self.site.refuse(2, "import", a / "return-site-000001.jsonl.sig")
        self.assertEqual(error["next"], f"gapferry import {a}/return-site-000001.jsonl")
        error = self.connected.refuse(2, "import", a)
        self.assertEqual(error["next"], f"gapferry import {a}/return-site-000001.jsonl")

    def test_a_medium_that_is_not_there_is_not_made_on_the_disk_below(self):
        stick = self.folder / "stick"
        for mirror, words in ((self.connected, ("export", "--for", "site")),
                              (self.connected, ("export", "--for", "site", "--medium-size", "fat32")),
                              (self.site, ("export", "--return", "--yes")),
                              (self.site, ("repair-request", stick)),
                              (self.connected, ("evidence", "--bundle", "1"))):
            error = mirror.refuse(10, *words, "--to", stick / "deep")
            if words[0] != "evidence":  # there is no bundle yet
                self.assertEqual(error["reason"], "no-folder", words)
                self.assertTrue(error["next"].endswith(f"mkdir -p {stick}/deep"), error)
            self.assertFalse(stick.exists())
        stick.write_text("a file")
        self.assertIn("is no folder", self.connected.refuse(2, "export", "--for", "site", "--to", stick)["message"])
        # Nothing was begun: the number is still the first one.
        self.assertEqual(self.connected.run("export", "--for", "site", "--to", self.folder)["sequence"], 1)

    def test_an_unfinished_bundle_is_not_taken_for_the_next_one(self):
        a = self.world.directory(self.folder / "a")
        (a / NAME).write_text("a file where the bundle's folder is to be")
        self.assertNotEqual(self.connected.try_run("export", "--for", "site", "--to", a).code, 0)
        self.connected.run("group", "add", "Later")
        done = self.connected.try_run("export", "--for", "site", "--to", self.world.directory(self.folder / "b"))
        self.assertEqual(done.code, 0, done)
        self.assertTrue(done.result()["resumed"])
        self.assertIn("is not in it", done.err)

    def check_shown(self, whole):
        shown = self.connected.run("bundle", "show", "site", "1")
        self.assertEqual(shown["state"], "signed")
        self.assertEqual(shown["manifest_sha256"], whole["manifest_sha256"])
        self.assertEqual([[v["volume"] for v in m["volumes"]] for m in shown["media"]],
                         [[1, 2], [3, 4], [5, 6]])
        volume = pathlib.Path(shown["media"][0]["path"]) / NAME / "volume-0001.tar"
        self.assertEqual(shown["media"][0]["volumes"][0]["sha256"],
                         hashlib.sha256(volume.read_bytes()).hexdigest())
        self.assertEqual(shown["receipts"], [{"site": "site", "acknowledged": False}])
        self.assertTrue(all(m["read_back"].startswith("read ") for m in shown["media"]))
        self.assertIn(whole["read_back"], ("direct", "dropped"))
        audit = [r for r in self.connected.rows("log", "--json") if r.get("action") == "export"]
        self.assertIn("read_back", str(audit))

    def jobs(self, kind):
        return [row for row in self.site.rows("log", "--jobs") if row.get("kind") == kind]

    def test_a_lost_medium_is_written_again(self):
        a, b, c, whole = self.three_media()
        wanted = tree_digest(a / NAME)
        manifest = (c / NAME / "manifest.json").read_bytes()
        shutil.rmtree(a)
        error = self.connected.refuse(10, "export", "--for", "site", "--to", self.world.directory(a), "--again", "9")
        self.assertEqual(error["reason"], "medium-unknown")
        again = self.export(self.folder / "d", more=("--again", 1))
        self.assertEqual(again["manifest_sha256"], whole["manifest_sha256"])
        self.assertEqual([(m["medium"], m["volumes"]) for m in again["media"]],
                         [(2, [3, 4]), (3, [5, 6]), (4, [1, 2])])
        new = self.folder / "d" / NAME
        self.assertEqual((new / "manifest.json").read_bytes(), manifest)
        for file in ("manifest.json", "manifest.json.sig", "SHA256SUMS", "index.jsonl.zst"):
            (new / file).unlink()
        self.assertEqual(tree_digest(new), wanted)
        # A medium is known by what lies on it: another one at the same place is another one.
        shutil.rmtree(b)
        self.export(b, more=("--again", 2))
        self.put_in([c, self.folder / "d", b], 0)
        self.check_arrived()

    def test_folders_for_discs(self):
        whole = self.export(self.folder / "burn", more=("--medium-size", 4 * MIB))
        names = sorted(p.name for p in (self.folder / "burn").iterdir())
        self.assertEqual(names, [f"medium-{i + 1}" for i in range(len(whole["media"]))])
        self.assertGreater(len(names), 1)
        for name in names:
            self.assertLessEqual(size_of(self.folder / "burn" / name), 4 * MIB)
        self.put_in([self.folder / "burn" / name for name in reversed(names)], 0)
        self.check_arrived()

    def test_a_file_system_with_small_files(self):
        """As FAT: no file above a limit, which is noticed before anything is written."""
        self.connected.prefix = ("prlimit", "--fsize=5000000")
        error = self.export(self.folder / "fat", code=2)
        self.assertEqual(error["reason"], "file-too-large-for-medium")
        self.assertIn("--volume-size fat32", error["next"])
        self.assertEqual(size_of(self.folder / "fat"), 0)
        # Nothing of it lies anywhere: it may be asked for with other options.
        done = self.export(self.folder / "fat", more=("--volume-size", 4 * MIB))
        self.assertEqual((done["sequence"], done["volumes"]), (2, 2))
        self.assertEqual([b["state"] for b in self.connected.rows("bundle", "list")],
                         ["void", "signed"])
        self.put_in(self.folder / "fat", 0)
        self.check_arrived()

    def mount(self, name, *words):
        path = self.world.directory(f"{self.folder.name}/{name}")
        done = subprocess.run(["mount", *map(str, words), str(path)], capture_output=True)
        if done.returncode != 0:
            self.skipTest("needs to mount")
        self.addCleanup(subprocess.run, ["umount", "-l", str(path)])
        return path

    def test_full_and_read_only_media(self):
        small = self.mount("small", "-t", "tmpfs", "-o", "size=3m", "none")
        error = self.export(small, code=30)
        self.assertEqual(error["reason"], "medium-too-small")
        self.assertRegex(error["message"], r"volume-0001.tar needs 6\.\d MiB .* has [23]\.\d MiB left")
        part = self.export(small, code=3, more=("--volume-size", MIB))
        self.assertEqual(part["pending_volumes"], [3, 4, 5, 6])
        self.export(self.folder / "rest")
        error = self.export(self.mount("locked", "-t", "tmpfs", "-o", "ro", "none"), code=1,
                            more=("--full", "--again", 1))
        self.assertIn("ead-only", error["message"])
        self.assertIn("gapferry export --for site --to DIR", error["next"])
        locked = self.mount("view", "--bind", small)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(locked)], check=True)
        with self.assertRaises(OSError):
            (locked / "x").write_text("")
        self.put_in([locked, self.folder / "rest"], 0)
        self.check_arrived()

    # ---- Reading ---------------------------------------------------------------------------------

    def test_what_else_lies_on_a_medium(self):
        stick = self.folder / "stick"
        self.export(stick)
        self.export(stick, more=("--full", "--volume-size", MIB))  # the same again, cut otherwise
        self.assertEqual(len(list(stick.glob("gapferry-site-*/"))), 2)
        for name in ("System Volume Information", ".Trashes", "gapferry-old-000003", "photos"):
            (stick / name).mkdir()
            (stick / name / "x.txt").write_text("not ours")
        (stick / "._gapferry").write_text("not ours")
        bundle = stick / NAME
        for name in (".DS_Store", "._volume-0001.tar", "Thumbs.db", "desktop.ini"):
            (bundle / name).write_text("not ours")
        error = self.site.refuse(10, "import", stick / "photos")
        self.assertEqual(error["reason"], "no-bundle")
        (bundle / "evil.txt").write_text("not ours")
        error = self.site.refuse(20, "import", bundle)
        self.assertEqual(error["reason"], "file-unlisted")
        (bundle / "evil.txt").unlink()
        done = self.site.try_run("import", stick)
        self.assertEqual(done.result()["bundle"], NAME, done)
        self.assertIn("gapferry-site-000002", done.err)
        self.check_arrived()
        self.assertEqual(self.put_in(stick, 0)["bundle"], "gapferry-site-000002")
        self.assertTrue(self.put_in(stick, 0)["already_imported"])

    def test_mixed_media(self):
        """Volumes of another bundle never complete one, nor do its small files."""
        a, b, c, _ = self.three_media()
        other = self.folder / "other"
        self.connected.run("bundle", "abandon", "site", "1", "--yes")
        self.export(other, more=("--volume-size", MIB))
        self.assertEqual(self.put_in(c)["missing_volumes"], [1, 2, 3, 4])
        shutil.copytree(other / "gapferry-site-000002", self.folder / "wrong" / NAME)
        (self.folder / "wrong" / NAME / "manifest.json").unlink()
        self.assertEqual(self.put_in(self.folder / "wrong", 10)["reason"], "manifest-elsewhere")
        # One that claims to belong: README of this bundle, volumes of none.
        shutil.copy(c / NAME / "README.txt", self.folder / "wrong" / NAME)
        volume = self.folder / "wrong" / NAME / "volume-0001.tar"
        volume.write_bytes(bytes(volume.stat().st_size))
        before = self.site.state()
        self.assertIn(self.site.try_run("import", self.folder / "wrong").code, (20,))
        self.assertEqual(self.site.state(), before)
        # The refusal took what was staged with it; the right media still do.
        self.put_in([c, b, a], 0)
        self.check_arrived()

    def test_one_copy_of_the_data(self):
        data = HUGE + LARGE
        with Watch(self.connected.path) as near, Watch(self.folder / "m") as medium:
            self.export(self.folder / "m", more=("--volume-size", MIB))
        self.assertLess(near.grown(), 0.1 * data + MIB)  # plan and journal
        self.assertLess(medium.most, 1.1 * data + MIB)
        with Watch(self.site.path) as far:
            self.put_in(self.folder / "m", 0)
        self.check_arrived()
        # Rows and logs of a small database are all that comes beside the files themselves.
        self.assertLess(far.grown(), 1.1 * data + 3 * MIB)

    def test_killed_between_media(self):
        a, b, c, _ = self.three_media()
        start = self.site
        for point, how in ((40, "eio"), (70, "torn"), (100, "kill")):
            self.site = self.world.copy(start, f"{self.folder.name}/site-{point}")
            faulty = {"LD_PRELOAD": str(KILL_POINTS), "GAPFERRY_KILL_AT": str(point),
                      "GAPFERRY_KILL_HOW": how}
            for medium in (c, a, b, c, a):
                done = self.site.try_run("import", medium, env=faulty)
                if done.code not in (0, 3):
                    done = self.site.try_run("import", medium)
                self.assertIn(done.code, (0, 3), done)
                if done.code == 0:
                    break
            self.check_arrived()


if __name__ == "__main__":
    unittest.main()
