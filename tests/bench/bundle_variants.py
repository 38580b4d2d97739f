"""More about bundles: sealed and with repair files, several volumes, documents alone, many approvals,
disk space while a command runs, and how long others wait for the catalogue's write lock."""
import json
import os
import shutil
import sqlite3
import threading
import time

from bundles import catch_up, content_bundle
from measure import Row, in_turn, result, run
from mirrors import approve_everything, content_pair
from references import warm
from registry import workload

FORMS = {"sealed": ["--encrypt"], "with 5 % repair files": ["--parity", "5"]}
RUNS = 3


class Sampled:
    """Calls `look` every few milliseconds while the block runs and keeps the largest answer."""

    def __init__(self, look, pause=0.01):
        self.look, self.pause, self.largest, self.failure = look, pause, 0, None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        try:
            while not self.done.is_set():
                self.largest = max(self.largest, self.look())
                time.sleep(self.pause)
        except Exception as error:  # a figure of a look that failed would be too good
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
        if self.failure:
            raise self.failure


def disk_bytes(*folders):
    """What the files below take on the disk; one that has several names counts once."""
    seen, total = set(), 0
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                try:
                    status = os.lstat(os.path.join(path, name))
                except FileNotFoundError:
                    continue
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total


class LockWaits(Sampled):
    """Takes the catalogue's write lock again and again, as everybody does who changes a decision or
    registers: the longest time it takes to get it. Asks every millisecond, so that what is measured
    is the wait and not the pause between two attempts."""

    def __init__(self, mirror):
        super().__init__(self._wait, pause=0.005)
        self.path = mirror / "catalog.db"
        self.local = threading.local()

    def _wait(self):
        if not hasattr(self.local, "db"):
            self.local.db = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        began = time.monotonic()
        while True:
            try:
                self.local.db.execute("BEGIN IMMEDIATE")
                waited = time.monotonic() - began
                self.local.db.execute("ROLLBACK")
                return waited
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                time.sleep(0.001)


def export_again(world, source, site, to, *options):
    shutil.rmtree(to, ignore_errors=True)
    return world.export(source, site, to, "--full", *options)


@workload("bundle-forms", "export, verify and import of a sealed bundle and one with repair files")
def bundle_forms(world, repeats):
    source, site = content_pair(world)
    plain = content_bundle(world)
    warm(source / "content")
    repeats = min(repeats, RUNS)
    to = world.path / "form-runs"
    rows = []

    def imported(bundle):
        fresh = world.copy(site, "form-import")
        sample = world.run(fresh, "import", bundle, "--yes")
        shutil.rmtree(fresh)
        return sample

    for form, options in FORMS.items():
        pair = in_turn(repeats, lambda _: export_again(world, source, site.name, to, *options)[0],
                       lambda _: export_again(world, source, site.name, to)[0])
        rows.append(Row.timed(f"export, {form}", *pair, against="the same without"))
        _, bundle = export_again(world, source, site.name, to, *options)
        for path in (bundle, plain):
            warm(path)
        pair = in_turn(repeats, lambda _: run(world.gapferry, "verify", bundle, "--mirror", site, "--json"),
                       lambda _: run(world.gapferry, "verify", plain, "--mirror", site, "--json"))
        rows.append(Row.timed(f"verify, {form}", *pair, against="the same without"))
        pair = in_turn(repeats, lambda _: imported(bundle), lambda _: imported(plain))
        rows.append(Row.timed(f"import, {form}", *pair, against="the same without"))
    shutil.rmtree(to, ignore_errors=True)
    return rows


@workload("volumes", "all sums of a bundle in many volumes")
def volumes(world, repeats):
    source, site = content_pair(world)
    to = world.path / "volume-runs"
    _, bundle = export_again(world, source, site.name, to, "--volume-size", str(64 << 20))
    warm(bundle)
    count = len(list(bundle.glob("volume-*.tar")))
    pair = in_turn(repeats, lambda _: run(world.gapferry, "verify", bundle, "--mirror", site, "--json"),
                   lambda _: run("sha256sum", "--quiet", "-c", "SHA256SUMS", cwd=bundle))
    shutil.rmtree(to)
    return [Row.timed(f"verify a bundle of {count} volumes", *pair, goal=0.6, against="sha256sum -c")]


@workload("documents", "a full bundle of documents alone: export, import --dry-run and import")
def documents(world, _):
    """One run of each: they take long and are steady."""
    mirror = world.mirror(world.large)
    source = world.copy(mirror, "documents-source")
    site = world.init("documents-site", "--gap")
    world.introduce(source, site)
    to = world.path / "documents-out"
    exported, bundle = export_again(world, source, site.name, to)
    planned = world.run(site, "import", bundle, "--dry-run")
    with LockWaits(site) as waits:
        taken = world.run(site, "import", bundle, "--yes")
    count = result(taken)["documents"]
    size = sum(f.stat().st_size for f in bundle.iterdir()) / 2**20
    for folder in (source, site, to):
        shutil.rmtree(folder)
    rows = []
    for name, sample in (("export", exported), ("import --dry-run", planned), ("import", taken)):
        rows.append(Row(f"{name} of {count:,} documents", "1/s", ours=count / sample.seconds, cpu=sample.cpu,
                        peak=sample.peak, samples=[count / sample.seconds],
                        note=f"{size:.0f} MiB; {1e6 * sample.cpu / count:.0f} us of processor for each; peak "
                             "memory counts pages of the database file"))
    rows.append(Row("longest wait for the write lock while documents are imported", "s", ours=waits.largest,
                    goal=0.25))
    return rows


APPROVALS = 20_000


def approve_much(world, source):
    """APPROVALS of them, for as many groups as that takes."""
    count, groups = 0, 0
    while count < APPROVALS:
        groups += 1
        world.run(source, "group", "add", f"Group {groups}")
        count += approve_everything(world, source, world.small, at_most=APPROVALS - count,
                                    group=f"Group {groups}")
    return count


@workload("approvals", "an import that brings 20,000 approvals: what others wait meanwhile")
def approvals(world, _):
    source = world.copy(world.mirror(world.small), "approvals-source")
    site = world.init("approvals-site", "--gap")
    settings = site / "gapferry.yaml"
    # One that decides by itself, so that something can be approved there.
    settings.write_text(settings.read_text().replace("replica: true", "replica: false"))
    to = world.path / "approvals-out"
    catch_up(world, source, site, to)
    count = approve_much(world, source)
    _, bundle = world.export(source, site.name, to)
    listed = json.loads(run(world.catalogue, "ids", "--json", *world.catalogue_of(world.small)).out)
    update = next(r["guid"] for r in listed["revisions"] if r["visible"] and r["newest"] and
                  not r["expired"] and r["kind"] != "driver")
    with LockWaits(site) as waits:
        sample = world.run(site, "import", bundle, "--yes", "--dry-run")
    planned, plan_waits = sample, waits.largest
    again = world.copy(site, "approvals-again")
    with LockWaits(site) as waits:
        sample = world.run(site, "import", bundle, "--yes")
    with Approving(world, again, update) as approving:
        world.run(again, "import", bundle, "--yes")
    for folder in (source, site, again, to):
        shutil.rmtree(folder)
    return [Row.timed(f"import --dry-run of {count:,} approvals", [planned]),
            Row.timed(f"import of {count:,} approvals", [sample]),
            Row.rates(f"longest wait for the write lock, {count:,} approvals", "s", [max(plan_waits, waits.largest)], goal=0.25,
                      note="the plan and the import"),
            Row("longest 'update approve' during another such import", "s", ours=approving.largest,
                note=f"{approving.count} were made")]


class Approving(Sampled):
    """`gapferry update approve` and `unapprove` in a loop while the block runs; the longest of them."""

    def __init__(self, world, mirror, update):
        super().__init__(self._change, pause=0)
        self.world, self.mirror, self.update, self.count = world, mirror, update, 0

    def _change(self):
        words = (["unapprove", self.update] if self.count % 2 else
                 ["approve", self.update, "--group", "All Computers", "--accept-eula"])
        began = time.monotonic()
        self.world.run(self.mirror, "update", *words)
        self.count += 1
        return time.monotonic() - began


@workload("space", "disk space that export and import take while they run")
def space(world, _):
    source, site = content_pair(world)
    to = world.path / "space-out"
    to.mkdir(exist_ok=True)
    rows = []
    for form, options in {"plain": [], **FORMS}.items():
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        before = disk_bytes(source, to)
        with Sampled(lambda: disk_bytes(source, to)) as used:
            _, bundle = world.export(source, site.name, to, "--full", *options)
        own = disk_bytes(bundle)
        rows.append(extra(f"export, {form}", used.largest - before, own, "the bundle"))
        fresh = world.copy(site, "space-import")
        before = disk_bytes(fresh)
        with Sampled(lambda: disk_bytes(fresh)) as used:
            world.run(fresh, "import", bundle, "--yes")
        rows.append(extra(f"import, {form}", used.largest - before, own, "the bundle"))
        shutil.rmtree(fresh)
    shutil.rmtree(to)
    return rows


def extra(what, peak, own, against):
    return Row(f"disk space taken by {what}", "bytes", ours=peak, reference=own, goal=1.1,
               against=f"the size of {against}", samples=[peak], reference_samples=[own])
