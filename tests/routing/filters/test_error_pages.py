"""The filter ``error-pages``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.fields import pairs
from lbproxy.routing.filters.error_pages import PAGE_LIMIT, ErrorPages
from tests.routing.filters.support import live, page, passing, went
from tests.routing.support import RoutedRig
from tests.support import GET, response, split, status, unchunk, values

SORRY = "<p>sorry</p>"
SPEC = ErrorPages(statuses=["404", "500-599"], text=SORRY)
HEAD = GET.replace(b"GET", b"HEAD")


class ErrorPagesTests(SynchronousTestCase):
    """Another body in the place of an error's."""

    def file(self, name: str, data: bytes) -> str:
        path: str = self.mktemp() + name
        Path(path).write_bytes(data)
        return path

    def test_statuses_are_numbers_texts_and_ranges(self) -> None:
        """One alone needs no list."""
        self.assertEqual(ErrorPages(statuses=404, text="x").statuses, ("404",))
        self.assertEqual(ErrorPages(statuses=[404, "500-599"], text="x").statuses, ("404", "500-599"))
        one = live(SPEC)
        for code, replaced in ((404, True), (500, True), (599, True), (403, False), (200, False)):
            head = response(b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\n" % code)
            self.assertIs(one.body(passing(), head) is not None, replaced, code)

    def test_what_was_said_of_the_body_goes(self) -> None:
        """The rest stays, Set-Cookie and Retry-After among it."""
        text = (
            "HTTP/1.1 503 Later\nContent-Type: a/b\nContent-Encoding: gzip\nETag: x\nLast-Modified: y\nRetry-After: 5\n"
            "Set-Cookie: c=1\nContent-Length: 7"
        )
        head = went(SPEC, text)
        names = {name.lower() for name, _ in pairs(head.fields)}
        self.assertEqual(names, {b"retry-after", b"set-cookie", b"content-type", b"content-length"})
        self.assertEqual((head.status, head.reason), (503, b"Later"))

    def test_other_responses_stay_as_they_are(self) -> None:
        """All their fields."""
        self.assertIn(b"ETag: x\r\n", went(SPEC, "HTTP/1.1 200 OK\nETag: x\nContent-Length: 7").fields)

    def test_the_body_is_thrown_away_as_it_comes(self) -> None:
        """And the page given once, however it comes, or does not."""
        for parts in ((), (b"a",), (b"a", b"b", b"c")):
            body = live(SPEC).body(passing(), response(b"HTTP/1.1 404 X\r\n\r\n"))
            self.assertEqual(page(body, *parts), SORRY.encode())

    def test_the_media_type_is_the_files(self) -> None:
        """By its extension, or as it is said; of a text by how it begins."""
        for spec, kind in (
            (SPEC, "text/html; charset=utf-8"),
            (ErrorPages(statuses=404, text="sorry"), "text/plain; charset=utf-8"),
            (ErrorPages(statuses=404, file="x.JSON"), "application/json"),
            (ErrorPages(statuses=404, file="x", media_type="text/css"), "text/css"),
        ):
            self.assertEqual(spec.kind, kind)

    def test_a_file_is_read_when_it_is_made(self) -> None:
        """What becomes of it afterwards does not matter."""
        path = self.file(".html", b"\xff\x00page")
        one = live(ErrorPages(statuses=404, file=path))
        Path(path).unlink()
        self.assertEqual(page(one.body(passing(), response(b"HTTP/1.1 404 X\r\n\r\n"))), b"\xff\x00page")

    def test_a_file_that_cannot_be_read_is_an_error(self) -> None:
        """As one that is too large, and a pipe, which is not waited for."""
        pipe = self.mktemp() + ".html"
        os.mkfifo(pipe)
        large = self.file(".txt", b"x" * (PAGE_LIMIT + 1))
        for path, why in ((self.mktemp() + ".html", "No such file"), (large, "larger"), (pipe, "it is no file")):
            error = self.assertRaises(ConfigurationError, live, ErrorPages(statuses=404, file=path))
            self.assertTrue(str(error).startswith("file: ") and why in str(error), error)

    def test_mistakes_are_told(self) -> None:
        """Each by its key."""
        cases: list[tuple[str, dict[str, Any]]] = [
            ("statuses", dict(statuses=["200"], text="x")),
            ("statuses", dict(statuses=["599-500"], text="x")),
            ("statuses", dict(statuses=[], text="x")),
            ("statuses", dict(statuses=[True], text="x")),
            ("file", dict(statuses=404)),
            ("file", dict(statuses=404, text="x", file="y.html")),
            ("media-type", dict(statuses=404, file="y")),
            ("media-type", dict(statuses=404, text="x", media_type="a\r\nb")),
        ]
        for key, keys in cases:
            error = self.assertRaises(ConfigurationError, ErrorPages, **keys)
            self.assertTrue(str(error).startswith(f"{key}: "), error)


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def check(self, came: bytes, code: int) -> None:
        self.assertEqual((status(came), split(came)[2]), (code, SORRY.encode()))
        self.assertEqual(values(came, b"Content-Length"), [b"%d" % len(SORRY)])
        self.assertEqual(values(came, b"Content-Type"), [b"text/html; charset=utf-8"])

    def test_a_backends_error_has_the_page(self) -> None:
        """Also one that had no body."""
        for body in (b"broken", b""):
            answer = b"HTTP/1.1 500 X\r\nContent-Length: %d\r\nContent-Type: a/b\r\n\r\n%b" % (len(body), body)
            self.check(RoutedRig(SPEC).ask(GET, answer)[1], 500)

    def test_a_body_that_comes_bit_by_bit_is_replaced(self) -> None:
        """The page goes out at once, and ends with it."""
        rig = RoutedRig(SPEC)
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n")
        rig.turn()
        self.assertEqual(unchunk(split(client.received())[2]), SORRY.encode())

    def test_an_answer_of_our_own_has_it_too(self) -> None:
        """No backend is up."""
        rig = RoutedRig(SPEC)
        client = rig.client()
        client.send(GET)
        while rig.connects:
            rig.refuse()
        self.check(client.received(), 503)

    def test_head_is_told_the_length(self) -> None:
        """And gets no body."""
        came = RoutedRig(SPEC).ask(HEAD, b"HTTP/1.1 404 X\r\nContent-Length: 7\r\n\r\n")[1]
        self.assertEqual((split(came)[2], values(came, b"Content-Length")), (b"", [b"%d" % len(SORRY)]))
