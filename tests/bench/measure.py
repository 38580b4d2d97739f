"""Running a command and measuring it, and the rows that come of it. Nothing started here outlives
the script: see end_children."""
import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import shutil
import signal
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


class Missing(Exception):
    """A program that a workload needs is not installed."""


GNU_TIME = "/usr/bin/time"


def run(*command, env=None, cwd=None):
    """Runs one command to its end; raises Failed unless it exits 0."""
    environment = dict(os.environ, LC_ALL="C.UTF-8", **(env or {}))
    command = [str(word) for word in command]
    if shutil.which(command[0]) is None:
        raise Missing(f"{command[0]} is not there")
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, \
            tempfile.NamedTemporaryFile() as peak:
        # The kernel counts what a process held before exec as its peak, and that is this interpreter's
        # memory; below the small program `time` it is not.
        small = [GNU_TIME, "-q", "-f", "%M", "-o", peak.name] if os.access(GNU_TIME, os.X_OK) else []
        started = time.monotonic()
        process = subprocess.Popen(small + command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env=environment, cwd=cwd)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise Failed(f"{explained(err.read().decode(errors='replace'))} (exit code {process.returncode})\n"
                         f"of: {' '.join(command)[:300]}")
        kibibytes = int(peak.read()) if small else usage.ru_maxrss
        return Sample(seconds, usage.ru_utime + usage.ru_stime, kibibytes * 1024,
                      out.read().decode(errors="replace"))


def explained(text):
    """Why a command failed: its last line, of a line of JSON the message."""
    last = (text.strip().splitlines() or ["failed"])[-1]
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(last)["message"])[:1000]
    return text.strip()[-1000:] or "failed"


def shell(script, **options):
    """A reference made of standard tools, as one sample."""
    return run("sh", "-euc", script, **options)


def result(sample):
    """The one JSON object that a gapferry command printed."""
    return json.loads([line for line in sample.out.splitlines() if line.strip()][-1])


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
        if beside is not None:
            other.append(beside)
    return mine, other


@dataclasses.dataclass
class Row:
    """One line of the table. `ours` and `reference` are in `unit` ("s", "cpu s", "bytes", "bytes/s",
    "1/s"); `goal` bounds the ratio (or, with no reference, the value itself) from above, or from below
    with at_least. Samples are the single runs, in the same unit."""
    work: str
    unit: str
    ours: float | None = None
    reference: float | None = None
    against: str = ""
    goal: float | None = None
    at_least: bool = False
    cpu: float | None = None
    peak: int | None = None
    reference_cpu: float | None = None
    reference_peak: int | None = None
    samples: list = dataclasses.field(default_factory=list)
    reference_samples: list = dataclasses.field(default_factory=list)
    note: str = ""
    failed: str = ""

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
        """Wall-clock time, from runs of ours and of the reference, taken in turn."""
        return _measured(Row(work, "s", **fields), "seconds", samples, reference)

    @staticmethod
    def processor(work, samples, reference=(), **fields):
        """Processor time of the same."""
        return _measured(Row(work, "cpu s", **fields), "cpu", samples, reference)

    @staticmethod
    def largest(work, samples, reference=(), **fields):
        """Peak memory of the same: the largest of all runs."""
        row = _measured(Row(work, "bytes", **fields), "peak", samples, reference)
        row.ours = row.peak
        row.reference = row.reference_peak
        return row

    @staticmethod
    def rates(work, unit, numbers, reference=(), **fields):
        """Anything else that is measured several times: numbers in `unit`."""
        row = Row(work, unit, **fields)
        row.ours, row.samples = statistics.median(numbers), list(numbers)
        if reference:
            row.reference, row.reference_samples = statistics.median(reference), list(reference)
        return row

    def to_json(self):
        fields = dataclasses.asdict(self)
        for name in ("samples", "reference_samples"):
            fields[name] = [float(f"{value:.5g}") for value in fields[name]]
        return {**fields, "ratio": self.ratio, "met": self.met}


def _measured(row, field, samples, reference):
    def median(of, name):
        return statistics.median(getattr(sample, name) for sample in of)

    row.ours, row.samples = median(samples, field), [getattr(s, field) for s in samples]
    row.cpu, row.peak = median(samples, "cpu"), max(s.peak for s in samples)
    if reference:
        row.reference = median(reference, field)
        row.reference_samples = [getattr(s, field) for s in reference]
        row.reference_cpu, row.reference_peak = median(reference, "cpu"), max(s.peak for s in reference)
    return row


class Others:
    """How busy processes that are not ours kept the machine while the block ran. Interrupts are not
    counted, since those of our own traffic are booked there too."""

    def __enter__(self):
        self.began = self._now()
        self.share = 0.0
        return self

    def __exit__(self, *_):
        ended = self._now()
        passed, busy, mine = (after - before for before, after in zip(self.began, ended))
        if passed > 0:
            self.share = min(1.0, max(0.0, (busy - mine) / passed))

    @staticmethod
    def _now():
        """Seconds: of all processors, of them at work or stolen, of ours. Children count once they
        have ended, so the block has to end what it starts."""
        tick = os.sysconf("SC_CLK_TCK")
        with open("/proc/stat") as stat:
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
        busy = user + nice + system + steal
        times = os.times()
        return ((busy + idle + iowait + irq + softirq) / tick, busy / tick,
                times.user + times.system + times.children_user + times.children_system)


def adopt_orphans():
    """Makes this process the parent of children whose own parent ends, so that end_children finds them."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _children():
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                if state != "Z":
                    found.setdefault(int(parent), []).append(int(entry.name))
    ours, queue = [], [os.getpid()]
    while queue:
        below = found.get(queue.pop(), [])
        ours += below
        queue += below
    return ours


def end_children(patience=15.0):
    """Ends every process that descends from this one: asks, waits, then kills."""
    until = time.monotonic() + patience
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _children():
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        while _children() and time.monotonic() < until:
            time.sleep(0.05)
        until = time.monotonic() + 2
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
