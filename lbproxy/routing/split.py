"""A weighted split of a route's exchanges over several targets: by chance, or sticky by a key. Pure: chance is passed in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate
from math import log
from typing import TYPE_CHECKING

from ..http1.keys import RequestKey

if TYPE_CHECKING:
    from random import Random

    from ..proxy.exchange import Exchange
    from .router import Target

__all__ = ["Shares", "SplitTarget"]

_WHOLE = 1 << 64
#: A little more than the logarithm of the whole, since what it is divided by must not be 0.
_LOG_WHOLE = log(_WHOLE) + 1e-12


class Shares:
    """Who gets which key.

    Weighted rendezvous: each name draws a number for the key, and the greatest for its weight wins (Schindelhauer and Schomaker,
    2005). When a weight grows, keys move to that name alone, and no more of them than its share grows by: of a canary that goes
    from 5 to 10 percent, every key that it had stays with it, and one in twenty comes. (Weights one after the other along a line
    move as few only where the one that grows is the last.)

    :param weights: by name; 0: none of the keys.
    """

    def __init__(self, weights: Iterable[tuple[str, float]]) -> None:
        # Its own salt: pools hash keys as well, and their choice is not to hang on this one.
        self._drawers = [
            (name, weight, blake2b(name.encode(), digest_size=8, person=b"lbproxy-split")) for name, weight in weights if weight
        ]

    def of(self, key: bytes) -> str:
        """The name that a key belongs to."""
        best, chosen = -1.0, ""
        for name, weight, drawer in self._drawers:
            drawing = drawer.copy()
            drawing.update(key)
            drawn = int.from_bytes(drawing.digest(), "big") or 1
            number = weight / (_LOG_WHOLE - log(drawn))  # -w / ln(u), u being even over 0 to 1
            if number > best:
                best, chosen = number, name
        return chosen


class SplitTarget:
    """Where a route leads that is split.

    :param targets: name, target, weight; those of weight 0 get nothing. One weight at least is more than that.
    :param key: who has the same goes to the same target; None, or where a request has none: by chance.
    :param random: the chance.
    :ivar taken: exchanges by the target's name.
    """

    def __init__(self, targets: Sequence[tuple[str, Target, float]], key: RequestKey | None, random: Random) -> None:
        chosen = [(name, target, weight) for name, target, weight in targets if weight]
        self._targets = {name: target for name, target, _ in chosen}
        self._names = [name for name, _, _ in chosen]
        self._bounds = list(accumulate(weight for _, _, weight in chosen))
        self._shares = Shares((name, weight) for name, _, weight in chosen)
        self._key = key
        self._random = random.random
        self.taken = dict.fromkeys(self._names, 0)

    def choose(self, exchange: Exchange) -> str:
        """The name of the target that an exchange goes to."""
        key = None if self._key is None else self._key(exchange)
        if key:
            return self._shares.of(key)
        return self._names[min(bisect_right(self._bounds, self._random() * self._bounds[-1]), len(self._names) - 1)]

    def forward(self, exchange: Exchange) -> None:
        """Carry an exchange."""
        name = self.choose(exchange)
        self.taken[name] += 1
        self._targets[name].forward(exchange)
