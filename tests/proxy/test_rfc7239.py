"""Promises about the Forwarded field: what it says is read, and what is none is refused."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy.rfc7239 import element, parse

from ..support import given

#: The RFC's own examples (sections 4, 6.3, 7.1 and 7.4), and more; what they say.
WELL_FORMED: list[tuple[bytes, list[dict[bytes, bytes]]]] = [
    (b'for="_gazonk"', [{b"for": b"_gazonk"}]),
    (b'For="[2001:db8:cafe::17]:4711"', [{b"for": b"[2001:db8:cafe::17]:4711"}]),
    (b"for=192.0.2.60;proto=http;by=203.0.113.43", [{b"for": b"192.0.2.60", b"proto": b"http", b"by": b"203.0.113.43"}]),
    (b"for=192.0.2.43, for=198.51.100.17", [{b"for": b"192.0.2.43"}, {b"for": b"198.51.100.17"}]),
    (b'for=_SEVKISEK, For="[::1]",FOR=unknown', [{b"for": b"_SEVKISEK"}, {b"for": b"[::1]"}, {b"for": b"unknown"}]),
    (b'for="a,b;c=\\"d\\\\";host="x:80"', [{b"for": b'a,b;c="d\\', b"host": b"x:80"}]),
    (b'for=a; proto=https \t; host="" ,\t for=b ', [{b"for": b"a", b"proto": b"https", b"host": b""}, {b"for": b"b"}]),
    (b",, for=a;;proto=b;,,for=c,", [{b"for": b"a", b"proto": b"b"}, {b"for": b"c"}]),
    (b"secret=x;For=a", [{b"secret": b"x", b"for": b"a"}]),
]

MALFORMED = [
    b"", b",", b";", b" ", b"for", b"for=", b"=a", b"for =a", b"for= a", b"for=a b", b"for=a=b", b"for=[::1]", b"for=1.2.3.4:80",
    b'for="a', b'for="a\\"', b'for="a"b', b'for=a"b"', b'for="a""b"', b"for=a;for=b", b"for=a;FOR=a", b'for="";for=""',
    b"for='a b'", b"for=a, <script>", b"for=\xe9", b"for=a\x00", b'for="\x00"', b"for=a, for=b, proto", b"for=a:b, for=c",
]  # fmt: skip

values = st.from_regex(rb"[\t -~\x80-\xff]*", fullmatch=True)
parameters = st.dictionaries(st.from_regex(rb"[a-z!#-]{1,8}", fullmatch=True), values, min_size=1, max_size=4)


def written(elements: list[dict[bytes, bytes]]) -> bytes:
    """A field with these elements, every value quoted, every byte of it escaped that may be."""

    def pair(name: bytes, value: bytes) -> bytes:
        return b'%b="%b"' % (name, b"".join(b"\\%c" % byte for byte in value))

    return b", ".join(b";".join(pair(*one) for one in pairs.items()) for pairs in elements)


class ForwardedField(SynchronousTestCase):
    """Read whole, or not at all."""

    def test_what_is_well_formed_is_read(self) -> None:
        """Quoted strings with commas, semicolons and escapes; names in any case; empty elements, which say nothing."""
        for text, elements in WELL_FORMED:
            self.assertEqual(parse(text), elements, text)

    def test_what_is_malformed_is_refused(self) -> None:
        """One mistake anywhere is enough: who reads on after it may be led to believe anything."""
        for text in MALFORMED:
            self.assertRaises(ValueError, parse, text)

    @given(st.lists(parameters, min_size=1, max_size=4))
    def test_everything_can_be_said_in_quotes(self, elements: list[dict[bytes, bytes]]) -> None:
        """What is escaped is itself."""
        self.assertEqual(parse(written(elements)), elements)

    @given(st.one_of(st.binary(), st.text('for="[:;,=\\] a', max_size=60).map(str.encode)))
    def test_nonsense_is_refused_or_read(self, text: bytes) -> None:
        """There is no third way."""
        try:
            self.assertTrue(all(parse(text)))
        except ValueError:
            pass

    def test_long_nonsense_takes_no_time(self) -> None:
        """However long the field: the search goes forward only. A mebibyte, which is the most that a head may be."""
        size = 1 << 20
        spaces, commas = b" " * size, b"," * size
        for text in (spaces + b"!", b"a" * size, b'for="' + b"\\" * size, b'a="' + spaces, commas, b"a=b" + spaces + b"c"):
            self.assertRaises(ValueError, parse, text)
        self.assertEqual(len(parse(b"a=b," * (size // 4))), size // 4)

    @given(st.ip_addresses(), st.one_of(st.none(), values), st.booleans())
    def test_what_is_written_is_read(self, address, host: bytes | None, secure: bool) -> None:
        """Whatever stood in Host."""
        (read,) = parse(element(str(address), host, secure))
        self.assertEqual(read.get(b"host"), host)
        self.assertEqual(read[b"for"].decode(), str(address) if address.version == 4 else f"[{address}]")
        self.assertEqual(read[b"proto"], b"https" if secure else b"http")

    def test_an_element_is_written_as_the_rfc_writes_it(self) -> None:
        """IPv6 in brackets and quotes, a port makes a host need quotes, and who has no address is unknown or a name of ours."""
        self.assertEqual(element("192.0.2.7", b"example.org", False), b"for=192.0.2.7;host=example.org;proto=http")
        self.assertEqual(element("::1", b"example.org:8080", True), b'for="[::1]";host="example.org:8080";proto=https')
        self.assertEqual(element("unknown", None, False), b"for=unknown;proto=http")
        self.assertEqual(element("unix", b"", False), b'for=_unix;host="";proto=http')
