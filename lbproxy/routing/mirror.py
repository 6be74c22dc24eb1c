"""A mirror: a share of a route's requests goes to another pool as well, whose answers are thrown away.

A copy is an exchange of its own, with the other pool's retries and time-outs. Nobody waits for it, and nothing that becomes of it
is felt by the client: it is sent after the request itself; where the other pool is slow to take a body, as much as
:data:`BUFFER` is held for it, and then it is dropped; and there are :data:`MOST` at once.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from random import Random
from typing import TYPE_CHECKING

from twisted.logger import Logger
from zope.interface import implementer

from ..http1.fields import lines_without
from ..http1.head import RequestHead, ResponseHead
from ..interfaces import IDownstream
from ..proxy.exchange import Exchange
from .router import Target

if TYPE_CHECKING:
    from ..http1.roles import TunnelEnd
    from .passage import Passage

__all__ = ["BUFFER", "MOST", "Mirroring"]

_log = Logger()

#: Bytes of a body that are held for one copy: a read's worth, so that one turn of being slow drops nothing.
BUFFER = 64 * 1024

#: Copies at once. What they hold together is bounded by that many buffers, 8 MiB; a pool that answers in 10 ms takes 12,800
#: requests a second so.
MOST = 128

#: What tells the other pool that nobody waits for its answer, so that it sends no mail twice.
_MARK = b"X-Lbproxy-Mirror: 1\r\n"


class _Copied(Exchange):
    """A copy's exchange: counted by its pool, in no log."""

    observed = False


@implementer(IDownstream)
class Copy:
    """A request's copy, and where its answer goes: nowhere.

    :ivar whole: whether all of the body is here.
    """

    __slots__ = ("_begun", "_exchange", "_held", "_mirror", "_paused", "_size", "whole")

    def __init__(self, mirror: Mirroring, passage: Passage) -> None:
        self._mirror = mirror
        original = passage.exchange
        client = copy(original.client)
        client.request_id = original.request_id
        self._exchange: _Copied | None = _Copied(self, _copied(original.request), client, 0)
        self.whole = original.body_ended
        self._held = [original.body_here]
        self._size = len(self._held[0])
        self._begun = False
        self._paused = False

    def begin(self) -> None:
        """Send it."""
        exchange = self._exchange
        if exchange is None:
            return
        self._begun = True
        self._send_on()  # what is here goes with the head
        self._guarded(self._mirror.target.forward, exchange)

    def data(self, data: bytes) -> None:
        """A part of the body came; held while it cannot be sent, up to the limit."""
        if self._exchange is None:
            return  # it has been answered early, or dropped
        self._held.append(data)
        self._size += len(data)
        self._send_on()
        if self._size > self._mirror.buffer:
            self._mirror.count("slow")
            self.drop("mirror-slow")

    def ended(self) -> None:
        """The body is complete."""
        self.whole = True
        self._send_on()

    def _send_on(self) -> None:
        """Hand over what is held, while the other pool takes it."""
        while self._held and self._begun and not self._paused and self._exchange is not None:
            data = self._held.pop(0)
            self._size -= len(data)
            if data:
                self._guarded(self._exchange.body_data, data)
        if self.whole and self._begun and not self._held and self._exchange is not None and not self._exchange.body_ended:
            self._guarded(self._exchange.body_end)

    def drop(self, end: str) -> None:
        """Nothing more is to come of it."""
        exchange = self._exchange
        if exchange is None:
            return
        self._over()
        if self._begun:
            self._guarded(exchange.client_lost, end)

    def _guarded(self, what: Callable[..., object], *args: object) -> None:
        """What goes wrong with a copy is felt by nobody."""
        try:
            what(*args)
        except Exception:
            _log.failure("a copy of a request failed")
            self._over()

    def _over(self) -> None:
        self._exchange = None
        self._held.clear()
        self._mirror.running.discard(self)

    # IDownstream.

    def inform(self, head: ResponseHead) -> None:
        """Nobody listens."""

    def respond(self, head: ResponseHead, data: bytes, complete: bool) -> None:
        """Nobody listens."""
        if complete:
            self._over()

    def write(self, data: bytes) -> None:
        """Nobody listens."""

    def finish(self, trailers: bytes = b"") -> None:
        """It is over."""
        self._over()

    def switch(self, head: ResponseHead, data: bytes, end: TunnelEnd) -> None:
        """Never called: a copy asks for no upgrade."""
        raise NotImplementedError("a tunnel for a copy")

    def abort(self) -> None:
        """It is over."""
        self._over()

    def pause_body(self) -> None:
        """The other pool is slow."""
        self._paused = True

    def resume_body(self) -> None:
        """It has caught up."""
        self._paused = False
        self._send_on()


def _copied(head: RequestHead) -> RequestHead:
    """The head of a copy: it asks for no upgrade, no invitation, no trailers and no explanation."""
    fields = lines_without(head.fields, (b"expect", b"x-lbproxy-mirror")) + _MARK
    known = {name: value for name, value in head.known.items() if name not in (b"expect", b"x-lbproxy-explain")}
    copied = RequestHead(head.method, head.target, head.minor, fields, known)
    copied.host = head.host
    copied.frame(head.length, head.chunked)
    return copied


class Mirroring:
    """Makes the copies of a route's requests (:class:`.router.Shadow`).

    :param target: the other pool's balancer.
    :param share: percent of the requests.
    :param random: decides which.
    :param count: counts ``mirrored`` copies, those not made because of ``too-many`` at once, or of an ``upgrade``; and those
        dropped since the pool was too ``slow``, or ``unfinished`` since the request itself ended before its body did.
    :param buffer: bytes held for each. *most*: copies at once.
    :ivar running: the copies on their way.
    """

    def __init__(
        self,
        target: Target,
        share: float,
        random: Random,
        count: Callable[[str], None],
        *,
        buffer: int = BUFFER,
        most: int = MOST,
    ) -> None:
        self.target = target
        self.count = count
        self.buffer = buffer
        self.running: set[Copy] = set()
        self._share = share / 100
        self._random = random.random
        self._most = most

    def copy(self, passage: Passage) -> Copy | None:
        """Make one, if it is its turn."""
        if self._random() >= self._share:
            return None
        if passage.request.upgrade:
            self.count("upgrade")
            return None
        if len(self.running) >= self._most:
            self.count("too-many")
            return None
        made = Copy(self, passage)
        self.count("mirrored")
        self.running.add(made)
        if not made.whole:
            passage.memory[self] = made
        return made

    def data(self, passage: Passage, data: bytes) -> None:
        """A part of the request's body came."""
        made = passage.memory.get(self)
        if made is not None:
            made.data(data)

    def ended(self, passage: Passage, trailers: bytes) -> None:
        """It is complete."""
        made = passage.memory.pop(self, None)
        if made is not None:
            made.ended()

    def over(self, passage: Passage) -> None:
        """The exchange has ended, and its body was not."""
        made = passage.memory.pop(self, None)
        if made is not None:
            self.count("unfinished")
            made.drop("client-left")

    def stop(self) -> None:
        """Drop all that run."""
        for made in list(self.running):
            made.drop("drain")
