"""What is wrong with a configuration, and where it stands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

import attrs

from ..errors import ConfigurationError

__all__ = [
    "KeyPath", "Mistaken", "Place", "Problem", "below", "did_you_mean", "from_lines", "path_of_text", "path_text", "problems_of",
    "without_dashes",
]  # fmt: skip

#: The way to a value: keys of tables, and places in lists (from 0 on).
KeyPath = tuple["str | int", ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_OPTION = re.compile(r"(?<![\w-])--(?=[a-z])")
_PREFIX = re.compile(r"(?:--)?([a-z][a-z0-9_-]*)((?:\.[A-Za-z0-9_-]+|\[[0-9]+\])*): ")
_WAY = re.compile(r'\.?(?:([A-Za-z0-9_-]+)|"((?:[^"\\]|\\.)*)"|\[([0-9]+)\])')
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[([0-9]+)\]")


@attrs.frozen(order=True)
class Place:
    """Where something was written.

    :ivar file: as it was named; an option with its dashes where an option said it.
    :ivar line: from 1 on; 0: it is no file.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@attrs.frozen
class Problem:
    """One mistake.

    :ivar path: of the value that is mistaken; empty: it is about no single one.
    :ivar message: what was given and what is allowed, without the path. Other keys are named as options are, with dashes.
    :ivar place: where it was written; None: nowhere, or it is not known yet.
    :ivar meant: of a key that is none, the one beside it for which it was most likely meant.
    """

    path: KeyPath
    message: str
    place: Place | None = None
    meant: str = ""

    def below(self, *steps: str | int) -> Problem:
        """The same, seen from where *steps* lead to here."""
        return attrs.evolve(self, path=(*steps, *self.path))

    @property
    def in_a_file(self) -> str:
        """As it is said of a file: ``lb.toml:12: pools.app.retries: -1 was given; allowed is ...``."""
        where = "" if self.place is None else f"{self.place}: "
        path = f"{path_text(self.path)}: " if self.path else ""
        return where + path + without_dashes(self.message)

    @property
    def of_an_option(self) -> str:
        """As it is said of an option: ``--retries: -1 was given; allowed is ...``."""
        names = [step for step in self.path if isinstance(step, str)]
        return f"--{names[-1]}: {self.message}" if names else self.message

    def __str__(self) -> str:
        of_option = self.place is not None and not self.place.line and self.place.file.startswith("--")
        return f"{self.place}: {self.message}" if of_option else self.in_a_file


def path_text(path: Sequence[str | int]) -> str:
    """A path as people write it: ``pools.app.retries``, ``routes[2].path-regex``, ``pools."a b".policy``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE.match(step) else '"' + step.replace('"', '\\"') + '"')
    return text


def path_of_text(text: str) -> KeyPath:
    """The opposite of :func:`path_text`.

    :raises ValueError: it is none.
    """
    path: list[str | int] = []
    at = 0
    while at < len(text):
        found = _WAY.match(text, at)
        if found is None:
            raise ValueError(f"{text!r} is no path of a key")
        bare, quoted, place = found.groups()
        path.append(int(place) if place is not None else bare if bare is not None else quoted.replace('\\"', '"'))
        at = found.end()
    return tuple(path)


def without_dashes(message: str) -> str:
    """What was said of options, said of a file's keys."""
    return _OPTION.sub("", message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word, as a remark to put behind the mistaken one; empty: none is near."""
    nearest = get_close_matches(word, list(known), n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def from_lines(error: ConfigurationError, known: Iterable[str] = (), path: KeyPath = ()) -> list[Problem]:
    """A problem of each line of an error's message.

    :param known: a line that begins with one of these keys, or with the last step of *path*, is about that key; the key may be
        followed by a path below it (``paths[2]: ...``).
    :param path: of what the error is about.
    """
    own = path[-1] if path else None
    problems = []
    for line in str(error).splitlines():
        found = _PREFIX.match(line)
        key = found[1].replace("_", "-") if found else ""
        if found and (key == own or key in known):
            steps: list[str | int] = [step[1] or int(step[2]) for step in _STEP.finditer(found[2])]
            inner: KeyPath = () if key == own else (key,)
            problems.append(Problem((*path, *inner, *steps), line[found.end() :]))
        else:
            problems.append(Problem(path, line))
    return problems


class Mistaken(ConfigurationError):
    """Mistakes, each with the path of its key; who knows the files can say where they were written.

    :ivar problems: these.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(dict.fromkeys(problem.in_a_file for problem in problems)))
        self.problems = problems


def problems_of(error: ConfigurationError, known: Iterable[str] = (), path: KeyPath = ()) -> list[Problem]:
    """What an error says, whether or not it knows the paths of its keys itself; otherwise as :func:`from_lines`."""
    if isinstance(error, Mistaken):
        return [problem.below(*path) for problem in error.problems]
    return from_lines(error, known, path)


@contextmanager
def below(*path: str | int, known: Iterable[str] = ()) -> Iterator[None]:
    """Whatever is mistaken here is so below *path*; *known* as for :func:`from_lines`.

    :raises Mistaken: in the place of any other :class:`~lbproxy.errors.ConfigurationError`.
    """
    try:
        yield
    except ConfigurationError as error:
        raise Mistaken(*problems_of(error, known, path)) from None
