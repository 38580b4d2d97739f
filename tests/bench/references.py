"""References that several workloads share: standard tools that do the same duty as ours. What is
written is synced, what is read back is read from the medium."""
import os
import subprocess
import time

from measure import shell
from world import free_port

# Drops a file's pages, as our read-back does, without needing to be root.
DROP = 'drop() { for f in "$@"; do dd of="$f" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null; done; }\n'


def warm(path):
    """Reads everything below `path`, so that sources are in the page cache."""
    shell(f'find "{path}" -type f -exec cat {{}} + > /dev/null')


class Nginx:
    """nginx with sendfile on the same files, on a port of its own; nothing when it is not there. With a
    pair of certificate and key, over TLS."""

    def __init__(self, world, mirror, program, tls=None):
        self.world, self.mirror, self.program, self.port, self.tls = world, mirror, program, 0, tls

    def __enter__(self):
        if not self.program:
            return self
        self.port = free_port()
        base = self.world.path / "nginx"
        base.mkdir(exist_ok=True)
        # As root it would change to a user who may not read the mirror.
        user = "user root;" if os.geteuid() == 0 else ""
        secure = (f"ssl_certificate {self.tls[0]}; ssl_certificate_key {self.tls[1]}; "
                  "ssl_protocols TLSv1.2 TLSv1.3;" if self.tls else "")
        (base / "nginx.conf").write_text(f'''
            {user} worker_processes auto; daemon off; pid {base}/pid; error_log {base}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
              client_body_temp_path {base}/b; proxy_temp_path {base}/p; fastcgi_temp_path {base}/f;
              uwsgi_temp_path {base}/u; scgi_temp_path {base}/s;
              server {{ listen 127.0.0.1:{self.port}{" ssl" if self.tls else ""}; {secure}
              location /Content/ {{ alias {self.mirror}/content/; }} }} }}''')
        self.process = subprocess.Popen([self.program, "-p", str(base), "-c", str(base / "nginx.conf")])
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        if self.program:
            self.process.terminate()
            self.process.wait(10)
