"""A moment as text, in the two spellings that logs and status reports use. Always UTC: a fleet's logs must compare."""

from __future__ import annotations

from datetime import datetime, timezone

from twisted.web.http import datetimeToLogString

__all__ = ["combined_time", "iso_time"]


def combined_time(seconds: float) -> str:
    """Spell a moment as access logs do, such as ``[22/Nov/2026:14:00:00 +0000]``.

    :param seconds: since the epoch; the fraction is dropped.
    """
    text: str = datetimeToLogString(seconds)
    return text


def iso_time(seconds: float) -> str:
    """Spell a moment as ISO 8601 and RFC 3339 have it, such as ``2026-11-22T14:00:00.000Z``.

    :param seconds: since the epoch; what is finer than a millisecond is dropped.
    """
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
