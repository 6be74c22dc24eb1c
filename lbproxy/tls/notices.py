"""What the log says of the certificates that are served."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timezone

from twisted.logger import Logger

from ..files import lent
from .certificates import Certificate

__all__ = ["AGAIN", "AHEAD", "ExpiryNotices", "say_unreadable", "say_warnings", "whom_to_allow"]

_DAY = 86400.0

#: Seconds before a certificate's end from which on it is warned of. Whoever renews by ACME does so a third of its life ahead,
#: which are 30 days of 90: here that has failed for two weeks, and as much is left for a person to see to it.
AHEAD = 14 * _DAY
#: Seconds between two lines on the same certificate.
AGAIN = _DAY

#: Of a certificate's names a line shows so many.
_SHOWN = 3

_log = Logger()


class ExpiryNotices:
    """Says of each certificate that it will expire, or has expired: at once, and then once a day as long as it is served.

    :param called: what such a certificate is called.
    """

    def __init__(self, called: str = "certificate") -> None:
        self._called = called
        self._due: dict[tuple[str, str, bool], float] = {}

    def look(self, certificates: Iterable[Certificate], now: float) -> None:
        """Say what is to be said now.

        :param certificates: all that are served.
        :param now: seconds since the epoch.
        """
        due = {}
        for certificate in certificates:
            if certificate.not_after - now <= AHEAD:
                about = (certificate.source, certificate.fingerprint, certificate.not_after < now)
                due[about] = self._due.get(about, now)
                if due[about] <= now:
                    due[about] = now + AGAIN
                    _say(self._called, certificate, now)
        self._due = due


def _say(called: str, certificate: Certificate, now: float) -> None:
    left = certificate.not_after - now
    about = {
        "called": called,
        "names": _shown(certificate.names),
        "source": certificate.source,
        "until": datetime.fromtimestamp(certificate.not_after, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "days": f"{abs(left) / _DAY:.1f}",
    }
    if left < 0:
        _log.error("the {called} for {names} expired at {until}, {days} days ago: {source}", **about)
    else:
        _log.warn("the {called} for {names} expires at {until}, in {days} days: {source}", **about)


def _shown(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "") if names else "no name"


def say_warnings(warnings: Iterable[str]) -> None:
    """Say what is no mistake, and yet may not be meant."""
    for line in warnings:
        _log.warn("{line}", line=line)


def say_unreadable(option: str, paths: Iterable[str]) -> None:
    """Say which files cannot be read any more, since ``twistd --uid`` has taken rights away: otherwise it would show only when a
    certificate is renewed. Blocking, as a look at each file is.

    :param option: what they were given as.
    """
    for path in dict.fromkeys(paths):
        if lent(path) is None and os.path.exists(path) and not os.access(path, os.R_OK):
            _log.warn(
                "{option}: {path!r} was read, but what changes in it cannot be: {whom}",
                option=option,
                path=path,
                whom=whom_to_allow(),
            )


def whom_to_allow() -> str:
    """Who must be able to read the files by now; at the start it may have been another."""
    return f"the user that this process runs as by now, with uid {os.geteuid()}, must be allowed to read it"
