"""The update server of the tests on 127.0.0.1: HTTP, content, and the troubles it was told to make.

    with WsusServer() as upstream:
        upstream.add(document(...))             # see documents.py
        upstream.content[sha1_hex] = data       # a file; upper-case hex
        upstream.on("GetUpdateData", call=2, reset_after_bytes=500)     # see trouble.py
        mirror = world.init("m", "--upstream", upstream.url)

`calls` counts requests by operation ("content" for files), `log` keeps them in their order.
WsusServer("mu") answers as Microsoft's own service does.
"""
import collections
import http.server
import re
import socket
import threading
import time
import zlib

import xpress

from .operations import REPORTING, Operations, fault_body
from .trouble import Troubles, reset, send

PATHS = {"GetAuthorizationCookie": "/dssauthwebservice/dssauthwebservice.asmx"}
SYNC = "/serversyncwebservice/serversyncwebservice.asmx"


class Request:
    """What a trouble's `when` may look at."""

    def __init__(self, operation, path, headers, body):
        self.operation, self.path, self.headers, self.body = operation, path, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


class WsusServer(Operations):
    def __init__(self, kind="ws2025", tls=None):
        """`tls` is an ssl.SSLContext of a server, whose certificate is for localhost."""
        super().__init__(kind)
        self.calls, self.log = collections.Counter(), []
        self.xpress, self.troubles = True, Troubles()
        self.closing, self.state_lock = threading.Event(), threading.RLock()
        self.requests, self.times = [], []

        class Handler(UpdateHandler):
            upstream = self

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, *_):
                pass  # a caller that was killed in the middle is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
            self.url = f"https://localhost:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def on(self, operation, **options):
        return self.troubles.on(operation, **options)

    def calm(self):
        """No more troubles, and the counters begin anew."""
        self.troubles.clear()
        self.fault = None
        self.calls.clear()
        self.log.clear()
        self.requests.clear()

    def count(self, operation, request):
        with self.state_lock:
            self.calls[operation] += 1
            self.log.append(operation)
            self.requests.append(request)
            self.times.append(time.monotonic())

    def call(self, operation, body):
        """One operation; tests may replace an operation's method in a subclass."""
        if operation in OVERLAPPING:
            return self.perform(operation, body)
        with self.state_lock:
            return self.perform(operation, body)


# Parallel batches must be able to meet at the server.
OVERLAPPING = {"GetUpdateData", "GetUpdateDecryptionData", "DownloadFiles"}


class UpdateHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Microsoft-IIS/10.0", ""
    upstream = None

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self):
        upstream = self.upstream
        body = self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers.get("SOAPAction", "").strip('"').rsplit("/", 1)[-1]
        request = Request(operation, self.path, self.headers, body)
        upstream.count(operation, request)
        trouble = upstream.troubles.meet(operation, request)
        if trouble is not None:
            if trouble.run is not None:
                trouble.run(upstream)
            if trouble.hold is not None:
                trouble.hold.wait(60)
            if trouble.reset == "before":
                return reset(self)
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        if trouble is not None and trouble.fault is not None:
            code, message = trouble.fault
            status, data = 500, fault_body(code, message, operation, url=upstream.url)
        elif trouble is not None and trouble.status is not None:
            status, data = trouble.status, trouble.body or b""
            headers["Content-Type"] = trouble.content_type or "text/html"
        else:
            status, data = self.serve(operation, body)
            if trouble is not None and trouble.edit is not None:
                data = trouble.edit(data)
            if trouble is not None and trouble.content_type is not None:
                headers["Content-Type"] = trouble.content_type
            accepted = self.headers.get("Accept-Encoding", "")
            plain = trouble is not None and trouble.endless is not None
            if status == 200 and upstream.xpress and "xpress" in accepted and not plain:
                headers["Content-Encoding"] = "xpress"
                headers["Vary"] = "Accept-Encoding"
                data = xpress.encode(data)
        return send(self, status, headers, data, trouble, upstream.closing)

    def serve(self, operation, body):
        path = PATHS.get(operation, SYNC)
        if operation in REPORTING:
            path = "/reportingwebservice/reportingwebservice.asmx"
        if self.path.lower() != path:
            self.upstream.violation(f"{operation} at {self.path}")
            return 404, b""
        return self.upstream.call(operation, body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        upstream = self.upstream
        request = Request("content", self.path, self.headers, b"")
        upstream.count("content", request)
        trouble = upstream.troubles.meet("content", request)
        if trouble is not None:
            if trouble.run is not None:
                trouble.run(upstream)
            if trouble.hold is not None:
                trouble.hold.wait(60)
            if trouble.reset == "before":
                return reset(self)
            if trouble.status is not None:
                return send(self, trouble.status, {"Content-Type": trouble.content_type or "text/html"},
                            trouble.body or b"", trouble, upstream.closing)
        sha1 = self.path.rsplit("/", 1)[-1].split(".")[0].rsplit("_", 1)[-1].upper()
        with upstream.state_lock:
            data = upstream.content_for(sha1)
        if upstream.mu and self.path.lower().startswith("/content/"):
            upstream.violation(f"content asked of a catalogue-only server: {self.path}")
            data = None
        if data is None:
            return send(self, 404, {"Content-Type": "text/html"}, b"<html>404</html>", trouble)
        if trouble is not None and trouble.edit is not None:
            data = trouble.edit(data)
        return self.send_file(data, trouble)

    def send_file(self, data, trouble):
        status, tag = 200, f'"{zlib.crc32(data):08x}:0"'
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": tag,
                   "Last-Modified": "Sun, 04 Oct 2026 09:39:26 GMT"}
        whole = self.headers.get("If-Range", tag) != tag
        wanted = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        if wanted and not whole:
            first = int(wanted.group(1))
            if first >= len(data):
                return send(self, 416, {"Content-Range": f"bytes */{len(data)}"}, b"", trouble)
            last = min(int(wanted.group(2) or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            status, data = 206, data[first:last + 1]
        return send(self, status, headers, data, trouble, self.upstream.closing)

    def log_message(self, *_):
        pass


class HeldUpstream(WsusServer):
    """Holds each GetUpdateData back until it is released, so that a sync can be met in the middle."""

    def __init__(self):
        super().__init__()
        self.reached, self.release = threading.Event(), threading.Event()

    def GetUpdateData(self, root):
        if not self.release.is_set():
            self.reached.set()
            self.release.wait(120)
        return super().GetUpdateData(root)
