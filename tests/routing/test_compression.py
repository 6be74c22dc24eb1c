"""Compressed responses, read by others' code."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1 import codings
from lbproxy.routing.filter import FilterContext
from lbproxy.routing.filters.compression import Compression

from ..http1.test_codings import readers
from ..support import Peer, split, unchunk, values
from .passing import FilteredRig

TEXT = b"again and again " * 200


def asking(accepted: bytes = b"gzip", *, method: bytes = b"GET") -> bytes:
    """A request that takes this."""
    line = b"Accept-Encoding: %b\r\n" % accepted if accepted else b""
    return b"%b / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, line)


def answering(body: bytes, *fields: bytes, status: bytes = b"200 OK", kind: bytes = b"text/plain") -> bytes:
    """A response of this body."""
    lines = b"".join(field + b"\r\n" for field in (b"Content-Type: " + kind, *fields))
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(body), body)


class CompressionTests(SynchronousTestCase):
    """What is compressed, what is not, and what is said of it."""

    def rig(self, **keys: Any) -> FilteredRig:
        self.counted: list[str] = []
        context = FilterContext(reactor=None, clock=None, random=Random(1), count=self.counted.append)  # type: ignore[arg-type]
        return FilteredRig(Compression(**keys).make(context))

    def asked(self, request: bytes, **keys: Any) -> tuple[FilteredRig, Peer, Peer]:
        rig = self.rig(**keys)
        client = rig.client()
        client.send(request)
        backend = rig.accept()
        backend.received()
        return rig, client, backend

    def answered(self, request: bytes, answer: bytes, **keys: Any) -> bytes:
        _, client, backend = self.asked(request, **keys)
        backend.send(answer)
        return client.received()

    def test_each_coding(self) -> None:
        """A whole response comes in the coding that was asked for, with its own length."""
        for coding, read in readers().items():
            answer = self.answered(asking(coding.encode()), answering(TEXT, b'ETag: "a"'))
            self.assertEqual(values(answer, b"content-encoding"), [coding.encode()])
            body = split(answer)[2]
            self.assertEqual(values(answer, b"content-length"), [b"%d" % len(body)])
            self.assertEqual(read(body), TEXT)
            self.assertLess(len(body), 100)
            self.assertEqual((values(answer, b"vary"), values(answer, b"etag")), ([b"Accept-Encoding"], [b'W/"a"']))
            self.assertEqual(self.counted, [coding])

    def test_our_order(self) -> None:
        """Of what a client takes alike, the first one of ours is taken."""
        for encodings, expected in (((), b"zstd"), (("gzip", "br"), b"gzip"), ("brotli", b"br")):
            answer = self.answered(asking(b"gzip, br, zstd"), answering(TEXT), encodings=encodings)
            self.assertEqual(values(answer, b"content-encoding"), [expected])

    def test_what_is_left_alone(self) -> None:
        """What is small, of another type, coded already, a part, or not to be changed goes as it is, without a word of it."""
        for answer in (
            answering(b"small"),
            answering(TEXT, kind=b"image/png"),
            answering(TEXT, kind=b"text"),
            answering(TEXT, b"Content-Encoding: br"),
            answering(TEXT, b"Cache-Control: max-age=1", b"Cache-Control: No-Transform"),
            answering(TEXT, b"Content-Range: bytes 0-3199/9999", status=b"206 Partial Content"),
            b"HTTP/1.1 200 OK\r\nContent-Length: 3200\r\n\r\n" + TEXT,
        ):
            got = self.answered(asking(), answer)
            self.assertEqual(split(got)[2], split(answer)[2])
            self.assertEqual((values(got, b"vary"), values(got, b"content-length")), ([], values(answer, b"content-length")))

    def test_types(self) -> None:
        """Types are matched whatever their case and their parameters; * stands for anything."""
        for kind, expected in (
            (b"TEXT/HTML; charset=utf-8", True),
            (b"application/problem+json", True),
            (b"image/svg+xml", True),
            (b"application/octet-stream", False),
            (b"application/jsonx", False),
        ):
            answer = self.answered(asking(), answering(TEXT, kind=kind))
            self.assertEqual(bool(values(answer, b"content-encoding")), expected, kind)
        answer = self.answered(asking(), answering(TEXT, kind=b"image/x-own"), types="image/*")
        self.assertEqual(values(answer, b"content-encoding"), [b"gzip"])

    def test_who_does_not_ask(self) -> None:
        """A client that takes no coding gets none, and caches are told that others do."""
        for accepted in (b"", b"identity", b"gzip;q=0"):
            answer = self.answered(asking(accepted), answering(TEXT, b'ETag: "a"', b"Vary: Cookie"))
            self.assertEqual((split(answer)[2], values(answer, b"content-encoding")), (TEXT, []))
            self.assertEqual((values(answer, b"vary"), values(answer, b"etag")), ([b"Cookie", b"Accept-Encoding"], [b'"a"']))

    def test_vary_is_said_once(self) -> None:
        """What the backend says of it stands."""
        for said in (b"Accept-Encoding", b"cookie, accept-encoding", b"*"):
            answer = self.answered(asking(), answering(TEXT, b"Vary: " + said))
            self.assertEqual(values(answer, b"vary"), [said])

    def test_several_fields(self) -> None:
        """Accept-Encoding may come in several fields."""
        request = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: deflate\r\nAccept-Encoding: gzip;q=0.5\r\n\r\n"
        self.assertEqual(values(self.answered(request, answering(TEXT)), b"content-encoding"), [b"gzip"])

    def test_without_a_body(self) -> None:
        """HEAD, 204 and 304 have nothing to be compressed; HEAD says what GET would depend on, and a 304 has a weak tag."""
        got = self.answered(asking(method=b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 9999\r\n\r\n")
        self.assertEqual((values(got, b"vary"), values(got, b"content-encoding")), ([b"Accept-Encoding"], []))
        for accepted, size, length, tag in (
            (b"gzip", b"9999", [], b'W/"a"'),  # GET would have another length (RFC 9110 section 8.6)
            (b"br;q=0", b"9999", [b"9999"], b'"a"'),
            (b"gzip", b"10", [b"10"], b'"a"'),
        ):
            fields = b'Content-Type: text/css\r\nETag: "a"\r\nContent-Length: ' + size
            got = self.answered(asking(accepted, method=b"HEAD"), b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % fields)
            self.assertEqual((values(got, b"content-length"), values(got, b"etag")), (length, [tag]), (accepted, size))
        got = self.answered(asking(), b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n')
        self.assertEqual((values(got, b"etag"), values(got, b"content-encoding")), ([b'W/"a"'], []))
        got = self.answered(asking(), b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual((values(got, b"vary"), values(got, b"content-encoding")), ([], []))

    def test_streams_of_events(self) -> None:
        """Each event can be read as soon as it has come, in every coding."""
        for coding, read in readers().items():
            _, client, backend = self.asked(asking(coding.encode()))
            backend.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            head = client.received()
            self.assertEqual((values(head, b"content-encoding"), split(head)[2]), ([coding.encode()], b""))
            whole = b""
            for number in range(5):
                event = b"data: event %d\n\n" % number
                backend.send(b"%x\r\n%b\r\n" % (len(event), event))
                part = client.received()
                whole += part
                self.assertEqual(read(unchunk(part + b"0\r\n\r\n")), event)
            backend.send(b"0\r\n\r\n")
            whole += client.received()
            self.assertEqual(readers()[coding](unchunk(whole)).count(b"event"), 5)

    def test_a_large_body(self) -> None:
        """A body of several parts comes whole."""
        random = Random(2)
        text = b"".join(random.choice((b"ada ", b"bob ", b"cy ", b"di ")) for _ in range(100_000))
        for coding, read in readers().items():
            _, client, backend = self.asked(asking(coding.encode()))
            backend.at_once = 65536
            answer = answering(text)
            for place in range(0, len(answer), 50_000):
                backend.send(answer[place : place + 50_000])
            self.assertEqual(read(unchunk(split(client.received())[2])), text)

    def test_a_small_body_of_unknown_length(self) -> None:
        """A response in chunks that is here as a whole, and small, is left alone."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        self.assertEqual(values(self.answered(asking(), answer), b"content-encoding"), [])


class SpecTests(SynchronousTestCase):
    """What an operator may say."""

    def test_mistakes(self) -> None:
        """Each says its key, what was given and what is allowed."""
        for keys, words in (
            ({"encodings": ("deflate",)}, "encodings: 'deflate' was given; allowed is zstd, br, gzip"),
            ({"encodings": 7}, "encodings: 7 was given"),
            ({"types": ("text",)}, "types: 'text' was given"),
            ({"min_size": "lots"}, "min-size: 'lots' was given"),
            ({"gzip_level": 10}, "gzip-level: 10 was given"),
            ({"brotli_level": 11}, "brotli-level: 11 was given"),
            ({"zstd_level": 0}, "zstd-level: 0 was given"),
        ):
            error = self.assertRaises(ConfigurationError, Compression, **keys)
            self.assertIn(words, str(error))

    def test_a_missing_package(self) -> None:
        """A coding whose package is missing is an error where it is named, and says how to get it; else it is not offered."""
        self.patch(codings, "_modules", {})
        error = self.assertRaises(ConfigurationError, Compression, encodings=("br", "gzip"))
        self.assertIn("pip install 'lbproxy[compression]'", str(error))
        self.assertEqual(Compression().encodings, ())

    def test_sizes_in_words(self) -> None:
        """Sizes may be texts."""
        self.assertEqual(Compression(min_size="2k").min_size, 2048)
