"""One file's text, and what TOML says in it; what is wrong is said in words for who has written it."""

from __future__ import annotations

import os
import re
import stat
from typing import Any

from .problems import Mistaken, Place, Problem, path_text
from .toml import tomllib

__all__ = ["FILE_LIMIT", "file_text", "open_file", "values_of"]

#: Bytes of one file: 1,000 hosts with 10 routes each are 2 MiB.
FILE_LIMIT = 4 << 20
#: Tables within tables, and lists within lists: far more than any key has.
DEPTH_LIMIT = 64

_AT_LINE = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)\Z")
_AT_END = " (at end of document)"
_TWICE = re.compile(r"Cannot declare \((.*?),?\) twice")
_DEEP = "its values are nested too deeply to be read"
#: What tomllib says, and what is to be done about it.
_REMEDIES = {
    "Invalid value": "texts stand in quotes",
    "Cannot overwrite a value": "this key is here already; say it once",
    "Expected '=' after a key in a key/value pair": 'a line is KEY = VALUE, or [TABLE]',
    "Invalid statement": 'a line is KEY = VALUE, or [TABLE]',
}


def open_file(path: str) -> Any:
    """Open a file for reading. A pipe is none, since nobody may ever write to it, unless a shell has made it for the command.

    :raises OSError: it cannot be opened, or is none.
    """
    if path.startswith("/dev/"):
        return open(path, "rb")
    return open(path, "rb", opener=_open_regular)


def _open_regular(name: str, flags: int) -> int:
    number = os.open(name, flags | os.O_NONBLOCK)
    if stat.S_ISFIFO(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(0, "it is a pipe, and no file")
    return number


def file_text(name: str) -> str:
    """What is in a file.

    :raises Mistaken: it cannot be read.
    """
    try:
        with open_file(name) as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) <= FILE_LIMIT:
            text: str = data.decode("utf-8-sig")
            return text
        limit = f"{FILE_LIMIT >> 20} MiB"
        message, line = f"it has more than {limit}; allowed are {limit} a file, and more in files that it includes", 1
    except UnicodeDecodeError as error:
        message = f"it cannot be read: it is not in UTF-8, as TOML must be (byte {error.start})"
        line = error.object.count(b"\n", 0, error.start) + 1
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        message, line = f"it cannot be read: {why}; allowed is a file in TOML", 1
    raise Mistaken(Problem((), message, Place(name, line)))


def values_of(name: str, text: str) -> dict[str, Any]:
    """What TOML says.

    :param name: of the file that the text is in.
    :raises Mistaken: it is none.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
        problem = Problem((), _DEEP, Place(name, 1)) if _is_deep(values) else None
    except tomllib.TOMLDecodeError as error:
        problem = _of_syntax(name, text, str(error))
    except RecursionError:
        problem = Problem((), _DEEP, Place(name, 1))
    except ValueError as error:  # a number that is too long for Python
        problem = Problem((), f"it is no TOML: {error}", Place(name, 1))
    if problem is not None:
        raise Mistaken(problem)
    return values


def _is_deep(values: dict[str, Any]) -> bool:
    level: list[Any] = [values]
    for _ in range(DEPTH_LIMIT):
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        level = [one for one in level if isinstance(one, (dict, list))]
        if not level:
            return False
    return True


def _of_syntax(name: str, text: str, message: str) -> Problem:
    """What tomllib says, with the line before it."""
    found = _AT_LINE.search(message)
    said = message[: found.start()] if found else message.removesuffix(_AT_END)
    where = f" (at column {found[2]})" if found else ", at its end"
    line = int(found[1]) if found else text.rstrip().count("\n") + 1
    twice = _TWICE.match(said)
    if twice:
        table = path_text([step.strip().strip("'\"") for step in twice[1].split(",")])
        said, remedy = f"there is a table [{table}] already", "put the two together"
    else:
        remedy = _REMEDIES.get(said, "")
    return Problem((), f"it is no TOML: {said}{where}{remedy and f'; {remedy}'}", Place(name, line))
