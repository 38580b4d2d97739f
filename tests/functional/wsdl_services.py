"""The description that each service gives of itself (`?wsdl`): a peer can be built from it and called, it says
what the published WSDL files say, and what we write is valid by it."""
import pathlib
import tempfile
import unittest
import urllib.error
import urllib.request
import uuid
import xml.etree.ElementTree as ET

import soap
from harness import ROOT, World

try:
    from lxml import etree
except ImportError:
    etree = None

WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
XS = "{http://www.w3.org/2001/XMLSchema}"
SOAP = {"11": "{http://schemas.xmlsoap.org/wsdl/soap/}", "12": "{http://schemas.xmlsoap.org/wsdl/soap12/}"}
GOLDEN = ROOT / "tests/golden/soap"
PUBLISHED = {"ServerSync": "ServerSyncWebService.wsdl", "DssAuth": "DssAuthWebService.wsdl",
             "SimpleAuth": "SimpleAuthWebService.wsdl", "Client": "ClientWebService.wsdl",
             "Reporting": "ReportingWebService-rollup.wsdl"}
# In the prose of the specification only (3.1.4.7, 3.1.4.8).
PROSE = {"ServerSync": {"GetDriverIdList", "GetDriverSetData"}}


def get(url, **headers):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.headers, answer.read()


class Description:
    """A WSDL document as nested tuples, so that two of them can be compared."""

    def __init__(self, source):
        self.root = source if isinstance(source, ET.Element) else ET.parse(source).getroot()
        self.schemas = {s.get("targetNamespace"): s for s in self.root.iter(XS + "schema")}
        self.prefixes = {}

    def named(self, kind, name):
        """The definition `prefix:name`; the prefixes of both kinds of documents are unambiguous here."""
        local = name.split(":")[-1]
        for schema in self.schemas.values():
            for found in schema.findall(XS + kind):
                if found.get("name") == local:
                    return schema.get("targetNamespace"), found
        return None, None

    def type_of(self, name):
        _, simple = self.named("simpleType", name)
        if simple is not None:
            facets = simple.find(XS + "restriction")
            return tuple((f.tag, f.get("value")) for f in facets)
        space, found = self.named("complexType", name)
        if found is None or name.split(":")[0] in ("s", "xs"):
            return "xs:" + name.split(":")[-1]
        return self.content(space, found)

    def content(self, space, definition):
        children, attributes = [], []
        for e in definition.findall(f"{XS}sequence/{XS}element"):
            children.append((f"{{{space}}}{e.get('name')}", e.get("minOccurs", "1"), e.get("maxOccurs", "1"),
                             e.get("nillable", "false"), self.type_of(e.get("type"))))
        for a in definition.findall(XS + "attribute"):
            attributes.append((a.get("name"), a.get("use", "optional"), self.type_of(a.get("type"))))
        return tuple(children), tuple(attributes)

    def element(self, name):
        space, found = self.named("element", name)
        return f"{{{space}}}{found.get('name')}", self.content(space, found.find(XS + "complexType"))

    def operations(self, version):
        """operation -> (SOAPAction, request, answer) of the binding for that SOAP version."""
        messages = {m.get("name"): m.find(WSDL + "part").get("element")
                    for m in self.root.iter(WSDL + "message")}
        result = {}
        port_type, = self.root.iter(WSDL + "portType")
        for operation in port_type.findall(WSDL + "operation"):
            parts = [messages[operation.find(WSDL + way).get("message").split(":")[-1]]
                     for way in ("input", "output")]
            result[operation.get("name")] = [self.element(part) for part in parts]
        actions = {}
        for binding in self.root.iter(WSDL + "binding"):
            for operation in binding.findall(WSDL + "operation"):
                bound = operation.find(SOAP[version] + "operation")
                if bound is not None:
                    assert bound.get("style") == "document"
                    actions[operation.get("name")] = bound.get("soapAction")
        return {name: (action, *result[name]) for name, action in actions.items()}


class WsdlServices(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        serving = cls.world.init("m").serve()
        cls.server = serving.__enter__()
        cls.addClassCleanup(serving.__exit__, None, None, None)

    def wsdl(self, service):
        return get(f"{self.server.url}{soap.PATHS[service]}?wsdl")[1]

    @unittest.skipIf(soap.MISSING, soap.MISSING)
    def test_says_what_the_published_files_say(self):
        for service, file in PUBLISHED.items():
            ours = Description(ET.fromstring(self.wsdl(service)))
            theirs = Description(soap.SPECS / file)
            for version in SOAP:
                mine, published = ours.operations(version), theirs.operations(version)
                more = PROSE.get(service, set())
                if service == "Client" and version == "12":
                    more = {"GetExtendedUpdateInfo2"}  # forgotten there in this binding
                self.assertEqual(set(mine) - set(published), more, (service, version))
                self.assertEqual(set(published) - set(mine), set(), (service, version))
                for name in published:
                    with self.subTest(service=service, operation=name, soap=version):
                        self.assertEqual(mine[name], published[name])

    @unittest.skipIf(etree is None, "python3-lxml is not installed")
    def test_what_we_write_is_valid_by_it(self):
        schemas = []
        for service in PUBLISHED:
            schemas += self.compiled(service)
        checked = set()
        for path in sorted(GOLDEN.glob("*.xml")):
            if path.name.startswith("fault_"):
                continue
            body = etree.parse(str(path)).getroot()[0]
            message = etree.ElementTree(body[0])
            described = [s for s, elements in schemas if body[0].tag in elements]
            self.assertTrue(described, f"{path.name}: nothing describes {body[0].tag}")
            for schema in described:
                self.assertTrue(schema.validate(message), f"{path.name}: {schema.error_log}")
            checked.add(body[0].tag)
        # Each call that is described has a golden message, so that a change of a codec shows here.
        described = {tag for _, elements in schemas for tag in elements}
        self.assertEqual(described - checked, set())

    def compiled(self, service):
        """(schema, names of its elements) for each namespace of a description."""
        root = etree.fromstring(self.wsdl(service))
        result = []
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for number, schema in enumerate(root.iter(XS + "schema")):
                files[schema.get("targetNamespace")] = pathlib.Path(folder) / f"{number}.xsd"
            for schema in root.iter(XS + "schema"):
                for imported in schema.findall(XS + "import"):
                    imported.set("schemaLocation", files[imported.get("namespace")].name)
                files[schema.get("targetNamespace")].write_bytes(etree.tostring(schema))
            for space, file in files.items():
                elements = {f"{{{space}}}{e.get('name')}"
                            for e in etree.parse(str(file)).getroot().findall(XS + "element")}
                result.append((etree.XMLSchema(file=str(file)), elements))
        return result

    @unittest.skipIf(soap.MISSING, soap.MISSING)
    def test_peers_can_be_built_from_it(self):
        url = self.server.url
        for soap12 in (False, True):
            def service(name):
                return soap.own(url, soap.PATHS[name], soap12)
            self.assertTrue(service("ServerSync").GetAuthConfig().AuthInfo)
            granted = service("DssAuth").GetAuthorizationCookie(accountName="dss.example",
                                                                accountGuid=str(uuid.uuid4()))
            self.assertEqual(granted.PlugInId, "DssTargeting")
            cookie = service("ServerSync").GetCookie(
                authCookies={"AuthorizationCookie": [{"PlugInId": "DssTargeting",
                                                      "CookieData": granted.CookieData}]},
                protocolVersion="1.20")
            drivers = service("ServerSync").GetDriverIdList(cookie=cookie, filter={"DssProtocolVersion": {}})
            self.assertRegex(drivers.Anchor, r"^\d+,")
            self.assertIsNone(drivers.NewRevisions)
            self.assertIsNone(service("ServerSync").GetDriverSetData(
                cookie=cookie, driverSets={"guid": [str(uuid.uuid4())]}))
            self.assertIsNone(service("ServerSync").GetRelatedRevisionsForUpdates(cookie=cookie))
            self.assertTrue(service("Client").GetConfig(protocolVersion="2.90").Properties)
            self.assertTrue(service("SimpleAuth").GetAuthorizationCookie(
                clientId=str(uuid.uuid4()), dnsName="pc.example").CookieData)
            for name in ("ServerSync", "DssAuth", "Reporting"):
                self.assertTrue(service(name).Ping(pingLevel=1).SuccessFlag)

    def test_names_the_address_that_the_caller_used(self):
        for service, path in soap.PATHS.items():
            _, text = get(f"{self.server.url}{path.upper()}?WSDL", Host="wsus.corp.example:8530")
            addresses = {e.get("location") for kind in SOAP.values()
                         for e in ET.fromstring(text).iter(kind + "address")}
            self.assertEqual({a.lower() for a in addresses},
                             {f"http://wsus.corp.example:8530{path}".lower()}, service)
        # A name that could not be one of a server does not get into the document.
        _, text = get(f"{self.server.url}{soap.PATHS['Client']}?wsdl", Host='a"><b>')
        self.assertNotIn(b"<b>", text)
        self.assertIn(f'"{self.server.url}/'.encode(), text)
        alias = f"{self.server.url}/ReportingWebService/WebService.asmx"
        self.assertIn(b"ReportingWebService/WebService.asmx", get(alias + "?wsdl")[1])

    def test_a_browser_is_told_what_it_is(self):
        for path in soap.PATHS.values():
            with self.assertRaises(urllib.error.HTTPError) as refused:
                get(f"{self.server.url}{path}")
            with refused.exception as answer:
                self.assertEqual((answer.code, answer.headers["Allow"]), (405, "GET, HEAD, POST"))
                self.assertIn("?wsdl", answer.read().decode())


if __name__ == "__main__":
    unittest.main()
