"""Promises about header fields: what reaches the backend and the client, and what does not."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.fields import KNOWN_IN_REQUEST, lines_without, request_bytes, without_underscores
from lbproxy.proxy.forwarding import Forwarding

from ..support import given, request, split, values

CLIENT = Forwarding().client(("192.0.2.7", 40000), ("192.0.2.1", 80), False, "192.0.2.7")

HOP_BY_HOP = [
    b"Connection: other",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: gzip;q=0.5",
    b"Upgrade: h2c",
    b"HTTP2-Settings: x",
]

names = st.from_regex(rb"[Xx]-[A-Za-z0-9!#$%&'*+.^`|~-]{1,12}", fullmatch=True)
contents = st.from_regex(rb"[!-~\x80-\xff]([ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?", fullmatch=True)


def upstream(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: example.org") -> bytes:
    """What a backend gets for a request with these fields."""
    head = b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])
    return request_bytes(request(head), CLIENT, b"7")


class RequestFields(SynchronousTestCase):
    """What reaches the backend of a request."""

    def test_target_and_host_reach_the_backend_as_they_came(self) -> None:
        """Nothing is decoded, normalised or put together anew."""
        for target in (b"/", b"//a/../b?x=%2f&;y", b"/?", b"/http://other.org/x"):
            message = upstream(line=b"GET %b HTTP/1.1" % target, host=b"hOsT: Example.ORG:8080")
            first, fields, _ = split(message)
            self.assertEqual(first, b"GET %b HTTP/1.1" % target)
            self.assertEqual(fields[0], b"hOsT: Example.ORG:8080")

    @given(st.lists(st.tuples(names, contents), max_size=12))
    def test_order_case_and_repetitions_survive(self, given: list[tuple[bytes, bytes]]) -> None:
        """The other fields come through as they were, in the order they had."""
        lines = [b"%b: %b" % field for field in given if field[0].lower() not in KNOWN_IN_REQUEST]
        self.assertEqual(split(upstream(*lines))[1][1 : 1 + len(lines)], lines)

    def test_fields_of_one_connection_go(self) -> None:
        """Hop-by-hop fields are not passed on, in whatever case."""
        for line in HOP_BY_HOP:
            for written in (line, line.upper(), line.lower()):
                message = upstream(written, b"X: stays")
                self.assertEqual(values(message, line.partition(b":")[0]), [], line)
                self.assertEqual(values(message, b"X"), [b"stays"])

    def test_fields_named_in_connection_go(self) -> None:
        """In any of its lines, in any case."""
        message = upstream(
            b"X-One: 1", b"Connection: close, x-ONE", b"X-Two: 2", b"connection: X-Two", b"X-Three: 3", b"x-two: again"
        )
        self.assertEqual(split(message)[1][1], b"X-Three: 3")
        for name in (b"X-One", b"X-Two"):
            self.assertEqual(values(message, name), [])

    def test_host_and_length_cannot_be_named_away(self) -> None:
        """Naming them in Connection would change whose request it is, or where it ends."""
        message = upstream(b"Connection: host, content-length, Transfer-Encoding", b"Content-Length: 5")
        self.assertEqual(values(message, b"Host"), [b"example.org"])
        self.assertEqual(values(message, b"Content-Length"), [b"5"])
        chunked = upstream(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked")
        self.assertEqual(values(chunked, b"Transfer-Encoding"), [b"chunked"])

    def test_what_we_say_of_the_client_cannot_be_named_away(self) -> None:
        """A client cannot hide its address from the backend."""
        message = upstream(b"Connection: x-forwarded-for, x-forwarded-proto, x-forwarded-host")
        self.assertEqual(values(message, b"X-Forwarded-For"), [b"192.0.2.7"])
        self.assertEqual(values(message, b"X-Forwarded-Proto"), [b"http"])
        self.assertEqual(values(message, b"X-Forwarded-Host"), [b"example.org"])

    def test_what_a_client_says_of_itself_is_replaced(self) -> None:
        """Repeated or not, in whatever case, the backend gets one of each, and it is ours."""
        message = upstream(
            b"X-Forwarded-For: 10.0.0.1",
            b"x-forwarded-FOR: 10.0.0.2",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: evil.example",
        )
        self.assertEqual(values(message, b"X-Forwarded-For"), [b"192.0.2.7"])
        self.assertEqual(values(message, b"X-Forwarded-Proto"), [b"http"])
        self.assertEqual(values(message, b"X-Forwarded-Host"), [b"example.org"])

    def test_there_is_one_framing_field(self) -> None:
        """A length as it came, or our own chunked; none where there is no body."""
        for fields, length, coding in (
            ([b"Content-Length: 5"], [b"5"], []),
            ([b"CONTENT-LENGTH:0"], [b"0"], []),
            ([b"transfer-encoding: Chunked"], [], [b"chunked"]),
            ([], [], []),
        ):
            message = upstream(*fields, line=b"POST / HTTP/1.1")
            self.assertEqual((values(message, b"Content-Length"), values(message, b"Transfer-Encoding")), (length, coding))

    def test_expect_goes_on_where_a_body_follows(self) -> None:
        """The backend decides whether it wants the body; where there is none, nothing is waited for."""
        for fields, version, expected in (
            ([b"Content-Length: 5"], b"1.1", [b"100-continue"]),
            ([b"Transfer-Encoding: chunked"], b"1.1", [b"100-continue"]),
            ([b"Content-Length: 5", b"Connection: expect"], b"1.1", [b"100-continue"]),
            ([b"Content-Length: 0"], b"1.1", []),
            ([], b"1.1", []),
            ([b"Content-Length: 5"], b"1.0", []),
        ):
            message = upstream(b"Expect: 100-continue", *fields, line=b"POST / HTTP/" + version)
            self.assertEqual(values(message, b"Expect"), expected, fields)

    def test_an_old_client_is_spoken_for_in_1_1(self) -> None:
        """HTTP/1.0 from a client becomes a valid HTTP/1.1 request, which has one Host, though it may have had none."""
        message = upstream(b"X: y", line=b"GET / HTTP/1.0", host=b"")
        self.assertEqual(split(message)[0], b"GET / HTTP/1.1")
        self.assertEqual(len(values(message, b"Host")), 1)
        self.assertEqual(values(upstream(line=b"GET / HTTP/1.0"), b"Host"), [b"example.org"])

    def test_an_upgrade_is_not_asked_for(self) -> None:
        """The backend sees an ordinary request where a client wanted another protocol."""
        message = upstream(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: x")
        for name in (b"Connection", b"Upgrade", b"HTTP2-Settings"):
            self.assertEqual(values(message, name), [])

    @given(st.lists(st.sampled_from([b"A: 1", b"Connection: a", b"Cookie: c=d", b"TE: x", b"Content-Length: 3"]), max_size=4))
    def test_a_backend_gets_what_we_would_take_ourselves(self, fields: list[bytes]) -> None:
        """What is forwarded passes the rules that it came in by."""
        fields = [*dict.fromkeys(fields)]
        again = request(upstream(*fields))
        self.assertEqual(again.length, 3 if b"Content-Length: 3" in fields else -1)


class Lines(SynchronousTestCase):
    """Pieces of fields."""

    fields = b"A: b_c\r\nX_Y: z\r\na:2\r\n_:\r\n"

    def test_lines_go_by_name(self) -> None:
        """All of that name, in any case, and no others."""
        self.assertEqual(lines_without(self.fields, (b"a",)), b"X_Y: z\r\n_:\r\n")

    def test_names_with_underscores_go(self) -> None:
        """Values may have them; what went is counted."""
        self.assertEqual(without_underscores(self.fields), (b"A: b_c\r\na:2\r\n", 2))

    def test_allowed_names_with_underscores_hide_none_of_ours(self) -> None:
        """In whatever case, and wherever the underscores are; the others go on."""
        hidden = b"X_SSL_Client_Verify: SUCCESS\r\nx-ssl_client-s-dn: CN=a\r\nCLIENT_CERT: b\r\nX_Forwarded_For: c\r\n"
        self.assertEqual(without_underscores(self.fields + hidden, True), (self.fields, 4))
