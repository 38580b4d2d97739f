"""An HTTP proxy for the tests: forwards, tunnels, asks for a password, and writes down what passed.

    with Proxy(password="alice:secret") as proxy:
        proxy.url, proxy.lines      # ["POST http://127.0.0.1:1234/...", "CONNECT localhost:1235"]
"""
import base64
import http.client
import http.server
import select
import socket
import threading
import urllib.parse


class Proxy:
    def __init__(self, password=None):
        self.lines, self.refused = [], 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def allowed(self):
                proxy.lines.append(f"{self.command} {self.path}")
                wanted = "Basic " + base64.b64encode((password or "").encode()).decode()
                if password is None or self.headers.get("Proxy-Authorization") == wanted:
                    return True
                proxy.refused += 1
                self.send_response(407)
                self.send_header("Proxy-Authenticate", 'Basic realm="the proxy"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not self.allowed():
                    return
                url = urllib.parse.urlsplit(self.path)
                there = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
                headers = {k: v for k, v in self.headers.items()
                           if not k.lower().startswith("proxy-") and k.lower() != "connection"}
                there.request(self.command, url.path, body, headers)
                answer = there.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                there.close()

            do_GET = do_POST = do_HEAD = forward

            def do_CONNECT(self):
                if not self.allowed():
                    return
                host, _, port = self.path.rpartition(":")
                with socket.create_connection((host, int(port)), 60) as there:
                    self.send_response(200)
                    self.end_headers()
                    ends = [self.connection, there]
                    while True:
                        for one in select.select(ends, [], [], 60)[0]:
                            data = one.recv(65536)
                            if not data:
                                self.close_connection = True
                                return
                            ends[1 - ends.index(one)].sendall(data)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        user = f"{password}@" if password else ""
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.url_with_password = f"http://{user}127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
