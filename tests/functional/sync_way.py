"""The way of `gapferry sync` to its upstream: HTTPS with an authority of one's own, client certificates, proxies.

What the environment says about proxies counts for nothing, passwords are shown nowhere, and a server that
cannot prove who it is gets no request.
"""
import ssl
import subprocess
import unittest

import small_catalogue
from harness import World
from sync_support import SyncCase, held_files, sync
from wsus import WsusServer
from wsus.proxy import Proxy


class Authority:
    """Certificates made by the openssl program: an authority, servers and clients of it."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = self.make("ca", "/CN=Test authority", "-addext", "basicConstraints=critical,CA:TRUE")

    def openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], cwd=self.folder, check=True, capture_output=True)

    def make(self, name, subject, *words, days="30"):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     f"{name}.key", "-out", f"{name}.pem", "-days", days, "-subj", subject, *words)
        return self.folder / f"{name}.pem"

    def issue(self, name, subject="/CN=localhost", names="DNS:localhost", days="30"):
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", days,
                     "-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem"

    def context(self, name, ask_clients=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        if ask_clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


class HttpsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = cls.enterClassContext(World())
        cls.authority = Authority(cls.world.directory("certificates"))
        cls.authority.issue("server")
        cls.authority.issue("other", names="DNS:other.example")
        cls.authority.issue("client", "/CN=connected.example")
        cls.authority.make("stranger", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")

    def upstream(self, name="server", **options):
        upstream = WsusServer(tls=self.authority.context(name, **options)).__enter__()
        self.addCleanup(upstream.__exit__)
        small_catalogue.fill(upstream)
        self.mirror = self.world.init(self.id().rsplit(".", 1)[1] + name, "--upstream", upstream.url)
        self.mirror.configure(upstream__content_url=upstream.url, content__download="all")
        return upstream

    def trust(self):
        self.mirror.configure(upstream__ca_file=self.authority.ca)

    def refused(self, upstream, *words):
        done = sync(self.mirror, code=21)
        error = done.outcome.error()
        for word in words:
            self.assertIn(word, error["message"] + error["next"])
        self.assertTrue(error["next"], done)
        self.assertEqual(upstream.log, [])
        self.assertEqual(done.waits, [], "a server without proof is not asked again")

    def test_an_authority_of_ones_own(self):
        upstream = self.upstream()
        self.refused(upstream, "certificate")
        self.trust()
        sync(self.mirror)
        self.assertEqual(len(held_files(self.mirror)), 4)
        self.assertEqual(upstream.violations, [])

    def test_a_certificate_for_another_name(self):
        upstream = self.upstream("other")
        self.trust()
        self.refused(upstream, "localhost")

    def test_a_certificate_of_nobody(self):
        upstream = self.upstream("stranger")
        self.trust()
        self.refused(upstream, "certificate")

    def test_an_authority_file_that_is_none(self):
        upstream = self.upstream()
        bad = self.world.path / "bad.pem"
        bad.write_text("no certificate\n")
        self.mirror.configure(upstream__ca_file=bad)
        done = sync(self.mirror, code=2)
        self.assertIn("bad.pem", done.outcome.error()["message"])
        self.assertEqual(upstream.log, [])

    def test_a_server_that_asks_for_a_client_certificate(self):
        upstream = self.upstream(ask_clients=True)
        self.trust()
        done = self.mirror.try_run("sync")
        self.assertNotEqual(done.code, 0)
        self.assertEqual(upstream.log, [])
        self.mirror.configure(upstream__client_certificate=self.authority.folder / "client.pem",
                              upstream__client_key=self.authority.folder / "client.key")
        sync(self.mirror)
        self.assertEqual(len(held_files(self.mirror)), 4)

    def test_https_through_a_proxy(self):
        upstream = self.upstream()
        self.trust()
        with Proxy("alice:secret") as proxy:
            self.mirror.configure(upstream__proxy=proxy.url_with_password)
            done = sync(self.mirror)
            self.assertEqual(set(proxy.lines), {"CONNECT " + upstream.url.removeprefix("https://")})
            self.assertNotIn("secret", done.outcome.out + done.outcome.err)


class ProxyTest(SyncCase, unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.mirror.configure(content__download="all")
        self.proxy = self.enterContext(Proxy("alice:secret"))

    def test_everything_goes_through_it(self):
        self.mirror.configure(upstream__proxy=self.proxy.url_with_password)
        done = self.sync()
        self.assertEqual(len(self.proxy.lines) - self.proxy.refused, len(self.upstream.log))
        self.assertEqual(len(held_files(self.mirror)), 4)
        self.assertTrue(all(self.upstream.url in line for line in self.proxy.lines))
        said = done.outcome.out + done.outcome.err + str(self.mirror.run("log")) + str(self.mirror.status())
        self.assertNotIn("secret", said)

    def test_a_proxy_that_wants_a_password(self):
        self.mirror.configure(upstream__proxy=self.proxy.url)
        done = self.sync(code=2)
        self.assert_error(done, "407", "upstream.proxy")
        self.assertEqual(self.upstream.log, [])
        self.assertLessEqual(len(self.proxy.lines), 2)

    def test_the_environment_counts_for_nothing(self):
        nowhere = "http://127.0.0.1:9"
        self.sync(env={"http_proxy": nowhere, "HTTP_PROXY": nowhere, "all_proxy": nowhere, "ALL_PROXY": nowhere,
                       "https_proxy": nowhere})
        self.assertEqual(self.proxy.lines, [])

    def test_a_proxy_that_is_not_there(self):
        with Proxy() as gone:
            pass
        self.mirror.configure(upstream__proxy=gone.url)
        done = self.sync(code=1)
        self.assert_error(done, "proxy")
        self.assertEqual(self.upstream.log, [])


if __name__ == "__main__":
    unittest.main()
