"""Stand-ins for one part each: a probe, an access log, a listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from ..balance.backend import Backend
from ..errors import LBProxyError
from ..http1.head import ResponseHead
from ..interfaces import IDownstream, IExchangeObserver, IProbe

if TYPE_CHECKING:
    from ..http1.roles import TunnelEnd
    from ..proxy.exchange import Exchange

__all__ = ["FakeDownstream", "ProbeFailed", "RecordingObserver", "StubProbe"]


class ProbeFailed(LBProxyError):
    """What a :class:`StubProbe` says of a backend that is to be down."""


@implementer(IProbe)
class StubProbe:
    """A probe that finds what it is told to.

    :ivar down: the reason why, by address, for the backends that are to be found down; all others are well.
    :ivar checked: the addresses it was asked about, in order.
    """

    def __init__(self) -> None:
        self.down: dict[str, str] = {}
        self.checked: list[str] = []

    def check(self, backend: Backend) -> Deferred[str]:
        """Answer at once."""
        self.checked.append(backend.address)
        reason = self.down.get(backend.address)
        return succeed("stub: well") if reason is None else fail(ProbeFailed(reason))


@implementer(IExchangeObserver)
class RecordingObserver:
    """Keeps finished exchanges.

    :ivar exchanges: in the order in which they ended.
    """

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def exchange_finished(self, exchange: Exchange) -> None:
        """Keep it."""
        self.exchanges.append(exchange)


@implementer(IDownstream)
class FakeDownstream:
    """A listener's side of one exchange that writes down what it is told.

    :ivar interim: the heads of interim responses.
    :ivar head: the response's head; None until it came.
    :ivar body: the response's body so far.
    :ivar trailers: the lines of the response's trailer fields.
    :ivar ended: ``done``, ``aborted`` or ``switched`` (to a tunnel); empty until then.
    :ivar paused: whether it was last told to deliver no more of the request's body.
    """

    def __init__(self) -> None:
        self.interim: list[ResponseHead] = []
        self.head: ResponseHead | None = None
        self.body = b""
        self.trailers = b""
        self.ended = ""
        self.paused = False

    def inform(self, head: ResponseHead) -> None:
        """An interim response came."""
        self.interim.append(head)

    def respond(self, head: ResponseHead, data: bytes, complete: bool) -> None:
        """The response began."""
        self.head = head
        self.body = data
        if complete:
            self.ended = "done"

    def write(self, data: bytes) -> None:
        """It went on."""
        self.body += data

    def finish(self, trailers: bytes = b"") -> None:
        """It is whole."""
        self.trailers = trailers
        self.ended = "done"

    def switch(self, head: ResponseHead, data: bytes, end: TunnelEnd) -> None:
        """It became a tunnel, whose client never says anything; what the backend says is part of the body."""
        self.head = head
        self.body = data
        self.ended = "switched"
        end.transport = StringTransport()

    def abort(self) -> None:
        """It broke off."""
        self.ended = "aborted"

    def pause_body(self) -> None:
        """The backend is slow."""
        self.paused = True

    def resume_body(self) -> None:
        """It has caught up."""
        self.paused = False
