"""Running a command and measuring it; rows of results and how they are shown and compared."""
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time


@dataclasses.dataclass
class Sample:
    """One run: wall-clock seconds, processor seconds of it and its children, peak resident bytes."""
    seconds: float
    cpu: float = 0.0
    peak: int = 0
    out: str = ""


class Failed(Exception):
    """A command of a workload did not succeed."""


def run(*command, env=None, cwd=None):
    """Runs one command to its end; raises Failed unless it exits 0."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", **(env or {}))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=err, env=environment, cwd=cwd)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            text = err.read().decode(errors="replace")[-2000:]
            raise Failed(f"{' '.join(map(str, command))[:300]}: exit code {process.returncode}\n{text}")
        return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024,
                      out.read().decode(errors="replace"))


def shell(script, **options):
    """A reference made of standard tools, as one sample."""
    return run("sh", "-euc", script, **options)


def result(sample):
    """The one JSON object that a gapferry command printed."""
    return json.loads([line for line in sample.out.splitlines() if line.strip()][-1])


@dataclasses.dataclass
class Row:
    """One line of the table. `ours` and `reference` are in `unit`; `goal` bounds the ratio (or, with
    no reference, the value itself) from above, or from below with at_least."""
    work: str
    unit: str
    ours: float | None = None
    reference: float | None = None
    against: str = ""
    goal: float | None = None
    at_least: bool = False
    cpu: float | None = None
    peak: int | None = None
    samples: list = dataclasses.field(default_factory=list)
    reference_samples: list = dataclasses.field(default_factory=list)
    note: str = ""
    skipped: str = ""

    @property
    def ratio(self):
        if self.ours is None or not self.reference:
            return None
        return self.ours / self.reference

    @property
    def met(self):
        value = self.ratio if self.reference else self.ours
        if self.goal is None or value is None:
            return None
        return value >= self.goal if self.at_least else value <= self.goal

    @staticmethod
    def timed(work, samples, reference=(), **fields):
        """From runs of ours and of the reference, taken in turn."""
        row = Row(work, "s", **fields)
        row.ours = statistics.median(s.seconds for s in samples)
        row.cpu = statistics.median(s.cpu for s in samples)
        row.peak = max(s.peak for s in samples)
        row.samples = [round(s.seconds, 4) for s in samples]
        if reference:
            row.reference = statistics.median(s.seconds for s in reference)
            row.reference_samples = [round(s.seconds, 4) for s in reference]
        return row

    def to_json(self):
        fields = dataclasses.asdict(self)
        return {**fields, "ratio": self.ratio, "met": self.met}


def in_turn(repeats, ours, reference=None):
    """Ours and the reference alternately, after one run of each to warm up. Functions take the
    number of the run (0: warm-up)."""
    mine, other = [], []
    for number in range(repeats + 1):
        sample = ours(number)
        beside = reference(number) if reference else None
        if number == 0:
            continue
        mine.append(sample)
        if beside:
            other.append(beside)
    return mine, other


def number(value, unit):
    if value is None:
        return "-"
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    if unit == "bytes/s":
        return f"{value / 2**20:.0f} MiB/s"
    if unit == "1/s":
        return f"{value:.0f} /s"
    return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def table(rows):
    """The rows as aligned text."""
    head = ["work", "ours", "reference", "ratio", "goal", "met", "cpu", "peak memory"]
    lines = [head]
    for row in rows:
        if row.skipped:
            lines.append([row.work, f"skipped: {row.skipped}"] + [""] * 6)
            continue
        sign = ">=" if row.at_least else "<="
        goal = "-" if row.goal is None else (
            f"{sign} {row.goal:g}" if row.reference else f"{sign} {number(row.goal, row.unit)}")
        lines.append([row.work, number(row.ours, row.unit), number(row.reference, row.unit),
                      "-" if row.ratio is None else f"{row.ratio:.2f}", goal,
                      {None: "-", True: "yes", False: "NO"}[row.met],
                      "-" if row.cpu is None else f"{row.cpu:.2f} s",
                      "-" if row.peak is None else number(row.peak, "bytes")])
    widths = [max(len(line[i]) for line in lines if not line[1].startswith("skipped") or i == 0)
              for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in lines]
    text.insert(1, "-" * max(map(len, text)))
    notes = [f"{row.work}: {row.note}" for row in rows if row.note and not row.skipped]
    against = [f"{row.work}: against {row.against}" for row in rows
               if row.against and not row.skipped]
    return "\n".join(text + [""] + against + notes)


def machine():
    """What the figures depend on."""
    model = ""
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processor": model, "processors": os.cpu_count(), "kernel": platform.release(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "load": os.getloadavg()[0], "free": shutil.disk_usage(".").free}


def compare(before, after):
    """The two runs' rows side by side; a change counts from 10 %."""
    old = {row["work"]: row for row in before["rows"]}
    lines = []
    for row in after["rows"]:
        was = old.get(row["work"])
        if was is None or row["ours"] is None or was["ours"] is None:
            lines.append(f"{row['work']:44} only in one of the two")
            continue
        change = row["ours"] / was["ours"] if was["ours"] else float("inf")
        better = change > 1 if row["at_least"] else change < 1
        mark = "" if 0.9 <= change <= 1.1 else ("better" if better else "WORSE")
        lines.append(f"{row['work']:44} {number(was['ours'], row['unit']):>12} -> "
                     f"{number(row['ours'], row['unit']):>12}  {change:5.2f}  {mark}")
    return "\n".join(lines)
