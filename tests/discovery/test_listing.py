"""A file that lists backends is read as it is meant, and a mistake in it is found where it is."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.discovery.listing import MISTAKES_SHOWN, read_members
from lbproxy.errors import ConfigurationError

from ..support import given


class ListingTests(SynchronousTestCase):
    """``read_members``."""

    def file(self, text: str, suffix: str = ".json") -> Path:
        """A file with that text."""
        path = Path(self.mktemp() + suffix).absolute()
        path.write_text(text)
        return path

    def read(self, text: str, suffix: str = ".json") -> list[str]:
        """The addresses in it, with the weights."""
        return [f"{backend.address} {backend.weight}" for backend in read_members(self.file(text, suffix))]

    def refused(self, text: str, suffix: str = ".json") -> list[str]:
        """What is wrong with it, by line."""
        path = self.file(text, suffix)
        error = str(self.assertRaises(ConfigurationError, read_members, path))
        lines = error.splitlines()
        self.assertTrue(all(line.startswith(f"{path}:") for line in lines), error)
        return [line.removeprefix(f"{path}:") for line in lines]

    def test_json(self) -> None:
        """A list of texts and objects."""
        text = '[\n "10.0.0.1:80:weight=2",\n {"address": "b:1", "weight": 3}, "c:1"]\n'
        self.assertEqual(self.read(text), ["10.0.0.1:80 2", "b:1 3", "c:1 1"])

    def test_lines(self) -> None:
        """A backend each, with comments and empty lines between them."""
        text = "# ours\n\n10.0.0.1:80:weight=2  # large\n\tunix:/run/a#b.sock \r\n#c:1"
        self.assertEqual(self.read(text, ".txt"), ["10.0.0.1:80 2", "unix:/run/a#b.sock 1"])

    def test_every_mistake_is_named_with_its_line(self) -> None:
        """In either kind of file."""
        text = '["a:1", "b",\n\n  {"address": "c:1",\n "weight": 0}, {"address": "d:1", "wait": 1},\n7, "a:1"\n]'
        found = self.refused(text)
        self.assertEqual([line.partition(": ")[0] for line in found], ["1", "3", "4", "5", "5"])
        for line, words in zip(found, ("no port", "weight 0", "'wait'", "backend 7", "named in line 1 already")):
            self.assertIn(words, line)
        found = self.refused("a:1\n\nb\na:1:weight=2", "")
        self.assertEqual([line.partition(": ")[0] for line in found], ["3", "4"])

    def test_a_list_of_mistakes_has_an_end(self) -> None:
        """Who gives another kind of file is not shown all of it."""
        found = self.refused("x\n" * 100, ".txt")
        self.assertEqual((len(found), found[-1]), (MISTAKES_SHOWN + 1, f" and {100 - MISTAKES_SHOWN} more mistakes"))

    def test_what_is_no_json(self) -> None:
        """Half a file, and one of another kind."""
        self.assertEqual(self.refused('["a:1",\n "b:'), ["2: it is no JSON: Unterminated string starting at (column 2)"])
        for text in ("{}", '"a:1"', "null"):
            self.assertEqual(self.refused(text), ["1: it is no list; allowed is a list of texts and objects, each a backend"])
        self.assertEqual(self.refused("[" * 100_000)[0], " it is nested too deeply; allowed is a list of texts and objects")

    def test_nobody(self) -> None:
        """An empty list is a mistake."""
        for text, suffix in (("[]", ".json"), ("", ".txt"), ("# nobody\n", ".txt")):
            self.assertEqual(self.refused(text, suffix), [" it lists no backend; at least one is needed"])
        self.assertIn("no JSON", self.refused("")[0])

    @given(st.lists(st.integers(1, 99), min_size=1, max_size=9, unique=True), st.sampled_from((None, 0, 3)))
    def test_however_it_is_laid_out(self, numbers: list[int], indent: int | None) -> None:
        """A JSON list says the same."""
        texts = [f"10.0.0.{number}:80" for number in numbers]
        given_as = [text if number % 2 else {"address": text} for number, text in zip(numbers, texts)]
        path = self.file(json.dumps(given_as, indent=indent))
        self.assertEqual(read_members(path), tuple(parse_backends(texts)))
