"""The outcome: what there is to say of an exchange once it is over, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..http1.fields import field_value

if TYPE_CHECKING:
    from ..proxy.attempt import Attempt
    from ..proxy.exchange import Exchange

__all__ = ["AttemptRecord", "Outcome"]


@attrs.frozen
class AttemptRecord:
    """One try at one backend.

    :ivar address: the backend's.
    :ivar reused: whether it went over a kept-alive connection.
    :ivar failure: the cause word of its failure (:class:`~lbproxy.errors.AttemptFailed`); empty if a response's head came, or
        if the client was gone before anything did.
    :ivar why: what there is to say of the failure, for people; may hold what the backend sent, as Python writes bytes.
    """

    address: str
    reused: bool
    failure: str
    why: str = ""

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptRecord:
        """Build it from an attempt that has ended."""
        failure = attempt.failure
        if failure is None:
            return cls(attempt.member.address, attempt.reused, "")
        return cls(attempt.member.address, attempt.reused, failure.cause, str(failure))


@attrs.frozen(kw_only=True)
class Outcome:
    """A finished exchange: who asked for what, what came of it, how long it took, and who was tried.

    Text from the client is decoded as latin-1, so that each character is one byte as it came; nothing in it is trustworthy.

    :ivar client: the client's IP address, ``unix`` or ``unknown``; behind a trusted proxy, that proxy's client's.
    :ivar secure: whether it came over TLS; behind a trusted proxy, whether it came to that proxy so.
    :ivar request_id: the id that backends were told too; empty in one that was never forwarded.
    :ivar minor: 0 or 1, of HTTP/1.x.
    :ivar host: the Host field; None without one. Likewise ``referer`` and ``user_agent``, the first of each.
    :ivar status: what the client was answered; 0 if the exchange ended before there was an answer.
    :ivar end: why it ended, in a word (see :class:`lbproxy.proxy.exchange.Exchange`).
    :ivar response_bytes: bytes of body given to the client, without framing; ``request_bytes``: taken from it. Of a tunnel, what
        went through it.
    :ivar started: seconds since the epoch.
    :ivar duration: seconds from the request's head to the end.
    :ivar response_time: seconds from the request's head to the response's; None if no backend gave one.
    :ivar attempts: in order; the last is the one that answered, if one did.
    :ivar route: the name of the route that it took; empty where nothing is routed, and where there was none for it.
    :ivar pool: the name of the pool that had it; empty if none had.
    """

    client: str
    secure: bool = False
    request_id: str
    method: str
    target: str
    minor: int
    host: str | None
    referer: str | None
    user_agent: str | None
    status: int
    end: str
    response_bytes: int
    request_bytes: int
    started: float
    duration: float
    response_time: float | None
    attempts: tuple[AttemptRecord, ...]
    route: str = ""
    pool: str = ""

    @property
    def finished(self) -> float:
        """When it ended, in seconds since the epoch."""
        return self.started + self.duration

    @classmethod
    def of(cls, exchange: Exchange) -> Outcome:
        """Build it from an exchange that has ended."""
        request = exchange.request
        return cls(
            client=exchange.client.address,
            secure=exchange.client.secure,
            request_id=exchange.request_id.decode("ascii"),
            method=request.method.decode("latin-1"),
            target=(exchange.target or request.target).decode("latin-1"),
            minor=request.minor,
            host=None if request.host is None else request.host.decode("latin-1"),
            referer=_field(exchange, b"referer"),
            user_agent=_field(exchange, b"user-agent"),
            status=exchange.status,
            end=exchange.end,
            response_bytes=exchange.response_bytes,
            request_bytes=exchange.request_bytes,
            started=exchange.started,
            duration=exchange.finished - exchange.started,
            response_time=None if exchange.responded is None else exchange.responded - exchange.started,
            attempts=tuple(map(AttemptRecord.of, exchange.attempts)),
            route=exchange.route,
            pool=exchange.pool,
        )


def _field(exchange: Exchange, name: bytes) -> str | None:
    value = field_value(exchange.request.fields, name)
    return None if value is None else value.decode("latin-1")
