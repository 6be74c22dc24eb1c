"""Consistent hashing: exchanges with the same key go to the same backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from math import log
from struct import Struct

from ..errors import ConfigurationError
from .policy import Asking, Policy
from .ring import Ring
from .round_robin import RoundRobin
from .state import BackendState

__all__ = ["METHODS", "Hash", "Rendezvous"]

METHODS = ("auto", "rendezvous", "ring")

#: Members up to which ``auto`` is rendezvous: 4 to 6 µs there, as much as a pick may well cost, where a look at the ring takes 1.
RENDEZVOUS_MOST = 16

#: A bound's least and greatest value, as times the mean in flight.
BOUNDS = (1.0, 100.0)

#: A prime (Mersenne's), so that multiplying by any number but 0 puts the numbers below it in another order.
_PRIME = (1 << 61) - 1
#: The logarithm of the whole; a little more, since what it is divided by must not be 0.
_LOG_PRIME = log(_PRIME) + 1e-12

_first_64_bits = Struct(">Q56x").unpack


def _digest(data: bytes) -> int:
    """64 well mixed bits, the same in every process."""
    return _first_64_bits(blake2b(data).digest())[0]  # type: ignore[no-any-return]


class Rendezvous:
    """Each member draws a number for a key, from the key and its own address, and the greatest of its weight wins (weighted
    rendezvous hashing by logarithms: Schindelhauer and Schomaker, 2005). Shares are exact, and a look costs a draw of each.
    """

    def __init__(self) -> None:
        self._members: Sequence[BackendState] = ()
        self._seeds: list[int] = []
        self._weights: list[float] = []
        self._even = True

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Choose among these."""
        self._members = members
        self._seeds = [_digest(member.address.encode()) for member in members]
        self._weights = [member.weight for member in members]
        self._even = len(set(self._weights)) < 2

    def _numbers(self, digest: int) -> list[float]:
        """What each member draws; the greatest wins."""
        # A product modulo a prime mixes as well as it takes, at a third of another digest's cost: key and seeds are digests.
        drawn: list[float] = [digest * seed % _PRIME for seed in self._seeds]
        if self._even:  # the logarithm changes no order
            return drawn
        # -w / ln(u), u being even over 0 to 1.
        return [weight / (_LOG_PRIME - log(one or 1)) for weight, one in zip(self._weights, drawn, strict=True)]

    def order(self, digest: int) -> Iterator[BackendState]:
        """The members in the order of a key of this digest (64 bits), each once."""
        members = self._members
        if not members:
            return
        numbers = self._numbers(digest)
        first = numbers.index(max(numbers))
        yield members[first]
        for place in sorted(range(len(numbers)), key=numbers.__getitem__, reverse=True):
            if place != first:
                yield members[place]


class Hash(Policy):
    """Choose by a key, such as the client's address, so that the same key goes to the same member as long as it is there; when
    one leaves, only its keys move.

    :param key: what is hashed, of an exchange (:func:`lbproxy.http1.keys.request_key`). None or nothing: the exchange has none,
        and takes its turn as in round robin.
    :param method: ``rendezvous``, ``ring``, or ``auto``: rendezvous, and the ring from the moment on when there have been more
        than 16 members. Each of several balancers that are to choose alike over a pool that grows past that should be told which.
    :param bound: a member that has more than this many times the mean in flight (for its weight) is passed over, to the next one
        in the key's order (consistent hashing with bounded loads: Mirrokni, Thorup and Zadimoghaddam, 2016; HAProxy's
        ``hash-balance-factor``, there 125 to 200 %); 1 to 100. None: none is.
    :raises ConfigurationError: for another method or bound.
    """

    name = "hash"

    def __init__(self, key: Callable[[Asking], bytes | None], *, method: str = "auto", bound: float | None = None) -> None:
        if method not in METHODS:
            raise ConfigurationError(f"hash: method {method!r} was given; allowed are {', '.join(METHODS)}")
        low, high = BOUNDS
        if bound is not None and not low <= bound <= high:
            raise ConfigurationError(f"hash: bound {bound!r} was given; allowed is a number from {low:g} to {high:g}")
        super().__init__()
        self._key = key
        self._method = method
        self._bound = bound
        self._table: Rendezvous | Ring = Ring() if method == "ring" else Rendezvous()
        self._turns = RoundRobin()
        self._present: set[BackendState] = set()
        self._in_flight = 0
        self._weight = 0.0
        self._places: tuple[object, dict[BackendState, int]] = (None, {})

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Choose among these from now on."""
        if self._method == "auto" and len(members) > RENDEZVOUS_MOST and not isinstance(self._table, Ring):
            self._table = Ring()
        self.members = members
        self._table.set_members(members)
        self._turns.set_members(members)
        self._present = set(members)
        self._in_flight = sum(member.in_flight for member in members)
        self._weight = sum(member.weight for member in members)
        self._places = (None, {})

    @property
    def memory(self) -> str:
        """The method, and how many points the ring has for a weight."""
        return f"ring {self._table.scale!r}" if isinstance(self._table, Ring) else "rendezvous"

    def recall(self, memory: str) -> None:
        """Go over to that method."""
        if memory != self.memory:
            method, _, scale = memory.partition(" ")
            self._table = Ring(float(scale)) if method == "ring" else Rendezvous()
            self._table.set_members(self.members)
            self._places = (None, {})

    def candidates(self, exchange: Asking | None = None) -> Iterator[BackendState]:
        """The members in the order of the exchange's key, each once; within the bound, those beyond it come last."""
        key = None if exchange is None else self._key(exchange)
        if not key:
            return self._turns.candidates(exchange)
        order = self._table.order(_first_64_bits(blake2b(key).digest())[0])  # as _digest, without the call
        return order if self._bound is None else self._within_bound(order, self._bound)

    def _within_bound(self, order: Iterator[BackendState], bound: float) -> Iterator[BackendState]:
        # So many for each unit of weight, this exchange counted. Who has fewer has room for one more, which at least one has.
        most = bound * (self._in_flight + 1) / (self._weight or 1.0)
        beyond = []
        for member in order:
            if member.in_flight < most * member.weight:
                yield member
            else:
                beyond.append(member)
        yield from beyond

    def begun(self, member: BackendState) -> None:
        """An attempt begins: it counts for the mean."""
        if member in self._present:
            self._in_flight += 1

    def ended(self, member: BackendState, seconds: float | None, failed: bool) -> None:
        """An attempt is over."""
        if member in self._present:
            self._in_flight -= 1

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """The member's place in the order of the exchange's key, whatever the bound; without a key as in round robin."""
        key = None if exchange is None else self._key(exchange)
        if not key:
            return self._turns.figure(member, exchange)
        known, places = self._places
        if known != key:  # mostly it is asked of all members in turn
            places = {member: place for place, member in enumerate(self._table.order(_digest(key)))}
            self._places = (key, places)
        return places.get(member, len(places))
