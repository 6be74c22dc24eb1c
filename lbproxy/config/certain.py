"""Which values of a configuration could be read: what another mistake hides is no mistake of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .problems import Problem

__all__ = ["EVERYTHING", "Certain"]


class Certain:
    """What could be read, and is as it was meant.

    :param problems: what was found while it was read.
    """

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        # A mistyped key leaves that one unsaid for which it was most likely meant.
        paths = [(*one.path[:-1], one.meant) if one.meant else one.path for one in problems]
        self._mistaken = frozenset(path for path in paths if path)
        self._above = frozenset(path[:length] for path in self._mistaken for length in range(1, len(path)))

    def __call__(self, *path: str | int) -> bool:
        """Whether that is certain which stands there, or that nothing does."""
        return path not in self._above and self.whole(*path)

    def whole(self, *path: str | int) -> bool:
        """Whether it is certain which there are of such tables, whatever may be mistaken inside one of them."""
        return not any(path[:length] in self._mistaken for length in range(1, len(path) + 1))

    def keys(self, *keys: str) -> bool:
        """The same of several keys at the top."""
        return all(self(key) for key in keys)

    def of_pool(self, name: str, *keys: str) -> bool:
        """The same of what is said of a pool, by itself or with all others."""
        return all(self("pools", name, key) and self(key) for key in keys)


#: Nothing was mistaken, or nothing was read: it was made in Python.
EVERYTHING = Certain()
