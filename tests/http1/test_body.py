"""Promises about bodies: they end where their framing says, however they are cut into pieces."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import BadMessage
from lbproxy.http1.body import LAST_CHUNK, ChunkedBody, SizedBody, UntilCloseBody, chunk, last_chunk

from ..corpus.bodies import REFUSED
from ..support import given

parts = st.lists(st.binary(min_size=1, max_size=50), max_size=6)
extensions = st.sampled_from([b"", b";a", b" ;a=b", b';a="b c"', b"\t", b";"])
trailers = st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC:\r\n", b"X-Sum:\t1 \xe4 2\r\nx-sum:3 \r\n"])


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
            self.assertEqual((got, body.trailers, body.rest + left), (b"".join(bodies), trailer, rest))

    @given(st.integers(245, 262), st.lists(st.integers(0, 280), max_size=4))
    def test_however_it_is_cut_a_line_is_as_long(self, size: int, cuts: list[int]) -> None:
        """Whether a line is too long does not hang on where it was cut."""
        data = b"5;" + b"a" * (size - 2) + b"\r\nhello\r\n0\r\n\r\n"
        places = sorted({*cuts, 0, len(data)})
        body, got = ChunkedBody(), b""
        try:
            for start, end in pairwise(places):
                got += body.feed(data[start:end])
            self.assertEqual((got, body.done, size <= 256), (b"hello", True, True))
        except BadMessage:
            self.assertGreater(size, 256)

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
        wrong = []
        for name, data, status in REFUSED:
            for step in (len(data), 1, 7):
                body = ChunkedBody()
                try:
                    for place in range(0, len(data), step):
                        body.feed(data[place : place + step])
                    wrong.append((name, step, "taken"))
                except BadMessage as error:
                    if error.status != status:
                        wrong.append((name, step, str(error)))
        self.assertEqual(wrong, [])

    def test_a_body_may_be_as_long_as_the_limit(self) -> None:
        """As soon as a size announces more in all, it is refused, before the bytes come."""
        body = ChunkedBody(8)
        self.assertEqual(body.feed(b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"), b"helloyou")
        self.assertTrue(body.done)
        body = ChunkedBody(8)
        body.feed(b"5\r\nhello\r\n4\r")
        error = self.assertRaises(BadMessage, body.feed, b"\n")
        self.assertEqual((error.status, error.cause), (413, "body-size"))

    def test_trailers_that_mean_something_elsewhere_go_no_further(self) -> None:
        """Whoever adds trailers to the fields is told nothing of framing, routing, authentication, or who asks."""
        names = (
            b"Content-Length", b"Transfer-Encoding", b"Host", b"Trailer", b"TE", b"Connection", b"Upgrade", b"Content-Encoding",
            b"Authorization", b"Cookie", b"Set-Cookie", b"Proxy-Authorization", b"Cache-Control", b"Expect", b"Range",
            b"X-Forwarded-For", b"Forwarded", b"X-Real-IP", b"X-Request-ID", b"Via", b"x_sum", b"Content_Length",
            b"X-SSL-Client-Verify", b"X-SSL-Client-S-DN", b"X-SSL-Client-SAN", b"X-SSL-Client-SHA256", b"Client-Cert",
            b"Client-Cert-Chain", b"X-Forwarded-Client-Cert", b"Strict-Transport-Security",
        )  # fmt: skip
        lines = b"".join(b"%b: 1\r\n" % written for name in names for written in (name, name.lower(), name.upper()))
        body = ChunkedBody()
        body.feed(b"0\r\nX-Sum: 2\r\n%bServer-Timing:db\r\n\r\n" % lines)
        self.assertEqual((body.done, body.trailers), (True, b"X-Sum: 2\r\nServer-Timing:db\r\n"))

    def test_trailers_with_underscores_can_be_allowed(self) -> None:
        """As such fields can; they hide none of those that go no further."""
        body = ChunkedBody(underscores=True)
        body.feed(b"0\r\nx_sum: 1\r\nX_SSL_Client_Verify: SUCCESS\r\nContent_Length: 2\r\n\r\n")
        self.assertEqual(body.trailers, b"x_sum: 1\r\n")

    def test_trailers_may_be_as_many_as_the_limit(self) -> None:
        """And not one more."""
        body = ChunkedBody(fields=2)
        body.feed(b"0\r\n" + b"A: b\r\n" * 2 + b"\r\n")
        self.assertEqual((body.done, body.trailers), (True, b"A: b\r\n" * 2))
        self.assertRaises(BadMessage, ChunkedBody(fields=2).feed, b"0\r\n" + b"A: b\r\n" * 3)

    def test_a_large_body_may_have_many_extensions(self) -> None:
        """They are held against what they come with: signed chunks, as storage services have them, are taken."""
        body = ChunkedBody()
        one = b"400;chunk-signature=" + b"a" * 64 + b"\r\n" + b"x" * 1024 + b"\r\n"
        self.assertEqual(len(body.feed(one * 1000 + LAST_CHUNK)), 1024 * 1000)
        self.assertTrue(body.done)

    def test_small_chunks_are_taken(self) -> None:
        """A body of single bytes is slow, but a body."""
        body = ChunkedBody()
        self.assertEqual(len(body.feed(b"1\r\nx\r\n" * 50_000 + LAST_CHUNK)), 50_000)

    def test_the_last_chunk_carries_trailers(self) -> None:
        """What is written is read."""
        body = ChunkedBody()
        body.feed(last_chunk(b"A: b\r\nC: d\r\n"))
        self.assertEqual((body.done, body.trailers), (True, b"A: b\r\nC: d\r\n"))
        self.assertEqual(LAST_CHUNK, b"0\r\n\r\n")

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

    def test_it_has_no_trailers(self) -> None:
        """Only chunks can carry them."""
        self.assertEqual((SizedBody(5).trailers, UntilCloseBody().trailers), (b"", b""))


class UntilClose(SynchronousTestCase):
    """Bodies that the connection's end ends."""

    def test_everything_is_body(self) -> None:
        """And no byte ends it."""
        body = UntilCloseBody()
        self.assertEqual(body.feed(b"0\r\n\r\n"), b"0\r\n\r\n")
        self.assertFalse(body.done)
