"""How cost grows with the catalogue: the same work on mirrors of several sizes, each figure relative to
the smallest. Documents are of ordinary size; what one computer is offered is the same everywhere."""
import dataclasses
import shutil
import statistics

import plot
from measure import Failed, result
from mirrors import approve_everything
from report import aligned, markdown_lines, number, read, spread, write

POINTS = (10_000, 100_000, 400_000)
APPROVED = 1_400     # updates, spread over the catalogue: what a computer has cached in practice
PUBLICATIONS = 25    # of the generator for one delta: about 100 revisions

FIGURES = {
    "fill": "filling, 1,000 revisions",
    "disk": "mirror on the disk",
    "sync": "full sync, 1,000 revisions",
    "delta export": "export of 100 new revisions",
    "delta import": "import of 100 new revisions",
    "delta sync": "sync of 100 new revisions",
    "start": "start of serve",
    "memory": "memory of serve at rest",
    "page": "page of a first scan, processor",
    "idle": "idle scan, processor",
}

GOALS = {"delta export": 1.2, "delta import": 1.2, "delta sync": 1.2}  # of the largest, relative to the smallest


@dataclasses.dataclass
class Point:
    """One figure at one size. Samples are in `unit`; cpu is of all processes that took part."""
    figure: str
    revisions: int
    unit: str
    samples: list
    cpu: float | None = None
    peak: int | None = None
    note: str = ""

    @property
    def value(self):
        return statistics.median(self.samples)


def timed(figure, revisions, samples, note=""):
    return Point(figure, revisions, "s", [s.seconds for s in samples],
                 statistics.median(s.cpu for s in samples), max(s.peak for s in samples), note)


def per_thousand(figure, revisions, sample):
    return Point(figure, revisions, "s", [sample.seconds * 1000 / revisions], sample.cpu * 1000 / revisions,
                 sample.peak)


class Site:
    """One mirror of a size, a disconnected site of it and a downstream mirror of it."""

    def __init__(self, world, revisions, runs):
        self.world, self.revisions, self.runs = world, revisions, runs
        self.options = world.catalogue_of(revisions)
        self.mirror = self.world.path / f"growth-{revisions}"
        self.media = self.world.path / f"growth-{revisions}-media"

    def figures(self):
        """All of them in the order in which they can be measured."""
        yield from self.filling()
        yield from self.serving()
        yield from self.downstream()
        yield from self.deltas()
        yield from self.scanning()

    def close(self):
        for path in self.world.path.glob(f"growth-{self.revisions}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def filling(self):
        self.world.init(self.mirror.name)
        sample = self.world.fill(self.mirror, *self.options, "--content", "none")
        yield per_thousand("fill", self.revisions, sample)
        size = sum(f.stat().st_blocks * 512 for f in self.mirror.rglob("*") if f.is_file())
        yield Point("disk", self.revisions, "bytes", [size])

    def serving(self):
        starts, memory = [], []
        for warmed in range(self.runs + 1):
            with self.world.serve(self.mirror) as server:
                if warmed:
                    starts.append(server.started_in)
                    memory.append(server.anonymous_bytes())
        yield Point("start", self.revisions, "s", starts)
        yield Point("memory", self.revisions, "bytes", memory)

    def downstream(self):
        with self.world.serve(self.mirror) as server:
            self.url = server.url
            self.below = self.world.init(f"{self.mirror.name}-below", "--upstream", server.url)
            self.world.run(self.below, "subscription", "set", "--product", "all", "--classification", "all")
            sample = self.world.run(self.below, "sync", "--metadata-only")
            yield per_thousand("sync", self.revisions, sample)

    def deltas(self):
        """Rounds of publishing, carrying to the site and back, and syncing: nothing is done twice."""
        site = self.world.init(f"{self.mirror.name}-site", "--gap")
        self.world.introduce(self.mirror, site)
        self.carry(site, "--full")
        rounds = []
        for number_ in range(1, self.runs + 2):
            self.world.fill(self.mirror, *self.options, "--content", "none", "--step", str(PUBLICATIONS * number_))
            rounds.append((*self.carry(site), self.follow()))
        exported, imported, synced = (list(samples) for samples in zip(*rounds[1:]))
        yield timed("delta export", self.revisions, exported)
        yield timed("delta import", self.revisions, imported)
        yield timed("delta sync", self.revisions, synced)

    def carry(self, site, *options):
        """A bundle there, the answer back. Returns the samples of export and import."""
        exported, bundle = self.world.export(self.mirror, site.name, self.media, *options)
        imported = self.world.run(site, "import", bundle, "--yes")
        back = result(self.world.run(site, "export", "--return", "--to", self.media, "--yes"))
        self.world.run(self.mirror, "import", back["return"], "--yes")
        shutil.rmtree(self.media)
        return exported, imported

    def follow(self):
        with self.world.serve(self.mirror) as server:
            settings = self.below / "gapferry.yaml"
            settings.write_text(settings.read_text().replace(self.url, server.url))
            self.url = server.url
            sample = self.world.run(self.below, "sync", "--metadata-only")
            if not result(sample)["new_revisions"]:
                raise Failed("a delta sync brought nothing")
            return sample

    def scanning(self):
        """Processor time of serve for computers that scan, with all files there."""
        shutil.rmtree(self.below)
        last = str(PUBLICATIONS * (self.runs + 1))
        self.world.fill(self.mirror, *self.options, "--content", "all", "--step", last)
        approve_everything(self.world, self.mirror, self.revisions, APPROVED, last)
        pages, idle = [], []
        with self.world.serve(self.mirror) as server:
            for warmed in range(self.runs + 1):
                page, found = self.load(server, "first", "requests")
                scan, _ = self.load(server, "idle", "scans")
                if warmed:
                    pages.append(page)
                    idle.append(scan)
        note = f"{found['revisions']:,} revisions known to the computer at last"
        yield Point("page", self.revisions, "s", pages, note=note)
        yield Point("idle", self.revisions, "s", idle, note=note)

    def load(self, server, kind, counted):
        """Processor time of serve for one request or scan: what a long load costs more than a short one,
        so that registering computers and their first walk do not count."""
        costs = []
        for seconds in (1, 4):
            before = server.cpu_seconds()
            found = result(self.world.run_bare("client", "load", "--server", server.url, "--clients", "8",
                                               "--scan", kind, "--seconds", str(seconds)))
            if found["errors"]:
                raise Failed(f"client load: {found['errors']} errors, {found['error_texts']}")
            costs.append((server.cpu_seconds() - before, found[counted]))
        (short, few), (long, many) = costs
        return max(0.0, long - short) / max(1, many - few), found


def sizes_of(text):
    """The sizes in a text like "10000,100000". Raises ValueError."""
    sizes = sorted({int(word.replace("_", "")) for word in text.split(",")})
    if len(sizes) < 2 or sizes[0] < 3000:  # below, what expires is a tenth, and imports ask for consent
        raise ValueError("has to name two sizes or more, of 3,000 revisions at least")
    return sizes


def bytes_for(revisions):
    """What one size needs on the disk: three mirrors, small files, a bundle."""
    return 50_000 * revisions


def measure_all(world, sizes, runs, failed, reason):
    """Yields Points; what could not be measured becomes a line in `failed`, which `reason` makes."""
    for revisions in sizes:
        world.log(f"growth: {revisions:,} revisions")
        site = Site(world, revisions, runs)
        try:
            for point in site.figures():
                world.log(f"{FIGURES[point.figure]}: {number(point.value, point.unit)}")
                yield point
        except Exception as error:  # other sizes are worth having
            failed.append(f"{revisions:,} revisions: {reason(error)}")
        finally:
            site.close()


def relative(points):
    """figure -> [(revisions, value relative to the smallest size)], for figures known at two or more."""
    found = {}
    smallest = min((point.revisions for point in points), default=0)
    for name in FIGURES:
        of = sorted((p for p in points if p.figure == name), key=lambda p: p.revisions)
        if len(of) > 1 and of[0].revisions == smallest and of[0].value > 0:
            found[name] = [(p.revisions, p.value / of[0].value) for p in of]
    return found


def table(points):
    notes = [f"{FIGURES[p.figure]} on {p.revisions:,}: {p.note}" for p in points if p.note]
    return "\n".join(aligned(lines_of(points)) + ([""] + notes if notes else []))


def markdown(points):
    head, *lines = lines_of(points)
    return markdown_lines([head, ["---"] + ["---:"] * (len(head) - 1), *lines])


def lines_of(points):
    """A line for each figure: its values at all sizes, then what became of the first one."""
    sizes = sorted({point.revisions for point in points})
    known = {(point.figure, point.revisions): point for point in points}
    lines = [["work"] + [f"{size:,}" for size in sizes] + [f"x {size:,}" for size in sizes[1:]]
             + ["goal", "met", "min .. max of the last", "cpu", "peak MiB"]]
    growth = {name: dict(of) for name, of in relative(points).items()}
    for name, label in FIGURES.items():
        row = [known.get((name, size)) for size in sizes]
        last = next((point for point in reversed(row) if point), None)
        if last is None:
            continue
        lines.append([label] + [number(p.value, p.unit) if p else "-" for p in row]
                     + [f"{growth[name][size]:.2f}" if size in growth.get(name, {}) else "-" for size in sizes[1:]]
                     + verdict(name, growth.get(name))
                     + [spread(last.samples, last.unit), "-" if last.cpu is None else number(last.cpu, "s"),
                        "-" if last.peak is None else f"{last.peak / 2**20:.0f}"])
    return lines


def verdict(name, grown):
    goal = GOALS.get(name)
    if goal is None or not grown:
        return ["-", "-"]
    return [f"<= {goal:g}", "yes" if grown[max(grown)] <= goal else "NO"]


def save(path, facts, points):
    write(path, "growth", facts, [{**dataclasses.asdict(point), "value": point.value} for point in points])


def load(path):
    """Raises report.Unusable."""
    def to_point(row):
        point = Point(**{name: value for name, value in row.items() if name != "value"})
        if point.figure not in FIGURES or point.revisions < 1:
            raise ValueError(f"figure {point.figure!r} at {point.revisions}")
        point.samples = [float(sample) for sample in point.samples]
        point.value + 0
        return point

    return read(path, "growth", to_point)


def draw(path, points):
    """Raises ValueError where no figure is known at two sizes."""
    lines = {FIGURES[name]: of for name, of in relative(points).items()}
    smallest = min((point.revisions for point in points), default=0)
    text = plot.svg(lines, "How cost grows with the catalogue",
                    f"each figure relative to its value at {smallest:,} revisions; less is better")
    path.write_text(text, encoding="utf-8")
