"""Walks of SyncUpdates against a slow evaluation of the same documents: after every change of approvals,
groups, documents and files, each computer must know exactly what it may, with the right deployments.

Two kinds of catalogues: small ones whose relations are drawn at random, published step by step by an
upstream, and generated ones of the ordinary shape. Every seed is printed; to run one again:

    GAPFERRY_SEED=4711 tests/functional/run differential
    GAPFERRY_SEEDS=50 tests/functional/run differential      # more of them
"""
import os
import pathlib
import random
import re
import time
import unittest
import uuid

import catalogue
import client_agent
import soap
from client_agent import Agent, Device
from deployment_oracle import ROOT_GROUP, UNASSIGNED, Oracle
from harness import World
from wsus import WsusServer, file_element

SEEDS = ([int(os.environ["GAPFERRY_SEED"])] if "GAPFERRY_SEED" in os.environ
         else range(1, 1 + int(os.environ.get("GAPFERRY_SEEDS", "2"))))
HANDLERS = "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/"
ACTIONS = {"Install": "install", "Uninstall": "uninstall", "OptionalInstall": "optional"}
GROUPS = ("Offices", "Laboratory", "Ships", "Bridge")


# ---- Documents of random relations ---------------------------------------------------------------

class Draft:
    """An update as the random catalogue thinks of it."""

    def __init__(self, rng, index, kind, category=None):
        self.guid = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        self.index, self.kind, self.category = index, kind, category
        self.revision, self.expired = 100, False
        self.clauses, self.members, self.files = [], [], []
        self.deployable = self.can_uninstall = False
        self.eula, self.drivers = None, []

    def text(self):
        clauses = "".join(self.clause(*c) for c in self.clauses)
        members = "".join(
            "<upd:AtLeastOne>" + "".join(f'<upd:UpdateIdentity UpdateID="{g}" RevisionNumber="{r}" />'
                                         for g, r in group) + "</upd:AtLeastOne>" for group in self.members)
        relations = ((f"<upd:Prerequisites>{clauses}</upd:Prerequisites>" if clauses else "")
                     + (f"<upd:BundledUpdates>{members}</upd:BundledUpdates>" if members else ""))
        handler = data = ""
        if self.category:
            handler = f'Handler="{HANDLERS}Category" '
            data = ('<upd:HandlerSpecificData xsi:type="cat:Category"><cat:CategoryInformation '
                    f'CategoryType="{self.category}" /></upd:HandlerSpecificData>')
        elif self.files:
            handler = f'Handler="{HANDLERS}CommandLineInstallation" '
            data = ("<upd:Files>" + "".join(file_element(n, d) for n, d in self.files) + "</upd:Files>"
                    '<upd:HandlerSpecificData xsi:type="cmd:CommandLineInstallation"><cmd:InstallCommand '
                    f'Program="{self.files[0][0]}" /></upd:HandlerSpecificData>')
        uninstall = "<upd:UninstallationBehavior />" if self.can_uninstall else ""
        eula = f'EulaID="{self.eula}" ' if self.eula else ""
        return (
            '<upd:Update xmlns:upd="http://schemas.microsoft.com/msus/2002/12/Update" '
            f'xmlns:cat="{HANDLERS}Category" xmlns:cmd="{HANDLERS}CommandLineInstallation" '
            'xmlns:lar="http://schemas.microsoft.com/msus/2002/12/LogicalApplicabilityRules" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            f'<upd:UpdateIdentity UpdateID="{self.guid}" RevisionNumber="{self.revision}" />'
            f'<upd:Properties UpdateType="{self.kind}" DefaultPropertiesLanguage="en" {handler}{eula}'
            f'ExplicitlyDeployable="{str(self.deployable).lower()}" PublicationState="'
            f'{"Expired" if self.expired else "Published"}">{uninstall}</upd:Properties>'
            "<upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en</upd:Language>"
            f"<upd:Title>{self.kind} {self.index}</upd:Title></upd:LocalizedProperties>"
            "</upd:LocalizedPropertiesCollection>"
            + (f"<upd:Relationships>{relations}</upd:Relationships>" if relations else "")
            + "<upd:ApplicabilityRules><upd:IsInstalled><lar:True /></upd:IsInstalled>"
            + ("<upd:Metadata>" + "".join(self.drivers) + "</upd:Metadata>" if self.drivers else "")
            + "</upd:ApplicabilityRules>" + data + "</upd:Update>")

    @staticmethod
    def clause(guids, category):
        if len(guids) == 1 and not category:
            return f'<upd:UpdateIdentity UpdateID="{guids[0]}" />'
        attribute = ' IsCategory="true"' if category else ""
        return (f"<upd:AtLeastOne{attribute}>" + "".join(f'<upd:UpdateIdentity UpdateID="{g.upper()}" />'
                                                         for g in guids) + "</upd:AtLeastOne>")


class RandomCatalogue:
    """Categories, detectoids and software with prerequisites on any earlier one; publishes into an
    upstream and tells the oracle."""

    def __init__(self, rng, upstream, oracle, size=60):
        self.rng, self.upstream, self.oracle = rng, upstream, oracle
        self.drafts = []
        for category in ("Company", "ProductFamily", "Product", "Product", "UpdateClassification",
                         "UpdateClassification", None):
            self.make("Category", category)
        for _ in range(size // 6):
            self.make("Detectoid")
        while len(self.drafts) < size:
            self.make("Software")

    def of_kind(self, *kinds):
        return [d for d in self.drafts if d.kind in kinds]

    def make(self, kind, category=None):
        draft = Draft(self.rng, len(self.drafts), kind, category)
        self.drafts.append(draft)
        if kind == "Software":
            draft.deployable = self.rng.random() < 0.6
            draft.can_uninstall = self.rng.random() < 0.4
            if self.rng.random() < 0.1:
                draft.eula = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.relate(draft)
        self.publish(draft)
        return draft

    def relate(self, draft):
        """Draws prerequisites and members among the earlier ones."""
        rng, earlier = self.rng, self.drafts[:draft.index]
        facts = [d for d in earlier if d.kind not in ("Software", "Driver")]
        draft.clauses, draft.members, draft.files = [], [], []
        if draft.category and facts:
            draft.clauses.append(([rng.choice(facts[:3]).guid], True))
        for _ in range(rng.choice((0, 0, 1, 1, 2, 3)) if facts else 0):
            if draft.category:
                break
            pool = facts if rng.random() < 0.8 or draft.kind != "Software" else earlier
            some = rng.sample(pool, min(len(pool), rng.choice((1, 1, 2, 4))))
            draft.clauses.append(([d.guid for d in some], rng.random() < 0.3))
        software = [d for d in earlier if d.kind == "Software" and not d.expired]
        if draft.kind == "Software" and len(software) > 3 and rng.random() < 0.35:
            for _ in range(rng.choice((1, 1, 2))):
                group = rng.sample(software, rng.choice((1, 2, 3)))
                draft.members.append([(d.guid, d.revision) for d in group])
        elif draft.kind == "Software" and rng.random() < 0.7:
            draft.files = [(f"{draft.index}-{i}.exe", rng.randbytes(rng.randint(1, 3000)))
                           for i in range(rng.choice((1, 1, 2)))]

    def publish(self, draft):
        text = draft.text()
        self.upstream.add(text)
        document = self.oracle.add(text)
        for (_, data), sha1 in zip(draft.files, document.files):
            if self.rng.random() < 0.9:  # the upstream does not have the rest
                self.upstream.content[sha1] = data
                self.oracle.held.add(sha1)

    def advance(self):
        """One publication: new updates, new revisions with other relations, some expired."""
        older = list(self.drafts)  # upstreams give the newest of several revisions alone
        for _ in range(self.rng.randint(1, 4)):
            self.make(self.rng.choice(("Detectoid", "Software", "Software")))
        for draft in self.rng.sample(older, self.rng.randint(1, 8)):
            draft.revision += self.rng.choice((1, 1, 99))
            draft.expired = draft.kind in ("Software", "Driver") and self.rng.random() < 0.25
            if self.rng.random() < 0.7:
                self.relate(draft)
            self.publish(draft)


KEY = "AMD64.10.0"
HARDWARE = [f"pci\\ven_{i}" for i in range(6)]
COMPUTERS = [str(uuid.UUID(int=i)) for i in range(1, 5)]


class RandomDrivers(RandomCatalogue):
    """The same with drivers in place of software, for few hardware ids so that they compete."""

    def make(self, kind, category=None):
        return super().make("Driver" if kind == "Software" and len(self.drafts) % 3 else kind, category)

    def relate(self, draft):
        super().relate(draft)
        if draft.kind == "Driver":
            draft.deployable, draft.members, draft.files = True, [], []
            draft.drivers = [self.driver(draft, i) for i in range(self.rng.choice((1, 1, 2)))]

    def driver(self, draft, number):
        rng = self.rng
        scores = "".join(f'<drv:FeatureScore OperatingSystem="{system}" FeatureScore="{score}" />'
                         for system, score in rng.sample((("amd64.10.0", "7F"), ("AMD64.10.0", "A0"),
                                                          ("x86.10.0", "01")), rng.choice((0, 1, 1))))
        computers = "".join(f"<drv:TargetComputerHardwareId>{c}</drv:TargetComputerHardwareId>"
                            for c in rng.sample(COMPUTERS, rng.choice((0, 0, 0, 1, 2))))
        # The version tells any two apart: which of two equal drivers wins is nobody's promise.
        return (f'<drv:WindowsDriverMetaData HardwareID="{rng.choice(HARDWARE).upper()}" '
                f'DriverVerDate="202{rng.randint(0, 3)}-01-01" '
                f'DriverVerVersion="1.{draft.revision}.{draft.index}.{number}" WhqlDriverID="1" Class="Net" '
                'Company="C" Provider="P" Manufacturer="M" Model="X" '
                f'xmlns:drv="{HANDLERS}WindowsDriver">{scores}{computers}</drv:WindowsDriverMetaData>')


def random_devices(rng):
    devices = []
    for _ in range(rng.randint(1, 4)):
        ids = rng.sample(HARDWARE, rng.randint(1, 4))
        device = Device(ids, rng.randint(1, len(ids)))
        if rng.random() < 0.6:
            device.rank = rng.choice((0x007F0000, 0x00A02000, 0x00FF0001))
            device.date, device.version = f"202{rng.randint(0, 3)}-01-01", (1, 100, rng.randint(0, 60), 9)
            device.matching_id = rng.choice(ids)
        devices.append(device)
    return devices


# ---- What administrators do at random ------------------------------------------------------------

class Administrator:
    def __init__(self, rng, mirror, oracle, spared):
        self.rng, self.mirror, self.oracle, self.spared = rng, mirror, oracle, spared

    def make_groups(self):
        for group in GROUPS:
            parent = self.rng.choice([ROOT_GROUP, *self.oracle.groups])
            self.oracle.groups[group] = parent
            self.mirror.run("group", "add", group, "--parent", parent)

    def approvable(self):
        for guid in sorted(self.oracle.guids()):
            latest = self.oracle.latest(guid)
            if guid != self.spared and latest.is_software and latest.deployable and \
                    not self.oracle.is_dead(guid):
                yield latest

    def wish(self):
        """(group, action, deadline)"""
        action = self.rng.choice(("Install", "Install", "Install", "OptionalInstall", "Uninstall"))
        deadline = None
        if action != "OptionalInstall" and self.rng.random() < 0.3:
            deadline = f"20{self.rng.randint(31, 33)}-01-31T18:00:00Z"
        return self.rng.choice((ROOT_GROUP, ROOT_GROUP, UNASSIGNED, *GROUPS)), action, deadline

    def approve(self, share):
        """Approves a share of what can be, each for one group, most of them in one call."""
        calls = {}
        wishes = [self.wish() for _ in range(5)]  # few calls of the program, over the rounds all kinds
        for latest in self.approvable():
            if self.rng.random() >= share:
                continue
            group, action, deadline = self.rng.choice(wishes)
            if action == "Uninstall" and not latest.can_uninstall:
                action = "Install"
            older = [k for k, d in self.oracle.documents.items()
                     if k[0] == latest.guid and d.deployable and not d.expired
                     and (action != "Uninstall" or d.can_uninstall)]
            key = self.rng.choice(older) if self.rng.random() < 0.1 else latest.key
            calls.setdefault((group, action, deadline), []).append(key)
        for (group, action, deadline), keys in calls.items():
            self.mirror.run("update", "approve", *(f"{g}/{r}" for g, r in keys), "--group", group,
                            "--action", ACTIONS[action], "--accept-eula",
                            *(("--deadline", deadline) if deadline else ()))
            for guid, revision in keys:
                self.oracle.approve(guid, revision, group, action, deadline)
                self.accept(guid, revision)

    def accept(self, guid, revision):
        """--accept-eula accepts the licences of the update and of all it bundles."""
        pending = [self.oracle.documents[guid, revision]]
        while pending:
            document = pending.pop()
            if document.eula:
                self.oracle.eulas.add(document.eula)
            pending += [self.oracle.documents[m] for m in document.members if m in self.oracle.documents]

    def withdraw(self, share):
        approved = sorted({guid for guid, _ in self.oracle.approvals})
        some = [g for g in approved if self.rng.random() < share]
        if some:
            group = self.rng.choice((None, None, *GROUPS, ROOT_GROUP))
            self.mirror.run("update", "unapprove", *some, *(("--group", group) if group else ()))
            for guid in some:
                self.oracle.unapprove(guid, group)

    def decline(self, share):
        some = [d.guid for d in self.approvable() if self.rng.random() < share]
        if some:
            self.mirror.run("update", "decline", *some)
            for guid in some:
                self.oracle.decline(guid)
        lifted = [g for g in sorted(self.oracle.declined) if self.rng.random() < 0.3]
        if lifted:
            self.mirror.run("update", "unapprove", *lifted)
            for guid in lifted:
                self.oracle.unapprove(guid)

    def assign(self, computer):
        computer.groups = self.rng.sample(GROUPS, self.rng.choice((0, 1, 1, 2, 3)))
        names = computer.groups or [UNASSIGNED]
        self.mirror.run("group", "assign", computer.agent.id, *[w for g in names for w in ("--group", g)])

    def do_something(self, computers):
        for act in self.rng.sample((lambda: self.approve(0.15), lambda: self.withdraw(0.3),
                                    lambda: self.decline(0.05),
                                    lambda: self.assign(self.rng.choice(computers))), 3):
            act()


# ---- Computers -----------------------------------------------------------------------------------

class Computer:
    """An agent whose installed updates are drawn by a seed of its own."""

    def __init__(self, url, name, seed):
        self.groups, self.seed, self.share = [], seed, random.Random(seed).choice((0.5, 0.8, 1.0))
        self.agent = Agent(url, self.has, name).join()

    def has(self, guid):
        return random.Random(f"{self.seed} {guid}").random() < self.share


class Differential(unittest.TestCase):
    maxDiff = None

    def compare(self, computer, oracle, when, categories=()):
        found = computer.agent.known()
        expected = {key: (action, deadline, leaf) for key, (action, deadline, leaf)
                    in oracle.expected(computer.groups, computer.has, categories).items()}
        wrong = [f"{key}: knows {found.get(key)}, should know {expected.get(key)}"
                 for key in sorted(found.keys() | expected.keys())
                 if found.get(key) != expected.get(key)]
        self.assertEqual(wrong, [], f"{self.what}, {when}, {computer.agent.name} in {computer.groups}")

    def check_answer(self, agent, installed, other, answer):
        """What must hold of every single answer."""
        cached = set(installed) | set(other)
        self.assertFalse(cached & answer.new.keys(), self.what)
        self.assertLessEqual(answer.changed.keys(), cached, self.what)
        self.assertFalse(answer.changed.keys() & set(answer.gone), self.what)
        order = [c.leaf for c in answer.new.values()]
        self.assertEqual(order, sorted(order), "leaves before non-leaves")

    def scan(self, computer, oracle, when):
        computer.agent.scan(check=self.check_answer)
        self.compare(computer, oracle, when)
        # Nothing is told twice.
        idle, = computer.agent.scan()
        self.assertEqual((idle.new, idle.changed, idle.gone), ({}, {}, []), f"{self.what}, {when}, idle")

    def trouble(self, rng, computer):
        """Something that makes an agent shake hands again, by the table of faults."""
        agent = computer.agent
        kind = rng.choice(("none", "none", "renewed", "lost", "forged"))
        if kind == "renewed":
            agent.handshake()
        elif kind == "lost":
            agent.handshake(keep=False)
        elif kind == "forged":
            agent.cookie = client_agent.forged(agent.cookie)
            with self.assertRaises(client_agent.Fault) as raised:
                agent.sync([], [])
            self.assertEqual(raised.exception.code, "InvalidCookie")
            agent.cookie = None
            agent.handshake()
            agent.refresh_cache()
        return kind

    def check_filters(self, rng, computer, oracle, url):
        """Category scans: of a fresh agent, and of one that knows everything already."""
        facts = sorted(g for g in oracle.guids() if oracle.latest(g).kind == "Category")
        categories = rng.sample(facts, rng.choice((1, 1, 2)))
        fresh = Agent(url, computer.has, computer.agent.name)
        fresh.id = computer.agent.id
        fresh.handshake()
        twin = Computer.__new__(Computer)
        twin.groups, twin.agent, twin.has = computer.groups, fresh, computer.has
        fresh.scan(categories, self.check_answer)
        self.compare(twin, oracle, f"categories {categories}", categories)
        before = computer.agent.known()
        categories = [g for g in facts if any(g == guid for guid, _ in before)][:2]
        for answer in computer.agent.scan(categories, self.check_answer):
            self.assertEqual((answer.new, answer.gone), ({}, []), f"{self.what}, {categories}")
        self.assertEqual(computer.agent.known(), before)

    def settle(self, mirror, canary):
        """Until `serve` has noticed all that was committed: a computer of its own watches for an approval
        made last."""
        canary["year"] += 1
        deadline = f"{canary['year']}-01-01T00:00:00Z"
        mirror.run("update", "approve", canary["update"], "--group", canary["group"], "--deadline",
                   deadline, "--accept-eula")
        until = time.monotonic() + 60
        while True:
            canary["agent"].scan()
            seen = {c.deadline for c in canary["agent"].cache.values()}
            if deadline in seen:
                return
            self.assertLess(time.monotonic(), until, "the change is not noticed")
            time.sleep(0.05)

    def rounds(self, rng, mirror, oracle, server, advance, count, spared):
        administrator = Administrator(rng, mirror, oracle, spared)
        administrator.make_groups()
        canary = self.make_canary(mirror, server, spared)
        computers = [Computer(server.url, f"pc{i}.example", rng.getrandbits(32)) for i in range(4)]
        administrator.approve(0.4)
        for computer in computers:
            administrator.assign(computer)
        self.settle(mirror, canary)
        for step in range(count):
            for computer in computers:
                kind = self.trouble(rng, computer) if step else "first scan"
                self.scan(computer, oracle, f"round {step}, {kind}")
            self.check_filters(rng, rng.choice(computers), oracle, server.url)
            administrator.do_something(computers)
            if step % 2 == 0:
                advance(step)
            self.settle(mirror, canary)
        for computer in computers:
            self.scan(computer, oracle, "the end")

    @staticmethod
    def make_canary(mirror, server, update):
        """A computer alone in a group, to tell when changes have arrived: it watches an update that nobody
        else is approved."""
        mirror.run("group", "add", "Canary")
        agent = Agent(server.url, lambda guid: True, "canary.example").join()
        mirror.run("group", "assign", agent.id, "--group", "Canary")
        return dict(agent=agent, update=update, group="Canary", year=2040)


class RandomRelations(Differential):
    catalogue = RandomCatalogue

    def test_every_walk_ends_where_it_should(self):
        for seed in SEEDS:
            with self.subTest(seed=seed), World() as world, WsusServer() as upstream:
                self.what = f"seed {seed}"
                print(f"{type(self).__name__}, {self.what}", flush=True)
                rng, oracle = random.Random(seed), Oracle()
                oracle.held = set()
                documents = self.catalogue(rng, upstream, oracle)
                # The canary has no prerequisite and stays as it is.
                canary = Draft(rng, -1, "Software")
                canary.deployable = True
                documents.publish(canary)
                mirror = world.init("mirror", "--upstream", upstream.url)
                mirror.configure(content__download="all",
                                 serve__page_updates=rng.choice((2, 7, 30, 200)))
                self.sync(mirror)

                def advance(_):
                    documents.advance()
                    self.sync(mirror)

                with mirror.serve() as server:
                    self.rounds(rng, mirror, oracle, server, advance, 4, canary.guid)

    def sync(self, mirror):
        done = mirror.try_run("sync")
        if done.code == 2 and done.error()["reason"] == "removals-need-acceptance":
            number = re.search(r"--accept-removals (\d+)", done.error()["next"]).group(1)
            done = mirror.try_run("sync", "--accept-removals", number)
        self.assertIn(done.code, (0, 3), f"{self.what}\n{done}")  # 3: some files are not to be had


class RandomDriverRanking(RandomRelations):
    """Driver passes: the best driver of each device, after every change."""
    catalogue = RandomDrivers

    def scan(self, computer, oracle, when):
        computer.agent.scan(check=self.check_answer)
        self.compare(computer, oracle, when)
        rng = random.Random(f"{computer.seed} {when}")
        for _ in range(5):
            devices = random_devices(rng)
            computers = rng.sample(COMPUTERS, rng.randint(0, 2))
            found = computer.agent.sync_drivers(devices, computers, KEY)
            expected = oracle.drivers(computer.groups, computer.has, devices, computers, KEY)
            self.assertEqual(found, expected, f"{self.what}, {when}, {computer.agent.name} in "
                             f"{computer.groups}, {devices}, {computers}")
            self.offered += len(found)

    def test_every_walk_ends_where_it_should(self):
        self.offered = 0
        super().test_every_walk_ends_where_it_should()
        self.assertGreater(self.offered, 0)


class GeneratedCatalogue(Differential):
    def test_every_walk_ends_where_it_should(self):
        seed = SEEDS[0]
        self.what = f"seed {seed}"
        print(f"{type(self).__name__}, {self.what}", flush=True)
        rng, oracle = random.Random(seed), Oracle()
        with World() as world:
            mirror = catalogue.upstream(world, "mirror")
            mirror.configure(serve__page_updates=rng.choice((30, 100)))
            self.read(world, oracle, 0)
            now, later = catalogue.listing(0), catalogue.listing(2)
            spared = next(row["guid"] for path, row in later.items()  # no publication touches it
                          if row["visible"] and row["kind"] != "driver" and now.get(path) == row)

            def advance(step):
                catalogue.advance(mirror, step + 1)
                self.read(world, oracle, step + 1)

            with mirror.serve() as server:
                self.rounds(rng, mirror, oracle, server, advance, 2, spared)

    @staticmethod
    def read(world, oracle, step):
        folder = pathlib.Path(world.directory(f"step{step}"))
        catalogue.run("write", "--out", folder / "out", "--size", catalogue.SIZE, "--step", step)
        for file in sorted((folder / "out" / "documents").iterdir()):
            data = file.read_bytes()
            oracle.add(data if file.suffix == ".xml" else soap.read_cabinet(data).decode("utf-16-le"))


if __name__ == "__main__":
    unittest.main()
