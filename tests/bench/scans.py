"""Workloads of scans: what computers ask of `serve`."""
from measure import Row, run
from mirrors import approved_mirror
from registry import workload


@workload("scan", "the first and the idle scan of one computer, everything approved")
def scan(world, repeats):
    mirror = approved_mirror(world)
    facts = world.facts(world.small, "workstation-x64")
    first, idle = [], []
    pages = 0
    with world.serve(mirror) as server:
        for number in range(repeats + 1):
            state = world.path / f"client-{number}"
            before = server.cpu_seconds()
            cold = run(world.gapferry, "client", "scan", "--server", server.url, "--as", facts,
                       "--state", state, "--json")
            served = server.cpu_seconds() - before
            again = run(world.gapferry, "client", "scan", "--server", server.url, "--as", facts,
                        "--state", state, "--json")
            if number:
                first.append(cold)
                idle.append(again)
                pages = served
        held = server.anonymous_bytes()
    return [Row.timed(f"first scan of a computer on {world.small:,}", first,
                      note=f"serve used {pages:.3f} s of processor for the last one, "
                           f"{held / 2**20:.0f} MiB after all; processor time shown is the client's"),
            Row.timed(f"idle scan of a computer on {world.small:,}", idle)]
