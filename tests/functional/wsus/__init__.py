"""An update server for the tests: a believable upstream, and one that misbehaves on demand.

cabinet.py    cabinets that carry metadata
documents.py  update documents
catalogue.py  what the server holds: revisions, anchors, deployments
operations.py the operations of the protocol and their checks
trouble.py    what goes wrong, and how it looks on the wire
server.py     HTTP
proxy.py      an HTTP proxy in front of it
"""
from .documents import Document, document, file_element, identity
from .operations import ALL_COMPUTERS, UNASSIGNED, answer, envelope, fault_body
from .server import HeldUpstream, WsusServer

__all__ = ["ALL_COMPUTERS", "Document", "HeldUpstream", "UNASSIGNED", "WsusServer", "answer", "document",
           "envelope", "fault_body", "file_element", "identity"]
