"""Promises to users about what is let by: one unambiguous request for each that was accepted, one response for each request.

A second parser, h11, judges what leaves the balancer; the rules stand in :mod:`.fuzz.requests` and :mod:`.fuzz.responses`, which
``python -m tests.fuzz`` uses too. ``LBPROXY_EXAMPLES=10000`` looks longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import hypothesis
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from .fuzz.requests import BACKENDS, check_requests
from .fuzz.responses import ENDINGS, Asked, check_responses
from .fuzz.seeds import BROKEN, NASTY, REFUSED, REQUESTS, RESPONSES

EXAMPLES = int(os.environ.get("LBPROXY_EXAMPLES", "400"))


def given(*strategies: Any) -> Callable[[Any], Any]:
    """As :func:`.support.given`, with as many examples as the environment asks for."""
    return lambda test: hypothesis.settings(deadline=None, max_examples=EXAMPLES)(hypothesis.given(*strategies)(test))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces that end at these places."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges) if begin < end]


places = st.lists(st.integers(0, 1 << 16), max_size=6)

# Valid messages.

tokens = st.text("abcdefgXYZ019!#$%&'*+.^`|~-", min_size=1, max_size=8).map(lambda text: b"X-" + text.encode("ascii"))
words = st.text("ab01 \t,;:=\"()/?\xe4\xff\x85\xa0", max_size=12).map(lambda text: text.encode("latin-1").strip(b" \t"))
spaces = st.sampled_from((b"", b" ", b"\t", b"  "))
fields = st.lists(st.tuples(tokens, spaces, words, spaces), max_size=4)
parts = st.lists(st.binary(min_size=1, max_size=30), max_size=3)
extensions = st.sampled_from((b"", b";a", b";a=b", b';a="b c"', b"; a = b", b" ;a"))
framings = st.sampled_from(("sized", "chunked"))


class Valid:
    """A valid message and what it means: its start, its end-to-end fields, its body."""

    def __init__(
        self, start: bytes, fields: list[Any], framing: str, parts: list[bytes], extension: bytes, trailer: bool
    ) -> None:
        self.start = start
        self.fields = [(name, value) for name, _, value, _ in fields]
        self.body = b"".join(parts)
        lines = [name + b":" + before + value + after for name, before, value, after in fields]
        if framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            chunks = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts]
            data = b"".join(chunks) + b"0%b\r\n%b\r\n" % (extension, b"X-Trailer: 1\r\n" if trailer else b"")
        elif framing == "sized":
            lines.append(b"Content-Length: %d" % len(self.body))
            data = self.body
        else:
            data = self.body = self.body if framing == "until-close" else b""
        self.bytes = b"".join(line + b"\r\n" for line in (start, *lines, b"")) + data


methods = st.sampled_from((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"))
targets = st.text("abz019/?&=%.-_~!$'()*+,;:@[]", max_size=20).map(lambda text: b"/" + text.encode("ascii"))
lasts = st.sampled_from(
    (b"HTTP/1.1\r\nHost: a", b"HTTP/1.1\r\nHost: b:80\r\nConnection: close", b"HTTP/1.0", b"HTTP/1.0\r\nHost: c")
)


@st.composite
def requests(draw: Any) -> list[Valid]:
    """A pipeline of valid requests; the last one may end the connection, and may be of HTTP/1.0."""
    pipeline = []
    for left in range(draw(st.integers(0, 3)), -1, -1):
        version = b"HTTP/1.1\r\nHost: a" if left else draw(lasts)
        kinds = st.sampled_from(("none", "sized") if version.startswith(b"HTTP/1.0") else ("none", "sized", "chunked"))
        start = b"%b %b %b" % (draw(methods), draw(targets), version)
        pipeline.append(Valid(start, draw(fields), draw(kinds), draw(parts), draw(extensions), draw(st.booleans())))
    return pipeline


@st.composite
def responses(draw: Any) -> Valid:
    """A valid response to GET, with its own framing."""
    status = draw(st.sampled_from((b"200 OK", b"200", b"404 ", b"500 \xe4 \t", b"299 HTTP/1.1 200", b"204 No", b"304 Not")))
    kinds = ("none",) if status[:3] in (b"204", b"304") else ("sized", "chunked", "until-close")
    version = draw(st.sampled_from((b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 ")))
    kind = draw(st.sampled_from(kinds if version != b"HTTP/1.0 " else tuple(k for k in kinds if k != "chunked")))
    return Valid(version + status, draw(fields), kind, draw(parts), draw(extensions), draw(st.booleans()))


# Mutations of their bytes.

positions = st.integers(0, 1 << 16)


@st.composite
def mutated(draw: Any, whole: list[bytes], refused: list[bytes]) -> bytes:
    """One of these messages, or two after one another, changed in up to four ways."""
    data = b"".join(draw(st.lists(st.sampled_from([*whole, *whole, *refused]), min_size=1, max_size=2)))
    for change in draw(st.lists(st.sampled_from(CHANGES), min_size=0, max_size=4)):
        begin, end = sorted(draw(positions) % (len(data) + 1) for _ in range(2))
        data = change(data, begin, end, draw(st.sampled_from(NASTY)))
    return data


def _line(data: bytes, place: int) -> tuple[int, int]:
    """Where the line begins and ends in which the place is."""
    end = data.find(b"\r\n", place)
    return data.rfind(b"\r\n", 0, place) + 2 if b"\r\n" in data[:place] else 0, len(data) if end < 0 else end + 2


def _insert(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    return data[:begin] + nasty + data[begin:]


def _replace(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    return data[:begin] + nasty + data[begin + len(nasty) :]


def _delete(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    return data[:begin] + data[min(end, begin + 8) :]


def _duplicate(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    return data[:end] + data[begin:end] + data[end:]


def _insert_line(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    place = _line(data, begin)[0]
    return data[:place] + nasty + data[place:]


def _duplicate_line(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    first, last = _line(data, begin)
    return data[:last] + data[first:last] + data[last:]


def _move_line(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    first, last = _line(data, end)
    place = _line(data, begin)[0]
    return data[:place] + data[first:last] + data[place:first] + data[last:]


def _swap_case(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    return data[:begin] + data[begin:end].swapcase() + data[end:]


def _bare_ends(data: bytes, begin: int, end: int, nasty: bytes) -> bytes:
    return data[:begin] + data[begin:end].replace(b"\r\n", b"\n") + data[end:]


CHANGES = (
    *(_insert, _replace, _delete, _duplicate, _insert_line, _duplicate_line, _move_line, _swap_case, _bare_ends),
    *(_insert, _insert_line),
)


class WhatReachesABackendIsOneUnambiguousRequest(SynchronousTestCase):
    """For each request that was accepted, and for no other, with the same body, framed once."""

    @given(requests(), places, st.sampled_from(("patient", "late")))
    def test_valid_requests(self, pipeline: list[Valid], at: list[int], backends: str) -> None:
        """All of them arrive, with their fields in order and their bodies, wherever their bytes were cut."""
        reached = check_requests(cut(b"".join(one.bytes for one in pipeline), at), backends)
        got = [(message.head.method, message.head.target, message.body, ends(message)) for message in reached]
        self.assertEqual(got, [(*one.start.split(b" ")[:2], one.body, one.fields) for one in pipeline])

    def test_an_invitation_is_no_answer_too_many(self) -> None:
        """A client that waits for 100 gets it, and may then send nothing more."""
        for backends in BACKENDS:
            check_requests([b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"], backends)

    @given(mutated(REQUESTS, BROKEN + [data for _, data, _ in REFUSED if len(data) < 2000]), places, st.sampled_from(BACKENDS))
    def test_requests_with_something_wrong(self, data: bytes, at: list[int], backends: str) -> None:
        """Whatever bytes come, a second parser reads what was accepted in those that come out, and in those that came in."""
        check_requests(cut(data, at), backends)

    def test_the_corpus(self) -> None:
        """Known smuggling forms, followed by what they would smuggle, reach nobody; in one piece or byte by byte."""
        for name, data, _ in REFUSED:
            for size in (len(data), 1) if len(data) < 2000 else (len(data),):
                pieces = [data[place : place + size] for place in range(0, len(data), size)]
                reached = check_requests([*pieces, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"])
                self.assertEqual([message.raw for message in reached], [], name)

    def test_bodies_that_break(self) -> None:
        """Their requests are never completed, and what follows them is no request; in one piece or byte by byte."""
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        for data in BROKEN:
            for size in (len(data), 1):
                pieces = [data[place : place + size] for place in range(0, len(data), size)]
                reached = check_requests([*pieces[:-1], pieces[-1] + smuggled])
                self.assertEqual([message.raw for message in reached if message.whole], [], data)


def ends(message: Any) -> list[tuple[bytes, bytes]]:
    """The end-to-end fields that a strategy made, as h11 reads them."""
    raw = [(name, value) for name, value in message.head.headers.raw_items() if name.startswith(b"X-")]
    return [(name, value) for name, value in raw if not name.startswith((b"X-Forwarded-", b"X-Request-"))]


class OneResponseNeverBecomesTwo(SynchronousTestCase):
    """Each request gets one response, the backend's or one of ours, or its connection is visibly cut."""

    @given(st.lists(st.tuples(responses(), places), min_size=1, max_size=3), st.booleans())
    def test_valid_responses(self, answers: list[tuple[Valid, list[int]]], pipelined: bool) -> None:
        """All of them are passed on, also those that only their connection's end ends, however they are cut."""
        asked = [Asked(b"GET", cut(one.bytes, at)) for one, at in answers]
        self.assertEqual(check_responses(asked, pipelined=pipelined), ["done"] * len(asked))

    @given(st.lists(st.tuples(mutated(RESPONSES, []), places, st.sampled_from(ENDINGS)), min_size=1, max_size=2), st.data())
    def test_responses_with_something_wrong(self, answers: list[Any], data: Any) -> None:
        """Whatever a backend sends and however it ends, no client is given more responses than it asked for, or other ones."""
        draw_method = st.sampled_from((b"GET", b"HEAD", b"POST"))
        asked = [Asked(data.draw(draw_method), cut(answer, at), ending) for answer, at, ending in answers]
        check_responses(asked, data.draw(st.integers(0, 1)), data.draw(st.booleans()))

    def test_the_corpus(self) -> None:
        """Every framing, two responses in one, forged lines: in one piece, byte by byte, to every method and version."""
        for data in RESPONSES:
            for method in (b"GET", b"HEAD", b"POST"):
                for pieces in ([data], [data[place : place + 1] for place in range(len(data))]):
                    for ending in ENDINGS:
                        check_responses([Asked(method, pieces, ending)] * 2, 1)
                        check_responses([Asked(method, pieces, ending)] * 2, 1, False)
                        check_responses([Asked(method, pieces, ending)], 0)


class FoundByFuzzing(SynchronousTestCase):
    """Bytes that broke a promise once, as short as they were found."""

    def test_a_bare_end_of_line_after_an_empty_line_is_no_empty_line(self) -> None:
        """Empty lines before a request end with CRLF: a CR or LF of its own after them begins no request."""
        get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for before in (b"\r\n\n", b"\r\n\r", b"\r\n\r\n\n\n", b"\r\n\r\r\n"):
            self.assertEqual(check_requests([before + get]), [], before)
            self.assertEqual(len(check_requests([get + before + get])), 1, before)

    def test_a_status_below_100_is_none(self) -> None:
        """It is no interim response either: the client gets 502."""
        for status in (b"000", b"051", b"099"):
            for after in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"):
                ended = check_responses([Asked(b"GET", [b"HTTP/1.1 %b X\r\n\r\n" % status + after])])
                self.assertEqual(ended, ["bad-response"], status)
