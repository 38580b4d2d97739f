"""`gapferry sync` against an update server whose connection, HTTP and faults go wrong.

What must come out: a short trouble is overcome and the end is that of an undisturbed sync; a lasting one
ends after a bounded number of calls and waits, with words that a person can act on, and changes nothing.
"""
import datetime
import re
import unittest

import small_catalogue
from harness import FAST_WAITS, sanitized
from sync_support import SyncCase
from wsus import WsusServer, fault_body

LIST, DATA = "GetRevisionIdList", "GetUpdateData"
UNDISTURBED = {"GetAuthConfig": 1, "GetAuthorizationCookie": 1, "GetCookie": 1, "GetConfigData": 1,
               "GetRevisionIdList": 2, "GetUpdateData": 2}


class ShortTroubleTest(SyncCase, unittest.TestCase):
    """Something goes wrong once."""

    def overcome(self, operation, call=1, extra=1, **trouble):
        """A new mirror's first sync meets the trouble at the call-th call; one more call mends it."""
        self.upstream.calm()
        met = self.upstream.on(operation, call=call, **trouble)
        self.mirror = self.world.init(f"m{len(list(self.world.path.iterdir()))}", "--upstream",
                                      self.upstream.url)
        done = self.sync()
        self.assertEqual(met.hits, 1)
        self.assert_complete()
        wanted = dict(UNDISTURBED)
        wanted[operation] += extra
        self.assert_calls(**wanted)
        return done

    def test_a_reset_before_within_and_after_an_answer(self):
        for operation, call, trouble in (
                ("GetAuthConfig", 1, {"reset": "after"}), ("GetAuthorizationCookie", 1, {"reset": "after"}),
                ("GetCookie", 1, {"reset": "after"}), ("GetConfigData", 1, {"reset_after_bytes": 0}),
                (LIST, 2, {"reset": "after"}), (LIST, 2, {"reset_after_bytes": 60}),
                (DATA, 1, {"reset_after_bytes": 500}), (DATA, 2, {"reset": "after"})):
            with self.subTest(operation=operation, call=call, **trouble):
                # A reset without a byte of answer may be met by curl itself, at once and without a wait.
                done = self.overcome(operation, call, **trouble)
                self.assertLessEqual(len(done.waits), 1)

    def test_an_answer_cut_with_a_length_without_and_in_chunks(self):
        for operation, call in ((LIST, 1), (LIST, 2), (DATA, 2), ("GetConfigData", 1)):
            for way in ("cut_after_bytes", "cut_without_length", "cut_chunked"):
                with self.subTest(operation=operation, call=call, way=way):
                    done = self.overcome(operation, call, **{way: 200})
                    self.assertEqual(len(done.waits), 1, done)

    def test_an_uncompressed_answer_cut_between_two_elements(self):
        self.upstream.xpress = False
        for part in (b"</UpdateIdentity>", b"</NewRevisions>", b"</GetRevisionIdListResponse>"):
            with self.subTest(part=part):
                at = self.list_answer_end(part)
                self.overcome(LIST, 2, cut_without_length=at)

    def list_answer_end(self, part):
        """Where the first `part` ends in the answer that lists all updates."""
        answers = []
        self.upstream.calm()
        self.upstream.on(LIST, call=2, edit=lambda body: answers.append(body) or body)
        self.sync("--dry-run")
        return answers[0].index(part) + len(part)

    def test_http_errors_of_a_moment(self):
        for status in (500, 502, 503, 504, 408, 429):
            with self.subTest(status=status):
                done = self.overcome(LIST, status=status, body=b"<html>later</html>")
                self.assertEqual(len(done.waits), 1, done)

    def test_retry_after_is_kept_to(self):
        done = self.overcome(LIST, status=503, headers={"Retry-After": "7"})
        self.assertEqual([round(w) for w in done.waits], [7])

    def test_a_busy_server_says_when(self):
        done = self.overcome(LIST, fault=("ServerBusy", ""), headers={"Retry-After": "20"})
        self.assertEqual([round(w) for w in done.waits], [20])

    def test_a_busy_server_does_not_say_when(self):
        for operation in ("GetCookie", LIST, DATA):
            with self.subTest(operation=operation):
                done = self.overcome(operation, fault=("ServerBusy", ""))
                self.assertEqual([round(w) for w in done.waits], [60])

    def test_an_internal_error_of_a_moment(self):
        self.overcome(LIST, fault=("InternalServerError", ""))

    def test_connections_that_end_between_requests(self):
        self.upstream.on("*", hang_up=True)
        done = self.sync()
        self.assert_complete()
        self.assertEqual(done.waits, [])
        self.assert_calls(**UNDISTURBED)

    def test_a_slow_answer_is_waited_for(self):
        self.upstream.on(LIST, drip=(40, 0.01))
        self.upstream.on(DATA, drip=(400, 0.02))
        self.sync()
        self.assert_complete()
        self.assert_calls(**UNDISTURBED)


class LastingTroubleTest(SyncCase, unittest.TestCase):
    """Something goes wrong for good: few calls, clear words, nothing changed."""

    def setUp(self):
        super().setUp()
        self.sync()
        small_catalogue.advance(self.upstream)
        self.before = self.mirror.state()

    def fails(self, operation, code, *words, calls, reason=None, waits=range(0, 4), fast_poll=False,
              **trouble):
        self.upstream.calm()
        met = self.upstream.on(operation, **trouble)
        done = self.sync(code=code, fast_poll=fast_poll)
        self.assert_error(done, *words, reason=reason)
        self.assert_calls(**{operation: calls})
        self.assertIn(len(done.waits), waits, done)
        self.assert_unchanged(self.before)
        self.upstream.calm()
        return met, done

    def recovers(self):
        self.sync()
        self.assert_complete(small_catalogue.advance)

    def test_connections_that_always_break(self):
        for operation in ("GetAuthConfig", LIST, DATA):
            with self.subTest(operation=operation):
                # Each try may be made twice: a reset of a reused connection is no failed try yet.
                _, done = self.fails(operation, 1, "reset", calls=range(4, 9), waits=range(3, 4),
                                     reset="before")
                self.assertLess(sum(done.waits), 60)
        self.recovers()

    def test_answers_that_are_always_cut(self):
        for way in ("cut_after_bytes", "cut_without_length", "cut_chunked"):
            for operation in (LIST, DATA):
                with self.subTest(way=way, operation=operation):
                    self.fails(operation, 1, operation, calls=4, waits=range(3, 4), **{way: 150})
        self.recovers()

    def test_a_server_that_stops_sending(self):
        self.fails(LIST, 1, LIST, calls=4, waits=range(3, 4), stall_after_bytes=100, fast_poll=True)
        self.recovers()

    def test_a_server_that_is_not_there(self):
        with WsusServer() as gone:
            self.mirror.configure(upstream__wsus=gone.url)
        done = self.sync(code=1)
        self.assert_error(done, gone.url, "connect")
        self.assertEqual(len(done.waits), 3)
        self.assert_unchanged(self.before)

    def test_a_name_that_does_not_exist(self):
        self.mirror.configure(upstream__wsus="http://wsus.invalid:8530")
        done = self.sync(code=1)
        self.assert_error(done, "wsus.invalid", "resolve")
        self.assert_unchanged(self.before)

    def test_answers_of_somebody_in_between(self):
        page = b"<!DOCTYPE html><html><body>Please log in to the guest network</body></html>"
        for trouble, code, words, calls in (
                ({"status": 200, "body": page}, 20, ["text/html", "upstream.wsus"], range(1, 5)),
                ({"status": 200, "body": b"", "content_type": "text/xml"}, 1, [LIST], 4),
                ({"status": 200, "body": b"\x00\x01\x02", "content_type": "text/xml"}, 20, [LIST], range(1, 5)),
                ({"status": 500, "body": page}, 1, ["500"], 4),
                ({"status": 503, "body": page}, 1, ["503"], 4),
                ({"status": 401}, 1, ["401", "upstream.wsus"], 1),
                ({"status": 403}, 1, ["403"], 1),
                ({"status": 404}, 10, ["404", "upstream.wsus"], 1),
                ({"status": 407}, 2, ["407", "upstream.proxy"], 1),
                ({"status": 302, "headers": {"Location": "https://portal.example/login"}}, 1,
                 ["redirect", "portal.example"], 1),
                ({"status": 307, "headers": {"Location": "http://127.0.0.1:9/x"}}, 1, ["redirect"], 1)):
            with self.subTest(**{k: v for k, v in trouble.items() if k != "body"}):
                self.fails(LIST, code, *words, calls=calls, **trouble)
        self.recovers()

    def test_faults(self):
        for fault, code, words, calls, waits in (
                (("ServerBusy", ""), 1, ["busy"], 4, [60, 300, 900]),
                (("InternalServerError", ""), 1, ["InternalServerError"], range(3, 5), None),
                (("IncompatibleProtocolVersion", ""), 1, ["1.20"], 1, []),
                (("InvalidParameters", "updateIds"), 2, ["updateIds"], range(1, 3), []),
                (("FileDigestsMissing", ""), 1, ["FileDigestsMissing"], 1, []),
                (("TooManyIds", ""), 2, ["TooManyIds"], range(1, 3), []),
                (("SomethingNew", "of 2031"), 1, ["SomethingNew", "of 2031"], 1, []),
                ((None, ""), 1, ["Fault occurred"], 1, [])):
            with self.subTest(fault=fault):
                _, done = self.fails(LIST, code, *words, calls=calls, fault=fault)
                if waits is not None:
                    self.assertEqual([round(w) for w in done.waits], waits)
        self.recovers()

    def test_a_server_that_says_come_back_tomorrow(self):
        _, done = self.fails(LIST, 1, "503", calls=range(1, 5), status=503, headers={"Retry-After": "86400"})
        self.assertLessEqual(sum(done.waits), 45 * 60)

    def test_credentials_in_the_address_are_not_shown(self):
        self.upstream.on(LIST, status=403)
        self.mirror.configure(upstream__wsus=self.upstream.url.replace("//", "//alice:secret@"))
        done = self.sync(code=1)
        self.assertNotIn("secret", done.outcome.out + done.outcome.err)
        self.assertNotIn("secret", str(self.mirror.run("log")) + str(self.mirror.status()))


class OddAnswerTest(SyncCase, unittest.TestCase):
    """Answers that are unusual, and right or wrong for all that."""

    def edits(self, operation, *steps, **more):
        """Each answer of the operation goes through re.sub with each (pattern, replacement)."""
        def edit(body):
            for pattern, replacement in steps:
                body = re.sub(pattern, replacement, body, flags=re.S)
            return body

        self.upstream.on(operation, edit=edit, **more)

    def test_unusual_and_right(self):
        soap12 = (rb"http://schemas.xmlsoap.org/soap/envelope/", rb"http://www.w3.org/2003/05/soap-envelope")
        for name, operation, *steps in (
                ("a byte-order mark", "*", (rb"^", b"\xef\xbb\xbf")),
                ("another prefix", "*", (rb"soap:", b"S-_1:"), (rb"xmlns:soap=", b"xmlns:S-_1=")),
                ("SOAP 1.2", "*", soap12),
                ("upper-case ids", LIST, (rb"<UpdateID>[^<]*<", lambda m: m.group(0).upper().replace(
                    b"UPDATEID", b"UpdateID"))),
                ("every id twice", LIST, (rb"<NewRevisions>(.*)</NewRevisions>",
                                          rb"<NewRevisions>\1\1</NewRevisions>")),
                ("elements nobody knows", "*", (rb"(<\w+Result>)", rb"\1<New xmlns='urn:x'><Of>it</Of></New>")),
                ("comments and white space", LIST, (rb"><", b"><!-- x -->\n  <")),
                ("no limit", "GetConfigData", (rb"<MaxNumberOfUpdatesPerRequest>\d+</\w+>", b"")),
                ("no languages", "GetConfigData", (rb"<LanguageUpdateList>.*</LanguageUpdateList>", b"")),
                ("an expiration without a zone", "GetCookie", (rb"Z</Expiration>", b"</Expiration>")),
                ("seven digits of a second", "GetCookie", (rb"(\.\d{6})?Z</Exp", b".1234567Z</Exp"))):
            with self.subTest(name=name):
                self.upstream.calm()
                self.edits(operation, *steps)
                self.mirror = self.world.init("m " + name, "--upstream", self.upstream.url)
                self.sync()
                self.assert_complete()
                self.assert_calls(**UNDISTURBED)

    def test_a_list_without_an_anchor_is_asked_for_whole_again(self):
        self.edits(LIST, (rb"<Anchor>[^<]*</Anchor>", b""))
        self.sync()
        self.assert_complete()
        self.upstream.calm()
        self.assertTrue(self.sync()["full_list"])

    def test_unusual_and_wrong(self):
        for name, operation, *steps in (
                ("a guid that is none", LIST, (rb"<UpdateID>[^<]*<", b"<UpdateID>not-a-guid<")),
                ("a revision that is none", LIST, (rb"<RevisionNumber>\d+<", b"<RevisionNumber>9999999999<")),
                ("no result", LIST, (rb"<GetRevisionIdListResult>.*</GetRevisionIdListResult>", b"")),
                ("another operation", LIST, (rb"GetRevisionIdList", b"GetConfigData")),
                ("another namespace", LIST, (rb"www.microsoft.com/SoftwareDistribution", b"example.org")),
                ("a cookie that is no base64", "GetCookie", (rb"<EncryptedData>[^<]*<", b"<EncryptedData>@@<")),
                ("a date that is none", "GetCookie", (rb"<Expiration>[^<]*<", b"<Expiration>soon<")),
                ("two results", LIST, (rb"(<GetRevisionIdListResult>.*</GetRevisionIdListResult>)",
                                       rb"\1\1"))):
            with self.subTest(name=name):
                self.upstream.calm()
                self.edits(operation, *steps)
                done = self.sync(code=1 if "another" in name else 20)
                self.assert_error(done, operation)
                self.assertEqual(self.mirror.status()["generation"], 0)
                self.assertLessEqual(self.upstream.calls[operation], 4)

    def test_a_fault_with_status_200(self):
        body = fault_body("InvalidParameters", "filter", LIST)
        self.upstream.on(LIST, status=200, body=body, content_type="text/xml")
        done = self.sync(code=2)
        self.assert_error(done, "InvalidParameters")
        self.assertEqual(self.upstream.calls[LIST], 1)

    def test_headers_without_end(self):
        self.upstream.on(LIST, headers={f"X-{i}": "x" * 1000 for i in range(600)})
        done = self.sync(code=20)
        self.assert_error(done, "header")
        self.assertEqual(self.upstream.calls[LIST], 1)

    def test_no_http_at_all(self):
        for raw in (b"220 mail.example ESMTP\r\n", b"\x15\x03\x01\x00\x02\x02\x0a", b"HTTP/1.1 two hundred\r\n\r\n"):
            with self.subTest(raw=raw):
                self.upstream.calm()
                self.upstream.on(LIST, raw=raw)
                done = self.mirror.try_run("sync", env={"LD_PRELOAD": str(FAST_WAITS)})
                self.assertEqual(done.code, 20, done)
                self.assertTrue(done.error()["next"], done)
                self.assertLessEqual(self.upstream.calls[LIST], 8)


class EndlessTest(SyncCase, unittest.TestCase):
    """Answers without an end are left in bounded memory and time."""

    def leaves(self, operation, call, limit_kib=150_000, **trouble):
        self.upstream.xpress = False
        met = self.upstream.on(operation, call=call, times=9, **trouble)
        done = self.sync(code=20)
        self.assert_error(done, "larger than")
        self.assertEqual(met.hits, 1, "an answer that is too large is not asked for again")
        if not sanitized():
            self.assertLess(done.peak_kib, limit_kib)
        self.assertEqual(self.mirror.status()["generation"], 0)
        self.upstream.calm()
        self.sync()
        self.assert_complete()

    def test_garbage_after_the_last_element(self):
        self.leaves(LIST, 2, endless=b" ")

    def test_a_text_without_end(self):
        self.leaves("GetConfigData", 1, endless=b"x", endless_at=400)

    def test_unknown_elements_without_end(self):
        self.leaves("GetAuthConfig", 1, endless=b"<More>of it</More>", endless_at=300)


class CookieTest(SyncCase, unittest.TestCase):
    def fill(self):
        small_catalogue.fill(self.upstream)
        self.upstream.max_updates = 1  # ten requests for data

    def test_cookies_are_forgotten_in_the_middle(self):
        for call in (1, 4, 9):
            with self.subTest(call=call):
                self.upstream.calm()
                self.upstream.on(DATA, call=call, run=WsusServer.forget_cookies)
                self.mirror = self.world.init(f"m{call}", "--upstream", self.upstream.url)
                self.sync()
                self.assert_complete()
                # Requests under way with the old cookie are refused too, each once.
                self.assert_calls(GetCookie=range(2, 4), GetUpdateData=range(11, 16), GetRevisionIdList=2)

    def test_cookies_expire_in_the_middle_and_are_renewed_before(self):
        self.upstream.cookie_minutes = 1 / 40  # 1.5 s
        self.upstream.on(DATA, run=lambda upstream: upstream.closing.wait(0.3))
        self.sync()
        self.assert_complete()
        self.assert_calls(GetCookie=range(2, 12), GetUpdateData=10)

    def test_a_server_that_never_likes_its_own_cookies(self):
        self.upstream.on(LIST, fault=("InvalidCookie", ""))
        done = self.sync(code=22)
        self.assert_error(done, "InvalidCookie")
        self.assert_calls(GetRevisionIdList=2, GetCookie=2)
        self.assertEqual(self.mirror.status()["generation"], 0)

    def test_an_authorization_that_is_refused(self):
        self.upstream.on("GetCookie", fault=("InvalidAuthorizationCookie", ""))
        done = self.sync(code=22)
        self.assert_error(done, "InvalidAuthorizationCookie")
        self.assert_calls(GetCookie=range(1, 3))

    def test_clocks_that_differ_by_hours(self):
        for hours in (-30, -5, 5, 24 * 365 * 10):
            with self.subTest(hours=hours):
                self.upstream.calm()
                self.upstream.clock_skew = datetime.timedelta(hours=hours)
                self.mirror = self.world.init(f"m{hours}", "--upstream", self.upstream.url)
                self.sync()
                self.assert_complete()
                self.assert_calls(GetCookie=1, GetUpdateData=10)

    def test_the_same_identity_every_time(self):
        self.sync()
        self.sync()
        self.assertEqual(len(set(self.upstream.authorized)), 1)
        self.assertEqual(self.upstream.authorized[0][1], self.mirror.status()["guid"])


if __name__ == "__main__":
    unittest.main()
