"""What figures depend on besides the code: the machine, the references' versions, the commit."""
import os
import platform
import re
import shutil
import subprocess

REFERENCES = {
    "tar": ["tar", "--version"],
    "cp, sha256sum": ["sha256sum", "--version"],
    "zstd": ["zstd", "--version"],
    "gzip": ["gzip", "--version"],
    "nginx": ["nginx", "-v"],
    "restic": ["restic", "version"],
    "borg": ["borg", "--version"],
    "sqlite3": ["sqlite3", "--version"],
    "xmllint": ["xmllint", "--version"],
    "wrk": ["wrk", "-v"],
    "python3": ["/usr/bin/python3", "--version"],
}


def find(program):
    """A program's path or None; nginx is in a directory that only root has in its PATH."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def versions():
    """The references by name, with the first version number that they print; None where missing."""
    found = {}
    for name, (program, *words) in REFERENCES.items():
        path = find(program)
        if path is None:
            found[name] = None
            continue
        ended = subprocess.run([path, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               check=False, errors="replace")
        number = re.search(r"\d+(\.\d+)*", ended.stdout + ended.stderr)
        found[name] = number.group() if number else "?"
    return found


def machine(directory):
    model = ""
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processor": model, "processors": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "file_system": file_system(directory), "free": shutil.disk_usage(directory).free}


def file_system(directory):
    """The type of the file system that holds `directory`."""
    place, kind = "", "?"
    directory = os.path.realpath(directory)
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, at, what = line.split()[:3]
            at = at.replace("\\040", " ")
            if (directory + "/").startswith(at.rstrip("/") + "/") and len(at) >= len(place):
                place, kind = at, what
    return kind


def commit(root):
    """The checked-out commit, with a plus sign when tracked files differ from it; "" outside of git."""
    def git(*words):
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except FileNotFoundError:
        return ""
    return "" if head.returncode else head.stdout.strip() + ("+" if changed.stdout.strip() else "")
