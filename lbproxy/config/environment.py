"""Texts that stand for others: ``${NAME}`` for a variable of the environment, ``{ file = "path" }`` for what is in a file. What
they stand for is never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, MutableSet
from typing import Any

from ..errors import ConfigurationError
from .text import open_file

__all__ = ["KEY_LIMIT", "TEXT_LIMIT", "Hidden", "Text", "expand", "file_text", "is_file_text", "key_file"]

#: Of a file that stands for a text, in bytes: far more than any secret has.
TEXT_LIMIT = 64 * 1024
#: Of a file with a key, what is read: far more than HMAC-SHA256 makes use of.
KEY_LIMIT = 4096

#: A dollar with anything else behind it, or nothing as at the end of a regular expression, is one.
_MARK = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{[^}]*\}?))")
_FORMS = "${NAME}, ${NAME:-default}, and $$ for a dollar"
#: A shorter text is hidden only where it stands in quotes: it may be part of any word.
_SHORTEST = 4


class Text(str):
    """A text of a configuration, as what it stands for.

    :ivar folder: where it was written: what relative paths are relative to.
    :ivar written: as it was written.
    :ivar free: whether it may stand for a number or a truth value, since where it comes from there are texts alone.
    :ivar known: whether it stands for anything; otherwise that has been said, and nothing more is to be said about it.
    """

    __slots__ = ("folder", "free", "known", "written")

    folder: str
    written: str
    free: bool
    known: bool

    @classmethod
    def of(cls, text: str, folder: str, *, written: str | None = None, free: bool = False, known: bool = True) -> Text:
        """Make one."""
        made = cls(text)
        made.folder, made.written, made.free, made.known = folder, text if written is None else written, free, known
        return made


class Hidden:
    """What texts stand for, and what is shown in its place."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def add(self, text: str, written: str) -> None:
        """From now on *text* is shown as *written*."""
        if text:
            self._shown[text] = written

    def conceal(self, message: str) -> str:
        """A message in which nothing hidden is left."""
        for text, written in sorted(self._shown.items(), key=lambda item: -len(item[0])):
            message = message.replace(repr(text), repr(written)).replace(f'"{text}"', f'"{written}"')
            if len(text) >= _SHORTEST:
                message = message.replace(text, written).replace(repr(text)[1:-1], written)
            else:
                message = message.replace(f"{text} was given", f"{written} was given")
        return message


def expand(text: str, variables: Mapping[str, str], problem: Callable[[str], object]) -> str | None:
    """What *text* stands for; None: nothing, and *problem* has been told why."""
    said: list[str] = []

    def value(found: re.Match[str]) -> str:
        dollar, name, default, other = found.groups()
        if dollar:
            return "$"
        if name is None:
            said.append(f"{text!r} was given, of which {other!r} stands for nothing; allowed are {_FORMS}")
            return ""
        # As in a shell, :- stands in for an empty variable as well.
        read = variables.get(name)
        if read is None and default is None:
            said.append(
                f"{text!r} was given, but the variable {name} is not set; set it, or write ${{{name}:-default}} with what holds "
                "where it is not"
            )
        return (read or default) if default is not None else read or ""

    expanded = _MARK.sub(value, text)
    for one in dict.fromkeys(said):
        problem(one)
    return None if said else expanded


def file_text(path: Text, files: MutableSet[str]) -> str:
    """What is in a file that stands for a text, without white space around it.

    :param path: relative to where it was written.
    :param files: the file's absolute path is added to them.
    :raises ConfigurationError: it cannot be read, or is no text, or too long a one.
    """
    full = os.path.join(path.folder, path)
    files.add(full)
    allowed = f"allowed is a file with a text of at most {TEXT_LIMIT // 1024} KiB"
    given = f'{{ file = "{path.written}" }} was given'
    try:
        with open_file(full) as file:
            data = file.read(TEXT_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{given}, and {full} cannot be read: {reason}; {allowed}") from None
    if len(data) > TEXT_LIMIT:
        raise ConfigurationError(f"{given}, and {full} has more; {allowed}")
    try:
        text: str = data.decode()
        return text.strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{given}, and {full} is not in UTF-8; {allowed}") from None


def is_file_text(value: Any) -> bool:
    """Whether it is written as a file that stands for a text."""
    return isinstance(value, dict) and value.keys() == {"file"} and isinstance(value["file"], str)


def key_file(path: str) -> bytes:
    """The key in a file that ``sticky-key-file`` names.

    :raises ConfigurationError: it cannot be read, or is too short; the message does not name the key.
    """
    try:
        with open_file(path) as file:
            key: bytes = file.read(KEY_LIMIT).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path!r} cannot be read: {reason}; allowed is a file with a secret") from None
    if len(key) < 16:
        raise ConfigurationError(f"{path!r} has {len(key)} bytes; allowed is a secret of 16 bytes or more")
    return key
