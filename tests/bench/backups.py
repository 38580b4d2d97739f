"""Export and import beside programs that people use to carry files: restic, borg, tar with zstd, cp.
All of them get the content that the bundle carries, from the page cache, on the same disk, with their
cheapest settings (content is compressed already), and end with a sync. Our export also reads everything
back from the medium, so goals are set where restic and borg do that, too."""
import os
import shutil

from bundles import carried_files, content_bundle
from machine import find
from measure import Missing, Row, Sample, run, shell
from mirrors import content_pair
from references import DROP, warm
from registry import workload

RUNS = 3  # the copies of gigabytes: enough to see the spread


class Repositories:
    """restic and borg with a repository each below `base`, their caches too. restic always encrypts,
    hence the password; borg is told not to."""

    def __init__(self, base):
        self.base = base
        self.environment = {
            "RESTIC_REPOSITORY": str(base / "restic"), "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(base / "restic-cache"), "BORG_REPO": str(base / "borg"),
            "BORG_BASE_DIR": str(base / "borg-base"), "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    def fresh(self, program):
        for path in self.base.glob(f"{program}*"):
            shutil.rmtree(path)
        self.base.mkdir(exist_ok=True)
        if program == "restic":
            run("restic", "init", "--quiet", env=self.environment)
        else:
            run("borg", "init", "--encryption=none", env=self.environment)

    def restic_backup(self, source, listing):
        self.fresh("restic")
        return shell(f'restic backup --quiet --compression off --files-from-verbatim "{listing}"\n'
                     f'sync -f "{self.base}"', cwd=source, env=self.environment)

    def borg_create(self, source, listing):
        self.fresh("borg")
        return shell(f'borg create --compression none --paths-from-stdin ::content < "{listing}"\n'
                     f'sync -f "{self.base}"', cwd=source, env=self.environment)

    def check(self, program):
        """Reads the repository back from the medium and verifies all data."""
        words = {"restic": "restic check --quiet --no-cache --read-data", "borg": "borg check --verify-data"}
        return shell(DROP + f'find "{self.base / program}" -type f > "{self.base}/files"\n'
                     f'while read -r f; do drop "$f"; done < "{self.base}/files"\n{words[program]}',
                     env=self.environment)

    def restic_restore(self, target):
        return shell(f'restic restore latest --quiet --verify --target "{target}"\nsync -f "{target}"',
                     env=self.environment)

    def borg_extract(self, target):
        return shell(f'borg extract ::content\nsync -f "{target}"', cwd=target, env=self.environment)


def available(*programs):
    here = [program for program in programs if find(program)]
    if not here:
        raise Missing(f"{' and '.join(programs)} are not installed (scripts/packages --install bench)")
    return here


def size_of(directory):
    """Bytes on the disk."""
    return sum(os.lstat(os.path.join(at, name)).st_blocks * 512
               for at, _, names in os.walk(directory) for name in names)


def emptied(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def rounds(world, repeats, duties):
    """All duties in turn; with little content after one round to warm up, with much of it the sources'
    being in the page cache has to do. Samples by the duty's name."""
    samples = {name: [] for name in duties}
    for number in range(0 if world.quick else 1, min(repeats, RUNS) + 1):
        for name, duty in duties.items():
            sample = duty()
            if number:
                samples[name].append(sample)
    return samples


@workload("backup", "that full bundle again, beside restic, borg, tar with zstd, and cp of the same content")
def backup(world, repeats):
    source, site = content_pair(world)
    listing = carried_files(world)
    here = available("restic", "borg", "zstd")
    warm(source / "content")
    kept, to = Repositories(world.path / "repositories"), world.path / "backup-export"
    copies = world.path / "backup-copies"

    def ours():
        return world.export(source, site.name, emptied(to), "--full")[0]

    def zstd():
        target = emptied(copies) / "content.tar.zst"
        return shell(f'tar -cf - -T "{listing}" | zstd -q -1 -T0 -o "{target}"\nsync -f "{target}"', cwd=source)

    def cp():
        emptied(copies)
        return shell(f'xargs -d "\\n" cp --parents -t "{copies}" < "{listing}"\nsync -f "{copies}"', cwd=source)

    duties = {"ours": ours, "restic": lambda: kept.restic_backup(source, listing),
              "restic check": lambda: kept.check("restic"),
              "borg": lambda: kept.borg_create(source, listing), "borg check": lambda: kept.check("borg"),
              "zstd": zstd, "cp": cp}
    samples = rounds(world, repeats, {name: duty for name, duty in duties.items()
                                      if name in ("ours", "cp") or name.split()[0] in here})
    stored = {name: size_of(path) / 2**20 for name, path in
              {"ours": to, "restic": kept.base / "restic", "borg": kept.base / "borg"}.items()}
    for path in (to, copies, kept.base):
        shutil.rmtree(path, ignore_errors=True)
    for name, title, text in (
            ("restic", "restic backup", "restic backup --compression off into a fresh repository, and sync"),
            ("borg", "borg create", "borg create, neither encryption nor compression, fresh repository, and sync")):
        if name in samples:
            yield Row.timed(f"export against {title}", samples["ours"], samples[name], against=text,
                            note=f"{stored[name]:.0f} MiB in the repository, {stored['ours']:.0f} in the bundle; "
                                 "ours reads everything back, this does not")
            both = [one_after_other(*runs) for runs in zip(samples[name], samples[f"{name} check"])]
            yield Row.timed(f"export against {title} and check", samples["ours"], both, goal=1.0,
                            against="the same, then all data read back from the medium and verified")
    for name, title, text in (("zstd", "tar and zstd", "tar c | zstd -1 -T0, and sync"),
                              ("cp", "cp", "cp of the same files, and sync")):
        if name in samples:
            yield Row.timed(f"export against {title}", samples["ours"], samples[name], against=text)


def one_after_other(first, second):
    return Sample(first.seconds + second.seconds, first.cpu + second.cpu, max(first.peak, second.peak))


@workload("restore", "that import again, beside restic restore --verify, borg extract and cp")
def restore(world, repeats):
    bundle, (source, site) = content_bundle(world), content_pair(world)
    listing = carried_files(world)
    here = available("restic", "borg")
    warm(source / "content")
    kept, target = Repositories(world.path / "repositories"), world.path / "restored"
    for program, fill in (("restic", kept.restic_backup), ("borg", kept.borg_create)):
        if program in here:
            fill(source, listing)
    warm(kept.base)
    warm(bundle)

    def ours():
        fresh = world.copy(site, "restore-import")
        sample = world.run(fresh, "import", bundle, "--yes")
        shutil.rmtree(fresh)
        return sample

    def cp():
        emptied(target)
        return shell(f'cp -r "{bundle}" "{target}"\nsync -f "{target}"')

    duties = {"ours": ours, "restic": lambda: kept.restic_restore(emptied(target)),
              "borg": lambda: kept.borg_extract(emptied(target)), "cp": cp}
    samples = rounds(world, repeats, {name: duty for name, duty in duties.items()
                                      if name in ("ours", "cp") or name in here})
    for path in (target, kept.base):
        shutil.rmtree(path, ignore_errors=True)
    against = {"restic": ("restic restore", "restic restore --verify of the same content, and sync"),
               "borg": ("borg extract", "borg extract of the same content, and sync"),
               "cp": ("cp", "cp of the bundle, and sync")}
    for name, (title, text) in against.items():
        if name in samples:
            yield Row.timed(f"import against {title}", samples["ours"], samples[name], against=text,
                            goal=None if name == "cp" else 1.0)
