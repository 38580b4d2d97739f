"""Content as clients fetch it: shuffled ranges on several connections, a file over 4 GiB, the odd requests
of real clients, and the same over TLS with a certificate that is renewed while the server runs."""
import concurrent.futures
import hashlib
import http.client
import os
import pathlib
import random
import signal
import socket
import sqlite3
import ssl
import subprocess
import time
import unittest

from harness import PROGRAM, World, free_port

MIB = 1 << 20
LARGE = (4 << 30) + 3 * MIB + 17


def add_file(mirror, data=None, sparse=0):
    """Puts a file into the store as a job would have: its row and its bytes. Returns its path."""
    sha1 = hashlib.sha1(data if data is not None else str(sparse).encode()).digest()
    sha256 = hashlib.sha256(data if data is not None else b"").digest()
    name = sha1.hex().upper()
    folder = mirror.path / "content" / name[-2:]
    folder.mkdir(exist_ok=True)
    with open(folder / f"{name}.cab", "wb") as out:
        if data is not None:
            out.write(data)
        else:
            out.truncate(sparse)
            for offset in (0, (4 << 30) - 3, sparse - 5):
                out.seek(offset)
                out.write(b"mark!")
    db = sqlite3.connect(mirror.path / "catalog.db")
    with db:
        db.execute("UPDATE mirror SET content_sequence = content_sequence + 1")
        db.execute("INSERT INTO content SELECT ?, ?, ?, 'cab', content_sequence FROM mirror",
                   (sha1, sha256, len(data) if data is not None else sparse))
    db.close()
    return f"/Content/{name[-2:]}/{name}.cab"


def get(connection, path, method="GET", **headers):
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer, answer.read()


class ContentTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.mirror = cls.world.init("m", "--upstream", "http://127.0.0.1:9")
        cls.data = random.Random(7).randbytes(9 * MIB + 4321)
        cls.path = add_file(cls.mirror, cls.data)
        cls.large = add_file(cls.mirror, sparse=LARGE)
        serving = cls.mirror.serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        self.addCleanup(connection.close)
        return connection

    def test_shuffled_pieces_on_seven_connections(self):
        pieces = list(range(0, len(self.data), MIB))
        random.Random(1).shuffle(pieces)

        def fetch(share):
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
            got = {}
            for first in share:
                last = min(first + MIB, len(self.data)) - 1
                # As the download service of Windows asks: a length on a GET, nothing conditional.
                answer, body = get(connection, self.path, Range=f"bytes={first}-{last}",
                                   Content_Length="0", Accept="*/*",
                                   User_Agent="Microsoft-Delivery-Optimization/10.1")
                assert answer.status == 206, answer.status
                assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(self.data)}"
                assert answer.headers["Content-Type"] == "application/octet-stream"
                assert answer.headers["Accept-Ranges"] == "bytes"
                assert answer.headers["ETag"].startswith('"') and answer.headers["Last-Modified"]
                got[first] = body
            connection.close()
            return got

        with concurrent.futures.ThreadPoolExecutor(7) as pool:
            parts = {}
            for got in pool.map(fetch, [pieces[i::7] for i in range(7)]):
                parts.update(got)
        self.assertEqual(b"".join(parts[first] for first in sorted(parts)), self.data)

    def test_a_file_over_four_gigabytes(self):
        connection = self.connect()
        answer, _ = get(connection, self.large, "HEAD")
        self.assertEqual(int(answer.headers["Content-Length"]), LARGE)
        for first in (0, (4 << 30) - 3, LARGE - 5):
            answer, body = get(connection, self.large, Range=f"bytes={first}-{first + 4}")
            self.assertEqual((answer.status, body), (206, b"mark!"), first)
        answer, body = get(connection, self.large, Range="bytes=-5")
        self.assertEqual(body, b"mark!")
        answer, body = get(connection, self.large, Range=f"bytes={LARGE}-{LARGE + 1}")
        self.assertEqual((answer.status, answer.headers["Content-Range"]), (416, f"bytes */{LARGE}"))

    def test_conditions_and_methods(self):
        connection = self.connect()
        answer, _ = get(connection, self.path, "HEAD", Range="bytes=0-9")
        self.assertEqual((answer.status, answer.headers["Content-Length"]), (200, str(len(self.data))))
        etag, modified = answer.headers["ETag"], answer.headers["Last-Modified"]
        for condition, status in ((etag, 206), (modified, 206), ('"other"', 200), (f"W/{etag}", 200),
                                  ("Sun, 04 Oct 2020 15:03:36 GMT", 200)):
            answer, body = get(connection, self.path, Range="bytes=1-3", If_Range=condition)
            self.assertEqual(answer.status, status, condition)
            self.assertEqual(body, self.data[1:4] if status == 206 else self.data)
        self.assertEqual(get(connection, self.path, If_None_Match=etag)[0].status, 304)
        self.assertEqual(get(connection, self.path, If_Modified_Since=modified)[0].status, 304)
        self.assertEqual(get(connection, self.path, "DELETE")[0].status, 405)
        lower = "/content" + self.path[len("/Content"):].lower()
        self.assertEqual(get(connection, lower, Range="bytes=0-0")[1], self.data[:1])
        for wrong in (self.path[:-4], self.path.replace("/Content/", "/Content/../Content/"),
                      "/Content/00/" + self.path.rsplit("/", 1)[1], "/Content/", "/Content/AB/x.cab"):
            self.assertEqual(get(connection, wrong)[0].status, 404, wrong)

    def test_plain_http_is_sent_by_the_kernel(self):
        strace = pathlib.Path("/usr/bin/strace")
        if not strace.exists():
            self.skipTest("strace is not installed")
        log = self.world.path / "strace.txt"
        tracer = subprocess.Popen([strace, "-f", "-qq", "-e", "trace=sendfile", "-o", log, "-p",
                                   str(self.server.process.pid)], stderr=subprocess.PIPE)
        try:
            threads = pathlib.Path(f"/proc/{self.server.process.pid}/task")
            until = time.monotonic() + 30
            while any("TracerPid:\t0\n" in (one / "status").read_text() for one in threads.iterdir()):
                if tracer.poll() is not None:
                    self.skipTest(f"strace: {tracer.stderr.read()[-200:]}")
                self.assertLess(time.monotonic(), until, "strace does not take hold")
                time.sleep(0.05)
            self.assertEqual(get(self.connect(), self.path)[1], self.data)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
            tracer.stderr.close()
        self.assertIn("sendfile(", log.read_text())


def certificate(folder, name, days=30):
    """A self-signed certificate and its key, written over what is there."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-subj", f"/CN={name}", "-days", str(days), "-keyout", folder / "new.key",
                    "-out", folder / "new.pem"], check=True, capture_output=True)
    os.replace(folder / "new.key", folder / "server.key")
    os.replace(folder / "new.pem", folder / "server.pem")


class TlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.mirror = cls.world.init("m", "--upstream", "http://127.0.0.1:9")
        cls.data = random.Random(8).randbytes(3 * MIB)
        cls.path = add_file(cls.mirror, cls.data)
        certificate(cls.mirror.path / "keys", "first.example")
        cls.port = free_port()
        cls.mirror.configure(serve__https__listen=f"127.0.0.1:{cls.port}",
                             serve__https__certificate="keys/server.pem",
                             serve__https__key="keys/server.key")

    def common_name(self):
        context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", self.port), 10) as raw:
            with context.wrap_socket(raw) as tls:
                return tls.getpeercert(binary_form=True)

    def wait_for(self, condition, what, seconds=20):
        until = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), until, what)
            time.sleep(0.1)

    def test_files_and_renewed_certificates(self):
        with self.mirror.serve() as server:
            context = ssl._create_unverified_context()
            kept = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)
            self.assertEqual(get(kept, self.path)[1], self.data)
            self.assertEqual(get(kept, self.path, Range="bytes=5-9")[1], self.data[5:10])
            first = self.common_name()
            certificate(self.mirror.path / "keys", "second.example")
            self.wait_for(lambda: self.common_name() != first, "a renewed certificate is seen by itself")
            second = self.common_name()
            self.assertEqual(get(kept, self.path, Range="bytes=0-0")[0].status, 206,
                             "an open connection goes on")
            # One that does not fit is not taken, and the log says so.
            (self.mirror.path / "keys/server.key").write_text("no key\n")
            self.wait_for(lambda: "certificate not reloaded" in server.text(), "a bad key is reported")
            self.assertEqual(self.common_name(), second)
            # The file does not change any more: only the signal makes it read it once more.
            refused = server.text().count("certificate not reloaded")
            server.process.send_signal(signal.SIGHUP)
            self.wait_for(lambda: server.text().count("certificate not reloaded") > refused,
                          "SIGHUP reads it")
            certificate(self.mirror.path / "keys", "third.example")
            self.wait_for(lambda: self.common_name() not in (first, second), "a good pair is taken again")
            kept.close()


# Runs a program with a listening socket as descriptor 3, as systemd does.
ACTIVATE = ("import os, socket, sys; s = socket.socket(fileno=int(sys.argv[1])); os.dup2(s.fileno(), 3); "
            "os.set_inheritable(3, True); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', "
            "LISTEN_FDNAMES=sys.argv[2]); os.execv(sys.argv[3], sys.argv[3:])")


class ServiceManagerTest(unittest.TestCase):
    def start(self, mirror, listener, name, notify):
        return subprocess.Popen(
            ["/usr/bin/python3", "-c", ACTIVATE, str(listener.fileno()), name, str(PROGRAM), "serve",
             "--mirror", str(mirror.path), "--json"], pass_fds=[listener.fileno()],
            env=dict(os.environ, NOTIFY_SOCKET=str(notify), WATCHDOG_USEC="2000000"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_takes_sockets_and_tells_when_it_is_ready(self):
        with World() as world, socket.socket() as listener, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            mirror = world.init("m", "--upstream", "http://127.0.0.1:9")
            mirror.configure(serve__http__listen="127.0.0.1:1")  # would be refused
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            notify.bind(str(world.path / "notify"))
            notify.settimeout(60)
            process = self.start(mirror, listener, "http", world.path / "notify")
            try:
                told = [notify.recv(4096).decode()]
                while "READY=1" not in told[-1]:
                    told.append(notify.recv(4096).decode())
                port = listener.getsockname()[1]
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                self.assertEqual(get(connection, "/")[0].status, 200)
                connection.close()
                while "WATCHDOG=1" not in told[-1]:
                    told.append(notify.recv(4096).decode())
                process.send_signal(signal.SIGTERM)
                while "STOPPING=1" not in told[-1]:
                    told.append(notify.recv(4096).decode())
                out, err = process.communicate(timeout=60)
                self.assertIn(process.returncode, (0, 130), err)
                self.assertIn(f'"port":{port}', out.replace(" ", ""))
            finally:
                if process.poll() is None:
                    process.kill()
                    process.communicate()

    def test_names_a_self_update_folder_that_is_not_there(self):
        with World() as world:
            mirror = world.init("m", "--upstream", "http://127.0.0.1:9")
            mirror.configure(serve__http__listen="127.0.0.1:0", serve__self_update="nowhere")
            error = mirror.refuse(10, "serve")
            self.assertIn(f"serve.self_update: folder '{mirror.path}/nowhere'", error["message"])
            self.assertIn(f"{mirror.path}/gapferry.yaml", error["next"])

    def test_names_what_keeps_it_from_starting(self):
        with World() as world:
            mirror = world.init("m", "--upstream", "http://127.0.0.1:9")
            mirror.configure(serve__http__listen="192.0.2.1:8530")
            self.assertIn("serve --listen ADDRESS:PORT", mirror.refuse(2, "serve")["next"])
            mirror.configure(serve__http__listen="127.0.0.1:0", serve__https__listen="127.0.0.1:0",
                             serve__https__certificate="keys/none.pem", serve__https__key="keys/none.key")
            error = mirror.refuse(10, "serve")
            self.assertIn("keys/none.pem", error["message"])
            self.assertEqual(error["next"], f"correct 'serve.https' in {mirror.path}/gapferry.yaml")
            mirror.configure(serve__http="[")
            self.assertIn("correct this place of", mirror.refuse(2, "serve")["next"])

    def test_refuses_a_tls_socket_without_certificate(self):
        with World() as world, socket.socket() as listener:
            mirror = world.init("m", "--upstream", "http://127.0.0.1:9")
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            process = self.start(mirror, listener, "https", world.path / "nobody")
            _, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 2, err)
            self.assertIn("serve.https", err)


if __name__ == "__main__":
    unittest.main()
