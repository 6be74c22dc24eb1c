"""Lines of keys: where each value of a TOML document stands."""

from __future__ import annotations

from typing import Any

import tomlkit
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.config.positions import key_lines
from lbproxy.config.toml import tomllib
from tests.support import given

DOCUMENT = '''\
listen = "tcp:80"
# listen = "no"
backends = [
  "10.0.0.1:8000", # the first
  { address = "10.0.0.2:8000", "wei\\u0067ht" = 2 },

  'c', 1979-05-27 07:32:00, [[1], [
    2]]]
a.b."c.d" = """
[not.a.table] ""\\"""" # quotes of its own
e = \'\'\'
x = 1
\'\'\'\'\'
[pools . "my app"]
retries=1
header = { X-A = { regex = "}" }, Cookie = "#" }
[[routes]]
name = "a"
[routes.match]
host = "h"
[[routes.filters]]
type = "x"
[[routes.filters]]
type = "y"
[[routes]]
name = "b"
'''


class KeyLinesTests(SynchronousTestCase):
    """Every key has its line."""

    def test_every_form_of_toml(self) -> None:
        """Dotted and quoted keys, texts of several lines, arrays, inline tables, tables and arrays of them."""
        tomllib.loads(DOCUMENT)
        self.assertEqual(
            key_lines(DOCUMENT),
            {
                ("listen",): 1,
                ("backends",): 3,
                ("backends", 0): 4,
                ("backends", 1): 5,
                ("backends", 1, "address"): 5,
                ("backends", 1, "weight"): 5,
                ("backends", 2): 7,
                ("backends", 3): 7,
                ("backends", 4): 7,
                ("backends", 4, 0): 7,
                ("backends", 4, 0, 0): 7,
                ("backends", 4, 1): 7,
                ("backends", 4, 1, 0): 8,
                ("a",): 9,
                ("a", "b"): 9,
                ("a", "b", "c.d"): 9,
                ("e",): 11,
                ("pools",): 14,
                ("pools", "my app"): 14,
                ("pools", "my app", "retries"): 15,
                ("pools", "my app", "header"): 16,
                ("pools", "my app", "header", "X-A"): 16,
                ("pools", "my app", "header", "X-A", "regex"): 16,
                ("pools", "my app", "header", "Cookie"): 16,
                ("routes",): 17,
                ("routes", 0): 17,
                ("routes", 0, "name"): 18,
                ("routes", 0, "match"): 19,
                ("routes", 0, "match", "host"): 20,
                ("routes", 0, "filters"): 21,
                ("routes", 0, "filters", 0): 21,
                ("routes", 0, "filters", 0, "type"): 22,
                ("routes", 0, "filters", 1): 23,
                ("routes", 0, "filters", 1, "type"): 24,
                ("routes", 1): 25,
                ("routes", 1, "name"): 26,
            },
        )

    def test_line_ends_of_windows(self) -> None:
        """They count as one."""
        self.assertEqual(key_lines("a = 1\r\n\r\nb = 2\r\n"), {("a",): 1, ("b",): 3})

    @given(st.text(alphabet="[]{}=.,#\"'\\ \nab1", max_size=60))
    def test_what_is_no_toml_ends_all_the_same(self, text: str) -> None:
        """Nothing hangs and nothing is raised."""
        key_lines(text)


# Documents whose every number and text is the line that it stands on: so whoever reads them knows what is right.

_KEYS = st.one_of(
    st.text("abcdef-_09", min_size=1, max_size=4), st.sampled_from(["a.b", "", "é", 'q"', "two words", "#", "[x]", "\\", "\t"])
)
_TREES = st.recursive(
    st.sampled_from(["number", "text", "long", "literal", "date"]),
    lambda inner: st.one_of(
        st.tuples(st.just("array"), st.lists(inner, max_size=3)),
        st.tuples(st.just("inline"), st.dictionaries(_KEYS, inner, max_size=3)),
    ),
    max_leaves=6,
)
_TABLES = st.recursive(
    st.dictionaries(_KEYS, _TREES, max_size=3),
    lambda inner: st.one_of(
        st.dictionaries(_KEYS, st.one_of(inner, st.lists(inner, min_size=1, max_size=3), _TREES), max_size=3),
    ),
    max_leaves=8,
)


class _Writer:
    """Writes a document, and notes on which line it put what."""

    def __init__(self, draw: Any) -> None:
        self.text = ""
        self.said: dict[tuple[Any, ...], int] = {}
        self._draw = draw

    @property
    def line(self) -> int:
        return self.text.count("\n") + 1

    def key(self, key: str) -> None:
        bare = key and all(letter in "abcdef-_09" for letter in key)
        self.text += key if bare and self._draw(st.booleans()) else tomlkit.string(key).as_string()

    def space(self, lines: bool = False) -> None:
        self.text += self._draw(st.sampled_from(["", " ", "\t", *(["\n", " # ]}\"' \n  "] if lines else [])]))

    def value(self, path: tuple[Any, ...], tree: Any) -> None:
        if isinstance(tree, str):
            self.text += {
                "number": "1_0",
                "text": r'"[\"]#"',
                "long": '"""\na = 1\n\\"""\n""""',
                "literal": "'''\n[x]\n''\n'''''",
                "date": "1979-05-27 07:32:00",
            }[tree]
        elif tree[0] == "array":
            self.text += "["
            for place, element in enumerate(tree[1]):
                self.space(lines=True)
                inner = (*path, place)
                self.said[inner] = self.line
                self.value(inner, element)
                self.space(lines=True)
                if place + 1 < len(tree[1]) or self._draw(st.booleans()):
                    self.text += ","
            self.space(lines=True)
            self.text += "]"
        else:
            self.text += "{"
            for place, (key, element) in enumerate(tree[1].items()):
                self.text += "," if place else ""
                self.space()
                self.statement((*path,), key, element)
                self.space()
            self.text += "}"

    def statement(self, path: tuple[Any, ...], key: str, tree: Any) -> None:
        inner = (*path, key)
        self.said[inner] = self.line
        self.key(key)
        self.space()
        self.text += "="
        self.space()
        self.value(inner, tree)

    def table(self, path: tuple[Any, ...], names: tuple[str, ...], table: dict[str, Any]) -> None:
        tables = {key: one for key, one in table.items() if isinstance(one, (dict, list))}
        for key, one in table.items():
            if key not in tables:
                self.space(lines=True)
                self.statement(path, key, one)
                self.text += "\n"
        for key, one in tables.items():
            for place, element in enumerate(one) if isinstance(one, list) else [(None, one)]:
                inner = (*path, key) if place is None else (*path, key, place)
                self.space(lines=True)
                self.said.setdefault((*path, key), self.line)
                self.said[inner] = self.line
                self.text += "[" if place is None else "[["
                for part, name in enumerate((*names, key)):
                    self.text += " . " if part else ""
                    self.key(name)
                self.text += "] # x\n" if place is None else "]]\n"
                self.table(inner, (*names, key), element)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, one in inner for way in [(*path, key), *_paths(one, (*path, key))]]


class EveryDocumentTests(SynchronousTestCase):
    """Whatever can be written."""

    @given(_TABLES, st.data())
    def test_every_value_that_is_read_has_the_line_that_it_was_written_on(self, tables: dict[str, Any], data: Any) -> None:
        """All paths that tomllib finds, no other ones, and each where it was put."""
        writer = _Writer(data.draw)
        writer.table((), (), tables)
        lines = key_lines(writer.text)
        self.assertEqual(sorted(map(repr, lines)), sorted(map(repr, _paths(tomllib.loads(writer.text)))))
        self.assertEqual(lines, writer.said)
