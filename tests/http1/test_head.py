"""Promises about the heads of messages: what is taken, how it is read, and what is refused."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import BadMessage
from lbproxy.http1 import head as head_module
from lbproxy.http1.head import MessageLimits, parse_request_head

from ..support import LIMITS, given, request, response
from .corpus import REFUSED

H = b"Host: a\r\n"

# The head, and what is to be read from it.
TAKEN: list[tuple[bytes, dict[str, object]]] = [
    (b"GET / HTTP/1.1\r\n" + H, dict(method=b"GET", target=b"/", minor=1, host=b"a", length=-1, chunked=False, keep_alive=True)),
    (b"GET / HTTP/1.0\r\n", dict(minor=0, host=None, keep_alive=False)),
    (b"GET /?a=b&c=%20;d HTTP/1.1\r\n" + H, dict(target=b"/?a=b&c=%20;d")),
    (b"GET /? HTTP/1.1\r\n" + H, dict(target=b"/?")),
    (b"GET //a//b/../c;,:@+! HTTP/1.1\r\n" + H, dict(target=b"//a//b/../c;,:@+!")),
    (b"GET http://b:8/x?y HTTP/1.1\r\n" + H, dict(target=b"http://b:8/x?y", host=b"a")),
    (b"OPTIONS * HTTP/1.1\r\n" + H, dict(method=b"OPTIONS", target=b"*")),
    (b"GET / HTTP/1.1\r\nhOST: Example.ORG:8080\r\n", dict(host=b"Example.ORG:8080")),
    (b"GET / HTTP/1.1\r\nHost:a\r\n", dict(host=b"a")),
    (b"GET / HTTP/1.1\r\nHost: \t a \t \r\n", dict(host=b"a")),
    (b"GET / HTTP/1.1\r\nHost:\r\n", dict(host=b"")),
    (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n", dict(host=b"[::1]:80")),
    (b"GET / HTTP/1.1\r\nHost: my_app-1.example.org.\r\n", dict(host=b"my_app-1.example.org.")),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n", dict(length=5, chunked=False, has_body=True)),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n", dict(length=0, has_body=False)),
    (b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0005\r\n", dict(length=5)),
    (b"POST / HTTP/1.1\r\n" + H + b"content-length:5  \r\n", dict(length=5)),
    (b"POST / HTTP/1.0\r\nContent-Length: 5\r\n", dict(length=5, minor=0)),
    (b"GET / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n", dict(length=5, has_body=True)),
    (b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n", dict(length=-1, chunked=True, has_body=True)),
    (b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: \tChunked \r\n", dict(chunked=True)),
    (b"PUT / HTTP/1.1\r\n" + H + b"Expect: 100-Continue\r\nContent-Length: 1\r\n", dict(expects_continue=True)),
    (b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n", dict(expects_continue=False)),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: websocket\r\n", dict(keep_alive=True)),
    (b"M-SEARCH * HTTP/1.1\r\n" + H, dict(method=b"M-SEARCH")),
    (b"GET / HTTP/1.1\r\n" + H + b"X: \xe4\xff \t obs-text\r\n", dict(target=b"/")),
    (b"GET / HTTP/1.1\r\n" + H + b"!#$%&'*+-.^_`|~09Az: any token is a name\r\n", dict(target=b"/")),
]

KEPT: list[tuple[bytes, bytes, bool]] = [
    (b"1.1", b"", True),
    (b"1.1", b"Connection: keep-alive\r\n", True),
    (b"1.1", b"Connection: close\r\n", False),
    (b"1.1", b"Connection: CLOSE\r\n", False),
    (b"1.1", b"Connection: keep-alive, close\r\n", False),
    (b"1.1", b"Connection: keep-alive,close\r\n", False),
    (b"1.1", b"Connection: close, keep-alive\r\n", False),
    (b"1.1", b"Connection: x,\tclose ,y\r\n", False),
    (b"1.1", b"Connection: keep-alive\r\nConnection: close\r\n", False),
    (b"1.1", b"Connection: close\r\nX: y\r\nConnection: keep-alive\r\n", False),
    (b"1.1", b"Connection: closed\r\n", True),
    (b"1.1", b"Connection: ,\r\n", True),
    (b"1.0", b"", False),
    (b"1.0", b"Connection: keep-alive\r\n", True),
    (b"1.0", b"Connection: Keep-Alive\r\n", True),
    (b"1.0", b"Connection: keep-alive, close\r\n", False),
    (b"1.0", b"Keep-Alive: 5\r\n", False),
    (b"1.0", b"Proxy-Connection: keep-alive\r\n", False),
]

BROKEN_RESPONSES = [
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"HTTP/1.2 200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 2x0 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    b"HTTP/1.1 200 O\x00K\r\n\r\n",
    b"HTTP/1.1 200 OK\rA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n",
]


class RequestHeads(SynchronousTestCase):
    """What is read from a request's head."""

    def test_what_is_right_is_taken(self) -> None:
        """Every head in the table is read as it means."""
        for lines, expected in TAKEN:
            head = request(lines + b"\r\n")
            self.assertEqual({name: getattr(head, name) for name in expected}, expected, lines)

    def test_whether_the_client_wants_the_connection_kept(self) -> None:
        """Close wins, in any field, place and case; HTTP/1.0 has to ask for keeping."""
        for version, fields, kept in KEPT:
            self.assertIs(request(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, fields)).keep_alive, kept, (version, fields))

    def test_what_is_wrong_is_refused_with_its_status(self) -> None:
        """Every request of the corpus is refused, with the status that fits."""
        wrong = []
        for name, data, status in REFUSED:
            if data.find(b"\r\n\r\n") > LIMITS.size - 4:
                continue  # the size of heads is the connection's to watch
            try:
                head = request(data)
                wrong.append((name, f"taken: {head.method!r} {head.target!r}"))
            except BadMessage as error:
                if error.status != status or not error.cause:
                    wrong.append((name, f"{error.status}, not {status}: {error}"))
        self.assertEqual(wrong, [])

    def test_a_limit_is_what_just_fits(self) -> None:
        """As many fields and as long a target as the limits say are taken, and one more is not."""
        limits = MessageLimits(1024, 3, 10)
        fits = b"GET /123456789 HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: close\r\n\r\n"
        self.assertEqual(parse_request_head(fits, limits).target, b"/123456789")
        for data, status in ((fits.replace(b"/12", b"/012"), 414), (fits.replace(b"X: 1", b"X: 1\r\nY: 1"), 431)):
            self.assertEqual(self.assertRaises(BadMessage, parse_request_head, data, limits).status, status)

    def test_one_head_leaves_nothing_for_the_next(self) -> None:
        """Neither a refused head nor a good one shows through in the head that is read after it."""
        request(b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        self.assertRaises(BadMessage, request, b"GET /b HTTP/1.1\r\nHost: b\r\nX: \x00\r\n\r\n")
        head = request(b"GET / HTTP/1.1\r\nHost: c\r\n\r\n")
        self.assertEqual((head.target, head.host, head.length, head.keep_alive), (b"/", b"c", -1, True))
        self.assertFalse(head.expects_continue)

    @given(st.binary(max_size=60), st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: "]))
    def test_any_bytes_are_read_or_refused(self, data: bytes, before: bytes) -> None:
        """Whatever comes, the answer is a head or a BadMessage."""
        try:
            request(before + data.replace(b"\r\n\r\n", b"") + b"\r\n\r\n")
        except BadMessage:
            pass


class ResponseHeads(SynchronousTestCase):
    """What is read from a response's head."""

    def test_where_the_body_ends(self) -> None:
        """By length, by chunks, by the connection's end, or it has none by rule."""
        for method, lines, length, chunked in (
            (b"GET", b"200 OK\r\nContent-Length: 5\r\n", 5, False),
            (b"GET", b"200 OK\r\nTransfer-Encoding: Chunked\r\n", -1, True),
            (b"GET", b"200 OK\r\n", -1, False),
            (b"GET", b"404\r\nContent-Length: 0\r\n", 0, False),
            (b"HEAD", b"200 OK\r\nContent-Length: 5\r\n", 0, False),
            (b"HEAD", b"200 OK\r\nTransfer-Encoding: chunked\r\n", 0, False),
            (b"HEAD", b"200 OK\r\n", 0, False),
            (b"GET", b"204 No Content\r\n", 0, False),
            (b"GET", b"304 Not Modified\r\nContent-Length: 5\r\n", 0, False),
            (b"GET", b"100 Continue\r\n", 0, False),
        ):
            head = response(b"HTTP/1.1 %b\r\n" % lines, method)
            self.assertEqual((head.length, head.chunked), (length, chunked), lines)

    def test_whether_the_backend_keeps_the_connection(self) -> None:
        """Close wins, HTTP/1.0 has to promise keeping, and a body that only the end ends cannot keep it."""
        for line, kept in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", True),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n", False),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, close\r\n", False),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\nConnection: close\r\n", False),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", False),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n", True),
            (b"HTTP/1.1 200 OK\r\n", False),
        ):
            self.assertIs(response(line + b"\r\n").keep_alive, kept, line)

    def test_status_and_reason_come_through(self) -> None:
        """Any three digits from 200 on, any reason or none."""
        for line, status, reason in (
            (b"HTTP/1.1 200 OK", 200, b"OK"),
            (b"HTTP/1.1 299 Quite  good \xe4", 299, b"Quite  good \xe4"),
            (b"HTTP/1.1 404 ", 404, b""),
            (b"HTTP/1.1 404", 404, b""),
            (b"HTTP/1.1 999 Denied", 999, b"Denied"),
        ):
            head = response(line + b"\r\n\r\n")
            self.assertEqual((head.status, head.reason), (status, reason))

    def test_what_is_no_response_is_refused(self) -> None:
        """A backend that talks something else, or whose body could end in two places, is not believed."""
        believed = []
        for data in BROKEN_RESPONSES:
            try:
                response(data)
                believed.append(data)
            except BadMessage:
                pass
        self.assertEqual(believed, [])

    @given(st.binary(max_size=60), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 "]))
    def test_any_bytes_are_read_or_refused(self, data: bytes, before: bytes) -> None:
        """Whatever a backend sends, the answer is a head or a BadMessage."""
        try:
            response(before + data.replace(b"\r\n\r\n", b"") + b"\r\n\r\n")
        except BadMessage:
            pass


class Memory(SynchronousTestCase):
    """What strangers send is not kept."""

    def test_long_hosts_are_not_remembered(self) -> None:
        """Thousands of well-formed but huge Host fields leave nothing behind that matters."""
        for number in range(1200):
            request(b"GET / HTTP/1.1\r\nHost: %b%d\r\n\r\n" % (b"a" * 8000, number))
        self.assertLess(sum(len(host) for host in head_module._hosts_seen), 256 * 1000)
