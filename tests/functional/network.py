"""The disconnected side attempts no outgoing connection and looks up no name.

Every step of it runs where only loopback exists (a network namespace of its own), and under an
interposer that writes down each connect() and each look-up.
"""
import os
import pathlib
import subprocess
import sys
import unittest

import small_catalogue
from wsus import WsusServer
from harness import KILL_POINTS, Mirror, World

INSIDE = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def namespace():
    """The words that start a program where only loopback exists, or None."""
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        try:
            if subprocess.run([*words, *INSIDE, "true"], capture_output=True).returncode == 0:
                return [*words, *INSIDE]
        except OSError:
            return None
    return None


def disconnected_side(folder, bundle):
    """All that happens behind the gap; runs inside the namespace."""
    folder = pathlib.Path(folder)
    site = Mirror(folder / "site")
    site.run("verify", bundle)
    site.run("import", bundle, "--dry-run")
    site.run("import", bundle, "--yes")
    site.run("store", "check", "--deep")
    with site.serve() as server:
        facts = folder / "facts.yaml"
        facts.write_text("name: pc1.example\n")
        for verb in ("scan", "report"):
            words = ("client", verb, "--server", server.url, "--as", facts, "--state", folder / "client")
            # The client plays a computer of the site; what it connects to is the server alone.
            site.run(*words, env={"GAPFERRY_CONNECT_LOG": str(folder / "client.connects")})
    (folder / "return").mkdir(exist_ok=True)
    site.run("export", "--return", "--to", folder / "return", "--yes")
    site.run("status")
    site.run("log")


class NetworkTest(unittest.TestCase):
    def test_no_step_behind_the_gap_connects_anywhere(self):
        words = namespace()
        if words is None:
            self.skipTest("no network namespace can be made here")
        with World() as world, WsusServer() as upstream:
            small_catalogue.fill(upstream)
            mirror = small_catalogue.connected(world, upstream)
            small_catalogue.join(world, mirror)
            bundle = mirror.run("export", "--to", world.directory("out"), "--for", "site")["bundle"]
            log = world.path / "connects"
            log.write_text("")
            environment = dict(os.environ, LD_PRELOAD=str(KILL_POINTS), GAPFERRY_CONNECT_LOG=str(log))
            done = subprocess.run([*words, sys.executable, __file__, str(world.path), str(bundle)],
                                  env=environment, capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            # The test itself polls the port of serve on 127.0.0.1.
            lines = [line for line in log.read_text().splitlines()
                     if line not in ("connect 127.0.0.1", "lookup 127.0.0.1")]
            self.assertEqual(lines, [])
            client = set((world.path / "client.connects").read_text().splitlines())
            self.assertLessEqual(client, {"connect 127.0.0.1", "lookup 127.0.0.1"})


if __name__ == "__main__":
    if len(sys.argv) == 3 and os.path.isdir(sys.argv[1]):
        disconnected_side(sys.argv[1], sys.argv[2])
    else:
        unittest.main()
