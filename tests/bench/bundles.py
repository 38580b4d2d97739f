"""Workloads of bundles: export, verify, import, and a delta by the size of the mirror."""
import json
import shutil

from measure import Row, in_turn, result, run, shell
from mirrors import content_pair
from references import DROP, warm
from registry import workload


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


@workload("export", "a full bundle of a mirror with much content, synced and read back")
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


@workload("verify", "all sums and signatures of that bundle")
def verify(world, repeats):
    bundle = content_bundle(world)
    _, site = content_pair(world)
    warm(bundle)
    mine, reference = in_turn(
        repeats,
        lambda _: run(world.gapferry, "verify", bundle, "--mirror", site, "--json"),
        lambda _: run("sha256sum", "--quiet", "-c", "SHA256SUMS", cwd=bundle))
    return [Row.timed("verify a bundle", mine, reference, goal=0.6, against="sha256sum -c")]


@workload("import", "that bundle into a fresh mirror")
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


def catch_up(world, source, site, to):
    """Makes `site` a site of `source`, brings it everything, and brings its receipt back."""
    world.introduce(source, site)
    _, bundle = world.export(source, site.name, to, "--full")
    world.run(site, "import", bundle, "--yes")
    back = result(world.run(site, "export", "--return", "--to", to, "--yes"))
    world.run(source, "import", back["return"], "--yes")


def caught_up_pair(world, revisions):
    """A mirror whose site has acknowledged everything, then advanced by about 100 updates."""
    name = f"delta-{revisions}"
    done, site = world.path / f"{name}-done", world.path / f"{name}-site"
    if done.exists():
        return done, site
    source = world.copy(world.mirror(revisions), name)
    world.init(site.name, "--gap")
    catch_up(world, source, site, world.path / f"{name}-bundles")
    world.fill(source, *world.catalogue_of(revisions), "--content", "none", "--step", "25")
    source.rename(done)
    return done, site


def warm_databases(*mirrors):
    for mirror in mirrors:
        for path in mirror.glob("*.db"):
            run("cat", path)


@workload("delta", "a bundle with 100 new revisions, from a large and from a small mirror, and its import")
def delta(world, repeats):
    pairs = {size: caught_up_pair(world, size) for size in (world.small, world.large)}
    bundles = {}

    def exported(size):
        def make(number):
            source, site = pairs[size]
            to = world.path / f"delta-out-{size}-{number}"
            sample, bundles[size] = world.export(source, site.name, to)
            if number < repeats:
                shutil.rmtree(to)
            return sample
        return make

    def imported(size):
        def make(number):
            fresh = world.copy(pairs[size][1], f"delta-import-{size}")
            warm_databases(fresh)
            sample = world.run(fresh, "import", bundles[size], "--yes")
            shutil.rmtree(fresh)
            return sample
        return make

    rows = []
    against = f"the same on {world.small:,}"
    for what, work in (("export", exported), ("import", imported)):
        large, small = in_turn(repeats, work(world.large), work(world.small))
        rows += [Row.timed(f"{what} of a delta of 100 on {world.large:,}", large, small, goal=1.2,
                           against=against),
                 Row.processor(f"{what} of a delta of 100 on {world.large:,}, processor time", large, small,
                               goal=1.2, against=against)]
    for bundle in bundles.values():
        shutil.rmtree(bundle.parent)
    return rows
