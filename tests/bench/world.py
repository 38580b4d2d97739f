"""Mirrors and peers that the workloads run on, made once per run in the work directory."""
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from measure import Failed, Missing, result, run

CLIENT_NAMESPACE = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService"
GET_CONFIG = ('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
              f'<GetConfig xmlns="{CLIENT_NAMESPACE}"><protocolVersion>2.90</protocolVersion>'
              '</GetConfig></s:Body></s:Envelope>').encode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


FILE_MEDIAN = 512  # bytes of a content file where its size does not matter


@dataclasses.dataclass(frozen=True)
class Size:
    """How much there is to do. `large` and `small` are revisions; `content_median` is the median of a
    file's bytes where they matter; with `tail`, component manifests are as large as observed; `disk` is
    what all of it needs in bytes (docs/performance.md)."""
    large: int
    small: int
    content_median: int
    tail: bool
    runs: int
    disk: int


SIZES = {
    "s": Size(10_000, 3_000, 512 << 10, False, 3, 8 << 30),
    "m": Size(33_000, 10_000, 1 << 20, True, 5, 16 << 30),
    "l": Size(100_000, 10_000, 4 << 20, True, 5, 30 << 30),
    "xl": Size(400_000, 10_000, 4 << 20, True, 5, 50 << 30),
}


class World:
    """Everything is made in a folder of `directory` that is for one size, and removed by close().
    Mirrors are cached by what they hold."""

    def __init__(self, directory, build, size="s"):
        self.path = pathlib.Path(directory).resolve() / f"gapferry-bench-{size}"
        self.path.mkdir(parents=True, exist_ok=True)
        self.gapferry = build / "cli/gapferry"
        self.catalogue = build / "tests/support/catalogue/gapferry-catalogue"
        self.size = SIZES[size]
        self.quick = size == "s"
        self.large, self.small = self.size.large, self.size.small
        self.content_median = self.size.content_median
        for program in (self.gapferry, self.catalogue):
            if not program.exists():
                raise Missing(f"{program} is not there")

    def log(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def run(self, mirror, *words, **options):
        return run(self.gapferry, *words, "--mirror", mirror, "--json", **options)

    def run_bare(self, *words):
        """A command that works on no mirror."""
        return run(self.gapferry, *words, "--json")

    def init(self, name, *options):
        mirror = self.path / name
        if mirror.exists():
            shutil.rmtree(mirror)
        run(self.gapferry, "init", mirror, "--name", name, *options, "--json")
        return mirror

    def fill(self, mirror, *options):
        return run(self.catalogue, "fill", "--mirror", mirror, "--json", *options)

    def catalogue_of(self, revisions, median=FILE_MEDIAN):
        """The generator's options for a catalogue of so many revisions: the same everywhere."""
        tail = ["--real-tail"] if self.size.tail else []
        return ["--size", str(revisions), "--file-median", str(median), *tail]

    def mirror(self, revisions, content="none", median=FILE_MEDIAN, name=None):
        """A filled mirror that is its own upstream; made at the first call. One with small files takes
        its documents from the one without content."""
        kind = f"{content}{'-tail' if self.size.tail else ''}-{median}"
        mirror = self.path / (name or f"mirror-{revisions}-{kind}")
        if not mirror.exists():
            part = mirror.name + ".part"
            if content == "all" and median == FILE_MEDIAN:
                part = self.copy(self.mirror(revisions), part)
            else:
                part = self.init(part)
            self.log(f"making {mirror.name}")
            sample = self.fill(part, *self.catalogue_of(revisions, median), "--content", content)
            part.rename(mirror)
            self.log(f"made {mirror.name} in {sample.seconds:.1f} s")
        return mirror

    def copy(self, mirror, name):
        target = self.path / name
        if target.exists():
            shutil.rmtree(target)
        # Hard links for content: files there never change.
        shutil.copytree(mirror, target, symlinks=True,
                        copy_function=lambda a, b: os.link(a, b) if "/content/" in a else shutil.copy2(a, b))
        return target

    def card(self, mirror):
        path = self.path / f"{mirror.name}.card"
        path.write_text(run(self.gapferry, "identity", "show", "--mirror", mirror).out)
        return path

    def introduce(self, exporter, importer):
        """Makes `importer` a site of `exporter`, which it trusts; returns the site's name."""
        self.run(exporter, "site", "add", self.card(importer), "--yes")
        self.run(importer, "trust", "add", self.card(exporter), "--yes")
        return json.loads(self.card(importer).read_text())["name"]

    def export(self, mirror, site, to, *options):
        to.mkdir(exist_ok=True)
        sample = self.run(mirror, "export", "--to", to, "--for", site, *options)
        return sample, pathlib.Path(result(sample)["bundle"])

    def serve(self, mirror):
        return Served(self, mirror)

    def facts(self, size, profile):
        path = self.path / f"{profile}.yaml"
        path.write_text(run(self.catalogue, "facts", "--size", str(size), "--profile", profile).out)
        return path

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Served:
    """`gapferry serve` on a mirror while the block runs."""

    def __init__(self, world, mirror):
        self.world, self.mirror, self.port = world, mirror, free_port()
        self.process = None
        self.started_in = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        set_listen(self.mirror / "gapferry.yaml", f"127.0.0.1:{self.port}")
        started = time.monotonic()
        self.log = open(self.world.path / f"{self.mirror.name}.serve.log", "ab")
        self.process = subprocess.Popen([str(self.world.gapferry), "serve", "--mirror", str(self.mirror)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while not self.answers():
            if self.process.poll() is not None:
                raise Failed(f"serve ended with {self.process.returncode}, see {self.log.name}")
            if time.monotonic() - started > 120:
                raise Failed("serve does not answer within 120 s")
            time.sleep(0.005)
        self.started_in = time.monotonic() - started
        return self

    def answers(self):
        request = urllib.request.Request(
            self.url + "/ClientWebService/client.asmx", GET_CONFIG,
            {"Content-Type": "text/xml; charset=utf-8",
             "SOAPAction": f'"{CLIENT_NAMESPACE}/GetConfig"'})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def anonymous_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
        return 0

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def set_listen(path, address):
    """Sets serve.http.listen in a configuration, whose other lines stay."""
    lines, section, done = [], [], False
    for line in path.read_text().splitlines():
        stripped = line.lstrip("# ")
        indent = len(line) - len(line.lstrip(" "))
        if not line.lstrip().startswith("#") and ":" in line:
            section = section[:indent // 2] + [stripped.split(":")[0]]
            if section == ["serve", "http", "listen"]:
                line, done = f"    listen: {address}", True
        lines.append(line)
    if not done:
        raise Failed(f"{path} has no line for serve.http.listen")
    path.write_text("\n".join(lines) + "\n")
