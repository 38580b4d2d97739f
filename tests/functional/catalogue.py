"""Generated catalogues: an upstream filled with one, its publications, and what a machine must be offered."""
import functools
import json
import subprocess
import time

from harness import find_program

SIZE = "S"


def run(*words):
    command = [str(find_program("gapferry-catalogue")), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def upstream(world, name, content="all", **init):
    """A mirror without an upstream of its own, filled with the first state of the catalogue."""
    mirror = world.init(name, "--name", name, **init)
    run("fill", "--mirror", mirror.path, "--size", SIZE, "--content", content)
    return mirror


def advance(mirror, step, content="all"):
    """Publishes up to `step`: each adds a new update, a new revision of an old one, an expired one."""
    run("fill", "--mirror", mirror.path, "--size", SIZE, "--step", step, "--content", content)


@functools.cache
def listing(step=0):
    """All revisions up to `step`, by path such as "tool/0", newest revision of each."""
    rows = json.loads(run("ids", "--size", SIZE, "--step", step, "--json"))["revisions"]
    return {row["path"]: row for row in rows if row["newest"]}


@functools.cache
def expectation(profile, step=0):
    """What the machine finds when everything is approved: applicable, offered, installed, drivers."""
    return json.loads(run("expect", "--size", SIZE, "--step", step, "--profile", profile, "--json"))


def facts(profile):
    return run("facts", "--size", SIZE, "--profile", profile)


def offered(profile, approved, step=0):
    """The GUIDs that a scan must offer for installation when just the paths `approved` are: those
    applicable to the machine and not superseded by another approved and applicable one."""
    rows = listing(step)
    applicable = {row["guid"] for row in expectation(profile, step)["applicable"]}
    chosen = {rows[path]["guid"]: rows[path] for path in approved
              if rows[path]["guid"] in applicable and not rows[path]["expired"]}
    superseded = {guid for row in chosen.values() for guid in row.get("supersedes", ())}
    return set(chosen) - superseded


def files_of(paths, step=0):
    """path -> {(SHA-1, SHA-256, size)} of all files of the updates and of their members."""
    rows = listing(step)
    by_guid = {row["guid"]: row for row in rows.values()}
    members = {path: [rows[path], *(by_guid[b.split("/")[0]] for b in rows[path].get("bundled", ()))]
               for path in paths}
    return {path: {(f["sha1"], f["sha256"], f["size"]) for row in group for f in row.get("files", ())}
            for path, group in members.items()}


def wait_for_index(server, looks=None):
    """Until `serve` shows the generation that other processes have committed; or, for what makes none
    (groups of computers), until it has looked more often than `looks`, len(server.indexed()) before."""
    wanted = server.mirror.status()["generation"]
    until = time.monotonic() + 60
    while True:
        seen = server.indexed()
        if seen and seen[-1] >= wanted and len(seen) > (looks or 0):
            return
        assert time.monotonic() < until, f"serve does not follow to {wanted}: {seen}\n{server.text()}"
        time.sleep(0.05)


def approve_some(mirror, group, count):
    """Approves the first `count` updates of the ordinary workstation; returns their GUIDs."""
    guids = [row["guid"] for row in expectation("workstation-x64")["offered"][:count]]
    mirror.run("update", "approve", *guids, "--group", group, "--accept-eula")
    return guids
