"""While a sync runs for a long time, approvals and client reports succeed, and a second job is refused
with the name of the one that holds the mirror."""
import threading
import time
import unittest

import small_catalogue
from wsus import HeldUpstream
from harness import World


class LocksTest(unittest.TestCase):
    def test_short_work_goes_on_while_a_sync_runs(self):
        with World() as world, HeldUpstream() as upstream:
            upstream.release.set()
            small_catalogue.fill(upstream)
            mirror = small_catalogue.connected(world, upstream)
            small_catalogue.advance(upstream)
            upstream.release.clear()
            upstream.reached.clear()
            result = {}
            job = threading.Thread(target=lambda: result.update(done=mirror.try_run("sync")))
            with mirror.serve() as server:
                job.start()
                self.assertTrue(upstream.reached.wait(60))

                began = time.monotonic()
                approved = mirror.run("update", "approve", small_catalogue.LEAVES[1], "--group", "Office")
                self.assertTrue(approved)
                mirror.run("group", "add", "Second")
                facts = world.path / "facts.yaml"
                facts.write_text("name: pc1.example\n")
                state = world.directory("client")
                for verb in ("scan", "report"):
                    mirror.run("client", verb, "--server", server.url, "--as", facts, "--state", state)
                self.assertLess(time.monotonic() - began, 20)
                self.assertEqual(len(mirror.rows("computer", "list")), 1)

                error = mirror.refuse(11, "sync")
                self.assertIn("sync", error["message"])

                upstream.release.set()
                job.join(60)
            self.assertEqual(result["done"].code, 0, result["done"])
            listed = {u.get("id", u.get("guid")) for u in mirror.rows("update", "list")}
            self.assertIn(small_catalogue.NEW_LEAF, listed)

    def test_ctrl_c_stops_a_sync_which_then_resumes(self):
        import os
        import signal
        import subprocess
        from harness import PROGRAM
        with World() as world, HeldUpstream() as upstream:
            small_catalogue.fill(upstream)
            mirror = world.init("m", "--upstream", upstream.url)
            process = subprocess.Popen([str(PROGRAM), "sync", "--mirror", str(mirror.path), "--json"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       env=dict(os.environ))
            self.assertTrue(upstream.reached.wait(60))
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            upstream.release.set()
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, out + err)
            self.assertIn('"exit_error"', out.splitlines()[-1])
            self.assertEqual(mirror.status()["generation"], 0)
            mirror.run("sync")
            self.assertGreater(mirror.status()["generation"], 0)


if __name__ == "__main__":
    unittest.main()
