"""What can go wrong, named for what happened on the wire or at the operator's desk.

The errors of an attempt carry all that the retry rules may ask: whether any byte was sent (so that the backend may have
processed the request), whether it failed at once, and the status a client gets when nothing else can be tried.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AttemptFailed",
    "AttemptTimedOut",
    "BadMessage",
    "BadResponse",
    "BadStatus",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectTimedOut",
    "LBProxyError",
    "ListenError",
    "NoSocket",
    "ResponseTimedOut",
    "StaleConnection",
    "TlsFailed",
    "UpstreamLost",
]


class LBProxyError(Exception):
    """The base of every error that lbproxy raises on purpose."""


class ConfigurationError(LBProxyError, ValueError):
    """A setting that cannot be used. The message names it, says what was given, and what is allowed."""


class ListenError(LBProxyError):
    """A listener could not be opened; the message names its description and the cause."""


class BadMessage(LBProxyError):
    """Bytes from a peer that are not the HTTP/1.x they should be.

    :ivar cause: one word or two for the counters, such as ``"host"`` or ``"framing"``.
    :ivar status: what a client that sent them is answered (400, 414, 431, 501, 505).
    """

    def __init__(self, cause: str, detail: str, status: int = 400) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.status = status


class AttemptFailed(LBProxyError):
    """One try of an exchange at one backend ended without a response head.

    :cvar sent: bytes of the request went out, so the backend may have processed it.
    :cvar immediate: it failed at once, so that trying the same backend again costs no time.
    :cvar status: the client's status when this was the last attempt.
    :cvar cause: one word for logs and counters.
    :cvar kind: the word for it in ``retry_on``: ``connect``, ``reset`` or ``timeout``; the status of one that was answered.
    """

    sent: bool = True
    immediate: ClassVar[bool] = False
    status: int = 502
    cause: ClassVar[str] = "failed"
    kind: str = "reset"


class ConnectFailed(AttemptFailed):
    """The connection was refused, reset or unroutable: nothing was sent."""

    sent = False
    immediate = True
    status = 503
    cause = "refused"
    kind = "connect"


class NoSocket(ConnectFailed):
    """There was no socket or port to be had here: it says nothing about the backend."""

    cause = "no-socket"


class ConnectTimedOut(AttemptFailed):
    """No connection within the connect time-out: nothing was sent."""

    sent = False
    status = 504
    cause = "connect-timeout"
    kind = "connect"


class TlsFailed(AttemptFailed):
    """No TLS session with the backend came about, or it is not the one it should be: nothing was sent that it has processed.
    (503 as Envoy and HAProxy have it, as for one that cannot be connected to; nginx: 502.)"""

    sent = False
    status = 503
    cause = "tls"
    kind = "connect"


class StaleConnection(AttemptFailed):
    """The backend closed a kept-alive connection as the request went out on it: it says nothing against the backend."""

    immediate = True
    cause = "stale"


class UpstreamLost(AttemptFailed):
    """The backend closed or reset a new connection after bytes were sent and before a response head came."""

    cause = "lost"


class ResponseTimedOut(AttemptFailed):
    """No response head within the response time-out."""

    status = 504
    cause = "response-timeout"
    kind = "timeout"


class AttemptTimedOut(AttemptFailed):
    """No response head within the time that an attempt may take, connecting included.

    :param sent: whether bytes of the request went out; if not, it is a connection that was not made in time.
    """

    status = 504
    cause = "attempt-timeout"
    kind = "timeout"

    def __init__(self, detail: str, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent
        if not sent:
            self.kind = "connect"


class BadResponse(AttemptFailed):
    """The backend answered with something that is not an HTTP/1.x response."""

    cause = "bad-response"


class BadStatus(AttemptFailed):
    """The backend answered with a status that is to be tried again elsewhere."""

    cause = "status"

    def __init__(self, status: int) -> None:
        super().__init__(f"the backend answered {status}")
        self.status = status
        self.kind = str(status)
