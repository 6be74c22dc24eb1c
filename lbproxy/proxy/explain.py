"""Why an exchange went where it went: who could have been chosen, who was passed over and why, and what became of each attempt.

What costs anything (a figure for each backend) is looked at only where somebody wants to know: the access log by option, or a
trusted peer with ``X-Lbproxy-Explain: 1``.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

if TYPE_CHECKING:
    from ..balance.pool import Pool
    from ..balance.state import BackendState
    from .attempt import Attempt
    from .budget import RetryBudget
    from .exchange import Exchange

__all__ = ["LINE_LIMIT", "SURVEYED", "Candidate", "Decision", "explain", "explanation_line", "survey"]

#: Backends of a pool that a decision tells of, in the operator's order, and attempts, the last ones; of the others only how many
#: there are.
SURVEYED = 50

#: Bytes of the response's field at most: where it would be longer it tells of fewer. Many clients take heads of 8 KiB or 16.
LINE_LIMIT = 4096

#: Characters of a text that others have written, such as a failure that quotes what a backend has sent.
_TEXT_LIMIT = 200

_log = Logger()


@attrs.frozen
class Candidate:
    """One backend as it stood when the exchange began.

    :ivar figure: the policy's figure for it (:meth:`~lbproxy.interfaces.IPolicy.figure`); None for one that is not fit.
    :ivar passed_over: why it could not be taken; empty if it could.
    """

    address: str
    figure: float | None
    passed_over: str


@attrs.frozen
class Decision:
    """What there was to decide.

    :ivar more: backends of the pool beyond the candidates told of.
    :ivar panic: whether health was ignored.
    :ivar budget: places in the retry budget that were taken, and how many there were.
    :ivar line: exchanges that waited for a backend with a place free.
    """

    policy: str
    candidates: tuple[Candidate, ...]
    more: int
    panic: bool
    budget: tuple[int, float]
    line: int


def survey(exchange: Exchange, pool: Pool, budget: RetryBudget, in_flight: int, line: int) -> Decision:
    """Look at the pool before the exchange's first attempt."""
    members = list(pool.members.values())
    candidates = tuple(
        Candidate(member.address, _figure(member, exchange) if member.fit else None, pool.standing(member))
        for member in members[:SURVEYED]
    )
    return Decision(
        policy=pool.policy.name,
        candidates=candidates,
        more=max(0, len(members) - SURVEYED),
        panic=pool.panicking,
        budget=(budget.active, budget.allowed(in_flight)),
        line=line,
    )


def _figure(member: BackendState, exchange: Exchange) -> float | None:
    try:
        return float(member.policy.figure(member, exchange))
    except Exception:  # a user's; what only explains must not end what it explains
        _log.failure("{policy!r} has no figure for {address}", policy=member.policy, address=member.address)
        return None


def explain(exchange: Exchange, end: str = "", most: int = SURVEYED) -> dict[str, Any]:
    """All of it, ready for JSON. Times are seconds; what is not known, or does not apply, is null.

    :param end: how the exchange ends, where that is known before it has ended.
    :param most: candidates, attempts and back-offs told of at most.
    """
    decision, waits, bound = exchange.decision, exchange.waits, exchange.bound
    told: dict[str, Any] = {}
    if decision is not None:
        told["policy"] = _text(decision.policy)
        told["candidates"] = [_candidate(candidate) for candidate in decision.candidates[:most]]
        more = decision.more + max(0, len(decision.candidates) - most)
        if more:
            told["more_candidates"] = more
        if decision.panic:
            told["panic"] = True
        told["budget"] = {"taken": decision.budget[0], "allowed": _number(decision.budget[1])}
        told["line"] = decision.line
    told["sticky"] = None if bound is None else bound.address
    earlier = max(0, len(exchange.attempts) - most)
    if earlier:
        told["earlier_attempts"] = earlier
    told["attempts"] = [_attempt(attempt, exchange.started) for attempt in exchange.attempts[earlier:]]
    told["queued"] = 0.0 if waits is None else round(waits.queued, 6)
    told["backoffs"] = [] if waits is None else [round(seconds, 6) for seconds in waits.paused[:most]]
    told["budgeted"] = waits is not None and waits.took_budget
    told["end"] = exchange.end or end or None
    return told


def _candidate(candidate: Candidate) -> dict[str, Any]:
    told: dict[str, Any] = {"backend": candidate.address, "figure": _number(candidate.figure)}
    if candidate.passed_over:
        told["passed_over"] = _text(candidate.passed_over)
    return told


def _attempt(attempt: Attempt, begin: float) -> dict[str, Any]:
    if attempt.failure is not None:
        end = attempt.failure.cause
    elif attempt.seconds is not None:
        end = "answered"
    else:
        end = "given-up" if attempt.ended is not None else "running"
    return {
        "backend": attempt.member.address,
        "for": attempt.why or "first",
        "after": round(attempt.started - begin, 6),
        "seconds": _number(attempt.seconds),
        "end": end,
        "why": "" if attempt.failure is None else _text(str(attempt.failure)),
    }


def _text(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else f"{text[: _TEXT_LIMIT - 1]}…"


def _number(figure: float | None) -> float | None:
    """A figure as JSON has it: not infinite, and not longer than anyone reads."""
    return round(figure, 6) if figure is not None and math.isfinite(figure) else None


def explanation_line(exchange: Exchange, end: str = "") -> bytes:
    """The response's field for a trusted peer that asks: one line of JSON in ASCII, of :data:`LINE_LIMIT` bytes at most."""
    line = b""
    for most in (SURVEYED, 10, 3, 0):
        text = json.dumps(explain(exchange, end, most), separators=(",", ":"), ensure_ascii=True)
        line = b"X-Lbproxy-Explain: %b\r\n" % text.encode("ascii")
        if len(line) <= LINE_LIMIT:
            break
    return line
