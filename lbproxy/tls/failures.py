"""What a failed handshake was: from OpenSSL's words to one of ours, for counters and for people."""

from __future__ import annotations

from contextlib import suppress

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

__all__ = ["CAUSES", "AlertReceived", "HandshakeFailed", "alert_of", "forget_errors", "handshake_failed", "session_lost"]

#: Every cause that is counted. ``closed``: the peer left; ``timeout``: it was silent; ``plain-http``: it spoke HTTP without TLS;
#: ``not-tls``: it spoke something else; ``version``, ``cipher``, ``alpn``: nothing in common; ``name``: it asked for a name that
#: is not served; ``client-certificate``: it had none, or one that is not good; ``certificate``: the backend's is not good;
#: ``refused``: it refused what it was offered, by an alert.
CAUSES = (
    "alpn", "certificate", "cipher", "client-certificate", "closed", "name", "not-tls", "other", "plain-http", "refused",
    "timeout", "version",
)  # fmt: skip

#: By what is in OpenSSL's reason; the first that fits.
_REASONS = (
    ("http request", "plain-http"),
    ("https proxy request", "plain-http"),
    ("no application protocol", "alpn"),
    ("peer did not return a certificate", "client-certificate"),
    ("certificate verify failed", "client-certificate"),
    ("alert", "refused"),
    ("no shared cipher", "cipher"),
    ("no suitable", "cipher"),
    ("unsupported protocol", "version"),
    ("version too low", "version"),
    ("no protocols available", "version"),
    ("wrong version number", "not-tls"),
    ("bad record mac", "other"),
    ("record", "not-tls"),
    ("packet length", "not-tls"),
    ("unexpected message", "not-tls"),
    ("unknown protocol", "not-tls"),
    ("name is not served", "name"),
    ("callback failed", "name"),
    ("clienthello tlsext", "name"),
)


class HandshakeFailed(Exception):
    """A TLS session did not come about.

    :ivar cause: one of :data:`CAUSES`.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


class AlertReceived(ConnectionLost):
    """The peer has ended a session that had come about with an alert, which is all there is to say."""


def session_lost(error: SSL.Error) -> ConnectionLost:
    """What the end of an open session is, for an error of OpenSSL's."""
    alert = alert_of(error)
    return AlertReceived(alert) if alert else ConnectionLost()


def alert_of(error: BaseException | None) -> str:
    """The alert that a session ended with; empty for another end."""
    if isinstance(error, AlertReceived):
        return str(error.args[0])
    return next((entry[-1] for entry in _queue(error) if "alert" in entry[-1].lower()), "")


_CLOSED = (SSL.SysCallError, SSL.ZeroReturnError, ConnectionDone, ConnectionLost, ConnectionAborted)


def handshake_failed(error: BaseException | None) -> HandshakeFailed:
    """What OpenSSL's error in a handshake means."""
    if isinstance(error, HandshakeFailed):
        return error.with_traceback(None)  # whose frames would know the error, which only the garbage collector would free
    if isinstance(error, _CLOSED):
        return HandshakeFailed("closed", "the peer closed the connection in the TLS handshake")
    reasons = "; ".join(dict.fromkeys(entry[-1] for entry in _queue(error))) or str(error)
    cause = next((cause for text, cause in _REASONS if text in reasons.lower()), "other")
    return HandshakeFailed(cause, reasons or type(error).__name__)


def _queue(error: BaseException | None) -> list[tuple[str, str, str]]:
    """OpenSSL's queue of errors, each its library, its function and its reason."""
    return list(error.args[0]) if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], (list, tuple)) else []


_scratch = SSL.Context(SSL.TLS_METHOD)


def forget_errors() -> None:
    """Empty OpenSSL's queue of errors. pyOpenSSL leaves a socket's errors there, and until version 4 OpenSSL takes what it finds
    for the error of whichever connection is served next. (An error that is raised takes all of the queue along.) Costs 30 µs."""
    with suppress(SSL.Error):
        _scratch.set_cipher_list(b"-")
