"""Workloads of `serve` as a whole: its start, its memory, content for many."""
import shutil
import statistics
import time

import ranges
from measure import Row
from mirrors import content_pair
from references import Nginx, warm
from registry import workload


@workload("serve", "start to the first answer, anonymous memory at rest")
def serve(world, repeats):
    mirror = world.mirror(world.large)
    starts, memory = [], []
    for number in range(repeats + 1):
        with world.serve(mirror) as server:
            time.sleep(1)
            if number:
                starts.append(server.started_in)
                memory.append(server.anonymous_bytes())
    return [Row(f"start of serve on {world.large:,} revisions", "s", ours=statistics.median(starts),
                goal=5.0, samples=[round(s, 3) for s in starts]),
            Row(f"memory of serve at rest on {world.large:,}", "bytes",
                ours=statistics.median(memory), goal=2**30)]


@workload("content", "ranges of 1 MiB in shuffled order on seven connections")
def content(world, repeats):
    source, _ = content_pair(world)
    files = [("/Content/" + str(f.relative_to(source / "content")), f.stat().st_size)
             for f in (source / "content").rglob("*") if f.is_file() and f.stat().st_size >= 1 << 20]
    seconds, connections = (2 if world.quick else 5), 7
    warm(source / "content")
    nginx = shutil.which("nginx")
    with world.serve(source) as server, Nginx(world, source, nginx) as reference:
        mine, other = [], []
        for number in range(repeats + 1):
            rate = ranges.measure("127.0.0.1", server.port, seconds, connections, files)
            beside = ranges.measure("127.0.0.1", reference.port, seconds, connections, files) if nginx else 0
            if number:
                mine.append(rate)
                other.append(beside)
    row = Row("content by 1 MiB ranges", "bytes/s", ours=statistics.median(mine), goal=0.95,
              at_least=True, against="nginx with sendfile", samples=[round(m) for m in mine])
    if nginx:
        row.reference = statistics.median(other)
    else:
        row.goal, row.note = None, "nginx is not installed: no reference"
    return [row]
