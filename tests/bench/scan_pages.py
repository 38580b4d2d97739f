"""Recorded requests of computers in the midst of scans, sent again by wrk: to serve, and to nginx that
answers each with as many bytes from a file."""
import concurrent.futures
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import threading
import time
import uuid

from measure import Failed, run
from world import free_port

SD = "http://www.microsoft.com/SoftwareDistribution/Server"
CLIENT, SIMPLE_AUTH = SD + "/ClientWebService", SD + "/SimpleAuthWebService"
PATH = "/ClientWebService/client.asmx"
STATES = 200
CATCH_UP = 20  # of them lack only so many of what they are to know
LACKS = 30

ENVELOPE = ('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            '<{name} xmlns="{space}">{body}</{name}></s:Body></s:Envelope>')
COMPUTER = ("<computerInfo><DnsName>{name}</DnsName><OSMajorVersion>10</OSMajorVersion><OSMinorVersion>0"
            "</OSMinorVersion><OSBuildNumber>26200</OSBuildNumber><OSServicePackMajorNumber>0"
            "</OSServicePackMajorNumber><OSServicePackMinorNumber>0</OSServicePackMinorNumber>"
            "<OSLocale>en-US</OSLocale><ProcessorArchitecture>AMD64</ProcessorArchitecture></computerInfo>")
# What an agent of Windows 11 sends beside the lists; the device's attributes are 1.5 KB of text.
REST = ("<SkipSoftwareSync>false</SkipSoftwareSync><NeedTwoGroupOutOfScopeUpdates>true"
        "</NeedTwoGroupOutOfScopeUpdates><AlsoPerformRegularSync>false</AlsoPerformRegularSync><ComputerSpec/>"
        "<ProductsParameters><SyncCurrentVersionOnly>false</SyncCurrentVersionOnly><DeviceAttributes>"
        + "".join(f"Attribute{i}=10.0.26200.{i};" for i in range(50)) +
        "</DeviceAttributes><CallerAttributes>Interactive=0;Id=Device Driver Retrieval Client;"
        "</CallerAttributes><Products/></ProductsParameters>")


def ints(name, ids):
    if not ids:
        return ""
    return f"<{name}>" + "".join(f"<int>{i}</int>" for i in ids) + f"</{name}>"


class Agent:
    """One computer. What rules come to is made up: `profile` decides which of the conditions that
    others depend on hold, so that different profiles are given different updates."""

    def __init__(self, port, number, profile=0):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.name = f"page-{number:05}.example"
        self.id = str(uuid.UUID(bytes=hashlib.md5(self.name.encode()).digest()))
        self.profile = profile
        self.installed, self.other = [], []

    def post(self, path, space, name, body):
        text = ENVELOPE.format(name=name, space=space, body=body)
        self.connection.request("POST", path, text.encode(), {
            "Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{space}/{name}"'})
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise Failed(f"{name}: HTTP {answer.status} {text[:500]}")
        return text

    def join(self):
        config = self.post(PATH, CLIENT, "GetConfig", "<protocolVersion>2.90</protocolVersion>")
        changed = re.search("<LastChange>(.*?)</LastChange>", config)[1]
        granted = self.post("/SimpleAuthWebService/SimpleAuth.asmx", SIMPLE_AUTH, "GetAuthorizationCookie",
                            f"<clientId>{self.id}</clientId><dnsName>{self.name}</dnsName>")
        data = re.search("<CookieData>(.*?)</CookieData>", granted)[1]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.take_cookie(self.post(PATH, CLIENT, "GetCookie", (
            "<authCookies><AuthorizationCookie><PlugInId>SimpleTargeting</PlugInId><CookieData>"
            f"{data}</CookieData></AuthorizationCookie></authCookies><lastChange>{changed}</lastChange>"
            f"<currentTime>{now}</currentTime><protocolVersion>2.90</protocolVersion>")))
        self.post(PATH, CLIENT, "RegisterComputer", self.cookie + COMPUTER.format(name=self.name))
        return self

    def take_cookie(self, text):
        found = re.search("<Expiration>(.*?)</Expiration><EncryptedData>(.*?)</EncryptedData>", text)
        self.cookie = (f"<cookie><Expiration>{found[1]}</Expiration><EncryptedData>{found[2]}"
                       "</EncryptedData></cookie>")

    def scan_body(self, installed, other):
        return (self.cookie + "<parameters><ExpressQuery>false</ExpressQuery>"
                + ints("InstalledNonLeafUpdateIDs", installed) + ints("OtherCachedUpdateIDs", other)
                + REST + "</parameters>")

    def holds(self, number):
        if self.profile == 0:
            return True
        return hashlib.md5(f"{self.profile}:{number}".encode()).digest()[0] >= 16 * self.profile

    def page(self):
        """One call; whether the scan goes on."""
        text = self.post(PATH, CLIENT, "SyncUpdates", self.scan_body(self.installed, self.other))
        self.take_cookie(text)
        new, rest = "", text
        if "<NewUpdates>" in text:
            new, rest = text.split("<NewUpdates>")[1].split("</NewUpdates>")
        more = "<Truncated>true</Truncated>" in rest
        for update in new.split("<UpdateInfo>")[1:]:
            number = int(update[4:update.index("</ID>")])
            leaf = "<IsLeaf>true</IsLeaf>" in update[:600]
            more = more or not leaf
            (self.installed if not leaf and self.holds(number) else self.other).append(number)
        return more

    def walk(self):
        """The lists before each page of a first scan, and those at its end."""
        states = [([], [])]
        while self.page():
            states.append((list(self.installed), list(self.other)))
        return states, (list(self.installed), list(self.other))


def record(world, mirror, server, directory):
    """Request bodies of STATES computers: at different points of first scans, some catching up; one
    tenth of them in a group of its own. Returns the computers' ids."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        walks = list(pool.map(lambda p: Agent(server.port, 100_000 + p, p).join().walk(), range(4)))
    draw = random.Random(6)
    directory.mkdir(parents=True, exist_ok=True)
    agents = [Agent(server.port, number) for number in range(STATES)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(Agent.join, agents))
    world.run(mirror, "group", "assign", *[agent.id for agent in agents[::10]], "--group", "Pilot")
    time.sleep(1)
    for number, agent in enumerate(agents):
        states, last = walks[number % len(walks)]
        agent.page()  # its cookie says from now on what it was told
        if number % (STATES // CATCH_UP) == 5:
            installed, other = last[0], list(last[1])
            for _ in range(min(LACKS, len(other))):
                other.pop(draw.randrange(len(other)))
        else:
            installed, other = states[number // len(walks) * len(states) // (STATES // len(walks))]
        text = ENVELOPE.format(name="SyncUpdates", space=CLIENT, body=agent.scan_body(installed, other))
        (directory / f"{number}.request").write_text(text)
        agent.connection.close()
    return walks


def fetch_answers(port, directory, xpress):
    """Sends each request once and keeps the answer's body as the file that nginx gives."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    sizes = []
    for number in range(STATES):
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{CLIENT}/SyncUpdates"'}
        if xpress:
            headers["Accept-Encoding"] = "xpress"
        connection.request("POST", PATH, (directory / f"{number}.request").read_bytes(), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or (answer.getheader("Content-Encoding") == "xpress") != xpress:
            raise Failed(f"state {number}: HTTP {answer.status} {body[:300]}")
        (directory / f"{number}.answer").write_bytes(body)
        sizes.append(len(body))
    connection.close()
    return sizes


SCRIPT = """
local requests, turn = {}, 0
function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end
function init(arguments)
  local directory, count, where, xpress = arguments[1], tonumber(arguments[2]), arguments[3], arguments[4]
  wrk.headers["Content-Type"] = "text/xml; charset=utf-8"
  wrk.headers["SOAPAction"] = '"CLIENT/SyncUpdates"'
  wrk.headers["User-Agent"] = "Windows-Update-Agent/1507.2601.30012.0 Client-Protocol/2.90"
  if xpress == "xpress" then wrk.headers["Accept-Encoding"] = "xpress" end
  for number = 0, count - 1 do
    local path = where == "" and "/" .. number .. ".answer" or where
    requests[number] = wrk.format("POST", path, nil, read(directory .. "/" .. number .. ".request"))
  end
  math.randomseed(os.time())
  turn = math.random(count)
end
function request()
  turn = turn + 1
  return requests[turn % #requests]
end
function done(summary, latency)
  local errors = summary.errors
  print(string.format('RESULT {"requests": %d, "seconds": %f, "bytes": %d, "bad": %d, "p50": %f, "p99": %f, "max": %f}',
    summary.requests, summary.duration / 1e6, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6, latency.max / 1e6))
end
""".replace("CLIENT", CLIENT)


def generate(world, port, directory, where, xpress, seconds, connections=16):
    """What wrk counted."""
    script = world.path / "pages.lua"
    script.write_text(SCRIPT)
    sample = run("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", script,
                 f"http://127.0.0.1:{port}", "--", directory, STATES, where, "xpress" if xpress else "plain")
    found = json.loads(re.search("RESULT (.*)", sample.out)[1])
    if found["bad"] or not found["requests"]:
        raise Failed(f"{found['bad']} of {found['requests']} requests failed: {sample.out[-500:]}")
    found["generator_cpu"] = sample.cpu
    return found


class Answers:
    """nginx that answers any POST to a file's name with the file."""

    def __init__(self, world, directory):
        self.world, self.directory, self.port = world, directory, free_port()

    def __enter__(self):
        base = self.world.path / "nginx-pages"
        base.mkdir(exist_ok=True)
        user = "user root;" if os.geteuid() == 0 else ""
        (base / "nginx.conf").write_text(f'''
            {user} worker_processes auto; daemon off; pid {base}/pid; error_log {base}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
              keepalive_timeout 300s; client_max_body_size 64m; client_body_buffer_size 1m;
              open_file_cache max=1000; default_type text/xml;
              client_body_temp_path {base}/b; proxy_temp_path {base}/p; fastcgi_temp_path {base}/f;
              uwsgi_temp_path {base}/u; scgi_temp_path {base}/s;
              server {{ listen 127.0.0.1:{self.port}; root {self.directory};
                error_page 405 =200 $uri; location / {{ }} }} }}''')
        self.process = subprocess.Popen([shutil.which("nginx"), "-p", str(base), "-c", str(base / "nginx.conf")])
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def cpu_seconds(self):
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children) as file:
            return sum(cpu_of(pid) for pid in [self.process.pid, *map(int, file.read().split())])


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Approvals:
    """Approves an update for one group, takes it back, and so on, once a second while the block runs."""

    def __init__(self, world, mirror, guids):
        self.world, self.mirror, self.guids, self.done = world, mirror, guids, 0
        self.stop, self.thread, self.error = threading.Event(), threading.Thread(target=self.change), None

    def change(self):
        try:
            while not self.stop.wait(1):
                guid = self.guids[self.done // 2 % len(self.guids)]
                words = ("approve", guid) if self.done % 2 == 0 else ("unapprove", guid)
                self.world.run(self.mirror, "update", *words, "--group", "Pilot")
                self.done += 1
        except Exception as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        if self.error:
            raise self.error
