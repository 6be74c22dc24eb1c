"""What values of filters and routes must be."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.routing import checks
from lbproxy.routing.checks import each, some, table_of
from tests.support import given


@attrs.frozen(kw_only=True)
class Example:
    """One of each kind."""

    names: tuple[str, ...] = attrs.field(default=("x",), converter=checks.texts, validator=some(checks.FIELD_NAME))
    set_: dict[str, str] = attrs.field(
        factory=dict, converter=checks.table, validator=table_of(checks.FIELD_NAME, checks.FIELD_VALUE)
    )
    allow: tuple = attrs.field(default=(), converter=checks.networks, validator=each(checks.NETWORK))
    path_regex: str = attrs.field(default="", validator=checks.unless_empty(checks.REGEX))
    size: int = attrs.field(default=0, converter=checks.size, validator=checks.SIZE)
    delay: float = attrs.field(default=0.0, validator=checks.SECONDS_OR_NONE)
    status: int = attrs.field(default=200, validator=checks.STATUS)
    mode: str = attrs.field(default="a", validator=checks.one_of("a", "b", "c"))
    dry_run: bool = attrs.field(default=False, validator=checks.FLAG)


class ConvertersTests(SynchronousTestCase):
    """What is written becomes what is kept."""

    def test_a_text_stands_for_a_list_of_one(self) -> None:
        """A text or a list of texts is a tuple."""
        self.assertEqual(Example(names="a").names, ("a",))
        self.assertEqual(Example(names=["a", "b"]).names, ("a", "b"))

    def test_networks_are_read(self) -> None:
        """Addresses and CIDR blocks become networks."""
        self.assertEqual([str(one) for one in Example(allow=["10.0.0.0/8", "::1"]).allow], ["10.0.0.0/8", "::1/128"])
        self.assertEqual(Example(allow=Example(allow="10.0.0.1").allow), Example(allow="10.0.0.1/32"))

    def test_sizes_may_have_a_letter(self) -> None:
        """64k are 65536 bytes, and a number is as many."""
        self.assertEqual(Example(size="64k").size, 65536)
        self.assertEqual(Example(size="1G").size, 1 << 30)
        self.assertEqual(Example(size=7).size, 7)

    @given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.none()), st.dictionaries(st.text(), st.none())))
    def test_no_converter_raises(self, value: object) -> None:
        """What a converter cannot read it leaves to the rule."""
        for convert in (checks.texts, checks.table, checks.networks, checks.size):
            convert(value)


class RulesTests(SynchronousTestCase):
    """What is wrong is told by its key, with what was given and what is allowed."""

    def refused(self, **values: object) -> list[str]:
        return str(self.assertRaises(ConfigurationError, Example, **values)).splitlines()

    def test_the_key_is_written_as_in_a_file(self) -> None:
        """Underscores are hyphens there, and one at the end is none."""
        self.assertEqual(self.refused(dry_run=1), ["dry-run: 1 was given; allowed is a truth value, true or false"])
        self.assertTrue(self.refused(set_=3)[0].startswith("set: 3 was given; allowed is a table, whose names are "))

    def test_numbers_have_a_range(self) -> None:
        """Neither a text nor a truth value is a number."""
        words = "allowed is a number from 0 to 86400 (seconds)"
        self.assertEqual(self.refused(delay=-1), [f"delay: -1 was given; {words}"])
        self.assertEqual(self.refused(delay="1"), [f"delay: '1' was given; {words}"])
        self.assertEqual(self.refused(delay=True), [f"delay: True was given; {words}"])
        self.assertEqual(self.refused(status=200.0), ["status: 200.0 was given; allowed is a whole number from 200 to 599"])
        self.refused(delay=float("nan"))

    def test_every_item_of_a_list_is_told(self) -> None:
        """Two mistakes in a list are two lines."""
        self.assertEqual(
            self.refused(names=["a b", "c", "d:"]),
            [
                "names: 'a b' was given; allowed is a header field's name: letters, digits and -",
                "names: 'd:' was given; allowed is a header field's name: letters, digits and -",
            ],
        )
        self.assertIn("a list of one at least", self.refused(names=[])[0])
        self.assertIn("a list, each of it", self.refused(names=7)[0])

    def test_every_name_and_value_of_a_table_is_told(self) -> None:
        """A value's key is the table's and its name."""
        lines = self.refused(set_={"a b": "c", "X-Y": "d\r\nZ: 1", "Z": 1})
        self.assertEqual([line.partition(":")[0] for line in lines], ["set", "set.X-Y", "set.Z"])

    def test_a_network_that_is_none_says_why(self) -> None:
        """Host bits that are set are the most frequent mistake."""
        line = self.refused(allow=["10.0.0.1/8"])[0]
        self.assertTrue(line.startswith("allow: '10.0.0.1/8' was given, which is none (10.0.0.1/8 has host bits set); allowed"))

    def test_a_regex_that_is_none_says_why(self) -> None:
        """And one that is too long is refused."""
        self.assertIn("unterminated subpattern", self.refused(path_regex="(")[0])
        self.assertIn("at most 1024 characters", self.refused(path_regex="a" * 1025)[0])
        self.assertEqual(Example(path_regex="^/a").path_regex, "^/a")

    def test_words_are_listed(self) -> None:
        """A word that is not known is told with those that are."""
        self.assertEqual(self.refused(mode="d"), ["mode: 'd' was given; allowed is a, b or c"])

    @given(st.text())
    def test_a_value_of_a_field_stays_in_its_line(self, value: str) -> None:
        """What the rule lets by has neither CR, LF nor NUL, and can be encoded."""
        if checks.FIELD_VALUE.holds(value):
            self.assertFalse(set("\r\n\0") & set(value))
            value.encode()
