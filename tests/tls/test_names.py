"""Tests for lbproxy.tls.names."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.tls.names import Names, certificate_name, normal_name

from ..support import given

LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=0, max_size=4).map(lambda labels: ".".join([*labels, "example"]))


class NormalNameTests(SynchronousTestCase):
    """Tests for what a client asks for."""

    def test_case_and_dot(self) -> None:
        """Case makes no difference, nor does one dot at the end."""
        for name in (b"www.example.com", b"WWW.Example.COM", b"www.example.com."):
            self.assertEqual(normal_name(name), "www.example.com", name)

    def test_no_names(self) -> None:
        """Addresses, wildcards, empty labels, and anything but ASCII letters, digits, hyphens and underscores are no name."""
        for name in (
            b"", b".", b"..", b"www..com", b".com", b"a.com..", b"192.0.2.1", b"2001:db8::1", b"[::1]", b"*.example.com", b"*",
            b"a b", b"a\0.com", b"a.com\0", b"a.com\n", b"\xfc.com", b"\xe2\x84\xaa.com", b"a/b", b"a" * 64 + b".com", b"1",
        ):  # fmt: skip
            self.assertIsNone(normal_name(name), name)

    def test_odd_names(self) -> None:
        """Names that some hosts do have are names: one label, underscores, digits first, an internationalised one."""
        for name in (b"localhost", b"a_b.com", b"4.com", b"xn--mnchen-3ya.de", b"-", b"1.2.3.4a"):
            self.assertEqual(normal_name(name), name.decode(), name)

    def test_length(self) -> None:
        """DNS can carry 253 characters, and a dot at the end does not count."""
        longest = b".".join([b"a" * 49] * 5) + b".abc"
        self.assertEqual(len(longest), 253)
        self.assertEqual(normal_name(longest), longest.decode())
        self.assertEqual(normal_name(longest + b"."), longest.decode())
        self.assertIsNone(normal_name(b"a" + longest))

    @given(st.binary(max_size=300))
    def test_any_bytes(self, name: bytes) -> None:
        """Whatever a client sends, there is a name that stays as it is when it is looked at again, or there is none."""
        found = normal_name(name)
        if found is not None:
            self.assertEqual(normal_name(found.encode("ascii")), found)
            self.assertLessEqual(len(found), 253)

    @given(NAMES)
    def test_names_are_kept(self, name: str) -> None:
        """A name as DNS has it is not changed but for its case."""
        self.assertEqual(normal_name(name.upper().encode()), name)


class CertificateNameTests(SynchronousTestCase):
    """Tests for what certificates are for."""

    def test_wildcard(self) -> None:
        """A wildcard is the whole first label."""
        self.assertEqual(certificate_name("*.Example.com."), "*.example.com")
        self.assertEqual(certificate_name("example.com"), "example.com")

    def test_no_wildcards(self) -> None:
        """Other places for a star, and a star alone, match nothing."""
        for name in ("*", "*.", "f*.example.com", "www.*.com", "*.*.com", "**.com", ".com", "", "*.192.0.2.1", "ü.com"):
            self.assertIsNone(certificate_name(name), name)


class NamesTests(SynchronousTestCase):
    """Tests for what is found by a name."""

    def setUp(self) -> None:
        self.names = Names({"example.com": 1, "www.example.com": 2, "*.example.com": 3, "*.b.example.com": 4})

    def test_exact_first(self) -> None:
        """A name itself comes before a wildcard."""
        self.assertEqual(self.names.find("www.example.com"), 2)

    def test_wildcard(self) -> None:
        """A wildcard stands for one label."""
        self.assertEqual(self.names.find("a.example.com"), 3)
        self.assertEqual(self.names.find("a.b.example.com"), 4)

    def test_neither_more_nor_less(self) -> None:
        """A wildcard does not stand for no label, nor for two."""
        names = Names({"*.example.com": 3})
        for name in ("example.com", "a.b.example.com", "com", "aexample.com"):
            self.assertIsNone(names.find(name), name)

    @given(st.dictionaries(NAMES | NAMES.map("*.{}".format), st.integers(), max_size=8), NAMES)
    def test_as_by_looking_at_each(self, by_name: dict[str, int], name: str) -> None:
        """What is found is what looking at every name one by one would find."""
        rest = name.split(".")[1:]
        wild = [value for key, value in by_name.items() if key.startswith("*.") and rest and key[2:].split(".") == rest]
        expected = by_name.get(name, wild[0] if wild else None)
        self.assertEqual(Names(by_name).find(name), expected)
