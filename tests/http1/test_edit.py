"""Changes to the fields of a head."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.edit import field_line, remove_fields
from lbproxy.http1.fields import pairs
from tests.support import given

FIELDS = b"Host: a\r\nX-User: eve\r\nx-user: eve\r\nAccept: */*\r\n"

_NAMES = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)


class EditTests(SynchronousTestCase):
    """Fields are written, and removed by name, whatever its case."""

    def test_a_field_is_a_line(self) -> None:
        """Name and value, without the space around it, and CRLF."""
        self.assertEqual(field_line(b"X-User", b" adam\t"), b"X-User: adam\r\n")

    def test_fields_are_removed(self) -> None:
        """All of these names, and no others."""
        self.assertEqual(remove_fields(FIELDS, (b"X-USER", b"Host", b"X")), b"Accept: */*\r\n")
        self.assertEqual(remove_fields(b"", (b"X",)), b"")

    def test_an_underscore_is_no_way_round(self) -> None:
        """Backends that take X_User for X-User are told it once, by us."""
        self.assertEqual(remove_fields(b"X_USER: eve\r\nX: a\r\n", (b"X-User",)), b"X: a\r\n")

    def test_what_is_no_name_is_refused(self) -> None:
        """An empty name, or one with a colon, space or line end."""
        for name in (b"", b"a b", b"a:", b"a\r\n", b"\xc3\xa9"):
            self.assertRaises(ValueError, field_line, name, b"v")

    @given(_NAMES, st.binary(), st.lists(st.tuples(_NAMES, st.binary()), max_size=5))
    def test_no_value_leaves_its_line(self, name: bytes, value: bytes, before: list[tuple[bytes, bytes]]) -> None:
        """However a value looks, there is exactly one line more, of that name, and the others are as they were."""
        fields = b"".join(field_line(*field) for field in before)
        after = fields + field_line(name, value)
        line = after[len(fields) :]
        self.assertTrue(line.endswith(b"\r\n"))
        self.assertEqual((line.count(b"\r"), line.count(b"\n"), line.count(b"\0")), (1, 1, 0))
        self.assertEqual(len(pairs(after)), len(before) + 1)
        self.assertEqual(pairs(after)[-1][0], name)

    @given(_NAMES, st.lists(st.tuples(_NAMES, st.binary()), max_size=5))
    def test_what_is_removed_is_gone(self, name: bytes, before: list[tuple[bytes, bytes]]) -> None:
        """And the fields of other names stay in their order."""
        fields = b"".join(field_line(*field) for field in (*before, (name, b"v"), *before))
        after = pairs(remove_fields(fields, (name,)))

        def same(other: bytes) -> bool:
            return other.lower().replace(b"_", b"-") == name.lower().replace(b"_", b"-")

        self.assertEqual(after, [field for field in pairs(fields) if not same(field[0])])
