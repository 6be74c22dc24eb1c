"""What the filters of several workers tell each other, so that their limits hold for all (``Filter.given``).

A worker asks its filters every :data:`EVERY` what they have to say, and sends that up; the supervisor hands it on to the others,
at most every :data:`BATCH`. Messages are bounded: by :data:`MOST` keys of each worker. They are plain values, for JSON, in an
order that is kept:

- ``["given", worker, filter, {key: number}]``, the keys being bytes, as latin-1;
- ``["begun", worker]``: it has been told nothing so far;
- ``["ended", worker]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..routing.filter import Filter

__all__ = ["BATCH", "EVERY", "MOST", "Entry", "Shares", "Sharing"]

#: Seconds between two times that a worker asks its filters; and that the supervisor tells a worker what the others have said.
EVERY, BATCH = 0.05, 0.025
#: Keys that a worker sends at once, of all filters. What is more comes the next time.
MOST = 4000

#: One of the three above.
Entry = list[Any]

_log = Logger()


class Sharing:
    """The supervisor's part: who has said what is told to all others.

    :param send: tells a worker, by its number, some entries.
    """

    def __init__(self, clock: IReactorTime, send: Callable[[int, list[Entry]], None]) -> None:
        self._clock = clock
        self._send = send
        self._untold: dict[int, list[Entry]] = {}  # by whom it is to be told to, those who hear alone
        self._timer: IDelayedCall | None = None

    def begun(self, worker: int) -> None:
        """From now on it hears what the others say; they say anew what it must know."""
        self._tell_others(worker, [["begun", worker]])
        self._untold[worker] = []

    def ended(self, worker: int) -> None:
        """What is known of it does not hold any more."""
        if self._untold.pop(worker, None) is not None:
            self._tell_others(worker, [["ended", worker]])

    def anew(self) -> None:
        """All go by another configuration from now on, in which a filter's name may stand for another one."""
        for worker in list(self._untold):
            self._tell_others(worker, [["begun", worker]])

    def heard(self, worker: int, given: list[list[Any]]) -> None:
        """Its filters have said this: their names, with numbers by key."""
        if worker in self._untold:
            self._tell_others(worker, [["given", worker, name, numbers] for name, numbers in given])

    def _tell_others(self, worker: int, entries: list[Entry]) -> None:
        for other, untold in self._untold.items():
            if other != worker:
                untold.extend(entries)
        if self._timer is None and any(self._untold.values()):
            self._timer = self._clock.callLater(BATCH, self._tell)

    def _tell(self) -> None:
        self._timer = None
        before, self._untold = self._untold, {worker: [] for worker in self._untold}
        for worker, entries in before.items():
            if entries:
                self._send(worker, entries)


class Shares:
    """A worker's part: asks its filters, and tells them what others have said.

    :param filters: gives those that there are, by name; those that have nothing to share are not asked.
    :param send: sends up what they say.
    """

    def __init__(
        self, clock: IReactorTime, filters: Callable[[], Iterable[tuple[str, Any]]], send: Callable[[list[list[Any]]], None]
    ) -> None:
        self._filters = filters
        self._send = send
        self._sharing: dict[str, Any] = {}
        self._asking = LoopingCall(self._ask)
        self._asking.clock = clock

    def look(self) -> None:
        """There are others, perhaps. While none of them has anything to share, nobody is asked."""
        self._sharing = {name: filter for name, filter in self._filters() if shares(filter)}
        if bool(self._sharing) is not self._asking.running:
            self._asking.start(EVERY, now=False) if self._sharing else self._asking.stop()

    def stop(self) -> None:
        """Ask no more."""
        if self._asking.running:
            self._asking.stop()

    def _ask(self) -> None:
        said: list[list[Any]] = []
        left = MOST
        for name, filter in list(self._sharing.items()):
            numbers = self._asked(name, filter, left)
            if numbers:
                left -= len(numbers)
                said.append([name, {key.decode("latin-1"): number for key, number in numbers.items()}])
            if left <= 0:
                # The others are the first to be asked next.
                self._sharing[name] = self._sharing.pop(name)
                break
        if said:
            self._send(said)

    def _asked(self, name: str, filter: Any, most: int) -> Mapping[bytes, int]:
        try:
            numbers: Mapping[bytes, int] = filter.given(most)
            return numbers
        except Exception:  # a user's
            _log.failure("filter {name} could not be asked what it has given", name=name)
            return {}

    def hear(self, entries: list[Entry]) -> None:
        """Others have said this. A filter that is not here (any more) is passed over."""
        for what, worker, *more in entries:
            try:
                self._hear(what, worker, *more)
            except Exception:  # a user's
                _log.failure("what other workers have given could not be told to a filter")

    def _hear(self, what: str, worker: int, name: str = "", numbers: Mapping[str, int] = {}) -> None:
        if what == "given":
            filter = self._sharing.get(name)
            if filter is not None:
                filter.given_elsewhere(worker, {key.encode("latin-1"): number for key, number in numbers.items()})
            return
        for filter in list(self._sharing.values()):
            filter.begun_elsewhere() if what == "begun" else filter.ended_elsewhere(worker)


def shares(filter: Any) -> bool:
    """Whether it has anything to say to those of its name in other processes."""
    return isinstance(filter, Filter) and type(filter).given is not Filter.given
