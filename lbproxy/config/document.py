"""The files of a configuration as one document of plain values, which knows where each was written and how."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from .environment import Hidden, Text, expand
from .positions import key_lines
from .problems import KeyPath, Mistaken, Place, Problem
from .text import file_text, values_of

__all__ = ["Document", "SourceFile", "read_document"]

#: Where the tables of all files are put together.
MERGED_TABLES = ("pools", "filters")


class SourceFile:
    """One file that was read.

    :ivar name: as it is shown: as it was named, or as an ``include`` names it, seen from there.
    :ivar folder: absolute; what relative paths in it are relative to.
    :ivar values: as TOML says them.
    """

    def __init__(self, name: str, folder: str, text: str, values: dict[str, Any]) -> None:
        self.name = name
        self.folder = folder
        self.values = values
        self._text = text

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """The line of each value; found out when it is first asked for, as it takes as long as reading."""
        return key_lines(self._text)

    def place(self, path: KeyPath) -> Place:
        """Where *path*, or else the nearest above it, was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return Place(self.name, self.lines.get(path, 1))


class Document:
    """All files, put together.

    :ivar values: nested; every text in it is a :class:`.environment.Text`.
    :ivar problems: what could not be read, or not put together.
    :ivar sources: what was read, in order.
    :ivar files: absolute paths of all that was looked at, those of directories in which an ``include`` looks among them.
    :ivar hidden: what its texts stand for.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.sources: list[SourceFile] = []
        self.files: set[str] = set()
        self.hidden = Hidden()
        self._owners: dict[KeyPath, SourceFile] = {}
        self._elements: list[tuple[SourceFile, int]] = []

    def place(self, path: KeyPath) -> Place | None:
        """Where *path*, or else the nearest above it, was written; None: no file says it."""
        found = self._source(path)
        return None if found is None else found[0].place(found[1])

    def says(self, path: KeyPath) -> bool:
        """Whether a file says it."""
        value: Any = self.values
        for step in path:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return False
        return True

    def written(self, path: KeyPath) -> Any:
        """What was written there, before anything stood for anything.

        :raises LookupError: nothing was.
        """
        found = self._source(path)
        if found is None:
            raise KeyError(path)
        value: Any = found[0].values
        for step in found[1]:
            value = value[step]
        return value

    def _source(self, path: KeyPath) -> tuple[SourceFile, KeyPath] | None:
        """The file that says it, and its path there."""
        if path[:1] == ("routes",) and len(path) > 1 and isinstance(path[1], int):
            if path[1] >= len(self._elements):
                return None
            source, place = self._elements[path[1]]
            return source, ("routes", place, *path[2:])
        for length in range(min(len(path), 3), 0, -1):
            source_or_none = self._owners.get(path[:length])
            if source_or_none is not None:
                return source_or_none, path
        return None

    # Putting together.

    def add(self, source: SourceFile, variables: Mapping[str, str]) -> None:
        """Add what a file says."""
        self.sources.append(source)
        self._merge((), source, self._expanded(source, source.values, (), variables))

    def _merge(self, above: KeyPath, source: SourceFile, values: dict[str, Any]) -> None:
        into = self._at(above)
        for key, value in values.items():
            path: KeyPath = (*above, key)
            if not above and key == "include":
                continue
            if path not in self._owners:
                self._owners[path] = source
                into[key] = {} if self._is_merged(path, value) else [] if self._is_list(path, value) else value
            if self._is_merged(path, value) and isinstance(into[key], dict):
                self._merge(path, source, value)
            elif self._is_list(path, value) and isinstance(into[key], list):
                self._elements += [(source, place) for place in range(len(value))]
                into[key] += value
            elif self._owners[path] is not source:
                self._said_twice(path, source)

    def _at(self, path: KeyPath) -> dict[str, Any]:
        value: Any = self.values
        for step in path:
            value = value[step]
        found: dict[str, Any] = value
        return found

    @staticmethod
    def _is_merged(path: KeyPath, value: Any) -> bool:
        return path[0] in MERGED_TABLES and len(path) < 3 and isinstance(value, dict)

    @staticmethod
    def _is_list(path: KeyPath, value: Any) -> bool:
        return path == ("routes",) and isinstance(value, list)

    def _said_twice(self, path: KeyPath, source: SourceFile) -> None:
        first = self._owners[path].place(path)
        self.problems.append(Problem(path, f"it was said already, in {first}; say it in one of the two", source.place(path)))

    # What texts stand for.

    def _expanded(self, source: SourceFile, value: Any, path: KeyPath, variables: Mapping[str, str]) -> Any:
        if isinstance(value, str):
            return self._text(source, value, path, variables)
        if isinstance(value, dict):
            return {key: self._expanded(source, one, (*path, key), variables) for key, one in value.items()}
        if isinstance(value, list):
            return [self._expanded(source, one, (*path, place), variables) for place, one in enumerate(value)]
        return value

    def _text(self, source: SourceFile, text: str, path: KeyPath, variables: Mapping[str, str]) -> Text:
        if "$" not in text:
            return Text.of(text, source.folder)
        said: list[str] = []
        expanded = expand(text, variables, said.append)
        self.problems += [Problem(path, message, source.place(path)) for message in said]
        if expanded is None:
            return Text.of("", source.folder, written=text, known=False)
        if "${" in text:
            self.hidden.add(expanded, text)
        return Text.of(expanded, source.folder, written=text, free="${" in text)


def read_document(path: str, variables: Mapping[str, str], text: str | None = None) -> Document:
    """Read a file, and those that it includes.

    :param variables: the environment.
    :param text: what is in the file; None: it is read.
    """
    document = Document()
    _read(document, path, variables, [], text)
    return document


def _read(document: Document, name: str, variables: Mapping[str, str], above: list[str], text: str | None = None) -> None:
    if "\0" in name:
        document.problems.append(Problem((), f"{name!r} was given; allowed is a file's path, without null characters"))
        return
    full = os.path.realpath(name)
    document.files.add(os.path.abspath(name))
    try:
        if text is None:
            text = file_text(name)
        values = values_of(name, text)
    except Mistaken as mistaken:
        document.problems += mistaken.problems
        return
    source = SourceFile(name, os.path.dirname(os.path.abspath(name)), text, values)
    document.add(source, variables)
    for place, one in _included(document, source, variables):
        if os.path.realpath(one) in (*above, full):
            message = f"{os.path.relpath(one)!r} is this file, or includes it; include each file once"
            document.problems.append(Problem(("include",), message, place))
        elif os.path.abspath(one) not in document.files:
            _read(document, one, variables, [*above, full])


def _included(document: Document, source: SourceFile, variables: Mapping[str, str]) -> Iterator[tuple[Place, str]]:
    """The files that one includes, in the order of its patterns and, in each, of their names."""
    given = source.values.get("include", [])
    patterns = [given] if isinstance(given, str) else given
    if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
        message = f'{given!r} was given; allowed is a list of files, such as ["conf.d/*.toml"]'
        document.problems.append(Problem(("include",), message, source.place(("include",))))
        return
    shown = os.path.dirname(source.name)
    for number, pattern in enumerate(patterns):
        path: KeyPath = ("include",) if isinstance(given, str) else ("include", number)
        place = source.place(path)
        said: list[str] = []
        expanded = expand(pattern, variables, said.append)
        document.problems += [Problem(path, message, place) for message in said]
        if expanded is None:
            continue
        full = os.path.join(shown, expanded)
        if glob.has_magic(expanded):
            document.files.add(os.path.abspath(_root(full)))
            own = os.path.realpath(source.name)
            matches = sorted(one for one in glob.glob(full, recursive=True) if os.path.isfile(one))
            yield from ((place, one) for one in matches if os.path.realpath(one) != own)
        elif "\0" in expanded or not os.path.exists(full) or os.path.isdir(full):
            document.files.add(os.path.abspath(full))
            there = "that is a directory" if os.path.isdir(full) else f"there is no file {os.path.abspath(full)!r}"
            message = f'{pattern!r} was given, and {there}; allowed are files, and patterns such as "conf.d/*.toml"'
            document.problems.append(Problem(path, message, place))
        else:
            yield place, full


def _root(pattern: str) -> str:
    """The directory in which a pattern begins to look."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern or "."


