"""An independent reader of bundles, returns and cards, written from docs/format.md alone.

Standard library plus the programs tar, zstd, sha256sum and openssl; for sealed bundles the package
cryptography (bundle_unseal.py); nothing of gapferry.

    bundle_reader.py check BUNDLE --card CARD     checks everything, prints a summary
    bundle_reader.py list BUNDLE                  objects, revisions, intent, documents as JSON lines
    bundle_reader.py extract BUNDLE --to DIR      writes every object, files in parts joined
                                                  (sealed bundles: --key PEM, a recipient's key)
    bundle_reader.py return FILE --card CARD      checks a return and prints its records
    bundle_reader.py card CARD                    checks a card and prints its fingerprint

Ends with 0, or with 1 and one line on stderr that says what is wrong.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

MANIFEST_LIMIT = 1 << 20
SIGNATURE_LIMIT = 16 * 1024
BLOCK = 64 * 1024
GUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,6}[1-9])?Z"
SHA1, SHA256 = r"[0-9a-f]{40}", r"[0-9a-f]{64}"
CONTENT = r"content/([0-9A-F]{2})/([0-9A-F]{38}\1)\.([A-Za-z0-9]{1,16})(?:\.part(\d{4}))?"
INTEGER_LIMIT = (1 << 53) - 1


class Refused(Exception):
    """The bundle, return or card is not what the specification says."""


def require(condition, message):
    if not condition:
        raise Refused(message)


# ---- Canonical JSON (section 2) ----------------------------------------------------------------


def unique(pairs):
    keys = [key for key, _ in pairs]
    require(len(set(keys)) == len(keys), "a key is repeated")
    return dict(pairs)


def integers(value):
    if isinstance(value, bool) or isinstance(value, str):
        return
    if isinstance(value, int):
        require(abs(value) <= INTEGER_LIMIT, "an integer is out of range")
    elif isinstance(value, list):
        for item in value:
            integers(item)
    elif isinstance(value, dict):
        for item in value.values():
            integers(item)
    else:
        raise Refused("null or a fraction")


def canonical(text, what):
    """Parses, encodes again, compares."""
    try:
        value = json.loads(text, object_pairs_hook=unique)
        text = text if isinstance(text, str) else text.decode()
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what}: {error}") from error
    integers(value)
    again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    require(again == text and "\0" not in text and "\\u0000" not in text, f"{what}: not canonical")
    return value


def fields(value, what, **kinds):
    """Exactly these fields, each fitting its kind: a pattern, a type, or a list of words."""
    require(isinstance(value, dict), f"{what}: expected an object")
    optional = {name for name in kinds if name.endswith("_optional")}
    names = {name.removesuffix("_optional") for name in kinds}
    missing = {n for n in names if f"{n}_optional" not in optional} - set(value)
    require(not missing, f"{what}: missing {sorted(missing)}")
    require(set(value) <= names, f"{what}: unknown {sorted(set(value) - names)}")
    for name, kind in kinds.items():
        name = name.removesuffix("_optional")
        if name not in value:
            continue
        item = value[name]
        if isinstance(kind, str):
            fits = isinstance(item, str) and re.fullmatch(kind, item)
        elif kind is int:
            fits = isinstance(item, int) and not isinstance(item, bool)
        elif isinstance(kind, (list, set, tuple, range)):
            fits = item in kind
        else:
            fits = isinstance(item, kind)
        require(fits, f"{what}: field {name!r} does not fit: {str(item)[:80]!r}")
    return value


COUNT, TEXT, UPDATE = int, str, GUID + r"/\d+"


def document(data, kind):
    prefix = b'{"_type":"' + kind.encode() + b'/1"'
    require(data.startswith(prefix), f"is no {kind}/1")
    require(data.endswith(b"\n") and data.count(b"\n") == 1, f"{kind}: not one line")
    return canonical(data[:-1], kind)


# ---- Programs ----------------------------------------------------------------------------------


def run(*words, data=None):
    return subprocess.run([str(w) for w in words], input=data, capture_output=True, check=False)


def unzstd(data, limit, what):
    done = run("zstd", "-dcq", "--memory=8MB", data=data)
    require(done.returncode == 0, f"{what}: {done.stderr.decode().strip()}")
    require(len(done.stdout) <= limit, f"{what}: larger than stated")
    return done.stdout


def verify_signature(key_text, message, signature):
    pem = f"-----BEGIN PUBLIC KEY-----\n{key_text}\n-----END PUBLIC KEY-----\n"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "key.pem").write_text(pem)
        (folder / "message").write_bytes(message)
        (folder / "signature").write_bytes(signature)
        done = run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", folder / "key.pem", "-rawin",
                   "-in", folder / "message", "-sigfile", folder / "signature")
    return done.returncode == 0


# ---- Cards and signatures (section 3) ----------------------------------------------------------


def raw_key(text, oid):
    der = base64.b64decode(text, validate=True)
    require(len(der) == 44 and der[:12] == bytes.fromhex(f"302a30050603{oid}032100"),
            "not a public key of the right kind")
    return der[12:]


def key_id(raw):
    return hashlib.sha256(raw).hexdigest()[:32]


def fingerprint(card):
    text = (f"gapferry-fingerprint/1\n{card['guid']}\n{card['signing_key']}\n"
            f"{card['encryption_key']}\n")
    letters = base64.b32encode(hashlib.sha256(text.encode()).digest()[:20]).decode().lower()
    return "-".join(letters[i:i + 4] for i in range(0, 32, 4))


def read_card(path):
    data = pathlib.Path(path).read_bytes()
    require(len(data) <= 16 * 1024, "card: too large")
    card = fields(document(data, "gapferry-card"), "card", _type=TEXT, encryption_key=r".{60}",
                  fingerprint=r"([a-z2-7]{4}-){7}[a-z2-7]{4}", formats=list_of(str), guid=GUID,
                  name=r"(?s).{1,64}", number_optional=range(1, 1_000_000), roles=list_of(str), signature=r".{88}", signing_key=r".{60}",
                  signing_key_id=r"[0-9a-f]{32}")
    signing = raw_key(card["signing_key"], "2b6570")
    raw_key(card["encryption_key"], "2b656e")
    require(card["signing_key_id"] == key_id(signing), "card: key id")
    require(card["fingerprint"] == fingerprint(card), "card: fingerprint")
    rest = {k: v for k, v in card.items() if k != "signature"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    require(verify_signature(card["signing_key"], text.encode(), base64.b64decode(card["signature"])),
            "card: its signature does not match")
    return card


class list_of(list):
    """A kind for fields(): a list whose items have one type."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def __contains__(self, item):
        return isinstance(item, list) and all(isinstance(i, self.kind) for i in item)


def check_signatures(data, text, cards):
    """The card of the origin; fails as section 3 says."""
    require(len(text) <= SIGNATURE_LIMIT and text.endswith("\n"), "signatures: malformed")
    lines = text[:-1].split("\n")
    known = {card["signing_key_id"]: card for card in cards}
    origin, last = None, ""
    for line in lines:
        found = re.fullmatch(r"([0-9a-f]{32}) (origin|release) ([A-Za-z0-9+/]{86}==)", line)
        require(found, "signatures: malformed line")
        identity, role, encoded = found.groups()
        require(base64.b64encode(base64.b64decode(encoded)).decode() == encoded, "signatures: base64")
        require(identity > last, "signatures: repeated key or wrong order")
        last = identity
        card = known.get(identity)
        if card is None:
            continue
        require(verify_signature(card["signing_key"], data, base64.b64decode(encoded)),
                f"the signature by {card['name']} does not match")
        require(role in card["roles"], f"{card['name']} signed in a role it has not")
        if role == "origin":
            require(origin is None, "two origins")
            origin = card
    require(origin, "signed by nobody who is trusted")
    return origin


# ---- Bundles (section 4) -----------------------------------------------------------------------

STATE = dict(chain=SHA256, epoch=GUID, generation=COUNT, state_digest=SHA256)
# In the manifest of a plain bundle, in details.json.sealed of a sealed one.
DETAILS = dict(acknowledgements=list_of(dict), audit_head=SHA256, audit_records=COUNT, base=dict,
               scope=["delta", "full"], target=dict, totals=dict, upstream_sync=dict,
               void_sequences=list_of(int))


def read_manifest(data):
    require(len(data) <= MANIFEST_LIMIT, "manifest: too large")
    m = document(data, "gapferry-manifest")
    sealed = isinstance(m, dict) and "sealed" in m
    routing = dict(_type=TEXT, created=TIME, index=dict, parity_optional=list(range(1, 101)),
                   previous_manifest=SHA256, recipients=list_of(dict), sender=dict, sequence=COUNT,
                   stream=r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", sums_sha256=SHA256,
                   sums_size=COUNT, volumes=list_of(dict))
    fields(m, "manifest", **routing, **(dict(sealed=dict) if sealed else DETAILS))
    raw = {} if sealed else dict(lines=COUNT, raw_sha256=SHA256, raw_size=COUNT)
    fields(m["index"], "index", sha256=SHA256, size=COUNT, **raw)
    fields(m["sender"], "sender", guid=GUID, key_id=r"[0-9a-f]{32}", name=TEXT)
    require(m["recipients"], "manifest: no recipient")
    for recipient in m["recipients"]:
        fields(recipient, "recipient", guid=GUID, key_id=r"[0-9a-f]{32}", name=TEXT,
               **(dict(sealed_key=r"[A-Za-z0-9+/]{107}=") if sealed else {}))
    for number, volume in enumerate(m["volumes"], 1):
        name = f"volume-{number:04d}\\.tar" + (r"\.sealed" if sealed else "")
        fields(volume, "volume", name=name, sha256=SHA256, size=COUNT)
    require(m["sequence"] >= 1, "manifest: sequence")
    if sealed:
        fields(m["sealed"], "sealed", sha256=SHA256, size=COUNT)
    else:
        check_details(m)
    return m


def read_details(data, manifest):
    """A sealed manifest with its details."""
    require(len(data) <= MANIFEST_LIMIT, "details: too large")
    d = fields(document(data, "gapferry-details"), "details", _type=TEXT, index=dict, **DETAILS)
    fields(d["index"], "index", lines=COUNT, raw_sha256=SHA256, raw_size=COUNT)
    whole = {**d, **manifest, "index": {**d["index"], **manifest["index"]}}
    check_details(whole)
    return whole


def check_details(m):
    for name in ("base", "target"):
        fields(m[name], name, **STATE)
    for one in m["acknowledgements"]:
        fields(one, "acknowledgement", applied_return=COUNT, deleted_computers=list_of(str),
               detailed=bool, seen_head=SHA256, seen_records=COUNT, site=GUID)
    fields(m["totals"], "totals", content_bytes=COUNT, content_files=COUNT, revisions=COUNT)
    fields(m["upstream_sync"], "upstream_sync", outcome=["never", "succeeded", "failed"],
           at_optional=TIME)
    require(("at" in m["upstream_sync"]) == (m["upstream_sync"]["outcome"] != "never"),
            "manifest: upstream_sync")
    require(m["base"]["generation"] <= m["target"]["generation"], "manifest: base")


def header_of(name, size):
    def octal(digits, value):
        return f"{value:0{digits}o}".encode() + b"\0"

    stored = octal(11, size) if size < 1 << 33 else b"\x80\0\0\0" + size.to_bytes(8, "big")
    h = bytearray(512)
    h[:len(name)] = name.encode()
    for at, data in ((100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, stored),
                     (136, octal(11, 0)), (148, b" " * 8), (156, b"0"), (257, b"ustar\00000"),
                     (329, b"0000000\0"), (337, b"0000000\0")):
        h[at:at + len(data)] = data
    h[148:156] = f"{sum(h):06o}".encode() + b"\0 "
    return bytes(h)


def order_of(name):
    """The sorting key of an object name; Refused for what is none."""
    if name == "intent":
        return (0,)
    for kind, pattern in ((1, r"metadata/(\d{6})"), (2, r"attachments/(\d{3})")):
        found = re.fullmatch(pattern, name)
        if found and int(found[1]):
            return kind, int(found[1])
    found = re.fullmatch(CONTENT, name)
    require(found and found[4] != "0000", f"{name!r} is no object name")
    return 3, found[2], found[3], int(found[4] or 0)


def read_index(data, manifest):
    stated = manifest["index"]
    raw = unzstd(data, stated["raw_size"], "index")
    require(len(raw) == stated["raw_size"] and sha256(raw) == stated["raw_sha256"], "index: digest")
    require(raw.endswith(b"\n"), "index: last line")
    lines = []
    for number, text in enumerate(raw[:-1].split(b"\n"), 1):
        line = canonical(text, f"index line {number}")
        content = line.get("name", "").startswith("content/")
        part = content and ".part" in line["name"]
        kinds = dict(name=TEXT, offset=COUNT, sha256=SHA256, size=COUNT, volume=COUNT)
        if content:
            kinds |= dict(sha1=SHA1, full_size=COUNT)
        if part:
            kinds |= dict(full_sha256=SHA256)
        fields(line, f"index line {number}", **kinds)
        lines.append(line)
    require(len(lines) == stated["lines"], "index: number of lines")
    check_places(lines, manifest)
    return lines


def check_places(lines, manifest):
    volume, end, last, parts, sizes = 0, 0, None, None, {}
    for line in lines:
        key = order_of(line["name"])
        require(last is None or last < key, f"{line['name']}: out of order")
        if line["volume"] == volume + 1:
            volume, end = volume + 1, 0
        require(line["volume"] == volume and line["offset"] == end, f"{line['name']}: gap")
        end = line["offset"] + 512 + (line["size"] + 511) // 512 * 512
        sizes[volume] = end + 1024
        if key[0] == 3:
            require(line["sha1"].upper() == key[1], f"{line['name']}: sha1")
            if key[3] > 1:
                require(parts and parts[0] == (key[1:3], key[3] - 1, line["full_size"],
                                               line["full_sha256"]), f"{line['name']}: parts")
            else:
                require(parts is None, "parts are missing")
                require(last is None or last[:2] != key[:2], f"{line['name']}: twice")
            if key[3]:
                done = line["size"] + (parts[1] if parts else 0)
                full = (key[1:3], key[3], line["full_size"], line["full_sha256"])
                require(line["size"] and done <= line["full_size"], f"{line['name']}: sizes")
                parts = None if done == line["full_size"] else (full, done)
            else:
                require(line["size"] == line["full_size"], f"{line['name']}: sizes")
        last = key
    require(parts is None, "parts are missing")
    stored = [sealed_size(sizes[i]) if "sealed" in manifest else sizes[i] for i in sorted(sizes)]
    require(stored == [v["size"] for v in manifest["volumes"]],
            "index and manifest disagree about volumes")


def sealed_size(size):
    text = 32 + size
    return text + -(-text // (BLOCK - 16)) * 16


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check_files(folder, manifest):
    sums = (folder / "SHA256SUMS").read_bytes()
    require(len(sums) == manifest["sums_size"] and sha256(sums) == manifest["sums_sha256"],
            "SHA256SUMS is not the list that was signed")
    done = run("sh", "-c", 'cd "$1" && sha256sum -c --strict --quiet SHA256SUMS', "sh", folder)
    require(done.returncode == 0, f"sha256sum: {(done.stdout + done.stderr).decode().strip()}")
    listed = {}
    for line in sums.decode().splitlines():
        found = re.fullmatch(r"([0-9a-f]{64})  (\S+)", line)
        require(found, "SHA256SUMS: malformed line")
        listed[found[2]] = found[1]
    require(list(listed) == sorted(listed), "SHA256SUMS: order")
    index = "index.jsonl.zst" + (".sealed" if "sealed" in manifest else "")
    expected = {"README.txt", index} | {"trust.jsonl"} & set(listed)
    parity = "parity" in manifest
    if parity:
        expected.add("repair-0000")
    stated = {index: manifest["index"]}
    if "sealed" in manifest:
        expected.add("details.json.sealed")
        stated["details.json.sealed"] = manifest["sealed"]
    for name, summary in stated.items():
        require((folder / name).stat().st_size == summary["size"] and
                listed.get(name) == summary["sha256"], f"{name}: size or digest")
    for number, volume in enumerate(manifest["volumes"], 1):
        expected |= {volume["name"], f"blocks-{number:04d}"}
        if parity:
            expected.add(f"repair-{number:04d}")
        require(listed.get(volume["name"]) == volume["sha256"], f"{volume['name']}: sums disagree")
        require((folder / volume["name"]).stat().st_size == volume["size"], f"{volume['name']}: size")
    require(set(listed) == expected, "SHA256SUMS lists other files than there must be")
    present = {p.name for p in folder.iterdir()}
    require(present == expected | {"SHA256SUMS", "manifest.json", "manifest.json.sig"},
            f"unlisted or missing: {sorted(present ^ expected)}")
    require(all(p.is_file() and not p.is_symlink() for p in folder.iterdir()), "not only files")


def check_volume(folder, number, lines):
    name = f"volume-{number:04d}.tar"
    listed = run("tar", "-tf", folder / name)
    require(listed.returncode == 0 and listed.stdout.decode().split() == [x["name"] for x in lines],
            f"{name}: tar lists something else")
    with (folder / name).open("rb") as volume:
        for line in lines:
            where = f"object {line['name']} in {name} at offset {line['offset']}"
            require(volume.tell() == line["offset"], where)
            require(volume.read(512) == header_of(line["name"], line["size"]), f"{where}: header")
            digest, rest = hashlib.sha256(), line["size"]
            while rest:
                piece = volume.read(min(rest, 1 << 20))
                require(piece, f"{where}: short")
                digest.update(piece)
                rest -= len(piece)
            require(digest.hexdigest() == line["sha256"], f"{where}: digest")
            require(not any(volume.read(-line["size"] % 512)), f"{where}: padding")
        require(volume.read() == bytes(1024), f"{name}: end")


def check_blocks(folder, number, name, parity):
    def digests(path, limit):
        out = b""
        with path.open("rb") as file:
            while limit > 0 and (piece := file.read(min(BLOCK, limit))):
                out += hashlib.sha256(piece).digest()[:8]
                limit -= len(piece)
        return out

    stored = (folder / f"blocks-{number:04d}").read_bytes()
    blocks = digests(folder / name, 1 << 62)
    if parity:  # then the repair blocks; the repair file ends with a copy of the blocks file
        repair = folder / f"repair-{number:04d}"
        blocks += digests(repair, repair.stat().st_size - len(stored))
        require(repair.read_bytes().endswith(stored), f"repair-{number:04d}: copy of the digests")
    require(stored == blocks, f"blocks-{number:04d}")


def read_object(folder, line):
    with (folder / f"volume-{line['volume']:04d}.tar").open("rb") as volume:
        volume.seek(line["offset"] + 512)
        return volume.read(line["size"])


class Bundle:
    """A bundle that was checked: manifest, index lines, intent records, documents. One that is
    sealed is opened with `key`, the PEM file of a recipient, into a folder of its own."""

    def __init__(self, folder, cards, key=None):
        self.folder = pathlib.Path(folder)
        data = (self.folder / "manifest.json").read_bytes()
        text = (self.folder / "manifest.json.sig").read_bytes().decode("ascii", "replace")
        if cards:
            self.origin = check_signatures(data, text, cards)
        self.manifest = read_manifest(data)
        if cards:
            sender = self.manifest["sender"]
            require((sender["guid"], sender["key_id"]) ==
                    (self.origin["guid"], self.origin["signing_key_id"]), "sender is not the signer")
        check_files(self.folder, self.manifest)
        for number, volume in enumerate(self.manifest["volumes"], 1):
            check_blocks(self.folder, number, volume["name"], "parity" in self.manifest)
        if "sealed" in self.manifest:
            self.open_files(key)
        self.index = read_index((self.folder / "index.jsonl.zst").read_bytes(), self.manifest)
        for number in range(1, len(self.manifest["volumes"]) + 1):
            check_volume(self.folder, number, [x for x in self.index if x["volume"] == number])
        self.intent = read_intent(unzstd(read_object(self.folder, self.index[0]), 2 << 30, "intent"))
        require(self.intent[0]["scope"] == self.manifest["scope"], "intent: scope")
        self.documents = self.read_documents()
        self.check_meaning()

    def open_files(self, path):
        require(path, "sealed: needs the key of a recipient")
        import bundle_unseal  # pylint: disable=import-outside-toplevel
        private, key_id = bundle_unseal.load_key(path)
        key = bundle_unseal.bundle_key(self.manifest, private, key_id)
        stored, self.opened = self.folder, tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.opened.name)
        for file in sorted(stored.glob("*.sealed")):
            name = file.name.removesuffix(".sealed")
            with file.open("rb") as source, (self.folder / name).open("wb") as text:
                for piece in bundle_unseal.pieces(source, name, key):
                    text.write(piece)
        self.manifest = read_details((self.folder / "details.json").read_bytes(), self.manifest)

    def extract(self, target):
        """Every object under its name, parts joined."""
        target = pathlib.Path(target)
        for line in self.index:
            path = target / re.sub(r"\.part\d{4}$", "", line["name"])
            path.parent.mkdir(parents=True, exist_ok=True)
            first = ".part" not in line["name"] or line["name"].endswith(".part0001")
            with path.open("wb" if first else "ab") as file:
                file.write(read_object(self.folder, line))
            if line["name"].startswith("content/") and path.stat().st_size == line["full_size"]:
                whole = hashlib.sha256(path.read_bytes()).hexdigest()
                require(whole == line.get("full_sha256", line["sha256"]), f"{path}: digest")

    def read_documents(self):
        out = []
        for line in self.index:
            if line["name"].startswith("metadata/"):
                out += read_metadata(unzstd(read_object(self.folder, line), 8 << 30, line["name"]))
        return out

    def check_meaning(self):
        carried = {r["update"]: r["sha256"] for r in self.intent
                   if r["record"] == "revision" and r["carried"]}
        found = {d["update"]: d["sha256"] for d in self.documents}
        require(carried == found, "documents are not the ones that the intent lists")
        totals = self.manifest["totals"]
        whole = [x for x in self.index if x["name"].startswith("content/") and
                 (".part" not in x["name"] or x["name"].endswith(".part0001"))]
        require(totals == {"content_bytes": sum(x["full_size"] for x in whole),
                           "content_files": len(whole), "revisions": len(found)}, "manifest: totals")


# ---- Intent and metadata (sections 5 and 6) ----------------------------------------------------

INTENT = [
    ("revision", "update", dict(update=UPDATE, sha256=SHA256, withdrawn=bool, carried=bool)),
    ("group", "guid", dict(guid=GUID, name=TEXT, parent=GUID)),
    ("group-removed", "guid", dict(guid=GUID)),
    ("deployment", "guid", dict(guid=GUID, action=range(7), admin=TEXT, assigned=bool,
                                deadline_optional=TIME, go_live=TIME, group=GUID, last_change=TIME,
                                priority=[1, 2, 3], update=UPDATE)),
    ("deployment-removed", "guid", dict(guid=GUID)),
    ("decline", "guid", dict(guid=GUID, declined=bool)),
    ("eula", "guid", dict(guid=GUID)),
    ("eula-removed", "guid", dict(guid=GUID)),
]


def update_key(text):
    guid, number = text.split("/")
    return guid, int(number)


def read_intent(raw):
    require(raw.endswith(b"\n"), "intent: last line")
    lines = [canonical(text, f"intent line {n}") for n, text in enumerate(raw[:-1].split(b"\n"), 1)]
    header = fields(lines[0], "intent header", record=["intent"], format=["gapferry-exchange/1"],
                    scope=["delta", "full"], revisions=COUNT, elements=COUNT, dangling=COUNT)
    kinds = [kind for kind, _, _ in INTENT]
    at, last = 0, None
    for number, line in enumerate(lines[1:], 2):
        what = f"intent line {number}"
        kind = line.get("record")
        require(kind in kinds and kinds.index(kind) >= at, f"{what}: record {kind!r}")
        if kinds.index(kind) != at:
            at, last = kinds.index(kind), None
        _, key_name, members = INTENT[at]
        fields(line, what, record=TEXT, **{k: list(v) if isinstance(v, range) else v
                                           for k, v in members.items()})
        key = update_key(line["update"]) if kind == "revision" else (line[key_name],)
        require(last is None or last < key, f"{what}: order")
        last = key
        full_only = header["scope"] == "full" and (kind.endswith("-removed") or
                                                   line.get("declined") is False)
        require(not full_only, f"{what}: does not belong into a full bundle")
    revisions = sum(line["record"] == "revision" for line in lines)
    require(revisions == header["revisions"] and len(lines) - 1 - revisions == header["elements"],
            "intent: counts")
    return lines


def read_metadata(raw):
    records, at, last = [], 0, None
    while at < len(raw):
        end = raw.index(b"\n", at)
        head = canonical(raw[at:end], "metadata record")
        keys = {"keys": list_of(dict)} if "keys" in head else {}
        fields(head, "metadata record", form=["plain", "cabinet"], sha256=SHA256, size=COUNT,
               update=UPDATE, urls=list_of(dict), **keys)
        names = [key["sha1"] for key in head.get("keys", [])]
        require(names == sorted(set(names)) and ("keys" not in head or names), "keys: order")
        for key in head.get("keys", []):
            fields(key, "key", sha1=SHA1, key=TEXT)
            secret = base64.b64decode(key["key"], validate=True)
            require(1 <= len(secret) <= 128, "keys: size")
        for url in head["urls"]:
            fields(url, "url", sha1=SHA1, url=TEXT)
        stored = raw[end + 1:end + 1 + head["size"]]
        at = end + 1 + head["size"] + 1
        require(len(stored) == head["size"] and raw[at - 1:at] == b"\n",
                f"{head['update']}: size or line end")
        require(last is None or last < update_key(head["update"]), f"{head['update']}: order")
        last = update_key(head["update"])
        if head["form"] == "plain":
            require(sha256(stored) == head["sha256"], f"{head['update']}: digest")
        else:
            require(stored[:4] == b"MSCF", f"{head['update']}: no cabinet")
        records.append({**head, "bytes": stored})
    return records


# ---- Returns (section 8) -----------------------------------------------------------------------

KIND = dict(os_major=int, os_minor=int, os_build=int, sp_major=int, sp_minor=int, suite_mask=int,
            old_product_type=int, new_product_type=int, system_metrics=int)
COMPUTER_TEXTS = ("name", "address", "locale", "os_family", "os_description", "make", "model",
                  "bios_version", "bios_name", "architecture", "client_version")
COMPUTER_TIMES = ("bios_date", "registered", "contact", "last_sync", "last_status", "last_reboot",
                  "last_inventory", "last_detection")
SUMMARY = ("update_count", "declined", "approved", "not_approved", "stale_approvals", "expired",
           "critical_not_approved", "infrastructure_not_approved", "with_client_errors",
           "with_server_errors", "needing_files", "needed_by_computers", "up_to_date", "groups",
           "computers", "computers_needing", "computers_with_errors", "computers_up_to_date")
RECORDS = {
    "receipt": dict(stream=TEXT, sequence=COUNT, manifest=SHA256, target=dict, content_digest=SHA256,
                    imported=TIME),
    "request": dict(sha1=SHA1, size=COUNT),
    "removed": dict(sha1=SHA1),
    "block": dict(sequence=COUNT, volume=COUNT, block=COUNT),
    "server": dict(id=GUID, parent=GUID, name=TEXT, version=TEXT, replica=bool, last_sync=TIME,
                   last_rollup=TIME, clients=list_of(dict), summary_optional=dict),
    "computer": dict(id=TEXT, server=GUID, groups=list_of(str), has_status=bool,
                     last_sync_result=[0, 1, 2], **KIND, **{t: TIME for t in COMPUTER_TIMES},
                     **{f"{t}_optional": TEXT for t in COMPUTER_TEXTS}),
    "status": dict(computer=TEXT, update=GUID, state=list(range(7)), changed=TIME),
    "activity": dict(server=GUID, os=dict, update=UPDATE, successes=COUNT, failures=COUNT),
}
LEVELS = {"receipt": ["receipt", "request", "removed", "block"],
          "summary": ["receipt", "request", "removed", "block", "server", "activity"],
          "detailed": list(RECORDS)}


def read_return(path, cards):
    path = pathlib.Path(path)
    data = path.read_bytes()
    require(all(b == 10 or 32 <= b <= 126 for b in data), "something other than printable ASCII")
    require(data.startswith(b'{"_type":"gapferry-return/1"') and data.endswith(b"\n"), "no return")
    origin = None
    if cards:
        text = pathlib.Path(f"{path}.sig").read_text(encoding="ascii", errors="replace")
        origin = check_signatures(data, text, cards)
    lines = [canonical(text, f"line {n}") for n, text in enumerate(data[:-1].split(b"\n"), 1)]
    header = fields(lines[0], "header", _type=TEXT, audit_head=SHA256, audit_records=COUNT,
                    seen_head=SHA256, seen_records=COUNT, created=TIME, epoch=GUID, level=list(LEVELS),
                    lines=COUNT, number=COUNT, recipient=GUID, site=GUID)
    require(origin is None or origin["guid"] == header["site"], "the site is not the signer")
    require(header["lines"] == len(lines) - 1, "number of lines")
    order, at, sequence = list(RECORDS), 0, 0
    for number, line in enumerate(lines[1:], 2):
        kind = line.get("record")
        require(kind in LEVELS[header["level"]] and order.index(kind) >= at, f"line {number}: {kind!r}")
        at = order.index(kind)
        fields(line, f"line {number}", record=TEXT, **RECORDS[kind])
        if kind == "receipt":
            fields(line["target"], "target", **STATE)
            require(line["sequence"] > sequence, "receipts do not ascend")
            sequence = line["sequence"]
        if kind == "activity":
            fields(line["os"], "os", architecture=TEXT, locale=TEXT, **KIND)
        for client in line.get("clients", ()):
            fields(client, "client", architecture=TEXT, locale=TEXT, count=int, **KIND)
        if "summary" in line:
            fields(line["summary"], "summary", **{name: int for name in SUMMARY})
    return lines


# ---- The program -------------------------------------------------------------------------------


def show(value):
    print(json.dumps(value, sort_keys=True, ensure_ascii=False))


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["check", "list", "extract", "return", "card"])
    parser.add_argument("path")
    parser.add_argument("--card", action="append", default=[])
    parser.add_argument("--key", help="private key of a recipient, for a sealed bundle")
    parser.add_argument("--to", help="where objects are extracted")
    options = parser.parse_args(words)
    try:
        cards = [read_card(path) for path in options.card]
        if options.action == "card":
            print(read_card(options.path)["fingerprint"])
        elif options.action == "return":
            for line in read_return(options.path, cards):
                show(line)
        else:
            bundle = Bundle(options.path, cards, options.key)
            if options.action == "extract":
                bundle.extract(options.to or parser.error("extract needs --to"))
            elif options.action == "check":
                m = bundle.manifest
                show({"objects": len(bundle.index), "revisions": len(bundle.documents),
                      "scope": m["scope"], "sequence": m["sequence"],
                      "signed_by": bundle.origin["name"] if cards else None,
                      "target": m["target"]["generation"]})
            else:
                for line in bundle.index + bundle.intent:
                    show(line)
                for head in bundle.documents:
                    show({k: v for k, v in head.items() if k != "bytes"})
    except (Refused, OSError, ValueError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
