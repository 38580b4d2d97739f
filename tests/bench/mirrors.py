"""Mirrors that workloads of several modules use, made at the first call."""
import json

from measure import run

CONTENT_REVISIONS = 800


def content_pair(world):
    """A mirror with much content, all of it approved, and a site it knows."""
    source = world.path / "content-source"
    if not source.exists():
        part = world.mirror(CONTENT_REVISIONS, "all", world.content_median, name="content-source.part")
        approve_everything(world, part, CONTENT_REVISIONS)
        part.rename(source)
    site = world.path / "content-site"
    if not site.exists():
        site = world.init("content-site", "--gap")
        world.introduce(source, site)
    return source, site


def approve_everything(world, mirror, revisions, at_most=None, step=0, group="All Computers"):
    """Approves all visible updates for a group and accepts their EULAs; with `at_most`, so many
    of them, spread evenly. `step` is the one the mirror was filled with. Returns how many."""
    listed = json.loads(run(world.catalogue, "ids", "--json", *world.catalogue_of(revisions), "--step", step).out)
    ids = [r["guid"] for r in listed["revisions"]
           if r["visible"] and r["newest"] and not r["expired"] and r["kind"] != "driver"]
    if at_most:
        ids = ids[::max(1, len(ids) // at_most)][:at_most]
    for start in range(0, len(ids), 500):
        world.run(mirror, "update", "approve", *ids[start:start + 500], "--group", group,
                  "--accept-eula")
    return len(ids)


def approved_mirror(world):
    name = f"approved-{world.small}"
    path = world.path / name
    if not path.exists():
        mirror = world.mirror(world.small, "all", name=name + ".part")
        approve_everything(world, mirror, world.small)
        mirror.rename(path)
    return path
