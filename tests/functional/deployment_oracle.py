"""What a computer must end up knowing after a scan, evaluated over whole documents: slow, obvious, and
written from the rules of MS-WUSP 3.1.5.7 alone.

    world = Oracle()
    world.add(text)                                   # each document ever published
    world.groups["Laboratory"] = "Workstations"       # name -> name of the group above
    world.approve(guid, revision, "Laboratory", "Install", deadline)
    world.expected(groups, has)                       # {(guid, revision): (action, deadline, leaf)}
"""
import base64
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

ROOT_GROUP, UNASSIGNED = "All Computers", "Unassigned Computers"
STRENGTH = {"Block": 5, "Uninstall": 4, "Install": 3, "OptionalInstall": 2, "PreDeploymentCheck": 1}
NEVER = "9999"


def local(element):
    return element.tag.rpartition("}")[2]


def below(element, *path):
    found = [element]
    for name in path:
        found = [c for e in found for c in e if local(c) == name]
    return found


@dataclass
class DriverEntry:
    hardware_id: str
    date: str
    version: tuple
    scores: dict     # operating system in lower case -> 0 to 255
    computers: list  # GUIDs; empty: made for any


@dataclass
class Document:
    key: tuple
    kind: str
    deployable: bool
    expired: bool
    eula: str
    can_uninstall: bool
    clauses: list = field(default_factory=list)  # of sets of GUIDs
    members: list = field(default_factory=list)  # of (GUID, revision)
    files: list = field(default_factory=list)    # SHA-1 in upper-case hex, express payloads left out
    drivers: list = field(default_factory=list)  # of DriverEntry

    @property
    def guid(self):
        return self.key[0]

    @property
    def is_software(self):
        """What can be approved, as opposed to facts about computers."""
        return self.kind in ("Software", "Driver")


def guid_of(identity):
    return identity.get("UpdateID").lower()


def read(text):
    root = ET.fromstring(text)
    own = below(root, "UpdateIdentity")[0]
    properties = below(root, "Properties")[0]
    document = Document((guid_of(own), int(own.get("RevisionNumber"))), properties.get("UpdateType"),
                        properties.get("ExplicitlyDeployable") == "true",
                        properties.get("PublicationState") == "Expired",
                        (properties.get("EulaID") or "").lower(),
                        bool(below(properties, "UninstallationBehavior")))
    for entry in [c for p in below(root, "Relationships", "Prerequisites") for c in p]:
        identities = [entry] if local(entry) == "UpdateIdentity" else below(entry, "UpdateIdentity")
        document.clauses.append({guid_of(i) for i in identities})
    for bundled in below(root, "Relationships", "BundledUpdates"):
        for identity in (e for e in bundled.iter() if local(e) == "UpdateIdentity"):
            document.members.append((guid_of(identity), int(identity.get("RevisionNumber"))))
    for file in below(root, "Files", "File"):
        if file.get("PatchingType") != "Express":
            document.files.append(base64.b64decode(file.get("Digest")).hex().upper())
    for entry in (e for e in root.iter() if local(e) == "WindowsDriverMetaData"):
        document.drivers.append(DriverEntry(
            entry.get("HardwareID").lower(), entry.get("DriverVerDate")[:10],
            tuple(map(int, entry.get("DriverVerVersion").split("."))),
            {c.get("OperatingSystem").lower(): int(c.get("FeatureScore"), 16)
             for c in below(entry, "FeatureScore")},
            [c.text.lower() for name in ("TargetComputerHardwareId", "DistributionComputerHardwareId")
             for c in below(entry, name)]))
    return document


class Oracle:
    def __init__(self):
        self.documents = {}    # (guid, revision) -> Document
        self.groups = {}       # name -> the group above it
        self.approvals = {}    # (guid, group) -> (revision, action, deadline, serial)
        self.declined, self.eulas = set(), set()
        self.held = None       # SHA-1s of the files here; None: all of them
        self.serial = 0

    def add(self, text):
        document = read(text)
        self.documents[document.key] = document
        return document

    # ---- What administrators do ------------------------------------------------------------------

    def approve(self, guid, revision, group, action, deadline=None):
        self.serial += 1
        self.approvals[guid, group] = (revision, action, deadline, self.serial)

    def unapprove(self, guid, group=None):
        for key in [k for k in self.approvals if k[0] == guid and group in (None, k[1])]:
            del self.approvals[key]
        if group is None:
            self.declined.discard(guid)

    def decline(self, guid):
        self.unapprove(guid)
        self.declined.add(guid)

    # ---- Facts about the catalogue ---------------------------------------------------------------

    def latest(self, guid):
        numbers = [n for g, n in self.documents if g == guid]
        return self.documents[guid, max(numbers)] if numbers else None

    def guids(self):
        return {guid for guid, _ in self.documents}

    def is_leaf(self, guid):
        return not any(guid in clause for d in self.documents.values() for clause in d.clauses)

    def is_member(self, key):
        return any(key in d.members for d in self.documents.values())

    def is_dead(self, guid):
        """Nobody is offered it by itself any more."""
        return guid in self.declined or self.latest(guid).expired

    def may_install(self, document):
        """Whole, with all licences accepted, down to the last member."""
        pending, seen = [document], set()
        while pending:
            d = pending.pop()
            if d.key in seen:
                continue
            seen.add(d.key)
            if d.eula and d.eula not in self.eulas:
                return False
            if self.held is not None and any(f not in self.held for f in d.files):
                return False
            for member in d.members:
                if member not in self.documents:
                    return False
                pending.append(self.documents[member])
        return True

    # ---- Deployments -----------------------------------------------------------------------------

    def path(self, group):
        """From the group to the root."""
        steps = []
        while group and group not in steps and group != ROOT_GROUP:
            steps.append(group)
            group = self.groups.get(group)
        return steps + [ROOT_GROUP]

    def winner(self, guid, groups):
        """(revision, action, deadline) that counts for a computer in `groups`, or None."""
        if self.is_dead(guid):
            return None
        candidates = []
        for group in groups or [UNASSIGNED]:
            for step in self.path(group):
                if (guid, step) in self.approvals:
                    candidates.append(self.approvals[guid, step])
                    break
        if not candidates:
            return None
        best = min(candidates, key=lambda a: (-STRENGTH[a[1]], -a[0], a[2] or NEVER, a[3]))
        return None if self.documents[guid, best[0]].expired else best[:3]

    # ---- Scope -----------------------------------------------------------------------------------

    def scope(self, groups, categories=()):
        """{guid: Document}: one revision of each update that the computer may see."""
        winners = {g: w for g in self.guids() if (w := self.winner(g, groups))}
        # A category scan shows a part of the whole, never another revision of something.
        whole = {d.key for d in self.scope(groups)[0].values()} if categories else None

        def stand_in(guid):
            """The revision that an update is met in."""
            return self.documents[guid, winners[guid][0]] if guid in winners else self.latest(guid)

        def belongs(document):
            return not categories or any(c in clause for clause in document.clauses for c in categories)

        seeds = [stand_in(g) for g in winners if belongs(stand_in(g))]
        seeds += [self.latest(c) for c in categories if self.latest(c)]
        seeds += [d for d in map(self.latest, self.guids())
                  if d.is_software and d.deployable and d.guid not in winners
                  and not self.is_dead(d.guid) and belongs(d)]
        seen, pending = set(), [d.key for d in seeds]
        while pending:
            key = pending.pop()
            document = self.documents[key]
            if key in seen:
                continue
            if document.is_software and (document.expired or document.guid in self.declined):
                continue
            if document.is_software and whole is not None and key not in whole:
                continue
            seen.add(key)
            pending += document.members
            pending += [stand_in(g).key for clause in document.clauses for g in clause
                        if self.latest(g)]
        chosen = {}
        for guid, revision in seen:
            approved = (guid, winners[guid][0]) if guid in winners else None
            newest = max(n for g, n in seen if g == guid)
            chosen[guid] = self.documents[approved if approved in seen else (guid, newest)]
        return chosen, winners

    def deployment(self, document, winners):
        """(action, deadline) as the computer is told."""
        if not document.is_software:
            return "Evaluate", None
        winner = winners.get(document.guid)
        if winner and winner[0] == document.key[1]:
            _, action, deadline = winner
            if action in ("Install", "OptionalInstall") and not self.may_install(document):
                return "PreDeploymentCheck", None
            return ("PreDeploymentCheck" if action == "Block" else action), deadline
        if self.is_member(document.key):
            return "Bundle", None
        return ("PreDeploymentCheck" if document.deployable else "Evaluate"), None

    def expected(self, groups, has, categories=()):
        """What the computer knows once nothing more can come."""
        scope, winners = self.scope(groups, categories)
        scope = {g: d for g, d in scope.items() if d.kind != "Driver"}
        leaf = {g: self.is_leaf(g) for g in scope}
        known = set()
        while True:
            installed = {g for g in known if has(g) and not leaf[g]}
            reached = {g for g, d in scope.items() if all(c & installed for c in d.clauses)}
            if reached == known:
                break
            known = reached
        return {scope[g].key: (*self.deployment(scope[g], winners), leaf[g]) for g in known}

    # ---- Drivers ---------------------------------------------------------------------------------

    def drivers(self, groups, has, devices, computers, key):
        """{(guid, revision): (action, deadline, leaf, hardware ids)} of a driver pass (MS-WUSP 3.1.5.7).
        `devices` are client_agent.Devices. For each device the best driver, when it is better than the one
        that is there; if nobody approved that, the best of the approved ones, too."""
        scope, winners = self.scope(groups)
        known = {guid for guid, _ in self.expected(groups, has)}
        installed = {g for g in known if has(g) and not self.is_leaf(g)}
        found = {}
        for device in devices:
            candidates = []
            for guid, document in scope.items():
                if document.kind != "Driver" or not all(c & installed for c in document.clauses):
                    continue
                for entry in document.drivers:
                    fit = self.fit(entry, device, computers, key)
                    if fit and (device.rank == -1 or fit < self.installed_fit(device, computers)):
                        candidates.append((fit, guid, entry.hardware_id))
            approved = [c for c in candidates
                        if self.deployment(scope[c[1]], winners)[0] != "PreDeploymentCheck"]
            for some in (candidates, approved):
                if some:
                    _, guid, hardware_id = min(some)
                    found.setdefault(guid, set()).add(hardware_id)
        return {scope[g].key: (*self.deployment(scope[g], winners), self.is_leaf(g), frozenset(ids))
                for g, ids in found.items()}

    @staticmethod
    def fit(entry, device, computers, key):
        """How well it fits, smaller is better; None when it does not."""
        if entry.hardware_id not in device.ids:
            return None
        place = len(computers)
        if entry.computers:
            places = [i for i, c in enumerate(computers) if c in entry.computers]
            if not places:
                return None
            place = places[0]
        return (place, entry.scores.get(key.lower(), 255), device.ids.index(entry.hardware_id),
                Reversed(entry.date), Reversed(entry.version))

    @staticmethod
    def installed_fit(device, computers):
        return (len(computers), device.rank >> 16 & 255, device.ids.index(device.matching_id),
                Reversed(device.date), Reversed(device.version))


class Reversed:
    """Orders the other way round."""

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return other.value < self.value

    def __eq__(self, other):
        return self.value == other.value
