"""SOAP peers made of python3-zeep over the published WSDL files, or over the description that the server
itself gives (`own`): every answer is parsed strictly."""
import ctypes
import ctypes.util
import logging
import urllib.request

from harness import SHARED

SPECS = SHARED / "specs"
SD = "http://www.microsoft.com/SoftwareDistribution"
CLIENT = SD + "/Server/ClientWebService"

try:
    import requests
    import zeep
    import zeep.exceptions
    MISSING = None if SPECS.is_dir() else "the specification material is not here"
except ImportError:
    zeep = None
    MISSING = "python3-zeep is not installed"


def proxy(url, wsdl, binding, path):
    """The operations of one service at `url`."""
    logging.getLogger("zeep").setLevel(logging.CRITICAL)  # its dates end before 9999-12-31
    session = requests.Session()
    session.trust_env = False
    client = zeep.Client(str(SPECS / wsdl), transport=zeep.Transport(session=session, timeout=60),
                         settings=zeep.Settings(strict=True, xml_huge_tree=True))
    service = client.create_service(binding, url + path)
    service.types = client
    return service


def own(url, path, soap12=False):
    """The operations of one service as the server at `url` describes them."""
    logging.getLogger("zeep").setLevel(logging.CRITICAL)  # its dates end before 9999-12-31
    session = requests.Session()
    session.trust_env = False
    client = zeep.Client(f"{url}{path}?wsdl", transport=zeep.Transport(session=session, timeout=60),
                         settings=zeep.Settings(strict=True, xml_huge_tree=True))
    (name, described), = client.wsdl.services.items()
    service = client.bind(name, [p for p in described.ports if p.endswith("12") == soap12][0])
    service.types = client
    return service


PATHS = {"ServerSync": "/ServerSyncWebService/ServerSyncWebService.asmx",
         "DssAuth": "/DssAuthWebService/DssAuthWebService.asmx",
         "SimpleAuth": "/SimpleAuthWebService/SimpleAuth.asmx",
         "Client": "/ClientWebService/client.asmx",
         "Reporting": "/ReportingWebService/ReportingWebService.asmx"}


def server_sync(url, soap12=False):
    return proxy(url, "ServerSyncWebService.wsdl", f"{{{SD}}}ServerSyncProxySoap" + ("12" if soap12 else ""),
                 "/ServerSyncWebService/ServerSyncWebService.asmx")


def dss_auth(url):
    return proxy(url, "DssAuthWebService.wsdl", f"{{{SD}/Server/DssAuthWebService}}DssAuthWebServiceSoap",
                 "/DssAuthWebService/DssAuthWebService.asmx")


def simple_auth(url):
    return proxy(url, "SimpleAuthWebService.wsdl",
                 f"{{{SD}/Server/SimpleAuthWebService}}SimpleAuthSoap",
                 "/SimpleAuthWebService/SimpleAuth.asmx")


def client_service(url):
    return proxy(url, "ClientWebService.wsdl", f"{{{CLIENT}}}ClientSoap",
                 "/ClientWebService/client.asmx")


def reporting(url):
    return proxy(url, "ReportingWebService-client.wsdl", f"{{{SD}}}WebServiceSoap",
                 "/ReportingWebService/ReportingWebService.asmx")


def fault_of(call, *words, **named):
    """The ErrorCode and Message of the fault that the call must end with."""
    try:
        call(*words, **named)
    except zeep.exceptions.Fault as fault:
        assert fault.detail is not None, fault.message
        return fault.detail.findtext("ErrorCode"), fault.detail.findtext("Message")
    raise AssertionError("no fault")


def fetch(url, **headers):
    """(status, headers, body) of a GET."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=headers)
    with opener.open(request, timeout=60) as answer:
        return answer.status, answer.headers, answer.read()


def read_cabinet(data):
    """The bytes of the one member of a cabinet, by libarchive."""
    lib = ctypes.CDLL(ctypes.util.find_library("archive"))
    lib.archive_read_new.restype = ctypes.c_void_p
    lib.archive_read_data.restype = ctypes.c_ssize_t
    lib.archive_error_string.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(lib.archive_read_new())
    try:
        lib.archive_read_support_format_cab(handle)
        entry = ctypes.c_void_p()
        ok = lib.archive_read_open_memory(handle, data, ctypes.c_size_t(len(data))) == 0
        ok = ok and lib.archive_read_next_header(handle, ctypes.byref(entry)) == 0
        assert ok, lib.archive_error_string(handle)
        out, buffer = bytearray(), ctypes.create_string_buffer(1 << 16)
        while (n := lib.archive_read_data(handle, buffer, ctypes.c_size_t(len(buffer)))) > 0:
            out += buffer.raw[:n]
        assert n == 0, lib.archive_error_string(handle)
        return bytes(out)
    finally:
        lib.archive_read_free(handle)


def document_text(entry):
    """The XML text of one ServerSyncUpdateData entry."""
    if entry.XmlUpdateBlob:
        return entry.XmlUpdateBlob
    return read_cabinet(entry.XmlUpdateBlobCompressed).decode("utf-16-le")
