"""What the parts of lbproxy ask of each other. Each interface stands here for the one who needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from twisted.internet.defer import Deferred

    from .balance.backend import Backend
    from .balance.state import BackendState, Verdict
    from .http1.head import ResponseHead
    from .http1.roles import TunnelEnd
    from .proxy.exchange import Exchange

__all__ = ["IDownstream", "IExchangeObserver", "IPolicy", "IPoolControl", "IProbe"]

# zope.interface methods have no self.
# mypy: disable-error-code="misc"


class IPolicy(Interface):
    """Orders a pool's candidates for one exchange. Pure: no I/O, no clock, no random source but what it was given."""

    name: str = Attribute("What users call it, such as ``round-robin``.")

    def set_members(members: Sequence[BackendState]) -> None:
        """Let the policy choose among these from now on, in the order the operator named them. Called on every change."""

    def candidates() -> Iterator[BackendState]:
        """Yield each member at most once, the one to try first first. Called once for each exchange; mostly only the first
        is taken, so work for the others belongs behind the first ``yield``."""


class IPoolControl(Interface):
    """What the control plane tells a pool: plain values only, so that the same calls can cross a process boundary."""

    def set_backends(backends: Iterable[Backend]) -> None:
        """Let the pool consist of these backends."""

    def apply(verdict: Verdict) -> None:
        """Take what a check found."""


class IDownstream(Interface):
    """The client's side of one exchange: what a listener, our own or ``twisted.web``'s, gives to it.

    After :meth:`finish`, :meth:`abort`, :meth:`switch`, or a complete :meth:`respond`, the exchange calls nothing more.
    """

    def inform(head: ResponseHead) -> None:
        """Send an interim (1xx) response, if the client can make sense of one; the response is still to come."""

    def respond(head: ResponseHead, data: bytes, complete: bool) -> None:
        """Send the response's head and the first bytes of its body.

        :param head: the response's status and the fields that go on; how its body is framed is the listener's choice.
        :param data: the part of the body that is here already; may be empty.
        :param complete: whether that is the whole body.
        """

    def write(data: bytes) -> None:
        """Send a further, non-empty part of the body."""

    def finish(trailers: bytes = b"") -> None:
        """The body has ended as its framing said.

        :param trailers: the lines of trailer fields, each ended by CRLF; without effect where the framing has no place for them.
        """

    def switch(head: ResponseHead, data: bytes, end: TunnelEnd) -> None:
        """The backend has gone over to another protocol: send its 101 with the first bytes, give *end* the client's transport,
        and from now on tell it what the client sends. Only a request with an :attr:`~lbproxy.http1.head.RequestHead.upgrade`
        comes to this."""

    def abort() -> None:
        """The response cannot be made whole: drop the client's connection so that it cannot take it for whole."""

    def pause_body() -> None:
        """Stop delivering the request's body until :meth:`resume_body`: the backend is slow."""

    def resume_body() -> None:
        """Go on delivering the request's body."""


class IExchangeObserver(Interface):
    """Is told of every finished exchange, such as an access log."""

    def exchange_finished(exchange: Exchange) -> None:
        """An exchange has ended, in whatever way. Must not block, and must not raise."""


class IProbe(Interface):
    """One way to find out, without traffic, whether a backend is well."""

    def check(backend: Backend) -> Deferred[str]:
        """Try the backend once.

        :return: fires with the evidence that it is well, or errbacks with the reason why it is not. It may be cancelled when
            the probe's time-out has passed.
        """
