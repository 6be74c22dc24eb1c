"""Texts that stand for others: variables, files, and that nobody is shown what they stand for."""

from __future__ import annotations

import os

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.config.environment import TEXT_LIMIT, Hidden, Text, expand, file_text, key_file
from lbproxy.errors import ConfigurationError
from tests.support import given


class ExpandTests(SynchronousTestCase):
    """``${NAME}`` and the like."""

    def expanded(self, text: str, **variables: str) -> str | None:
        self.said: list[str] = []
        return expand(text, variables, self.said.append)

    def test_variables(self) -> None:
        """Anywhere in a text, and several of them."""
        self.assertEqual(self.expanded("${A}:${B_2}/x", A="1", B_2="2"), "1:2/x")

    def test_a_default_stands_in_for_what_is_not_set_or_empty(self) -> None:
        """As in a shell."""
        self.assertEqual(self.expanded("${A:-b:c}"), "b:c")
        self.assertEqual(self.expanded("${A:-}"), "")
        self.assertEqual(self.expanded("${A:-b}", A=""), "b")
        self.assertEqual(self.expanded("${A:-b}", A="c"), "c")

    def test_dollars(self) -> None:
        """Two are one, and one alone is one, such as at the end of a regular expression. What they stand for is not looked at."""
        self.assertEqual(self.expanded("$${A} ^/x$ $A ${A}", A="$${A}"), "${A} ^/x$ $A $${A}")

    def test_a_variable_that_is_not_set_is_named(self) -> None:
        """Every one of them."""
        self.assertIsNone(self.expanded("${A} ${B}", A=""))
        self.assertEqual(len(self.said), 1)
        self.assertIn("the variable B is not set", self.said[0])

    def test_what_stands_for_nothing_is_said(self) -> None:
        """It is most likely a variable that is misspelled."""
        for text in ("${}", "${a b}", "${A", "${A-b}", "${1}"):
            self.assertIsNone(self.expanded(text, A="1"))
            self.assertIn("allowed are ${NAME}, ${NAME:-default}", self.said[0])

    @given(st.text())
    def test_doubled_dollars_are_the_text_itself(self, text: str) -> None:
        """Whatever it is."""
        self.assertEqual(self.expanded(text.replace("$", "$$")), text)


class FileTests(SynchronousTestCase):
    """``{ file = "path" }``, and files with keys."""

    def written(self, data: bytes) -> str:
        path: str = self.mktemp()
        with open(path, "wb") as file:
            file.write(data)
        return path

    def read(self, data: bytes) -> str:
        folder, name = os.path.split(os.path.abspath(self.written(data)))
        self.files: set[str] = set()
        return file_text(Text.of(name, folder), self.files)

    def test_what_is_in_it_without_white_space_around(self) -> None:
        """The path is relative to where it was written, and known to whoever watches."""
        self.assertEqual(self.read(b" s3cret\n"), "s3cret")
        self.assertTrue(all(map(os.path.isabs, self.files)))

    def test_what_cannot_be_read(self) -> None:
        """Missing, a directory, too long, no UTF-8."""
        self.assertEqual(len(self.read(b"x" * TEXT_LIMIT)), TEXT_LIMIT)
        for data, why in ((b"x" * (TEXT_LIMIT + 1), "has more"), (b"\xff", "not in UTF-8")):
            self.assertRaisesRegex(ConfigurationError, why, self.read, data)
        for path, why in (("missing", "No such file"), (".", "Is a directory"), ("a\0", "null")):
            self.assertRaisesRegex(ConfigurationError, why, file_text, Text.of(path, os.getcwd()), set())

    def test_a_key(self) -> None:
        """Without white space around it; a short one is refused and not shown."""
        self.assertEqual(key_file(self.written(b"0123456789abcdef\n")), b"0123456789abcdef")
        with self.assertRaises(ConfigurationError) as raised:
            key_file(self.written(b"s3crt"))
        self.assertIn("has 5 bytes", str(raised.exception))
        self.assertNotIn("s3crt", str(raised.exception))


class HiddenTests(SynchronousTestCase):
    """What texts stand for is not shown."""

    def test_messages_show_what_was_written(self) -> None:
        """In quotes, in the middle of something longer, and where quotes had to be escaped."""
        hidden = Hidden()
        hidden.add("s3cret'\"", "${A}")
        hidden.add("42", "${B}")
        for message in (f"{chr(39)}s3cret{chr(39)}{chr(34)} was given", f"{'s3cret' + chr(39) + chr(34)!r} was given"):
            self.assertNotIn("s3cret", hidden.conceal(message))
        self.assertEqual(hidden.conceal("'42' was given; allowed is 1 to 420"), "'${B}' was given; allowed is 1 to 420")
        self.assertEqual(hidden.conceal("42 was given; allowed is 1 to 420"), "${B} was given; allowed is 1 to 420")
