"""What became of the clients' requests and connections."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """A request, or a stream, that did not come to its end.

    :ivar kind: of client.
    :ivar target: what was asked for; no other request has the same.
    :ivar sent: when it began, by ``time.monotonic``.
    :ivar when: when the client saw that it had failed.
    :ivar answered: bytes of an answer that had come.
    :ivar repeated: it is sent again on another connection, as a client may that has got no byte of an answer.
    """

    kind: str
    target: str
    sent: float
    when: float
    answered: int
    repeated: bool
    why: str


class Ledger:
    """All clients write into it.

    :ivar answered: whole answers, and streams that came to their end, by kind of client.
    :ivar failures: the rest.
    :ivar broken: when a connection was seen to have been ended by the other side without its having been announced.
    """

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.broken: list[float] = []
        self._lock = threading.Lock()

    def succeeded(self, kind: str) -> None:
        """One came to its end."""
        with self._lock:
            self.answered[kind] += 1

    def failed(self, failure: Failure) -> None:
        """One did not."""
        with self._lock:
            self.failures.append(failure)

    def broke(self) -> None:
        """A connection was ended by the other side."""
        with self._lock:
            self.broken.append(time.monotonic())

    @property
    def total(self) -> int:
        """Whole answers and streams."""
        return sum(self.answered.values())


# Seconds after a kill within which all clients see it.
NOTICED = 2.0


def not_explained(failures: Iterable[Failure], kills: Collection[float]) -> list[Failure]:
    """Return the failures that no kill explains: none came just before."""
    return [one for one in failures if not any(kill <= one.when <= kill + NOTICED for kill in kills)]


def not_owned_up(failures: Collection[Failure], kills: int, lost: Mapping[str, Any], seen: Collection[str]) -> str:
    """Say where the clients' count of failures differs from what ``/status`` says was lost; empty: nowhere.

    A request that no backend has seen may have been waiting for the worker to read it: such a one is in the clients' count and
    need not be in the other. All that a backend has seen had been begun. On the other hand a worker may have been killed between
    sending the end of an answer and counting it; it does one thing at a time, so that is one exchange a kill at most.

    :param lost: ``workers_lost`` of ``/status``.
    :param seen: targets that backends have seen.
    """
    begun = sum(failure.target in seen for failure in failures)
    least, most = begun, len(failures) + kills
    if least <= lost["exchanges"] <= most:
        return ""
    unseen = len(failures) - begun
    return f"{len(failures)} requests failed, of which no backend has seen {unseen}; {kills} kills; /status: {dict(lost)}"
