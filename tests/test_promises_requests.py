"""Promises to users about requests: whole, in order, framed once, and nobody's but their sender's."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.body import ChunkedBody, SizedBody

from .corpus.requests import REFUSED
from .support import GET, OK, Rig, given, post, request, response, split, status, unchunk, values

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class OneFramingFieldUpstreamNeverTwo(SynchronousTestCase):
    """A backend never has to choose between two opinions on where a body ends."""

    def upstream(self, data: bytes) -> bytes:
        rig = Rig()
        rig.client().send(data)
        return rig.accept().received()

    def test_a_sized_body(self) -> None:
        """One Content-Length, the client's, and no Transfer-Encoding."""
        got = self.upstream(post(b"hello", b"Connection: content-length", b"TE: trailers"))
        self.assertEqual((values(got, b"Content-Length"), values(got, b"Transfer-Encoding")), ([b"5"], []))
        self.assertEqual(split(got)[2], b"hello")

    def test_a_chunked_body(self) -> None:
        """One Transfer-Encoding, ours, and no Content-Length."""
        got = self.upstream(CHUNKED + b"5;ext=1\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n")
        self.assertEqual((values(got, b"Content-Length"), values(got, b"Transfer-Encoding")), ([], [b"chunked"]))
        self.assertEqual(unchunk(split(got)[2]), b"hello")

    def test_no_body(self) -> None:
        """Neither, or the client's own nought."""
        for data, lengths in ((GET, []), (post(b""), [b"0"])):
            got = self.upstream(data)
            self.assertEqual((values(got, b"Content-Length"), values(got, b"Transfer-Encoding")), (lengths, []))


class NothingIsSmuggledPast(SynchronousTestCase):
    """What two servers could read differently reaches no backend at all."""

    def test_the_corpus(self) -> None:
        """No byte of it goes upstream, and the sender gets its status and a closing connection."""
        reached = []
        for name, data, expected in REFUSED:
            rig = Rig()
            client = rig.client()
            client.send(data + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = client.received()
            if rig.connects or status(answer) != expected or values(answer, b"Connection") != [b"close"]:
                reached.append((name, len(rig.connects), answer[:40]))
        self.assertEqual(reached, [])

    def test_over_a_connection_that_is_warm(self) -> None:
        """Nor does it over connections that have served before."""
        for _, data, _ in REFUSED:
            rig = Rig()
            client, backend = rig.kept_alive()
            client.send(data)
            self.assertEqual((rig.connects, backend.received()), ([], b""))

    def test_a_body_that_looks_like_a_request_is_a_body(self) -> None:
        """It ends where its framing says, whatever it contains."""
        inner = b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
        for data in (post(inner), CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)):
            rig = Rig()
            rig.client().send(data)
            backend = rig.accept()
            backend.send(OK)
            self.assertEqual((len(rig.ended), rig.connects), (1, []))


class AnEmptyChunkIsNotAnEnd(SynchronousTestCase):
    """A body in chunks ends with its last chunk and with nothing else."""

    def test_from_the_client(self) -> None:
        """A chunk's size that comes alone puts no empty chunk on the wire to the backend."""
        rig = Rig()
        client = rig.client()
        client.send(CHUNKED)
        backend = rig.accept()
        rig.turn()
        backend.received()
        client.send(b"5", b"\r\n", b"hello", b"\r", b"\n")
        self.assertEqual(backend.received(), b"5\r\nhello\r\n")
        client.send(b"0\r\n", b"\r\n")
        self.assertEqual(backend.received(), b"0\r\n\r\n")

    def test_from_the_backend(self) -> None:
        """Nor on the wire to the client."""
        rig = Rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\n", b"hello")
        backend.send(b"\r\n", b"0\r\n")
        self.assertTrue(client.received().endswith(b"\r\n\r\n5\r\nhello\r\n"))
        backend.send(b"\r\n")
        self.assertEqual(client.received(), b"0\r\n\r\n")


def messages(data: bytes, read: Any) -> list[bytes]:
    """The bodies of the messages in *data*, whose heads *read* can read; each must be whole."""
    bodies = []
    while data:
        end = data.index(b"\r\n\r\n") + 4
        head = read(data[:end])
        body: Any = ChunkedBody() if head.chunked else SizedBody(max(head.length, 0))
        bodies.append(body.feed(data[end:]))
        assert body.done, data
        data = body.rest
    return bodies


def chunked(parts: list[bytes]) -> bytes:
    """The parts as a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def framed(start: bytes, parts: list[bytes], in_chunks: bool) -> bytes:
    """A message with this start line, and the parts as its body."""
    if in_chunks:
        return start + b"\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(parts)
    body = b"".join(parts)
    return start + b"\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body


bodies = st.tuples(st.lists(st.binary(min_size=1, max_size=40), max_size=3), st.booleans())
cuts = st.lists(st.integers(1, 60), min_size=1, max_size=10)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, over and over."""
    pieces, place, number = [], 0, 0
    while place < len(data):
        size = sizes[number % len(sizes)]
        pieces.append(data[place : place + size])
        place, number = place + size, number + 1
    return pieces


class HoweverItIsCutItArrivesWhole(SynchronousTestCase):
    """Where packets begin and end is nobody's business."""

    @given(st.lists(st.tuples(bodies, bodies), min_size=1, max_size=4), cuts, cuts)
    def test_a_dialogue(self, dialogue: list[Any], client_cuts: list[int], backend_cuts: list[int]) -> None:
        """Pipelined uploads and their answers, sized and chunked, in any pieces: the same bodies, in the same order."""
        rig = Rig()
        client = rig.client()
        for piece in cut(b"".join(framed(b"PUT / HTTP/1.1", *asked) for asked, _ in dialogue), client_cuts):
            client.send(piece)
            rig.turn()
        got, backend = b"", None
        for _, answered in dialogue:
            if backend is None:
                backend = rig.accept()
            rig.turn()
            got += backend.received()
            backend.send(*cut(framed(b"HTTP/1.1 200 OK", *answered), backend_cuts))
            rig.turn()
        self.assertEqual(messages(got, request), [b"".join(parts) for (parts, _), _ in dialogue])
        self.assertEqual(messages(client.received(), response), [b"".join(parts) for _, (parts, _) in dialogue])
        self.assertEqual((rig.counters.ends, rig.connects), ({"done": len(dialogue)}, []))


class APipelinedPairKeepsItsOrder(SynchronousTestCase):
    """Nobody gets the answer to another request."""

    def test_although_the_second_backend_would_be_faster(self) -> None:
        """The second request is not sent before the first is answered."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000")
        client = rig.client()
        client.send(GET.replace(b"/ ", b"/1 ") + GET.replace(b"/ ", b"/2 "))
        slow = rig.accept()
        self.assertEqual(rig.connects, [])
        slow.send(OK.replace(b"ok", b"#1"))
        rig.accept().send(OK.replace(b"ok", b"#2"))
        self.assertEqual([part[-2:] for part in client.received().split(b"HTTP/1.1 ")[1:]], [b"#1", b"#2"])

    def test_when_the_first_fails(self) -> None:
        """A 502 takes its place in the order too."""
        rig = Rig()
        client = rig.client()
        client.send(post(b"x") + GET)
        rig.accept().reset()
        rig.accept().send(OK)
        answers = client.received().split(b"HTTP/1.1 ")[1:]
        self.assertEqual([answer[:3] for answer in answers], [b"502", b"200"])


class CookiesOfUserANeverReachUserB(SynchronousTestCase):
    """Users who share a connection to a backend share nothing else."""

    def test_over_one_connection_upstream(self) -> None:
        """A's cookies, credentials and address are on A's requests alone, and what A is given to keep is A's."""
        rig = Rig()
        alice, bob = rig.client("192.0.2.1"), rig.client("192.0.2.2")
        alice.send(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: alice=1\r\nAuthorization: Basic YWxpY2U=\r\n\r\n")
        backend = rig.accept()
        self.assertEqual(values(backend.received(), b"Cookie"), [b"alice=1"])
        backend.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: session=alice; Path=/\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(values(alice.received(), b"Set-Cookie"), [b"session=alice; Path=/"])
        bob.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = backend.received()
        self.assertTrue(got)
        self.assertNotIn(b"alice", got.lower())
        self.assertEqual((values(got, b"Cookie"), values(got, b"X-Forwarded-For")), ([], [b"192.0.2.2"]))
        backend.send(OK)
        self.assertNotIn(b"alice", bob.received())

    def test_on_one_connection_downstream(self) -> None:
        """A front proxy's connection carries many users: each request has its own fields and no others."""
        rig = Rig()
        client, backend = rig.kept_alive(GET[:-2] + b"Cookie: alice=1\r\n\r\n")
        client.send(GET)
        self.assertEqual(values(backend.received(), b"Cookie"), [])


class KeepAliveCommaCloseCloses(SynchronousTestCase):
    """``Connection: keep-alive,close`` closes, on either side."""

    def test_from_the_client(self) -> None:
        """The answer says so, and the connection ends."""
        for value in (b"keep-alive,close", b"keep-alive, close", b"Close,Keep-Alive"):
            rig = Rig()
            client = rig.client()
            client.send(GET[:-2] + b"Connection: %b\r\n\r\n" % value + GET)
            rig.accept().send(OK)
            self.assertEqual((values(client.received(), b"Connection"), client.half_closed), ([b"close"], True))
            rig.wait(10)
            self.assertEqual((client.closed, len(rig.ended)), (True, 1))

    def test_from_the_backend(self) -> None:
        """Its connection is not used again."""
        rig = Rig()
        client, backend = rig.kept_alive(answer=b"HTTP/1.1 200 OK\r\nConnection: keep-alive,close\r\nContent-Length: 0\r\n\r\n")
        client.send(GET)
        self.assertEqual((len(rig.connects), backend.received()), (1, b""))
