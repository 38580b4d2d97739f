"""The workloads by name. A module registers its functions with @workload; the order of the table is
that of ORDER, whatever module a workload is in."""
import dataclasses
import importlib
from collections.abc import Callable

MODULES = ["bundles", "bundle_variants", "backups", "syncs", "scans", "storm"]

# One line for each workload, in the order in which they run and are shown.
ORDER = [
    "export", "verify", "import", "volumes", "bundle-forms", "space", "backup", "restore",
    "delta", "documents", "approvals",
    "fill", "sync", "sync-delta", "sync-replica", "sync-large", "list", "document",
    "serve", "memory", "scan", "pages", "scans", "storm", "events", "content", "tls",
]


@dataclasses.dataclass(frozen=True)
class Workload:
    """`function` takes a World and the number of runs, and returns rows."""
    name: str
    about: str
    function: Callable


_registered = {}


def workload(name, about):
    """Registers a function; `about` is the sentence that --list shows."""
    def register(function):
        if name in _registered:
            raise ValueError(f"two workloads are called {name}")
        _registered[name] = Workload(name, about, function)
        return function
    return register


def workloads():
    """All of them, by name, in the order of the table; what ORDER does not name comes last."""
    for module in MODULES:
        importlib.import_module(module)
    names = [name for name in ORDER if name in _registered]
    names += [name for name in _registered if name not in ORDER]
    return {name: _registered[name] for name in names}
