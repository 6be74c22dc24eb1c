"""Promises about the heads of messages: what is taken, how it is read, and what is refused."""

from __future__ import annotations

import re

from hypothesis import example
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import BadMessage
from lbproxy.http1 import request_head as head_module
from lbproxy.http1.body import ChunkedBody, SizedBody
from lbproxy.http1.head import MessageLimits, RequestHead
from lbproxy.http1.request_head import parse_request_head

from ..corpus import responses
from ..corpus.requests import REFUSED, TAKEN, Taken
from ..support import LIMITS, given, request, response

H = b"Host: a\r\n"

# The head, and what is to be read from it.
READ: list[tuple[bytes, dict[str, object]]] = [
    (b"GET / HTTP/1.1\r\n" + H, dict(method=b"GET", target=b"/", minor=1, host=b"a", length=-1, chunked=False, keep_alive=True)),
    (b"GET / HTTP/1.0\r\n", dict(minor=0, host=None, keep_alive=False)),
    (b"GET /?a=b&c=%20;d HTTP/1.1\r\n" + H, dict(target=b"/?a=b&c=%20;d")),
    (b"GET /? HTTP/1.1\r\n" + H, dict(target=b"/?")),
    (b"GET //a//b/../c;,:@+! HTTP/1.1\r\n" + H, dict(target=b"//a//b/../c;,:@+!")),
    (b"GET http://A:80/x?y HTTP/1.1\r\n" + H, dict(target=b"/x?y", host=b"a")),
    (b"GET http://b:8/x?y HTTP/1.0\r\n", dict(target=b"/x?y", host=b"b:8", keep_alive=False)),
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
    (b"PUT / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", dict(expects_continue=True)),
    (b"PUT / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 0\r\n", dict(expects_continue=False)),
    (b"GET / HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: x/1\r\n", dict(keep_alive=True, upgrade=b"x/1")),
    (b"GET / HTTP/1.1\r\n" + H + b"TE: deflate;q=0.5, Trailers\r\nConnection: TE\r\n", dict(trailers_wanted=True)),
    (b"GET / HTTP/1.1\r\n" + H + b"TE: gzip\r\nTE: trailers\r\n", dict(trailers_wanted=True)),
    (b"GET / HTTP/1.1\r\n" + H + b"TE: deflate\r\n", dict(trailers_wanted=False)),
    (b"GET / HTTP/1.0\r\n" + H + b"TE: trailers\r\n", dict(trailers_wanted=False)),
    (b"GET / HTTP/1.1\r\n" + H + b"A_b: 1\r\nC: d_e:f\r\n_: 2\r\n", dict(fields=H + b"C: d_e:f\r\n", fields_dropped=2)),
    (b"GET / HTTP/1.1\r\n" + H + b"C: d_e:f\r\n", dict(fields=H + b"C: d_e:f\r\n", fields_dropped=0)),
    (b"M-SEARCH / HTTP/1.1\r\n" + H, dict(method=b"M-SEARCH")),
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

GOOD_REQUEST = (
    b"POST http://a_b.org/x_y?z HTTP/1.1\r\nHost: a_b.org:80\r\nUser-Agent: x\r\nCookie: a_b=c\r\nX_Y: z\r\nConnection: te, x\r\n"
    b"TE: trailers\r\nX: y\r\nExpect: 100-continue\r\nX-Forwarded-For: 1\r\nContent-Length: 5\r\nUpgrade: websocket\r\n\r\n"
)
GOOD_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a=b\r\nConnection: keep-alive, x\r\nX: y\r\nUpgrade: x\r\n"
    b"Content-Length: 5\r\nContent-Type: text/plain\r\n\r\n"
)

fragments = st.sampled_from(
    (
        *(b"", b"\r", b"\n", b"\r\n", b"\x00", b" ", b"\t", b":", b",", b"_", b"#", b"*", b"/", b"@", b"1.0", b"OPTIONS"),
        *(b"chunked", b"Host: b", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"content_length: 5\r\n", b"http://"),
    )
) | st.binary(max_size=3)
mutations = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), fragments), min_size=1, max_size=4)


def mutated(head: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """A head in which pieces were taken for others, as far as the first empty line."""
    for place, size, piece in changes:
        place %= len(head)
        head = head[:place] + piece + head[place + size :]
    return (head + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def written(head: RequestHead) -> bytes:
    """A head as it would be sent on, in its own version."""
    coding = b"Transfer-Encoding: chunked\r\n" if head.chunked else b""
    return b"%b %b HTTP/1.%d\r\n%b%b\r\n" % (head.method, head.target, head.minor, head.fields, coding)


def meaning(head: RequestHead) -> tuple[object, ...]:
    """What a backend is told by a head."""
    return (
        head.method, head.target, head.minor, head.fields, head.host, head.length, head.chunked, head.has_body,
        head.expects_continue,
    )  # fmt: skip


def body_of(head: RequestHead, data: bytes) -> bytes:
    """The body in *data*, which is to be all of it."""
    if not head.has_body:
        return data
    body = ChunkedBody() if head.chunked else SizedBody(head.length)
    got = body.feed(data)
    assert body.done and not body.rest, data
    return got


def wrong_with(taken: Taken) -> list[str]:
    """In what a request of the corpus is read otherwise than it should be."""
    lines, _, body = taken.data.partition(b"\r\n\r\n")
    head = request(lines + b"\r\n\r\n")
    names = [line.partition(b":")[0].lower() for line in head.fields.split(b"\r\n")]
    wrong = [f"{taken.name}: {name!r}" for name in (*taken.absent, *taken.present) if name in names]
    wrong += [f"{taken.name}: no {line!r}" for line in taken.present if line not in head.fields.splitlines(keepends=True)]
    if (head.target, head.upgrade, body_of(head, body)) != (taken.target, taken.upgrade, taken.body):
        wrong.append(f"{taken.name}: {head.target!r} {head.upgrade!r}")
    return wrong


class RequestHeads(SynchronousTestCase):
    """What is read from a request's head."""

    def test_what_is_right_is_taken(self) -> None:
        """Every head in the table is read as it means."""
        for lines, expected in READ:
            head = request(lines + b"\r\n")
            self.assertEqual({name: getattr(head, name) for name in expected}, expected, lines)

    def test_whether_the_client_wants_the_connection_kept(self) -> None:
        """Close wins, in any field, place and case; HTTP/1.0 has to ask for keeping."""
        for version, fields, kept in KEPT:
            self.assertIs(request(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, fields)).keep_alive, kept, (version, fields))

    def test_what_is_odd_but_right_is_taken(self) -> None:
        """Every request of the corpus that is to reach a backend does, with the target, the fields and the body that it means."""
        self.assertEqual([words for taken in TAKEN for words in wrong_with(taken)], [])

    def test_causes_are_few(self) -> None:
        """What is refused is counted under a handful of words, so that the counters stay readable."""
        causes = set()
        for _, data, _ in REFUSED:
            if data.find(b"\r\n\r\n") <= LIMITS.size - 4:
                causes.add(self.assertRaises(BadMessage, request, data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").cause)
        self.assertEqual(
            causes, {"expect", "field-count", "framing", "host", "method", "syntax", "target", "target-size", "version"}
        )

    def test_what_is_wrong_is_refused_with_its_status(self) -> None:
        """Every request of the corpus is refused, with the status that fits."""
        wrong = []
        for name, data, status in REFUSED:
            if data.find(b"\r\n\r\n") > LIMITS.size - 4:
                continue  # the size of heads is the connection's to watch
            try:
                head = request(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
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

    def test_a_body_may_be_as_long_as_the_limit(self) -> None:
        """A length beyond it is refused before a byte of the body is read."""
        limits = MessageLimits(1024, 10, 100, body=5)
        data = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        self.assertEqual(parse_request_head(data % 5, limits).length, 5)
        error = self.assertRaises(BadMessage, parse_request_head, data % 6, limits)
        self.assertEqual((error.status, error.cause), (413, "body-size"))

    def test_a_refused_head_with_underscores_takes_nothing_from_the_next(self) -> None:
        """Fields of another request stay as they are."""
        self.assertRaises(BadMessage, request, b"GET # HTTP/1.1\r\nHost: a\r\nX_Y: z\r\n\r\n")
        head = request(b"GET / HTTP/1.1\r\nHost: a\r\nX: y_z\r\n\r\n")
        self.assertEqual((head.fields, head.fields_dropped), (b"Host: a\r\nX: y_z\r\n", 0))

    def test_underscores_can_be_allowed(self) -> None:
        """Where backends tell them from dashes, names go on as they are."""
        limits = MessageLimits(1024, 10, 100, underscores=True)
        head = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: z\r\n\r\n", limits)
        self.assertEqual((head.fields, head.fields_dropped), (b"Host: a\r\nX_Y: z\r\n", 0))

    def test_a_host_in_the_target_of_1_0_is_its_host(self) -> None:
        """The backend sees it in a Host field."""
        head = request(b"GET http://b.org/ HTTP/1.0\r\nX: y\r\n\r\n")
        self.assertEqual((head.host, head.known[b"host"], head.fields), (b"b.org", b"b.org", b"Host: b.org\r\nX: y\r\n"))

    def test_what_a_client_says_of_itself_is_known_and_goes_no_further(self) -> None:
        """Who trusts the client finds it, repeated lines joined."""
        names = b"forwarded x-forwarded-port x-forwarded-server x-forwarded-prefix x-real-ip x-request-id"
        for name in names.split():
            head = request(b"GET / HTTP/1.1\r\nHost: a\r\n%b: 1\r\n%b:2 \r\n\r\n" % (name.upper(), name))
            self.assertEqual((head.known[name], head.fields), (b"1,2", b"Host: a\r\n"))

    def test_trailers_are_announced(self) -> None:
        """The Trailer field goes on, as the trailers do."""
        self.assertIn(b"Trailer: X-Sum\r\n", request(b"GET / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\n\r\n").fields)
        self.assertEqual(response(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n\r\n").fields, b"Trailer: X-Sum\r\n")

    @given(mutations)
    @example([])
    @example([(0, 4, b"OPTIONS"), (23, 4, b"")])
    def test_what_is_taken_is_read_alike_by_the_next(self, changes: list[tuple[int, int, bytes]]) -> None:
        """However a good head is damaged, it is refused, or what goes on of it means to the next reader what it meant here."""
        try:
            head = request(mutated(GOOD_REQUEST, changes))
        except BadMessage:
            return
        again = request(written(head))
        self.assertEqual(meaning(again), meaning(head))
        self.assertEqual(again.fields_dropped, 0)

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
            request(re.sub(rb"(?:\r\n)+", b"\r\n", before + data + b"\r\n") + b"\r\n")  # one head, and nothing behind it
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
            (b"GET", b"426 Upgrade Required\r\nTransfer-Encoding: chunked\r\n", -1, True),
            (b"HEAD", b"426 Upgrade Required\r\nContent-Length: 5\r\n", 0, False),
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
        wrong = []
        for name, data, cause in responses.REFUSED:
            try:
                wrong.append((name, f"believed: {response(data).fields!r}"))
            except BadMessage as error:
                if error.cause != cause:
                    wrong.append((name, str(error)))
        self.assertEqual(wrong, [])

    def test_an_upgrade_is_read_where_it_means_something(self) -> None:
        """In a 101 and in a 426; elsewhere it is one of the fields that do not go on."""
        for line, upgrade in (
            (b"101 x\r\nConnection: Upgrade\r\nUpgrade: websocket", b"websocket"),
            (b"101 x\r\nConnection: upgrade\r\nUpgrade: a/1\r\nUpgrade: b\r\nContent-Length: 0", b"a/1,b"),
            (b"426 x\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nContent-Length: 5", b"TLS/1.2, HTTP/1.1"),
            (b"426 x\r\nUpgrade: web socket\r\nContent-Length: 5", b""),
            (b"200 x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5", b""),
        ):
            head = response(b"HTTP/1.1 %b\r\nSec-X: y\r\n\r\n" % line)
            self.assertEqual((head.upgrade, head.length), (upgrade, 0 if head.status == 101 else 5), line)
            self.assertEqual(head.fields.replace(b"Content-Length: 5\r\n", b""), b"Sec-X: y\r\n")

    def test_a_connection_with_a_body_that_must_not_be_is_not_kept(self) -> None:
        """A 204 has no body; the bytes of one would be taken for the next response."""
        for field in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            head = response(b"HTTP/1.1 204 No Content\r\n%b\r\n\r\n" % field)
            self.assertEqual((head.keep_alive, head.length, head.chunked, head.fields), (False, 0, False, b""))
        self.assertTrue(response(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").keep_alive)

    @given(mutations)
    @example([])
    def test_no_response_is_split(self, changes: list[tuple[int, int, bytes]]) -> None:
        """However a good head is damaged, it is refused, or no line of it holds what could end one or a string."""
        try:
            head = response(mutated(GOOD_RESPONSE, changes))
        except BadMessage:
            return
        for line in (head.reason, *head.fields.split(b"\r\n")):
            self.assertFalse({0, 10, 13} & {*line}, line)
        for line in head.fields.split(b"\r\n")[:-1]:
            self.assertRegex(line, rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+:")
        self.assertTrue(100 <= head.status <= 999)
        again = response(b"HTTP/1.1 %d %b\r\n%b\r\n" % (head.status, head.reason, head.fields))
        self.assertEqual((again.status, again.reason, again.fields), (head.status, head.reason, head.fields))

    @given(st.binary(max_size=60), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 "]))
    def test_any_bytes_are_read_or_refused(self, data: bytes, before: bytes) -> None:
        """Whatever a backend sends, the answer is a head or a BadMessage."""
        try:
            response(re.sub(rb"(?:\r\n)+", b"\r\n", before + data + b"\r\n") + b"\r\n")
        except BadMessage:
            pass


class Memory(SynchronousTestCase):
    """What strangers send is not kept."""

    def test_long_hosts_are_not_remembered(self) -> None:
        """Thousands of well-formed but huge Host fields leave nothing behind that matters."""
        for number in range(1200):
            request(b"GET / HTTP/1.1\r\nHost: %b%d\r\n\r\n" % (b"a" * 8000, number))
        self.assertLess(sum(len(host) for host in head_module._hosts_seen), 256 * 1000)
