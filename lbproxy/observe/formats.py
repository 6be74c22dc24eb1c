r"""The access log's two formats. Pure, and safe against what clients send: one exchange is one line, whatever it contains.

In ``combined`` every control byte, double quote, backslash and byte beyond ASCII of a client's text becomes ``\xHH``, as in
nginx; in ``json`` they are escaped as JSON has it. Either way a line is ASCII and has its only line feed at its end.
"""

from __future__ import annotations

import re
from json import JSONEncoder
from typing import Any

from .outcome import Outcome
from .times import combined_time, iso_time

__all__ = ["FORMATS", "combined_line", "format_combined", "format_json"]

#: The names by which an operator chooses.
FORMATS = ("combined", "json")

# What stands in a combined line for an exchange that ended without an answer, in analysers' own terms: the listener answers
# the first three itself; 499 is nginx's for a client that left.
_UNANSWERED = {"client-timeout": 408, "bad-request": 400, "too-large": 413}
_CLIENT_LEFT = 499

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_to_json = JSONEncoder(check_circular=False, separators=(",", ":")).encode


def format_combined(outcome: Outcome) -> str:
    """One line of Apache's and nginx's ``combined``, its line feed included; the time is the exchange's end, as in nginx."""
    return combined_line(
        combined_time(outcome.finished),
        outcome.client,
        outcome.method,
        outcome.target,
        outcome.minor,
        outcome.status,
        outcome.end,
        outcome.response_bytes,
        "-" if outcome.referer is None else outcome.referer,
        "-" if outcome.user_agent is None else outcome.user_agent,
    )


def combined_line(
    date: str, client: str, method: str, target: str, minor: int, status: int, end: str, size: int, referer: str, agent: str
) -> str:
    """The same from its parts, *date* as :func:`~lbproxy.observe.times.combined_time` gives it.

    The line is built as if nothing in it needed escaping, and built again if something does: one look at the whole costs less
    than one at each part (measured: 1.0 µs altogether, and 3.6 for a line that is built again).
    """
    if not status:
        status = _UNANSWERED.get(end, _CLIENT_LEFT)
    line = f'{client} - - {date} "{method} {target} HTTP/1.{minor}" {status} {size} "{referer}" "{agent}"'
    # The format's own quotes are six; isprintable() is false for every control character and DEL.
    if line.isascii() and line.isprintable() and line.count('"') == 6 and "\\" not in line and " " not in client:
        return line + "\n"
    client = escape(client).replace(" ", "\\x20")  # this part stands outside of quotes
    return (
        f'{client} - - {date} "{escape(method)} {escape(target)} HTTP/1.{minor}" {status} {size} '
        f'"{escape(referer)}" "{escape(agent)}"\n'
    )


def escape(text: str) -> str:
    r"""Write what could end or forge a part of a line as ``\xHH``, one for each byte."""
    return _UNSAFE.sub(_escape_one, text)


def _escape_one(found: re.Match[str]) -> str:
    character = found[0]
    # Beyond latin-1 no client's byte can be, but an address that a wrapped listener made up can.
    data = character.encode("latin-1") if character <= "\xff" else character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02X}" for byte in data)


def format_json(outcome: Outcome, explanation: dict[str, Any] | None = None) -> str:
    """One JSON object on one line, its line feed included.

    ``time`` is when the exchange ended, in ISO 8601; ``duration`` and ``response_time`` (to the response's head, null if none
    came) are seconds; ``bytes`` and ``request_bytes`` count bodies without their framing; what the client did not send is null.
    Of each attempt that failed, ``failure`` is the cause word and ``why`` says more.

    :param explanation: what there was to decide; it stands last, as ``explain``.
    """
    told = _json_object(outcome)
    if explanation is not None:
        told["explain"] = explanation
    return _to_json(told) + "\n"


def _json_object(outcome: Outcome) -> dict[str, object]:
    response_time = outcome.response_time
    return {
        "time": iso_time(outcome.finished),
        "client": outcome.client,
        "request_id": outcome.request_id,
        "method": outcome.method,
        "scheme": "https" if outcome.secure else "http",
        "target": outcome.target,
        "protocol": f"HTTP/1.{outcome.minor}",
        "host": outcome.host,
        "route": outcome.route or None,
        "pool": outcome.pool or None,
        "status": outcome.status,
        "end": outcome.end,
        "bytes": outcome.response_bytes,
        "request_bytes": outcome.request_bytes,
        "duration": round(outcome.duration, 6),
        "response_time": None if response_time is None else round(response_time, 6),
        "attempts": [
            {"backend": attempt.address, "reused": attempt.reused, "failure": attempt.failure, "why": attempt.why}
            for attempt in outcome.attempts
        ],
        "referer": outcome.referer,
        "user_agent": outcome.user_agent,
    }
