"""What the update server of the tests does wrong, when told to, and how that goes over the wire.

    upstream.on("GetUpdateData", call=3, reset_after_bytes=5000)
    upstream.on("GetCookie", times=2, fault=("ServerBusy", ""), headers={"Retry-After": "7"})

`on(operation, ...)` waits for the `call`-th call of the operation from now on (absent: each one) and acts
`times` times (absent: once with `call`, else always). `operation` is a name, "content" or "*"; `when` is a
predicate over the request. It returns the Trouble, whose `hits` counts what it did. It does one of

    fault=(code, message)      code None: a fault without ErrorCode
    status=N, body=, content_type=     an answer of somebody in between
    edit=function              of the answer's body
    reset="before" | "after"   the connection is reset before or after the request was carried out
    reset_after_bytes=N        so much of the body, then a reset
    cut_after_bytes=N          so much of the body, then the end of the connection, with Content-Length
    cut_without_length=N       the same without: looks like a complete answer
    cut_chunked=N              the same, chunked, without the last chunk
    endless=bytes              the answer, then these bytes for ever (`endless_at`: so much of the answer)
    stall_after_bytes=N        so much, and then nothing more while the connection stays open
    drip=(N, seconds)          N bytes every so often
    raw=bytes                  these instead of an HTTP answer
    hang_up=True               the whole answer, then the connection ends without a word
    run=function, hold=Event   called, waited for, before the request is carried out
and `headers` adds to those of the answer.
"""
import os
import socket
import struct
import threading
import time


class Trouble:
    def __init__(self, operation, call=None, times=None, when=None, headers=None, **action):
        unknown = set(action) - ACTIONS
        assert not unknown, unknown
        self.operation, self.call, self.when = operation, call, when
        self.left = times if times is not None else 1 if call is not None else None
        self.headers, self.action = headers or {}, action
        self.seen, self.hits, self.bytes_sent = 0, 0, 0

    def __getattr__(self, name):
        return self.__dict__["action"].get(name) if name in ACTIONS else self.__getattribute__(name)

    def applies(self, operation, request):
        if self.operation not in ("*", operation) or (self.when and not self.when(request)):
            return False
        self.seen += 1
        if self.left == 0 or (self.call is not None and self.seen < self.call):
            return False
        if self.left is not None:
            self.left -= 1
        self.hits += 1
        return True


ACTIONS = {"fault", "status", "body", "content_type", "edit", "reset", "reset_after_bytes",
           "cut_after_bytes", "cut_without_length", "cut_chunked", "endless", "endless_at",
           "stall_after_bytes", "drip", "hang_up", "raw", "run", "hold"}


class Troubles:
    """The list of what is to go wrong; each request meets at most one, the first that applies."""

    def __init__(self):
        self.list, self.lock = [], threading.Lock()

    def on(self, operation, **options):
        trouble = Trouble(operation, **options)
        with self.lock:
            self.list.append(trouble)
        return trouble

    def clear(self):
        with self.lock:
            self.list.clear()

    def meet(self, operation, request):
        with self.lock:
            return next((t for t in self.list if t.applies(operation, request)), None)


def reset(handler):
    """Ends the connection with RST; what was not read or sent is lost."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())


def left(handler):
    """Whether the other side has ended the connection."""
    handler.connection.settimeout(0.05)
    try:
        return handler.connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def send(handler, status, headers, body, trouble, closing=None):
    """Sends one answer the way `trouble` (or None) wants it. `closing` is an Event of the server's end."""
    t = trouble or Trouble("none")
    if t.reset is not None:
        return reset(handler)
    if t.raw is not None:
        handler.wfile.write(t.raw)
        handler.close_connection = True
        return None
    no_length = t.cut_without_length is not None
    chunked = t.cut_chunked is not None or t.endless is not None
    handler.send_response(status)
    for name, value in {**headers, **t.headers}.items():
        handler.send_header(name, value)
    if no_length:
        handler.send_header("Connection", "close")
    elif chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    else:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command == "HEAD":
        return None
    out = handler.wfile
    if t.reset_after_bytes is not None:
        out.write(body[:t.reset_after_bytes])
        time.sleep(0.05)  # lets the other side read it before the reset throws it away
        return reset(handler)
    if t.endless is not None:
        return endless(handler, body if t.endless_at is None else body[:t.endless_at], t)
    if t.stall_after_bytes is not None:
        out.write(body[:t.stall_after_bytes])
        while not left(handler) and not (closing and closing.is_set()):
            pass
        handler.close_connection = True
        return None
    if t.drip is not None:
        count, seconds = t.drip
        for i in range(0, len(body), count):
            out.write(body[i:i + count])
            time.sleep(seconds)
        return None
    if t.cut_chunked is not None:
        part = body[:t.cut_chunked]
        out.write(b"%x\r\n%s\r\n" % (len(part), part))
    else:
        cut = next((c for c in (t.cut_after_bytes, t.cut_without_length) if c is not None), len(body))
        out.write(body[:cut])
    if no_length or t.cut_chunked is not None or t.cut_after_bytes is not None or t.hang_up:
        handler.close_connection = True
    return None


def endless(handler, body, trouble):
    """Until the other side has enough; a test that waits for ever is ended by its own time limit."""
    out = handler.wfile
    handler.close_connection = True
    piece = trouble.endless * (max(1, 65536 // len(trouble.endless)))
    try:
        out.write(b"%x\r\n%s\r\n" % (len(body), body) if body else b"")
        chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
        while True:
            out.write(chunk)
            trouble.bytes_sent += len(piece)
    except OSError:
        pass
