"""Promises about bodies: they end where their framing says, however they are cut into pieces."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import BadMessage
from lbproxy.http1.body import LAST_CHUNK, ChunkedBody, SizedBody, UntilCloseBody, chunk

from ..support import given

BAD_CHUNKS = [
    b"\r\n",
    b"g\r\n",
    b"-1\r\n",
    b"+1\r\n",
    b"0x1\r\n",
    b" 1\r\n",
    b"1_0\r\n",
    b"1 1\r\n",
    b"1,\r\n",
    b"1;\x00\r\n",
    b"1;a\rb\r\n",
    b"1;a\nb\r\n",
    b"1\nx\r\n",
    b"1;" + b"a" * 300,
    b"1;" + b"a" * 300 + b"\r\n",
    b"1" * 300,
    b"10000000000000000\r\n",
    b"ffffffffffffffff\r\n",
    b"2\r\nabc\r\n",
    b"2\r\na\r\n0\r\n\r\n",
    b"2\r\nab\n0\r\n\r\n",
    b"2\r\nab\r0\r\n\r\n",
    b"2\r\nab0\r\n\r\n",
    b"0\r\nno trailer\r\n\r\n",
    b"0\r\n: no name\r\n\r\n",
    b"0\r\nA : b\r\n\r\n",
    b"0\r\nA: b\r\n folded\r\n\r\n",
    b"0\r\nA: \x00\r\n\r\n",
    b"0\r\nA: b\nC: d\r\n\r\n",
    b"0\r\nA: " + b"b" * 9000,
    b"0\r\n" + b"A: b\r\n" * 2000,
]

parts = st.lists(st.binary(min_size=1, max_size=50), max_size=6)
extensions = st.sampled_from([b"", b";a", b" ;a=b", b';a="b c"', b"\t", b";"])
trailers = st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC:\r\n"])


def encoded(bodies: list[bytes], extension: bytes, trailer: bytes, rest: bytes) -> bytes:
    """The bodies as chunks, with what may stand around them."""
    chunks = [b"%X%b\r\n%b\r\n" % (len(body), extension, body) for body in bodies]
    return b"".join(chunks) + b"0" + extension + b"\r\n" + trailer + b"\r\n" + rest


class Chunked(SynchronousTestCase):
    """Bodies in chunks."""

    @given(parts, extensions, trailers, st.binary(max_size=20), st.lists(st.integers(0, 400), max_size=8))
    def test_however_it_is_cut_it_is_the_same_body(
        self, bodies: list[bytes], extension: bytes, trailer: bytes, rest: bytes, cuts: list[int]
    ) -> None:
        """Fed at once, byte by byte, or in any pieces: the same bytes, the same end, the same rest."""
        data = encoded(bodies, extension, trailer, rest)
        places = sorted({cut for cut in cuts if cut < len(data)})
        pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)])]
        for fed in ([data], pieces, [data[place : place + 1] for place in range(len(data))]):
            body, got, left = ChunkedBody(), b"", b""
            for piece in fed:
                if body.done:
                    left += piece
                else:
                    got += body.feed(piece)
            self.assertTrue(body.done)
            self.assertEqual((got, body.rest + left), (b"".join(bodies), rest))

    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
    def test_what_is_written_is_read(self, bodies: list[bytes]) -> None:
        """Our own chunks are chunks."""
        body = ChunkedBody()
        self.assertEqual(body.feed(b"".join(map(chunk, bodies)) + LAST_CHUNK), b"".join(bodies))
        self.assertTrue(body.done)

    @given(st.binary(max_size=80))
    def test_any_bytes_are_read_or_refused(self, data: bytes) -> None:
        """Whatever comes, no other error than BadMessage."""
        try:
            ChunkedBody().feed(data)
        except BadMessage:
            pass

    def test_what_is_no_chunk_is_refused(self) -> None:
        """Signs, other bases, bare CR or LF, missing CRLF and everything without an end, at once or byte by byte."""
        for data in BAD_CHUNKS:
            for fed in ([data], [data[place : place + 1] for place in range(len(data))]):
                body = ChunkedBody()
                with self.assertRaises(BadMessage, msg=repr(data[:40])):
                    for piece in fed:
                        body.feed(piece)

    def test_a_piece_without_data_is_no_end(self) -> None:
        """A chunk's size line alone gives nothing back and ends nothing."""
        body = ChunkedBody()
        self.assertEqual((body.feed(b"5\r\n"), body.done), (b"", False))
        self.assertEqual((body.feed(b""), body.done), (b"", False))
        self.assertEqual((body.feed(b"hello\r\n"), body.done), (b"hello", False))

    def test_a_large_chunk_is_not_held_back(self) -> None:
        """Bytes go on as they come, long before their chunk is whole."""
        body = ChunkedBody()
        self.assertEqual(body.feed(b"fffffff\r\n" + b"x" * 1000), b"x" * 1000)

    def test_what_follows_is_left(self) -> None:
        """The next message's bytes are not eaten."""
        body = ChunkedBody()
        self.assertEqual(body.feed(b"1\r\na\r\n0\r\n\r\nGET /"), b"a")
        self.assertEqual(body.rest, b"GET /")


class Sized(SynchronousTestCase):
    """Bodies of a length known ahead."""

    @given(st.binary(max_size=60), st.integers(0, 60), st.integers(1, 60))
    def test_it_ends_after_its_length(self, data: bytes, length: int, step: int) -> None:
        """However it is cut, the first bytes are the body and the others are left."""
        body, got, left = SizedBody(length), b"", b""
        for place in range(0, len(data), step):
            piece = data[place : place + step]
            if body.done:
                left += piece
            else:
                got += body.feed(piece)
        self.assertEqual((got, body.rest + left), (data[:length], data[length:]))
        self.assertEqual(body.done, len(data) >= length)

    def test_an_empty_one_is_done_before_it_begins(self) -> None:
        """Content-Length: 0 waits for nothing."""
        self.assertTrue(SizedBody(0).done)


class UntilClose(SynchronousTestCase):
    """Bodies that the connection's end ends."""

    def test_everything_is_body(self) -> None:
        """And no byte ends it."""
        body = UntilCloseBody()
        self.assertEqual(body.feed(b"0\r\n\r\n"), b"0\r\n\r\n")
        self.assertFalse(body.done)
