"""On which line of a TOML document each key stands, which :mod:`tomllib` does not tell. Pure."""

from __future__ import annotations

import re
from typing import Any

from .problems import KeyPath
from .toml import tomllib

__all__ = ["key_lines"]

#: What may stand between two statements, or two elements of an array: white space, line ends, comments.
_GAP = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|("(?:[^"\\\n]|\\.)*")|'([^'\n]*)')[ \t]*""")
_VALUE = re.compile(
    r'"""(?:[^\\"]+|\\.|"(?!""))*"{3,5}'  # three quotes end it, and up to two before them are its own
    r"|'''(?:[^']+|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]+|\\.)*"'
    r"|'[^'\n]*'"
    r"|[^\s,\]}#\"'\[{](?:[^,\]}#\n]*[^\s,\]}#])?",  # numbers, truth values, dates, which may have one space in them
    re.DOTALL,
)
#: The statement that most lines are; what it does not match is read step by step.
_SIMPLE = re.compile(r"""([A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:"[^"\\\n]+"|'[^'\n]+'|[A-Za-z0-9_.+-]+)[ \t]*(?=\n|#|\Z)""")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1 on, on which each value is said first: for a key, where the key stands; for an element of an array, where
    it begins; for a table, where it or anything in it is named first.

    :param text: a document that :mod:`tomllib` takes. What comes of another one is not said, but that an end comes.
    """
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    """Goes through a document once.

    :ivar lines: what was found.
    """

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._tables: dict[KeyPath, int] = {}  # elements so far of each array of tables

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        text, end = self._text, len(self._text)
        while self._skip_gap() < end:
            before = self._at
            simple = _SIMPLE.match(text, before)
            if simple:
                self.lines.setdefault((*table, simple[1]), self._here())
                self._at = simple.end()
            elif text[before] == "[":
                table = self._header()
            else:
                self._statement(table)
            if self._at == before:
                break  # it is no TOML
        return self.lines

    def _here(self) -> int:
        """The line that is read now."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _skip_gap(self) -> int:
        self._at = _GAP.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches nothing too
        return self._at

    def _skip(self, mark: str) -> bool:
        """Whether *mark* comes next; then it is read."""
        there = self._text.startswith(mark, self._at)
        self._at += len(mark) if there else 0
        return there

    def _dotted(self) -> list[str]:
        """A key, with dots between its parts."""
        parts = []
        while found := _KEY.match(self._text, self._at):
            self._at = found.end()
            bare, quoted, literal = found.groups()
            parts.append(_unquoted(quoted) if quoted is not None else literal if bare is None else bare)
            if not self._skip("."):
                break
        return parts

    def _said(self, path: KeyPath, line: int, least: int = 0) -> None:
        for length in range(least + 1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _header(self) -> KeyPath:
        """``[table]`` or ``[[array]]``; gives the path of what is in it."""
        line = self._here()
        several = self._skip("[[") or not self._skip("[")
        *parents, last = self._dotted() or [""]
        path: KeyPath = ()
        for part in parents:
            path = self._latest((*path, part))
        path = (*path, last)
        if several:
            self.lines.setdefault(path, line)
            place = self._tables.get(path, 0)
            self._tables[path] = place + 1
            path = (*path, place)
        self._said(path, line)
        self._skip("]]" if several else "]")
        return path

    def _latest(self, path: KeyPath) -> KeyPath:
        """The table that is meant by *path* in a header: of an array of tables, its last."""
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _statement(self, table: KeyPath) -> None:
        """``key = value``."""
        line = self._here()
        path = (*table, *self._dotted())
        self._said(path, line, len(table))
        self._skip("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_gap()
        if self._skip("["):
            self._array(path)
        elif self._skip("{"):
            self._inline_table(path)
        elif found := _VALUE.match(self._text, self._at):
            self._at = found.end()

    def _array(self, path: KeyPath) -> None:
        place = 0
        while self._skip_gap() < len(self._text) and not self._skip("]"):
            before = self._at
            element = (*path, place)
            self.lines.setdefault(element, self._here())
            self._value(element)
            self._skip_gap()
            self._skip(",")
            place += 1
            if self._at == before:
                break

    def _inline_table(self, path: KeyPath) -> None:
        while self._skip_gap() < len(self._text) and not self._skip("}"):
            before = self._at
            self._statement(path)
            self._skip_gap()
            self._skip(",")
            if self._at == before:
                break


def _unquoted(text: str) -> str:
    """What a basic string in its quotes says."""
    if "\\" not in text:
        return text[1:-1]
    try:
        read: dict[str, Any] = tomllib.loads(f"key = {text}")
    except tomllib.TOMLDecodeError:
        return text[1:-1]
    return str(read["key"])
