"""docs/year.md, run as it stands there: every command of its blocks, in order, by the real program.

A block is a list of lines. "harbour$ COMMAND" is typed on the connected side, "plant$ COMMAND" behind the gap,
"jane$ COMMAND" on a reviewer's machine; every other line must occur in what the command above it printed, and
"(exit code N)" must be how it ended (0 where nothing is said). Comments "<!-- happens: WORDS -->" are what no
command does: a stick that is lost, a disc that gets a scratch, a clock that runs wrong. Here they happen.

/srv/NAME, /media/stick and the address of the upstream are replaced by what the test has.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from harness import PROGRAM, ROOT, World
from wsus import WsusServer, document

PAGE = ROOT / "docs/year.md"
UPSTREAM = "http://wsus.example:8530"


def guid(number):
    return f"{number:08d}-0001-4000-8000-000000000001"


PRODUCT, CLASSIFICATION, COMPANY = guid(90), guid(91), guid(92)


def payload(number, size=300_000):
    state, out = b"year %d" % number, b""
    while len(out) < size:
        state = hashlib.sha256(state).digest()
        out += state
    return out[:size]


class Happenings:
    """What happens between the commands."""

    def __init__(self, test):
        self.test = test
        self.stick = test.stick
        self.saved = {}

    def bundles(self):
        return sorted(p for p in self.stick.glob("gapferry-*") if p.is_dir())

    def patch_day(self, month):
        """The vendor publishes the month's update."""
        self.test.publish(int(month))

    def the_stick_is_lost(self):
        for entry in self.stick.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def scratches(self, length):
        """One run of bytes of the last bundle's volume cannot be read any more."""
        volume = sorted(self.bundles()[-1].glob("volume-*"))[0]
        data = bytearray(volume.read_bytes())
        begin = len(data) // 2
        data[begin:begin + int(length)] = b"\xff" * int(length)
        volume.write_bytes(data)

    def a_backup_of(self, name):
        self.saved[name] = self.test.world.path / f"{name}-backup"
        shutil.copytree(self.test.home(name), self.saved[name])

    def the_backup_comes_back(self, name):
        shutil.rmtree(self.test.home(name))
        shutil.move(self.saved.pop(name), self.test.home(name))

    def the_return_is_late(self):
        """It lies in a drawer."""
        self.drawer = self.test.world.directory("drawer")
        for path in self.stick.glob("return-*"):
            shutil.move(path, self.drawer / path.name)

    def the_late_return_is_found(self):
        for path in self.drawer.iterdir():
            shutil.move(path, self.stick / path.name)

    def the_clock_says(self, name, moment):
        self.test.clocks[name] = moment

    def the_clock_is_right(self, name):
        del self.test.clocks[name]

    def the_scanner_is_there(self):
        """It does not like the next month's file."""
        script = self.test.world.path / "scan"
        data = hashlib.sha1(payload(12)).hexdigest()
        script.write_text(f"""#!/bin/sh
for file in "$@"; do
  [ "$(sha1sum < "$file" | cut -c 1-40)" = {data} ] && echo "$file: Test.Virus FOUND" && exit 1
done
exit 0
""")
        script.chmod(0o755)
        path = self.test.home("plant") / "gapferry.yaml"
        lines = path.read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("  # scanner:"))
        lines[at:at + 5] = ["  scanner:", f'    command: ["{script}"]', "    on_reject: withhold"]
        path.write_text("\n".join(lines) + "\n")

    def somebody_edits(self, name):
        """A record of an exported log."""
        path = self.test.replace(name)
        text = pathlib.Path(path).read_text()
        pathlib.Path(path).write_text(text.replace('"actor":"user:', '"actor":"user:x', 1))


class YearTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(WsusServer())
        self.upstream.add(document(COMPANY, category="Company", title="Contoso"))
        self.upstream.add(document(PRODUCT, category="Product", title="Windows 11", prerequisites=[COMPANY]))
        self.upstream.add(document(CLASSIFICATION, category="UpdateClassification", title="Security Updates"))
        self.publish(1)
        self.stick = self.world.directory("stick")
        self.world.directory("srv")
        self.world.directory("srv/jane")
        self.bin = self.world.directory("bin")
        (self.bin / "gapferry").symlink_to(PROGRAM)
        self.clocks = {}
        self.code = "CODE"

    def home(self, name):
        return self.world.path / "srv" / name

    def publish(self, month):
        data = payload(month)
        self.upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
        self.upstream.add(document(
            guid(month), 100, "Software", title=f"2026-{month:02d} Cumulative Update for Windows 11",
            explicitly=True, prerequisites=[PRODUCT, CLASSIFICATION], installed="<lar:False />",
            files=[(f"windows11-kb50{month:02d}.cab", data)]))

    def replace(self, text):
        for real, shown in ((str(self.world.path / "srv"), "/srv"), (str(self.stick), "/media/stick"),
                            (self.upstream.url, UPSTREAM)):
            text = text.replace(shown, real)
        return text

    def shown(self, text):
        for real, shown in ((str(self.world.path / "srv"), "/srv"), (str(self.stick), "/media/stick"),
                            (self.upstream.url, UPSTREAM)):
            text = text.replace(real, shown)
        return re.sub(r"\s+", " ", text)

    def type(self, side, command):
        folder = self.home(side)
        folder.mkdir(exist_ok=True)
        environment = dict(os.environ, PATH=f"{self.bin}:/usr/bin:/bin", LC_ALL="C.UTF-8", TZ="UTC")
        if (folder / "gapferry.yaml").exists():
            environment["GAPFERRY_MIRROR"] = str(folder)
        if side in self.clocks:
            environment["GAPFERRY_CLOCK"] = self.clocks[side]
        command = self.replace(command).replace("CODE", self.code)
        return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=300)

    def read_out(self, done):
        """A receipt code that was shown is what CODE means from now on."""
        found = re.search(r"^ *((?:[0-9A-Za-z]{4}[ -]+){9}[0-9A-Za-z]{4}) *$", done.stdout if done else "", re.M)
        if found:
            self.code = found[1]

    def run_block(self, block):
        done, where = None, None
        expected = 0

        def settle():
            if done is not None:
                self.assertEqual(done.returncode, expected, f"{where}\n{done.stdout}{done.stderr}")

        for line in block.splitlines():
            typed = re.fullmatch(r"(harbour|plant|jane|tom)\$ (.+)", line)
            code = re.fullmatch(r"\(exit code (\d+)\)", line)
            if typed:
                settle()
                self.read_out(done)
                expected = 0
                where = line
                done = self.type(*typed.groups())
                self.count += 1
            elif code:
                expected = int(code[1])
            elif line.strip():
                text = self.shown(done.stdout + done.stderr)
                self.assertIn(re.sub(r"\s+", " ", line.strip()), text, f"{where}\n{done.stdout}{done.stderr}")
        settle()

    def happen(self, words):
        verb = words.replace(":", "").split()
        for size in range(len(verb), 0, -1):
            action = getattr(Happenings, "_".join(verb[:size]), None)
            if action:
                return action(self.happenings, *verb[size:])
        self.fail(f"nobody knows how '{words}' happens")

    def test_a_year(self):
        self.happenings = Happenings(self)
        self.count = 0
        for happening, block in re.findall(r"(?ms)^<!-- happens: (.*?) -->|^```\n(.*?)^```", PAGE.read_text()):
            if happening:
                self.happen(happening)
            else:
                if os.environ.get("GAPFERRY_KEEP"):
                    print(block)
                self.run_block(block)
        self.assertGreater(self.count, 60, "docs/year.md has lost its commands")


if __name__ == "__main__":
    unittest.main()
