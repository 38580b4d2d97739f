"""A load generator for content: 1 MiB ranges in shuffled order over keep-alive connections, as the
Windows download agent asks for them. Usage: ranges.py HOST PORT SECONDS CONNECTIONS PATH:SIZE..."""
import multiprocessing
import random
import socket
import ssl
import sys
import time

PIECE = 1 << 20


def receive(connection, buffer):
    """Reads one answer and returns its body's size. Bodies are dropped where they arrive."""
    view = memoryview(buffer)
    filled = connection.recv_into(view)
    end = buffer.find(b"\r\n\r\n", 0, filled)
    while end < 0:
        more = connection.recv_into(view[filled:])
        if more == 0:
            raise ConnectionError("closed in the header")
        filled += more
        end = buffer.find(b"\r\n\r\n", 0, filled)
    head = bytes(buffer[:end]).lower()
    status = head[9:12]
    if status != b"206":
        raise ConnectionError(f"status {status.decode()}")
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    rest = length - (filled - end - 4)
    while rest > 0:
        more = connection.recv_into(view, min(rest, len(buffer)))
        if more == 0:
            raise ConnectionError("closed in the body")
        rest -= more
    return length


def load(host, port, seconds, files, seed, totals, authority):
    try:
        totals.put(request_ranges(host, port, seconds, files, seed, authority))
    except OSError as error:
        totals.put(error)


def request_ranges(host, port, seconds, files, seed, authority):
    rng = random.Random(seed)
    buffer = bytearray(1 << 20)
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if authority:
        context = ssl.create_default_context(cafile=authority)
        connection = context.wrap_socket(connection, server_hostname=host)
    until = time.monotonic() + seconds
    received = requests = 0
    while time.monotonic() < until:
        path, size = rng.choice(files)
        offset = PIECE * rng.randrange((size + PIECE - 1) // PIECE)
        last = min(offset + PIECE, size) - 1
        connection.sendall((f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
                            f"Range: bytes={offset}-{last}\r\nAccept: */*\r\n"
                            "Content-Length: 0\r\nConnection: Keep-Alive\r\n\r\n").encode())
        received += receive(connection, buffer)
        requests += 1
    return received, requests


def measure(host, port, seconds, connections, files, authority=None):
    """Bytes per second over all connections; with a file of an authority over TLS."""
    totals = multiprocessing.Queue()
    started = time.monotonic()
    workers = [multiprocessing.Process(target=load, args=(host, port, seconds, files, n, totals, authority))
               for n in range(connections)]
    for worker in workers:
        worker.start()
    received = [totals.get(timeout=seconds + 30) for _ in workers]
    elapsed = time.monotonic() - started
    for worker in workers:
        worker.join()
    for outcome in received:
        if isinstance(outcome, OSError):
            raise outcome
    return sum(bytes_ for bytes_, _ in received) / elapsed


def main():
    host, port, seconds, connections = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    files = [(path, int(size)) for path, size in (word.rsplit(":", 1) for word in sys.argv[5:])]
    print(f"{measure(host, port, seconds, connections, files):.0f}")


if __name__ == "__main__":
    main()
