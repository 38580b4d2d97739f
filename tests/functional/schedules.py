"""`gapferry serve` starts jobs by itself: when they are due, one at a time, each in a process of its own.

A schedule is made to be due by moving the moment at which it was first seen into the past: what a
machine finds that was off at the time. The arithmetic of times, days and zones is tested apart, in
tests/unit/mirror/schedule_test.cc.
"""
import contextlib
import datetime
import fcntl
import os
import pathlib
import signal
import socket
import sqlite3
import threading
import time
import unittest

import small_catalogue
from harness import World
from wsus import HeldUpstream, WsusServer

TICKS = 10_000_000


def within(seconds, what, condition):
    """The first true value of `condition` within so many seconds."""
    until = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def change(mirror, statement, *values):
    with contextlib.closing(sqlite3.connect(mirror.path / "catalog.db", timeout=30)) as db:
        with db:
            return db.execute(statement, values).rowcount


def past_time(hours=2):
    """A time of the local day that has passed and does not come again during the test."""
    return (datetime.datetime.now() - datetime.timedelta(hours=hours)).strftime("%H:%M")


def was_off(mirror):
    """As if the schedule had been there for long, and the machine off when its time came."""
    assert change(mirror, "UPDATE schedule_seen SET since = since - ?", 5 * 86400 * TICKS) == 2


def wait_is_over(mirror):
    """As if the last job had ended long enough ago for the next attempt."""
    assert change(mirror, "UPDATE job SET ended_at = ended_at - ?1, started_at = started_at - ?1 "
                  "WHERE id = (SELECT max(id) FROM job)", 100 * TICKS) == 1


def jobs(mirror, kind="sync"):
    """Newest first."""
    return [e for e in mirror.run("log", "--jobs", "--limit", "0")["entries"] if e["kind"] == kind]


def ended(mirror, count=1, kind="sync", has="ended"):
    """The newest job, once there are so many, all of which have ended. `has`: what serve adds to the
    record of the newest a moment after its end."""
    def look():
        found = jobs(mirror, kind)
        if len(found) < count or not all(j["ended"] for j in found) or not found[0][has]:
            return None
        return found[0]
    return within(60, f"{count} jobs have ended", look)


def running(mirror):
    return within(60, "a job runs", lambda: (lambda job: job if job and job["progress"] else None)(
        mirror.run("job", "show")["running"]))


def pid_of(job):
    return int(job["process"].split("/")[0])


def is_gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


class ScheduleTest(unittest.TestCase):
    upstream_class = WsusServer

    def setUp(self):
        self.world = self.enterContext(World())
        self.upstream = self.enterContext(self.upstream_class())
        small_catalogue.fill(self.upstream)
        self.mirror = self.world.init("m", "--upstream", self.upstream.url)

    def schedule(self, *more):
        return self.mirror.run("schedule", "set", "sync", "--at", past_time(), *more)

    def since(self):
        with contextlib.closing(sqlite3.connect(self.mirror.path / "catalog.db", timeout=30)) as db:
            return db.execute("SELECT text, since FROM schedule_seen WHERE kind = 'sync'").fetchone()

    def next_run(self):
        [only] = [s for s in self.mirror.status()["schedules"] if s["kind"] == "sync"]
        return only


class Starting(ScheduleTest):
    def test_a_missed_time_is_made_up_for_once(self):
        shown = self.schedule()
        self.assertFalse(shown["serve_runs"])
        with self.mirror.serve():
            within(20, "serve runs the schedules", lambda: self.mirror.status()["schedules_run"])
            time.sleep(3)
            self.assertEqual(jobs(self.mirror), [])  # what was missed before it was made is not
        self.assertEqual(self.upstream.calls["GetCookie"], 0)
        was_off(self.mirror)
        self.assertEqual(self.next_run()["reason"], "missed")
        with self.mirror.serve():
            job = ended(self.mirror)
            self.assertEqual((job["result"], job["actor"]), ("done", "schedule"))
            self.assertEqual(job["counts"]["new"], len(self.upstream.documents))
            self.assertEqual(job["counts"]["withdrawn"], 0)
            self.assertIsNone(job["error"])
            within(20, "the next start is told", lambda: self.next_run()["reason"] == "time")
            time.sleep(3)
            self.assertEqual(len(jobs(self.mirror)), 1)
            status = self.mirror.status()
            self.assertEqual(status["last_sync"]["result"], "done")
            self.assertEqual(status["last_sync"]["actor"], "schedule")
            self.assertFalse([n for n in status["notices"] if n["reason"] == "schedule-idle"])
        entry = next(e for e in self.mirror.rows("log") if e.get("action") == "sync")
        self.assertEqual(entry["actor"], "schedule")
        self.assertTrue([n for n in self.mirror.status()["notices"] if n["reason"] == "schedule-idle"])

    def test_an_edited_file_counts_without_a_restart(self):
        with self.mirror.serve():
            within(20, "serve is ready", lambda: self.mirror.status()["schedules_run"])
            self.mirror.configure(schedule__sync__times=f'["{past_time()}"]')
            within(20, "the schedule is seen", lambda: change(
                self.mirror, "UPDATE schedule_seen SET text = text WHERE kind = 'sync' AND "
                "text LIKE '%every day'"))
            was_off(self.mirror)
            self.assertEqual(ended(self.mirror)["result"], "done")
            # Half a file that reads well, while it is being written: what was seen of the schedule stays.
            path = self.mirror.path / "gapferry.yaml"
            good = path.read_text()
            seen = self.since()
            for _ in range(2):  # one of them lies under a look of serve
                self.mirror.configure(schedule__sync__times="[]")
                time.sleep(1.5)
                path.write_text(good)
                time.sleep(1)
            time.sleep(1.5)
            self.assertEqual(self.since(), seen)
            # A broken file leaves the schedule and the server alone.
            path.write_text(good + "\nnonsense: 1\n")
            time.sleep(3)
            path.write_text(good)
            self.assertEqual(len(jobs(self.mirror)), 1)
            self.mirror.run("schedule", "remove", "sync")
            change(self.mirror, "DELETE FROM job")
            time.sleep(3)
            self.assertEqual(jobs(self.mirror), [])

    def test_a_mirror_held_by_another_job_is_tried_again(self):
        self.schedule()
        was_off(self.mirror)
        with open(self.mirror.path / "job.lock", "w") as lock:
            lock.write("export (pid 4711)\n")
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self.mirror.serve():
                job = ended(self.mirror)
                self.assertEqual(job["result"], "postponed")
                self.assertIn("export (pid 4711)", job["error"])
                plan = self.next_run()
                self.assertEqual((plan["reason"], plan["attempt"]), ("retry", 2))
                fcntl.flock(lock, fcntl.LOCK_UN)
                wait_is_over(self.mirror)
                self.assertEqual(ended(self.mirror, 2)["result"], "done")

    def test_an_upstream_that_is_not_there_is_tried_again(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            self.mirror.configure(upstream__wsus=f'"http://127.0.0.1:{closed.getsockname()[1]}"')
            self.schedule()
            was_off(self.mirror)
            with self.mirror.serve() as server:
                job = ended(self.mirror, has="next")
                self.assertEqual((job["result"], job["actor"]), ("failed", "schedule"))
                self.assertIn("127.0.0.1", job["error"])
                self.assertEqual(job["detail"]["code"], "transient")
                plan = self.next_run()
                self.assertEqual((plan["reason"], plan["attempt"]), ("retry", 2))
                self.mirror.configure(upstream__wsus=f'"{self.upstream.url}"')
                wait_is_over(self.mirror)
                self.assertEqual(ended(self.mirror, 2)["result"], "done")
                self.assertIsNone(server.process.poll())


class WhileItRuns(ScheduleTest):
    upstream_class = HeldUpstream

    @contextlib.contextmanager
    def held(self):
        """serve, and the scheduled sync in the middle of its work."""
        self.schedule()
        was_off(self.mirror)
        with self.mirror.serve() as server:
            self.assertTrue(self.upstream.reached.wait(60))
            yield server, running(self.mirror)
        self.upstream.release.set()

    def test_others_see_how_far_it_is_and_can_stop_it(self):
        with self.held() as (server, job):
            self.assertEqual((job["kind"], job["actor"]), ("sync", "schedule"))
            status = self.mirror.status()
            self.assertTrue(status["job_running"])
            self.assertEqual(status["job"]["progress"]["step"], job["progress"]["step"])
            self.assertEqual(jobs(self.mirror)[0]["result"], "running")
            self.assertIn("job cancel", self.mirror.refuse(11, "sync")["next"])
            stopped = self.mirror.run("job", "cancel")
            self.assertEqual((stopped["result"], stopped["kind"]), ("cancelled", "sync"))
            within(10, "the process has ended", lambda: is_gone(pid_of(job)))
            time.sleep(4)
            self.assertEqual([j["result"] for j in jobs(self.mirror)], ["cancelled"])
            self.assertEqual(self.next_run()["reason"], "time")
            self.assertIn("job.cancel", [e.get("action") for e in self.mirror.rows("log")])
            self.mirror.refuse(10, "job", "cancel")
            self.assertIsNone(server.process.poll())

    def test_a_job_of_a_person_is_cancelled_alike(self):
        done = {}
        job = threading.Thread(target=lambda: done.update(end=self.mirror.try_run("sync")))
        job.start()
        self.assertTrue(self.upstream.reached.wait(60))
        self.assertTrue(running(self.mirror)["actor"].startswith("user:"))
        self.mirror.run("job", "cancel")
        job.join(60)
        self.assertEqual(done["end"].code, 130, done["end"])
        self.upstream.release.set()
        self.mirror.run("sync")
        self.assertEqual([j["result"] for j in jobs(self.mirror)], ["done", "cancelled"])

    def test_a_crash_leaves_the_server_alone(self):
        with self.held() as (server, job):
            os.kill(pid_of(job), signal.SIGABRT)  # sanitizers catch other crashes
            crashed = ended(self.mirror)
            self.assertEqual(crashed["result"], "interrupted")
            self.assertIn("signal 6", crashed["error"])
            self.assertEqual(crashed["detail"]["progress"]["step"], job["progress"]["step"])
            plan = self.next_run()
            self.assertEqual((plan["reason"], plan["attempt"]), ("retry", 2))
            with socket.create_connection(("127.0.0.1", server.port), 5):
                pass
            self.upstream.release.set()
            wait_is_over(self.mirror)
            self.assertEqual(ended(self.mirror, 2)["result"], "done")

    def test_it_inherits_no_listening_socket(self):
        with self.held() as (server, job):
            port = f":{server.port:04X}"
            lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()]
            listening = {f"socket:[{line[9]}]" for line in lines
                         if line[1].endswith(port) and line[3] == "0A"}

            def sockets(pid):
                return {os.readlink(f) for f in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
            self.assertTrue(listening & sockets(server.process.pid))
            self.assertFalse(listening & sockets(pid_of(job)))

    def test_stopping_serve_stops_it_and_the_next_serve_goes_on(self):
        with self.held() as (server, job):
            began = time.monotonic()
            server.stop()
            self.assertLess(time.monotonic() - began, 20)
            self.assertTrue(is_gone(pid_of(job)))
            [stopped] = jobs(self.mirror)
            self.assertEqual((stopped["result"], stopped["detail"]["reason"]),
                             ("interrupted", "serve-stopped"))
            self.upstream.release.set()
            wait_is_over(self.mirror)
            server.start()
            self.assertEqual(ended(self.mirror, 2)["result"], "done")

    def test_it_dies_with_serve_and_is_never_shown_as_running(self):
        with self.held() as (server, job):
            server.kill()
            within(20, "the job has ended", lambda: is_gone(pid_of(job)))
            [killed] = jobs(self.mirror)
            self.assertEqual(killed["result"], "interrupted")
            status = self.mirror.status()
            self.assertFalse(status["job_running"])
            self.assertIn("job-unfinished", [n["reason"] for n in status["notices"]])
            self.upstream.release.set()
            self.mirror.run("sync")
            [_, killed] = jobs(self.mirror)
            self.assertEqual(killed["detail"]["progress"]["step"], job["progress"]["step"])


class Setting(unittest.TestCase):
    def test_it_is_set_shown_and_removed(self):
        with World() as world:
            mirror = world.init("m", "--upstream", "http://127.0.0.1:9")
            path = mirror.path / "gapferry.yaml"
            path.write_text(path.read_text() + "# the last word\n")
            before = path.read_text()
            mirror.run("schedule", "set", "sync", "--at", "14:00,02:00", "--days", "mon-fri", "--days",
                       "sun", "--randomise", "30m")
            shown = mirror.run("schedule", "set", "rollup", "--after-sync")
            self.assertEqual(shown["sync"], {"times": ["02:00", "14:00"], "randomise_seconds": 1800,
                                             "days": ["mon", "tue", "wed", "thu", "fri", "sun"]})
            self.assertTrue(shown["rollup"]["after_sync"])
            self.assertEqual(mirror.run("schedule", "show"), shown)
            # The moment within the half hour does not move.
            starts = {mirror.run("schedule", "show")["next"][0]["next"] for _ in range(3)}
            self.assertEqual(len(starts), 1)
            mirror.run("schedule", "remove", "sync")
            mirror.run("schedule", "remove", "rollup")
            self.assertEqual(path.read_text(), before)
            self.assertEqual(path.stat().st_mode & 0o777, 0o644)
            self.assertIn("schedule.set", [e.get("action") for e in mirror.rows("log")])
            mirror.refuse(10, "schedule", "remove", "sync")

    def test_what_makes_no_sense_is_refused_and_changes_nothing(self):
        with World() as world:
            mirror = world.init("m", "--upstream", "http://127.0.0.1:9")
            before = (mirror.path / "gapferry.yaml").read_text()
            for words in (["sync"], ["sync", "--at", "25:00"], ["sync", "--at", "2:00"],
                          ["sync", "--at", "02:00", "--days", "someday"],
                          ["sync", "--at", "02:00", "--randomise", "13h"],
                          ["sync", "--after-sync"], ["export", "--at", "02:00"], []):
                mirror.refuse(2, "schedule", "set", *words)
            self.assertEqual((mirror.path / "gapferry.yaml").read_text(), before)

    def test_behind_a_gap_nothing_is_scheduled(self):
        with World() as world:
            site = world.init("site", "--gap")
            self.assertIn("never connects",
                          site.refuse(2, "schedule", "set", "sync", "--at", "02:00")["message"])
            site.configure(serve__http__listen="127.0.0.1:0", schedule__sync__times='["02:00"]')
            error = site.refuse(2, "serve")
            self.assertEqual(error["reason"], "no-upstream")
            self.assertIn("schedule remove sync", error["next"])
            self.assertIn("schedule-useless", [n["reason"] for n in site.status()["notices"]])
            site.run("schedule", "remove", "sync")
            with site.serve():
                pass


class Chain(unittest.TestCase):
    def test_a_rollup_follows_each_sync_and_the_upstream_knows_the_server(self):
        with World() as world:
            harbour = world.init("harbour", "--name", "harbour")
            with harbour.serve() as server:
                pier = world.init("pier", "--upstream", server.url, "--name", "pier", "--replica")
                self.assertEqual(harbour.rows("downstream", "list"), [])
                pier.run("schedule", "set", "sync", "--at", past_time())
                pier.run("schedule", "set", "rollup", "--after-sync")
                was_off(pier)
                with pier.serve():
                    self.assertEqual(ended(pier)["result"], "done")
                    rollup = ended(pier, kind="rollup")
                    self.assertEqual((rollup["result"], rollup["actor"]), ("done", "schedule"))
                    time.sleep(3)
                    self.assertEqual(len(jobs(pier, "rollup")), 1)
                [known] = harbour.rows("downstream", "list")
                self.assertEqual((known["guid"], known["replica"]), (pier.status()["guid"], True))
                self.assertIsNotNone(known["last_rollup"])
                self.assertEqual(known["chain"], [{"guid": known["guid"], "name": known["name"]}])
                self.assertEqual(harbour.status()["counts"]["downstream_servers"], 1)
                self.assertIsNotNone(harbour.status()["last_downstream_contact"])
                self.remove(harbour, known)

    def remove(self, harbour, known):
        shown = harbour.run("downstream", "show", known["name"].upper())
        self.assertEqual((shown["guid"], shown["below"]), (known["guid"], []))
        harbour.refuse(10, "downstream", "show", "nobody")
        harbour.refuse(2, "downstream", "remove", known["name"])  # needs an answer
        self.assertEqual(len(harbour.rows("downstream", "list")), 1)
        gone = harbour.run("downstream", "remove", known["guid"], "--yes")
        self.assertEqual((gone["servers"], gone["computers"]), (1, 0))
        self.assertEqual(harbour.rows("downstream", "list"), [])
        harbour.refuse(10, "downstream", "remove", known["guid"], "--yes")
        self.assertIn("downstream.remove", [e.get("action") for e in harbour.rows("log")])


if __name__ == "__main__":
    unittest.main()
