"""A downstream server made of python3-zeep: what one remembers, and one run of its synchronization.

    down = Downstream(url)                     # python3-zeep over the published WSDL files
    down = Downstream(url, own_wsdl=True)      # ... over the server's own ?wsdl
    down.synchronize()                         # initial the first time, then delta
    down.documents, down.locations             # (GUID, revision) -> text; digest -> place
    down.groups, down.deployments, down.hidden, down.eulas    # of a replica

It reacts to faults as [MS-WSUSSS] asks: a refused cookie restarts at the authorization, ServerChanged
drops all anchors.
"""
import hashlib
import http.client
import urllib.parse
import uuid
import xml.etree.ElementTree as ET

import soap

UPD = "{http://schemas.microsoft.com/msus/2002/12/Update}"
SHA256 = "SHA256"


def pairs(answer):
    """The identities of a revision list."""
    return {(i.UpdateID, i.RevisionNumber)
            for i in (answer.NewRevisions.UpdateIdentity if answer.NewRevisions else [])}


def items(wrapper, name):
    return getattr(wrapper, name) if wrapper else []


class Downstream:
    def __init__(self, url, own_wsdl=False, soap12=False, replica=False, products=None,
                 classifications=None, version="1.20"):
        self.url, self.replica, self.version = url, replica, version
        self.products, self.classifications = products, classifications
        if own_wsdl:
            self.sync = soap.own(url, soap.PATHS["ServerSync"], soap12)
            self.authority = soap.own(url, soap.PATHS["DssAuth"], soap12)
        else:
            self.sync = soap.server_sync(url, soap12)
            self.authority = soap.dss_auth(url)
        self.guid = str(uuid.uuid4())
        self.authorizations = self.resets = 0
        self.forget()
        self.cookie = self.authorize()
        self.config = self.sync.GetConfigData(cookie=self.cookie)

    def forget(self):
        self.anchors = {"categories": None, "updates": None, "deployments": None}
        self.documents, self.locations, self.groups, self.deployments = {}, {}, {}, {}
        self.hidden, self.eulas = set(), set()

    def authorize(self):
        self.authorizations += 1
        info = self.sync.GetAuthConfig().AuthInfo.AuthPlugInInfo
        assert [i.PlugInID for i in info] == ["DssTargeting"], info
        assert info[0].ServiceUrl.lower() == "dssauthwebservice/dssauthwebservice.asmx"
        granted = self.authority.GetAuthorizationCookie(accountName="downstream.example",
                                                        accountGuid=self.guid)
        assert granted.PlugInId == "DssTargeting"
        return self.sync.GetCookie(
            authCookies={"AuthorizationCookie": [{"PlugInId": granted.PlugInId,
                                                  "CookieData": granted.CookieData}]},
            oldCookie=None, protocolVersion=self.version)

    def call(self, operation, **parameters):
        """The operation with our cookie; again with a new one when it has run out."""
        for attempt in range(5):
            try:
                return getattr(self.sync, operation)(cookie=self.cookie, **parameters)
            except soap.zeep.exceptions.Fault as fault:
                if attempt == 4 or fault.detail.findtext("ErrorCode") != "InvalidCookie":
                    raise
                self.cookie = self.authorize()

    # ---- Metadata ------------------------------------------------------------------------------

    def list(self, config, anchor=None, categories=None, classifications=None):
        def ids(guids, name):
            return {name: [{"Id": g, "Delta": anchor is not None} for g in guids]} if guids else None
        wanted = {"Anchor": anchor, "GetConfig": config, "Get63LanguageOnly": False,
                  "Categories": ids(categories, "IdAndDelta"),
                  "Classifications": ids(classifications, "IdAndDelta")}
        return self.call("GetRevisionIdList", filter=wanted)

    def fetch(self, identities, between=None):
        """All documents of `identities`, in batches; asks again for what an answer left out."""
        todo = list(dict.fromkeys(identities))
        while todo:
            batch = todo[:self.config.MaxNumberOfUpdatesPerRequest]
            answer = self.call("GetUpdateData", updateIds={
                "UpdateIdentity": [{"UpdateID": g, "RevisionNumber": r} for g, r in batch]})
            got = items(answer.updates, "ServerSyncUpdateData")
            assert got, "an answer without a document"
            for entry in got:
                key = (entry.Id.UpdateID, entry.Id.RevisionNumber)
                self.documents[key] = soap.document_text(entry)
                todo.remove(key)
                places = {p.FileDigest for p in items(answer.fileUrls, "ServerSyncUrlData")}
                for digest in items(entry.FileDigestList, "base64Binary"):
                    assert digest in places, f"{key}: no place of a file"
            for place in items(answer.fileUrls, "ServerSyncUrlData"):
                assert not place.UssUrl and place.DecryptionKey is None
                self.locations[place.FileDigest] = place
            if between:
                between()

    def synchronize(self, between=None):
        """One run; returns the identities that were new."""
        try:
            return self.run(between)
        except soap.zeep.exceptions.Fault as fault:
            if fault.detail.findtext("ErrorCode") != "ServerChanged":
                raise
        self.resets += 1
        self.anchors = dict.fromkeys(self.anchors)
        self.cookie = self.authorize()
        return self.run(between)

    def run(self, between):
        self.config = self.call("GetConfigData", configAnchor=None)
        categories = self.list(True, self.anchors["categories"])
        new = pairs(categories) - set(self.documents)
        self.fetch(new, between)
        updates = self.list(False, self.anchors["updates"], self.products, self.classifications)
        fresh = pairs(updates) - set(self.documents)
        self.fetch(fresh, between)
        self.anchors["categories"], self.anchors["updates"] = categories.Anchor, updates.Anchor
        if self.replica:
            self.follow()
        return new | fresh

    # ---- Approvals -----------------------------------------------------------------------------

    def follow(self):
        """GetDeployments: each of its five lists has a semantics of its own."""
        answer = self.call("GetDeployments", deploymentAnchor=self.anchors["deployments"],
                           syncAnchor=self.anchors["updates"])
        if self.anchors["deployments"] is None:
            self.deployments = {}
        self.groups = {g.TargetGroupID: (g.Name, g.ParentGroupId, g.IsBuiltin)
                       for g in items(answer.Groups, "ServerSyncTargetGroup")}
        approved = {(d.UpdateId, d.RevisionNumber)
                    for d in items(answer.Deployments, "ServerSyncDeployment")}
        # Approvals of a revision that has a newer one: it is not listed any more, but can be had.
        self.fetch(approved - set(self.documents))
        for d in items(answer.Deployments, "ServerSyncDeployment"):
            assert d.TargetGroupId in self.groups, "approval for an unknown group"
            self.deployments[d.DeploymentGuid] = (d.UpdateId, d.RevisionNumber, d.Action,
                                                  d.TargetGroupId, d.Deadline, d.DownloadPriority)
        for guid in items(answer.DeadDeployments, "guid"):
            self.deployments.pop(guid, None)
        self.hidden = set(items(answer.HiddenUpdates, "guid"))
        self.eulas |= set(items(answer.AcceptedEulas, "guid"))
        self.anchors["deployments"] = answer.Anchor
        return answer

    def intent(self):
        return self.groups, self.deployments, self.hidden, self.eulas

    # ---- Content -------------------------------------------------------------------------------

    def declared_files(self):
        """SHA-1 -> (size, SHA-256, extension) of the payload of all documents."""
        found = {}
        for text in self.documents.values():
            for file in ET.fromstring(text).iter(UPD + "File"):
                sha256 = [a.text for a in file.iter(UPD + "AdditionalDigest")
                          if a.get("Algorithm") == SHA256]
                found[file.get("Digest")] = (int(file.get("Size")), sha256[0] if sha256 else None,
                                             file.get("FileName").rsplit(".", 1)[-1])
        return found

    def download(self):
        """Every file that the documents declare, over one connection; SHA-1 -> bytes."""
        import base64
        place = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        content = {}
        for digest, (size, sha256, extension) in self.declared_files().items():
            name = base64.b64decode(digest).hex().upper()
            path = f"/Content/{name[-2:]}/{name}.{extension}"
            connection.request("HEAD", path)
            head = connection.getresponse()
            head.read()
            assert (head.status, int(head.headers["Content-Length"])) == (200, size), (path, head.status)
            middle = size // 2
            data = b""
            for span in ((0, middle - 1), (middle, size - 1)) if size > 1 else ((0, size - 1),):
                connection.request("GET", path, headers={"Range": "bytes=%d-%d" % span})
                part = connection.getresponse()
                assert part.status == 206, (path, part.status)
                assert part.headers["Content-Range"] == "bytes %d-%d/%d" % (*span, size)
                data += part.read()
            assert base64.b64encode(hashlib.sha1(data).digest()).decode() == digest, path
            if sha256:
                assert base64.b64encode(hashlib.sha256(data).digest()).decode() == sha256, path
            content[digest] = data
        connection.close()
        return content
