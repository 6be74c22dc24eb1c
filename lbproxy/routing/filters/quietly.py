"""Something that may be said for every request, and is said once in a while."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Quietly"]


class Quietly:
    """Whether it is time to say it again.

    :param pause: seconds between one time and the next.
    """

    def __init__(self, seconds: Callable[[], float], pause: float = 60.0) -> None:
        self._pause = pause
        self._seconds = seconds
        self._said: float | None = None

    def now(self) -> bool:
        """Whether it may be said; then it is taken for said."""
        now = self._seconds()
        if self._said is not None and 0 <= now - self._said < self._pause:
            return False
        self._said = now
        return True
