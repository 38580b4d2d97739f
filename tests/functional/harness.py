"""What the functional tests share: running the real program, serving a mirror, a temporary world.

    with World() as world:
        mirror = world.init("site", "--gap")
        mirror.run("status")["guid"]           # --json; fails the test unless exit code 0
        mirror.refuse(21, "import", bundle)    # must end with this exit code
        with mirror.serve() as server:
            server.url                         # http://127.0.0.1:PORT

Everything works in temporary directories and on 127.0.0.1, and ends only processes that it started.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared"
BUILD = pathlib.Path(os.environ.get("GAPFERRY_BUILD", ROOT / "build/dev"))
PROGRAM = BUILD / "cli/gapferry"
KILL_POINTS = BUILD / "tests/kill_points.so"
FAST_WAITS = BUILD / "tests/fast_waits.so"
TIMEOUT = 300


def find_program(name):
    """A program of the build, wherever its folder put it."""
    for path in sorted(BUILD.glob(f"**/{name}")):
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise AssertionError(f"{name} is not built in {BUILD}")


def sanitized():
    """Whether the build runs under a sanitizer: its memory and its time are not those of the product.
    What is asserted only without one runs with --plain (tests/functional/run)."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    return re.search(r"^GAPFERRY_SANITIZE:STRING=.+", cache, re.M) is not None


class Outcome:
    """How one command ended."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err

    def __str__(self):
        return (f"$ gapferry {' '.join(map(str, self.words))}\nexit code {self.code}\n"
                f"--- stdout\n{self.out[-4000:]}--- stderr\n{self.err[-4000:]}")

    def objects(self):
        """The JSON lines of stdout."""
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]

    def result(self):
        """The one result object, or the list of result lines where there are several."""
        objects = self.objects()
        return objects[0] if len(objects) == 1 else objects

    def error(self):
        """The exit_error object, which must be the last line of both streams."""
        last = json.loads(self.out.splitlines()[-1])
        assert last["message_type"] == "exit_error", self
        assert json.loads(self.err.splitlines()[-1]) == last, self
        return last


def gapferry(*words, env=None, cwd=None, stdin="", prefix=(), program=None):
    """Runs the program and returns its Outcome."""
    environment = dict(os.environ, **(env or {}))
    environment.setdefault("LC_ALL", "C.UTF-8")
    command = [*prefix, str(program or PROGRAM), *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=cwd, input=stdin, text=True,
                          capture_output=True, timeout=TIMEOUT)
    return Outcome(words, done.returncode, done.stdout, done.stderr)


# Starts a program and leaves the most memory it had resident, in KiB, in a file.
MEASURED = ("import resource, subprocess, sys; code = subprocess.call(sys.argv[2:]); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open(sys.argv[1], 'w')); "
            "sys.exit(code if code >= 0 else 128 - code)")


def measured(file):
    """The words before a command that measure it into `file`."""
    return [sys.executable, "-c", MEASURED, str(file)]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def set_yaml(path, dotted, value):
    """Sets one key of gapferry.yaml the way a person would: changes its line, takes the comment sign
    away, or adds the line at the end of its section."""
    keys = dotted.split(".")
    lines = path.read_text().splitlines()
    at, end = 0, len(lines)
    for depth, key in enumerate(keys):
        indent = "  " * depth
        last = depth == len(keys) - 1
        live = re.compile(rf"^{indent}{re.escape(key)}:")
        commented = re.compile(rf"^{indent}# ?{re.escape(key)}:|^# ?{indent}{re.escape(key)}:")
        found = next((i for i in range(at, end) if live.match(lines[i])), None)
        if found is None:
            found = next((i for i in range(at, end) if commented.match(lines[i])), None)
        if found is None:
            found = end
            lines.insert(end, "")
        lines[found] = f"{indent}{key}:" + (f" {value}" if last else "")
        at = found + 1
        deeper = re.compile(rf"^(\s*#.*|\s*|{indent}  .*)$")
        end = at
        while end < len(lines) and deeper.match(lines[end]):
            end += 1
    path.write_text("\n".join(lines) + "\n")


class Mirror:
    """One mirror directory and the commands on it."""

    def __init__(self, path, prefix=(), env=None):
        self.path, self.prefix, self.env = pathlib.Path(path), tuple(prefix), dict(env or {})

    def try_run(self, *words, **options):
        env = dict(self.env, **options.pop("env", {}))
        return gapferry(*words, "--mirror", self.path, "--json", env=env, prefix=self.prefix, **options)

    def run(self, *words, **options):
        outcome = self.try_run(*words, **options)
        assert outcome.code == 0, outcome
        return outcome.result()

    def rows(self, *words, **options):
        """The rows of a list command: one object {"...": [rows]} or one line per row."""
        result = self.run(*words, **options)
        if isinstance(result, dict):
            lists = [v for v in result.values() if isinstance(v, list)]
            return lists[0] if lists else [result]
        return result

    def refuse(self, code, *words, **options):
        """The command must end with `code`; returns its exit_error."""
        outcome = self.try_run(*words, **options)
        assert outcome.code == code, f"expected exit code {code}\n{outcome}"
        return outcome.error()

    def configure(self, **settings):
        """configure(serve__http__listen="127.0.0.1:0")"""
        for key, value in settings.items():
            set_yaml(self.path / "gapferry.yaml", key.replace("__", "."), value)

    def status(self):
        return self.run("status")

    def state(self):
        """What a client, a downstream server or an administrator can see of the mirror."""
        status = self.status()
        kept = ("guid", "epoch", "generation", "state_digest", "documents_digest", "content_digest")
        return {key: status.get(key) for key in kept}

    @contextlib.contextmanager
    def serve(self, port=None):
        """Runs `gapferry serve` until the block ends; SIGTERM must end it with exit code 0."""
        server = Server(self, port)
        try:
            server.start()
            yield server
        finally:
            server.stop()


class Server:
    def __init__(self, mirror, port):
        self.mirror, self.port = mirror, port or 0  # 0: a free one, known and kept once it has started
        self.process = None
        self.log = mirror.path.parent / f"{mirror.path.name}.serve.log"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.mirror.configure(serve__http__listen=f"127.0.0.1:{self.port}")
        before = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.mirror.prefix, str(PROGRAM), "serve", "-v", "-v", "--mirror", str(self.mirror.path)],
                env=dict(os.environ, **self.mirror.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.text()}")
            said = self.log.read_bytes()[before:]
            ready = re.search(rb"^listening on http://127\.0\.0\.1:(\d+)\n", said, re.M)
            if ready:
                self.port = int(ready[1])
                return
            time.sleep(0.02)
        raise AssertionError(f"serve does not listen on {self.port}:\n{self.text()}")

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"serve does not stop on SIGTERM:\n{self.text()}")
        self.process = None
        assert code in (0, 130), f"serve ended with {code}:\n{self.text()}"

    def indexed(self):
        """The generations that it has answered from, one for each time that it looked anew."""
        found = re.findall(r'msg="index replaced" generation=(\d+)', self.log.read_text(errors="replace"))
        return list(map(int, found))

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def text(self):
        return self.log.read_text(errors="replace")[-6000:]


class World:
    """A temporary directory with mirrors in it, removed at the end (kept with GAPFERRY_KEEP=1)."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="gapferry-test-"))
        return self

    def __exit__(self, *_):
        if os.environ.get("GAPFERRY_KEEP"):
            print("kept", self.path)
        else:
            shutil.rmtree(self.path, ignore_errors=True)

    def init(self, name, *options, **mirror_options):
        path = self.path / name
        outcome = gapferry("init", path, *options, "--json", prefix=mirror_options.get("prefix", ()))
        assert outcome.code == 0, outcome
        return Mirror(path, **mirror_options)

    def directory(self, name):
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def copy(self, mirror, name):
        """A byte-wise copy of a mirror that nothing runs on."""
        target = self.path / name
        shutil.copytree(mirror.path, target, symlinks=True)
        return Mirror(target, mirror.prefix, mirror.env)


def tree_digest(path):
    """Names, sizes and bytes of all files below `path`, to show that nothing changed."""
    import hashlib
    digest = hashlib.sha256()
    for file in sorted(p for p in pathlib.Path(path).rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
