"""Update documents of the shape that real ones have, and what an update server reads out of them."""
import base64
import hashlib
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from .cabinet import metadata_cabinet

UPD = "{http://schemas.microsoft.com/msus/2002/12/Update}"
HANDLERS = "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/"
COMPRESS_ABOVE = 5120  # bytes of UTF-16, as WSUS does


class Document:
    """A revision as the server keeps it. `cabinet` is given, or made where WSUS would make one."""

    def __init__(self, text, cabinet=None, key=None):
        self.text, self.tick = text, 0
        self.kind, self.digests, self.names, self.members = "Software", [], set(), []
        try:
            self.read(ET.fromstring(text))
        except (ET.ParseError, AttributeError):
            assert key, "a document that cannot be read needs a key"
        if key:
            self.key = (key[0].lower(), key[1])
        if cabinet is None and len(text) * 2 > COMPRESS_ABOVE:
            cabinet = metadata_cabinet(text)
        self.cabinet = cabinet

    def read(self, root):
        own = root.find(UPD + "UpdateIdentity")
        self.key = (own.get("UpdateID").lower(), int(own.get("RevisionNumber")))
        self.kind = root.find(UPD + "Properties").get("UpdateType")
        self.digests = [f.get("Digest") for f in root.iter(UPD + "File")
                        if f.get("DigestAlgorithm", "SHA1") == "SHA1"]
        relations = UPD + "Relationships/" + UPD
        self.names = {i.get("UpdateID").lower()
                      for i in root.findall(f"{relations}Prerequisites//{UPD}UpdateIdentity")}
        self.members = [(i.get("UpdateID").lower(), int(i.get("RevisionNumber")))
                        for i in root.findall(f"{relations}BundledUpdates//{UPD}UpdateIdentity")]

    @property
    def is_config(self):
        return self.kind in ("Category", "Detectoid")

    def entry(self):
        """Its ServerSyncUpdateData, children in the order a real server writes them."""
        digests = "".join(f"<base64Binary>{d}</base64Binary>" for d in self.digests)
        files = f"<FileDigestList>{digests}</FileDigestList>" if digests else ""
        if self.cabinet:
            blob = base64.b64encode(self.cabinet).decode()
            blob = f"{files}<XmlUpdateBlobCompressed>{blob}</XmlUpdateBlobCompressed>"
        else:
            blob = f"<XmlUpdateBlob>{escape(self.text)}</XmlUpdateBlob>{files}"
        return f"<ServerSyncUpdateData><Id>{identity(self.key)}</Id>{blob}</ServerSyncUpdateData>"


def identity(key):
    return f"<UpdateID>{key[0]}</UpdateID><RevisionNumber>{key[1]}</RevisionNumber>"


def file_element(name, data, encrypted=False):
    """A file of a document, as real ones declare it."""
    sha1, sha256 = (base64.b64encode(hashlib.new(a, data).digest()).decode() for a in ("sha1", "sha256"))
    return (f'<upd:File Digest="{sha1}" DigestAlgorithm="SHA1" FileName="{name}" Size="{len(data)}" '
            + ('IsEncrypted="true" ' if encrypted else "") +
            'Modified="2026-10-04T09:39:26Z"><upd:AdditionalDigest Algorithm="SHA256">'
            f"{sha256}</upd:AdditionalDigest></upd:File>")


def document(guid, revision=100, kind="Category", *, title="Title", category=None, prerequisites=(),
             bundled=(), superseded=(), explicitly=False, files=(), installed="<lar:True />",
             state="Published", secured=None, encrypted=False):
    """A small document; `files` are (name, bytes)."""
    def groups(ids, attribute):
        return "".join(f"<upd:AtLeastOne{attribute}>"
                       f'<upd:UpdateIdentity UpdateID="{i}" /></upd:AtLeastOne>' for i in ids)

    handler, data = "", ""
    if category:
        handler = f'Handler="{HANDLERS}Category"'
        data = ('<upd:HandlerSpecificData xsi:type="cat:Category"><cat:CategoryInformation '
                f'CategoryType="{category}" ProhibitsSubcategories="false" /></upd:HandlerSpecificData>')
    elif files:
        handler = f'Handler="{HANDLERS}CommandLineInstallation"'
        declared = "".join(file_element(name, content, encrypted) for name, content in files)
        data = (f"<upd:Files>{declared}</upd:Files>"
                '<upd:HandlerSpecificData xsi:type="cmd:CommandLineInstallation"><cmd:InstallCommand '
                f'Program="{files[0][0]}" Arguments="/q"><cmd:ReturnCode Code="0" Result="Succeeded" />'
                "</cmd:InstallCommand></upd:HandlerSpecificData>")
    old = "".join(f'<upd:UpdateIdentity UpdateID="{g}" />' for g in superseded)
    new = "".join(f'<upd:UpdateIdentity UpdateID="{g}" RevisionNumber="{r}" />' for g, r in bundled)
    attribute = ' IsCategory="true"' if kind in ("Category", "Software") else ""
    relations = ((f"<upd:Prerequisites>{groups(prerequisites, attribute)}</upd:Prerequisites>"
                  if prerequisites else "")
                 + (f"<upd:SupersededUpdates>{old}</upd:SupersededUpdates>" if old else "")
                 + (f"<upd:BundledUpdates>{new}</upd:BundledUpdates>" if new else ""))
    fragment = f"<upd:SecuredFragment>{secured}</upd:SecuredFragment>" if secured else ""
    return (
        '<upd:Update xmlns:upd="http://schemas.microsoft.com/msus/2002/12/Update" '
        'xmlns:pub="http://schemas.microsoft.com/msus/2002/12/Publishing" '
        f'xmlns:cat="{HANDLERS}Category" xmlns:cmd="{HANDLERS}CommandLineInstallation" '
        'xmlns:lar="http://schemas.microsoft.com/msus/2002/12/LogicalApplicabilityRules" '
        'xmlns:bar="http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<upd:UpdateIdentity UpdateID="{guid}" RevisionNumber="{revision}" />'
        f'<upd:Properties UpdateType="{kind}" DefaultPropertiesLanguage="en" {handler} '
        f'ExplicitlyDeployable="{str(explicitly).lower()}" '
        f'PublicationState="{state}" CreationDate="2024-01-11T20:15:45.051Z" '
        f'PublisherID="395392a0-19c0-48b7-a927-f7c15066d905" ' + (f">{fragment}</upd:Properties>"
                                                                 if fragment else "/>") +
        "<upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en</upd:Language>"
        f"<upd:Title>{escape(title)}</upd:Title><upd:Description>{escape(title)}</upd:Description>"
        "</upd:LocalizedProperties></upd:LocalizedPropertiesCollection>"
        + (f"<upd:Relationships>{relations}</upd:Relationships>" if relations else "")
        + f"<upd:ApplicabilityRules><upd:IsInstalled>{installed}</upd:IsInstalled>"
        "</upd:ApplicabilityRules>" + data + "</upd:Update>")
