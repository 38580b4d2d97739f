"""A catalogue in which updates differ in what decides about their files, and the two sides of a gap."""
import hashlib
import unittest

import small_catalogue as small
from harness import World
from wsus import WsusServer, document

DEFINITIONS = "e0789628-ce08-4437-be74-2495b842f43b"
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
OTHER = small.guid("tools")
PRODUCT = small.PRODUCT


def sha1_of(name):
    return hashlib.sha1(small.payload(name)).hexdigest().upper()


def add(upstream, name, *, classification=OTHER, language=None, severity=None, kb=None, day=11, size=40_000,
        **more):
    """An update called `name` with one file; its GUID."""
    update, data = small.guid(name), small.payload(name, size)
    upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
    text = document(update, 100, "Software", title=more.pop("title", name), explicitly=True,
                    prerequisites=[PRODUCT, classification], installed="<lar:False />",
                    files=[(more.pop("file", "setup.exe"), data)], **more)
    text = text.replace("2024-01-11T", f"2024-01-{day:02}T")
    if severity:
        text = text.replace("PublicationState=", f'MsrcSeverity="{severity}" PublicationState=')
    inner = (f"<upd:KBArticleID>{kb}</upd:KBArticleID>" if kb else "") + (
        f"<upd:Language>{language}</upd:Language>" if language else "")
    if inner:
        end = 'f7c15066d905" />'
        assert end in text
        text = text.replace(end, f'f7c15066d905">{inner}</upd:Properties>', 1)
    upstream.add(text)
    return update


class TwoSides(unittest.TestCase):
    """An upstream, a mirror that approves for the group Office, and sites behind a gap."""
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.upstream = cls.enterClassContext(WsusServer())
        small.fill(cls.upstream)
        for guid, title in ((DEFINITIONS, "Definition Updates"), (SECURITY, "Security"), (OTHER, "Tools")):
            cls.upstream.add(document(guid, category="UpdateClassification", title=title))
        cls.near = cls.world.init("near", "--upstream", cls.upstream.url, "--name", "near")
        cls.near.run("sync")
        cls.near.run("group", "add", "Office")
        cls.prepare()

    @classmethod
    def prepare(cls):
        pass

    @classmethod
    def publish(cls, *guids, group="Office"):
        """Syncs, approves and downloads."""
        cls.near.run("sync", "--metadata-only")
        if guids:
            cls.near.run("update", "approve", *guids, "--group", group)
        cls.near.run("sync")

    @classmethod
    def site(cls, name):
        return small.join(cls.world, cls.near, name)

    def export(self, name, *words):
        return self.near.run("export", "--to", self.world.directory("stick"), "--for", name, *words)

    def plan(self, name, *words):
        return self.near.run("export", "--for", name, "--dry-run", *words)

    def bring(self, site, name, *words):
        """Exports and imports; what `export` printed."""
        done = self.export(name, *words)
        site.run("import", done["bundle"], "--yes")
        self.assert_same_state(site)
        return done

    def assert_same_state(self, *sites):
        for site in sites:
            self.assertEqual(site.state()["state_digest"], self.near.state()["state_digest"])

    def bring_back(self, site):
        file = site.run("export", "--return", "--to", self.world.directory("back"), "--yes")["return"]
        return self.near.run("import", file, "--yes")

    @staticmethod
    def held(site):
        return {path.stem for path in (site.path / "content").rglob("*") if path.is_file()}

    def assert_holds(self, site, *names):
        self.assertEqual({sha1_of(n) for n in names} - self.held(site), set(), names)

    def assert_lacks(self, site, *names):
        self.assertEqual({sha1_of(n) for n in names} & self.held(site), set(), names)
