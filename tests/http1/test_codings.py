"""Content codings: whom a client would have, and what is written."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped,unused-ignore]
import zstandard
from hypothesis import strategies
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1 import codings
from lbproxy.http1.codings import available, choose, coder

from ..support import given

OFFERED = ("zstd", "br", "gzip")


def readers() -> dict[str, Callable[[bytes], bytes]]:
    """What reads a stream as it comes, by others' code."""
    return {
        "gzip": zlib.decompressobj(31).decompress,
        "br": brotli.Decompressor().process,
        "zstd": zstandard.ZstdDecompressor().decompressobj().decompress,
    }


class ChoiceTests(SynchronousTestCase):
    """RFC 9110 section 12.5.3."""

    def test_choices(self) -> None:
        """The client's weights come first, then our order; none where none is wanted."""
        for accepted, expected in (
            (b"", ""),
            (b"gzip", "gzip"),
            (b"x-gzip", "gzip"),
            (b"GZip", "gzip"),
            (b"gzip, deflate, br, zstd", "zstd"),
            (b"gzip, deflate, br", "br"),
            (b"gzip;q=1.0, br;q=0.5", "gzip"),
            (b"gzip ; q=0.9 ,\tbr; q=0.900", "br"),
            (b"*", "zstd"),
            (b"*;q=0.1, gzip;q=0.2", "gzip"),
            (b"zstd;q=0, *", "br"),
            (b"gzip;q=0", ""),
            (b"*;q=0", ""),
            (b"identity", ""),
            (b"identity, gzip", "gzip"),
            (b"identity;q=1, gzip;q=0.5", ""),
            (b"identity;q=0, gzip;q=0.5", "gzip"),
            (b"gzip;q=0.0001", ""),
            (b"gzip;q=2", ""),
            (b"gzip;q=nan", ""),
            (b"gzip;level=1", ""),
            (b"deflate, compress", ""),
            (b",,gzip,,", "gzip"),
            (b"gzip;q=0, gzip", ""),
        ):
            self.assertEqual(choose(accepted, OFFERED), expected, accepted)

    def test_only_what_is_offered(self) -> None:
        """What is not offered is not chosen, however much it is wanted."""
        self.assertEqual(choose(b"br, gzip;q=0.1", ("gzip",)), "gzip")

    @given(strategies.binary(max_size=60))
    def test_any_bytes(self, accepted: bytes) -> None:
        """Whatever a client sends, it is a choice."""
        self.assertIn(choose(accepted, OFFERED), ("", *OFFERED))


class CoderTests(SynchronousTestCase):
    """What others' code reads of what is written."""

    def test_all_are_here(self) -> None:
        """With both packages installed, as for tests, all can be written; without one, the others."""
        self.assertEqual(available(), OFFERED)
        self.patch(codings, "_modules", {"br": brotli})
        self.assertEqual(available(), ("br", "gzip"))

    def test_missing_packages(self) -> None:
        """A package that is not installed is no error."""

        def missing(name: str) -> None:
            raise ImportError(name)

        self.patch(codings, "import_module", missing)
        self.assertEqual(codings._packages(), {})

    @given(strategies.lists(strategies.binary(min_size=1, max_size=300), max_size=5))
    def test_each_part_can_be_read_at_once(self, parts: list[bytes]) -> None:
        """Of every coding, all that was written can be read before the next part comes, and the end is one."""
        for coding, read in readers().items():
            writer = coder(coding, 3)
            for part in parts:
                self.assertEqual(read(writer.write(part)), part, coding)
            self.assertEqual(read(writer.finish()), b"")

    def test_streams_side_by_side(self) -> None:
        """Streams of one coding do not mix."""
        for coding in OFFERED:
            one, two = coder(coding, 3), coder(coding, 3)
            data = [one.write(b"a" * 100), two.write(b"b" * 100), one.write(b"c"), one.finish(), two.finish()]
            self.assertEqual(readers()[coding](data[0] + data[2] + data[3]), b"a" * 100 + b"c")
            self.assertEqual(readers()[coding](data[1] + data[4]), b"b" * 100)
