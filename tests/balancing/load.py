"""Who asks: requests that come by themselves, whatever became of those before them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from lbproxy.http1.head import MessageLimits, RequestHead
from lbproxy.http1.request_head import parse_request_head

__all__ = ["Load", "head"]

_LIMITS = MessageLimits(16 * 1024, 100, 8 * 1024)


@cache
def head(key: int, method: str = "GET") -> RequestHead:
    """The head of a request for one of many things; that is its key as well, where a policy hashes ``path``."""
    return parse_request_head(b"%b /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (method.encode("ascii"), key), _LIMITS)


class Load:
    """Open arrivals, as of many clients who do not know of each other (Poisson): neither slowness nor errors slow them.

    :param rate: requests a second, on average.
    :param keys: how many different things are asked for, all alike often; 1: always the same.
    :param method: of all requests.
    """

    def __init__(self, random: Random, rate: float, *, keys: int = 1, method: str = "GET") -> None:
        self._random = random
        self._rate = rate
        self._keys = keys
        self._method = method

    def begin(self, until: float, at: Callable[[float, Callable[[], None]], None], ask: Callable[[RequestHead], None]) -> None:
        """Send requests until that time.

        :param at: calls a function in so many seconds.
        :param ask: sends one request.
        """
        random, rate = self._random, self._rate
        spent = 0.0

        def one() -> None:
            ask(head(random.randrange(self._keys), self._method))
            following()

        def following() -> None:
            nonlocal spent
            wait = random.expovariate(rate)
            spent += wait
            if spent <= until:
                at(wait, one)

        following()
