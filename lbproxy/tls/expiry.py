"""What the log says of certificates whose time runs out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from .certificates import Certificate

__all__ = ["AGAIN", "AHEAD", "ExpiryNotices"]

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
    """Says of each certificate that it will expire, or has expired: at once, and then once a day as long as it is served."""

    def __init__(self) -> None:
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
                    _say(certificate, now)
        self._due = due


def _say(certificate: Certificate, now: float) -> None:
    left = certificate.not_after - now
    about = {
        "names": _shown(certificate.names),
        "source": certificate.source,
        "until": datetime.fromtimestamp(certificate.not_after, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "days": f"{abs(left) / _DAY:.1f}",
    }
    if left < 0:
        _log.error("the certificate for {names} expired at {until}, {days} days ago: {source}", **about)
    else:
        _log.warn("the certificate for {names} expires at {until}, in {days} days: {source}", **about)


def _shown(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "") if names else "no name"
