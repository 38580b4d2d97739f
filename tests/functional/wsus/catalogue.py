"""What the update server of the tests holds: revisions with the time of their arrival, deployments, files.

Time is a counter ("tick") of changes. Anchors have the shape "n,timestamp"; as on the real server only
the timestamp decides. Everything here can be put back to an earlier day with snapshot and restore.
"""
import copy
import datetime
import re

from .documents import Document

START = datetime.datetime(2026, 10, 4, 16, 33, 26, 668000)
ANCHOR = re.compile(r"^(?:\d+,)?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})$")

EVER = -float("inf")


class BadAnchor(Exception):
    pass


class Selection:
    """One id of a filter list with its Delta."""

    def __init__(self, id, delta):
        self.id, self.delta = id.lower(), delta


class Catalogue:
    def __init__(self, bare_anchors=False):
        self.documents = {}      # (guid, revision) -> Document
        self.content = {}        # SHA-1 in upper-case hex -> bytes
        self.bare_anchors = bare_anchors
        self.tick = 0
        self.all_category_revisions = True  # the real server's, which the specification denies
        self.groups = {}         # guid -> (name, parent, builtin)
        self.deployments = {}    # guid -> dict with tick
        self.dead = {}           # guid -> tick
        self.hidden, self.eulas = [], []
        self.keys = {}           # SHA-1 in base64 -> decryption key

    # ---- Changes ---------------------------------------------------------------------------------

    def add(self, text, cabinet=None, key=None):
        """Takes a document; its identity is read from it, or `key` is what it is offered as."""
        document = Document(text, cabinet, key)
        self.tick += 1
        document.tick = self.tick
        self.documents[document.key] = document
        return document

    def remove(self, guid):
        """As a server clean-up does: without a trace in any later list."""
        for key in [k for k in self.documents if k[0] == guid.lower()]:
            del self.documents[key]

    def deploy(self, guid, update, group, action=0, deadline="9999-12-31T23:59:59.9999999", assigned=True,
               priority=2, admin="CORP\\Alice", live="2026-10-01T00:00:00"):
        self.tick += 1
        self.deployments[guid] = dict(update=update, group=group, action=action, deadline=deadline,
                                      assigned=assigned, priority=priority, admin=admin, live=live,
                                      tick=self.tick)
        self.dead.pop(guid, None)

    def end_deployment(self, guid):
        self.tick += 1
        del self.deployments[guid]
        self.dead[guid] = self.tick

    def snapshot(self):
        return copy.deepcopy({k: v for k, v in vars(self).items() if k in SAVED})

    def restore(self, saved):
        vars(self).update(copy.deepcopy(saved))

    # ---- Anchors ---------------------------------------------------------------------------------

    def time_of(self, tick):
        return START + datetime.timedelta(seconds=tick)

    def anchor(self, tick=None):
        tick = self.tick if tick is None else tick
        text = self.time_of(tick).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return text if self.bare_anchors else f"{9000 + tick},{text}"

    def since(self, anchor):
        """The tick that an anchor stands for; before all without one. Raises BadAnchor."""
        if not anchor:
            return EVER
        found = ANCHOR.match(anchor)
        if not found:
            raise BadAnchor(anchor)
        try:
            time = datetime.datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S.%f")
        except ValueError as error:
            raise BadAnchor(anchor) from error
        return (time - START).total_seconds()

    # ---- Lists -----------------------------------------------------------------------------------

    def list_config(self, since):
        listed = [d for d in self.documents.values() if d.is_config and d.tick > since]
        if not self.all_category_revisions:
            listed = [d for d in listed if d is self.highest()[d.key[0]]]
        return [d.key for d in listed]

    def highest(self):
        best = {}
        for document in self.documents.values():
            known = best.get(document.key[0])
            if known is None or known.key[1] < document.key[1]:
                best[document.key[0]] = document
        return best

    def list_updates(self, since, products, classifications):
        """`products` and `classifications` are Selections, or None where the list is absent."""
        best = self.highest()
        updates = [d for d in best.values() if not d.is_config]
        if products is None and classifications is None:
            return [d.key for d in updates if d.tick > since]
        if not products or not classifications:
            return []  # and no fault: the classic silent failure
        listed = {}
        for document in updates:
            for p in products:
                for c in classifications:
                    if p.id in document.names and c.id in document.names:
                        after = since if p.delta and c.delta else EVER
                        listed[document.key] = min(after, listed.get(document.key, after))
        pending = list(listed)
        while pending:
            parent = pending.pop()
            for member in self.documents[parent].members:
                if member in self.documents and member not in listed:
                    listed[member] = listed[parent]
                    pending.append(member)
        return [key for key, after in listed.items() if self.documents[key].tick > after]


SAVED = {"documents", "content", "tick", "groups", "deployments", "dead", "hidden", "eulas", "keys"}
