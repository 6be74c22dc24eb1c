"""Members of pools, for the tests of policies."""

from __future__ import annotations

from lbproxy.balance.backend import Backend
from lbproxy.balance.state import BackendState
from lbproxy.interfaces import IPolicy

__all__ = ["begin", "end", "firsts", "member", "members", "named"]


def member(name: str, weight: int = 1) -> BackendState:
    """A member of a pool."""
    return BackendState(Backend(name, 80, weight=weight), 0.0)


def members(*weights: int) -> list[BackendState]:
    """Members n0, n1, n2 … of these weights."""
    return [member(f"n{number}", weight) for number, weight in enumerate(weights)]


def named(given: list[BackendState]) -> list[str]:
    """Their names."""
    return [one.backend.host for one in given]


def firsts(policy: IPolicy, count: int) -> list[str]:
    """Who is chosen for the next exchanges."""
    return [next(policy.candidates(None)).backend.host for _ in range(count)]


def begin(policy: IPolicy, given: BackendState, count: int = 1) -> None:
    """Attempts begin at a member."""
    for _ in range(count):
        given.in_flight += 1
        policy.begun(given)


def end(policy: IPolicy, given: BackendState, count: int = 1, *, seconds: float | None = 0.01, failed: bool = False) -> None:
    """Attempts at a member are over."""
    for _ in range(count):
        given.in_flight -= 1
        policy.ended(given, seconds, failed)
