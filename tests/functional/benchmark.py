"""The frame of scripts/bench: its list, its table, what is kept and compared, the plot, wrong input. Nothing
is measured here; where a build is needed, it is a script that fails or hangs."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/bench"))
import growth  # noqa: E402
import measure  # noqa: E402
import plot  # noqa: E402
import registry  # noqa: E402
import report  # noqa: E402


def bench(*words):
    done = subprocess.run(["/usr/bin/python3", ROOT / "scripts/bench", *map(str, words)], capture_output=True,
                          text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def row(work, samples, **fields):
    return measure.Row.rates(work, "s", samples, **fields)


class BenchTestCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)

    def file(self, name, text):
        path = self.path / name
        path.write_text(text)
        return path

    def results(self, name, *rows):
        path = self.path / name
        report.save(path, {"time": "2026-01-01T00:00:00Z", "size": "s", "others": 0.02}, rows)
        return path


class ListTestCase(BenchTestCase):
    def test_names_every_workload_in_the_order_of_the_table(self):
        done = bench("--list")
        self.assertEqual(done.returncode, 0, done)
        named = [line.split()[0] for line in done.stdout.splitlines()]
        self.assertEqual(named, registry.ORDER)
        for line in done.stdout.splitlines():
            self.assertGreater(len(line.split()), 4, "each with a sentence")

    def test_each_is_explained_in_the_documentation(self):
        text = (ROOT / "docs/performance.md").read_text()
        explained = re.findall(r"(?m)^\| ([a-z][a-z-]*) \| ", text.split("## Workloads")[1].split("\n## ")[0])
        self.assertEqual(explained, list(registry.workloads()))


class CompareTestCase(BenchTestCase):
    def test_marks_what_is_beyond_the_spread_and_nothing_else(self):
        before = self.results("before", row("same", [1.0, 1.1, 1.2]), row("faster", [2.0, 2.01, 2.02]),
                              row("slower", [1.0, 1.01, 1.02], reference=[2.0, 2.0]), row("gone", [1.0]),
                              row("noisy", [1.0, 1.5, 3.0]), row("once", [1.0]))
        after = self.results("after", row("same", [1.05, 1.15, 1.2]), row("faster", [1.0, 1.01, 1.02]),
                             row("slower", [1.5, 1.51, 1.52], reference=[2.0, 2.0]), row("new", [1.0]),
                             row("noisy", [1.2, 2.0, 2.9]), row("once", [1.05]),
                             measure.Row("broken", "s", failed="no disk"))
        done = bench("--compare", before, after)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("others used 2 %", done.stdout)
        lines = {line.split("  ")[0]: line for line in done.stdout.splitlines() if line}
        self.assertIn("better", lines["faster"])
        self.assertIn("0.50", lines["faster"])
        self.assertIn("WORSE", lines["slower"])
        self.assertRegex(lines["slower"], r"0\.51 +0\.76", "ratios")
        for name in ("same", "noisy", "once"):
            self.assertNotRegex(lines[name], "better|WORSE")
        self.assertIn("only before", lines["gone"])
        self.assertIn("only after", lines["new"])
        self.assertIn("broken", done.stdout)

    def test_more_is_better_where_the_unit_is_a_rate(self):
        before, after = (measure.Row.rates("pages", "1/s", numbers) for numbers in ([10, 11, 12], [20, 21, 22]))
        self.assertEqual(report.judge(before, after), "better")
        self.assertEqual(report.judge(after, before), "WORSE")

    def test_files_that_cannot_be_compared_are_named(self):
        good = self.results("good", row("same", [1.0]))
        text = json.loads(good.read_text())
        wrong = {
            "missing": (self.path / "missing", "No such file"),
            "broken": (self.file("broken", '{"schema": 1, "rows": ['), "no JSON"),
            "other": (self.file("other", "[1, 2]"), "no results"),
            "newer": (self.file("newer", json.dumps({**text, "schema": 99})), "schema 99"),
            "growth": (self.file("growth", json.dumps({**text, "kind": "growth"})), "kind 'growth'"),
            "field": (self.file("field", json.dumps({**text, "rows": [{"work": "x", "unit": "s", "odd": 1}]})), "row"),
            "value": (self.file("value", json.dumps({**text, "rows": [{"work": "x", "unit": "s", "ours": "y"}]})), "row"),
        }
        for name, (path, reason) in wrong.items():
            done = bench("--compare", good, path)
            self.assertEqual(done.returncode, 1, name)
            self.assertIn(str(path), done.stderr)
            self.assertIn(reason, done.stderr)


class UsageTestCase(BenchTestCase):
    def test_wrong_words_are_refused_before_anything_is_made(self):
        for words, reason in ((["--only", "exprot"], "no workload exprot; there are export"), (["--only", ","], "no workload"),
                              (["--size", "xxl"], "invalid choice"), (["--runs", "0", "--only", "verify"], "--runs"),
                              (["--build", self.path, "--only", "verify"], "no cli/gapferry"),
                              (["--json", self.path / "no/where.json"], "is no directory"),
                              (["--growth", "--points", "10"], "two sizes"), (["--growth", "--points", "a,b"], "invalid literal"),
                              (["--list", "--growth"], "not allowed with")):
            done = bench(*words, "--no-install", "--work", self.path / "work")
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(reason, done.stderr)
            self.assertFalse((self.path / "work").exists())


class RunTestCase(BenchTestCase):
    def build(self, script):
        for name in ("cli/gapferry", "tests/support/catalogue/gapferry-catalogue"):
            path = self.path / "build" / name
            path.parent.mkdir(parents=True)
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return ["--build", self.path / "build", "--no-install", "--quick", "--work", self.path / "work",
                "--json", self.path / "out.json"]

    def test_a_workload_that_fails_is_a_line_and_the_next_one_runs(self):
        words = self.build('echo \'{"message_type":"exit_error","message":"the disk is full"}\' >&2; exit 1')
        done = bench(*words, "--only", "serve,fill")
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stdout, r"(?m)^fill +failed: the disk is full \(exit code 1\)$")
        self.assertRegex(done.stdout, r"(?m)^serve +failed: the disk is full")
        self.assertEqual([r.work for r in report.load(self.path / "out.json")["rows"]], ["fill", "serve"])
        self.assertFalse(any((self.path / "work").iterdir()), "nothing is left behind")

    def test_an_interrupt_ends_what_was_started_and_shows_what_there_is(self):
        words = self.build(f'echo $$ >> "{self.path}/pids"; sleep 300 & echo $! >> "{self.path}/pids"; wait')
        process = subprocess.Popen(["/usr/bin/python3", ROOT / "scripts/bench", *map(str, words), "--only", "fill"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        pids, until = self.path / "pids", time.monotonic() + 30
        while time.monotonic() < until and not (pids.exists() and pids.read_text().count("\n") == 2):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130, err)
        self.assertNotIn("Traceback", err)
        self.assertIn("interrupted", out)
        self.assertTrue(json.loads((self.path / "out.json").read_text())["interrupted"])
        for pid in map(int, pids.read_text().split()):
            with self.assertRaises(ProcessLookupError, msg=pid):
                os.kill(pid, 0)


class TableTestCase(unittest.TestCase):
    def test_shows_spread_ratio_goal_and_below_what_was_missed(self):
        mine = [measure.Sample(1.0 + n / 10, 0.5, 30 << 20) for n in range(3)]
        theirs = [measure.Sample(2.0, 1.5, 2 << 20)] * 3
        text = report.table([
            measure.Row.timed("good", mine, theirs, goal=1.0, against="tar"),
            measure.Row.timed("slow", theirs, mine, goal=1.2),
            measure.Row.largest("memory", mine, goal=1 << 30),
            measure.Row.rates("rate", "1/s", [5000, 7000], goal=6500, at_least=True, note="many"),
            measure.Row("broken", "s", failed="nginx is not installed")])
        lines = {line.split("  ")[0]: line for line in text.splitlines()}
        self.assertRegex(lines["good"], r"1\.100 s +1\.000 \.\. 1\.200 s +2\.000 s .* 0\.55 +<= 1 +yes +0\.50 / 1\.50 +30 / 2 +3")
        self.assertRegex(lines["slow"], r"1\.82 +<= 1\.2 +NO")
        self.assertRegex(lines["memory"], r"30\.0 MiB .* <= 1024\.0 MiB +yes")
        self.assertRegex(lines["rate"], r"6,000 /s +5,000 \.\. 7,000 /s .* >= 6,500 /s +NO")
        self.assertIn("failed: nginx is not installed", lines["broken"])
        for line in ("good: against tar", "rate: many", "goals not met:", "  slow: 1.82 instead of <= 1.2", "2 of 4 goals met"):
            self.assertIn(line, text)

    def test_nothing_measured_is_a_table_too(self):
        self.assertIn("work", report.table([]))
        self.assertIn("work", growth.table([]))


class PlotTestCase(BenchTestCase):
    POINTS = [growth.Point(name, size, "s", [0.1 * size ** (n / 10)])
              for n, name in enumerate(growth.FIGURES) for size in growth.POINTS]

    def test_draws_a_line_and_a_name_for_each_figure_inside_the_picture(self):
        saved, drawn = self.path / "growth.json", self.path / "growth.svg"
        growth.save(saved, {}, self.POINTS)
        done = bench("--plot", saved, "--svg", drawn)
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, r"(?m)^start of serve .* 3\.98 +9\.15")
        root = xml.etree.ElementTree.parse(drawn).getroot()
        space = "{http://www.w3.org/2000/svg}"
        self.assertEqual(sum(e.get("class") == "line" for e in root.iter(f"{space}path")), len(growth.FIGURES))
        texts = [e for e in root.iter(f"{space}text") if e.get("x") == str(plot.WIDTH - plot.RIGHT + 34)]
        self.assertEqual(len(texts), len(growth.FIGURES) + 1)
        heights = sorted(float(e.get("y")) for e in texts)
        self.assertTrue(all(b - a > plot.LINE - 0.2 for a, b in zip(heights, heights[1:])), "names stand apart")
        self.assertGreaterEqual(heights[0], plot.TOP)
        self.assertLess(heights[-1], plot.HEIGHT - plot.BOTTOM + plot.LINE)
        self.assertIn("prefers-color-scheme: dark", drawn.read_text())

    def test_names_stay_in_order_and_as_near_as_they_can(self):
        self.assertEqual(plot.apart([], 10, 0, 100), [])
        self.assertEqual(plot.apart([50, 20], 10, 0, 100), [50, 20])
        self.assertEqual(plot.apart([50, 50, 50], 10, 0, 100), [40, 50, 60])
        self.assertEqual(plot.apart([100, 99], 10, 0, 100), [100, 90])
        self.assertEqual(plot.apart([0, 1, 2], 10, 0, 100), [0, 10, 20])

    def test_a_file_without_two_sizes_is_refused(self):
        saved = self.path / "growth.json"
        growth.save(saved, {}, [point for point in self.POINTS if point.revisions == 10_000])
        self.assertIn("two sizes", bench("--plot", saved, "--svg", self.path / "x.svg").stderr)
        saved.write_text(json.dumps({"schema": 1, "kind": "growth", "rows": [{"figure": "x"}]}))
        done = bench("--plot", saved, "--svg", self.path / "x.svg")
        self.assertEqual(done.returncode, 1)
        self.assertIn("a row is not what it should be", done.stderr)
        self.assertFalse((self.path / "x.svg").exists())


if __name__ == "__main__":
    unittest.main()
