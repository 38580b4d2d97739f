"""A catalogue of a dozen documents in a WsusServer, for tests that run a step hundreds of times.

    with WsusServer() as upstream:
        fill(upstream)      # company, family, product, classification, detectoid, 3 leaves, a bundle
        advance(upstream)   # a new leaf, a new revision of the first one, the second one expired
"""
import hashlib
import uuid

from wsus import document


def guid(name):
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "gapferry-test/" + name))


COMPANY, FAMILY, PRODUCT, CLASSIFICATION, DETECTOID = map(
    guid, ("company", "family", "product", "classification", "detectoid"))
LEAVES = [guid(f"leaf {i}") for i in range(3)]
BUNDLE, CHILD, NEW_LEAF = guid("bundle"), guid("child"), guid("new leaf")


def payload(name, size=40_000):
    """Bytes that do not compress, the same on every run."""
    blocks = (hashlib.sha256(f"{name} {i}".encode()).digest() for i in range(size // 32))
    return b"".join(blocks)


def leaf(upstream, update, revision=100, state="Published", title="Leaf", **more):
    data = payload(f"{update}/{revision}")
    upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
    upstream.add(document(update, revision, "Software", title=title, explicitly=True, state=state,
                          prerequisites=[PRODUCT, CLASSIFICATION], installed="<lar:False />",
                          files=[(f"{title.replace(' ', '')}.exe", data)], **more))


def fill(upstream):
    upstream.add(document(COMPANY, category="Company", title="Contoso"))
    upstream.add(document(FAMILY, category="ProductFamily", title="Office", prerequisites=[COMPANY]))
    upstream.add(document(PRODUCT, category="Product", title="Writer", prerequisites=[FAMILY]))
    upstream.add(document(CLASSIFICATION, category="UpdateClassification", title="Security Updates"))
    upstream.add(document(DETECTOID, kind="Detectoid", title="64-bit"))
    for i, update in enumerate(LEAVES):
        leaf(upstream, update, title=f"Leaf {i}")
    data = payload("child")
    upstream.content[hashlib.sha1(data).hexdigest().upper()] = data
    upstream.add(document(CHILD, 100, "Software", title="Child", prerequisites=[PRODUCT, CLASSIFICATION],
                          installed="<lar:False />", files=[("child.cab", data)]))
    upstream.add(document(BUNDLE, 100, "Software", title="Bundle", explicitly=True, bundled=[(CHILD, 100)],
                          prerequisites=[PRODUCT, CLASSIFICATION]))


def advance(upstream):
    leaf(upstream, NEW_LEAF, title="New leaf", superseded=[LEAVES[2]])
    leaf(upstream, LEAVES[0], 101, title="Leaf 0, corrected")
    leaf(upstream, LEAVES[1], 101, state="Expired", title="Leaf 1")


def connected(world, upstream, name="connected"):
    """A mirror that has synced `upstream` with all content, and approved leaf 0 and the bundle."""
    mirror = world.init(name, "--upstream", upstream.url, "--name", name)
    mirror.configure(content__download="all")
    mirror.run("sync")
    mirror.run("group", "add", "Office")
    mirror.run("update", "approve", LEAVES[0], BUNDLE, "--group", "Office")
    return mirror


def join(world, exporter, name="site"):
    """A site fed by bundles of `exporter`, both knowing each other's card."""
    site = world.init(name, "--gap", "--name", name)
    for giver, taker, noun in ((site, exporter, "site"), (exporter, site, "trust")):
        card = world.path / f"{giver.path.name}.card"
        card.write_text(world_card(giver))
        taker.run(noun, "add", card, "--yes")
    return site


def world_card(mirror):
    """The card as a person would carry it: what `identity show` prints."""
    from harness import gapferry
    shown = gapferry("identity", "show", "--mirror", mirror.path, prefix=mirror.prefix)
    assert shown.code == 0, shown
    return shown.out
