"""What an operator wants of a backend, told by POST: ``/backends/ADDRESS/drain``, for every pool that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.web.server import Request

from ..balance.state import WISHES, Wish
from ..membership import Members
from .changes import body_text, only, refusal
from .pages import Answer, Node, json_answer, send

__all__ = ["Report", "WishPages", "wish"]

#: Gives the state of a pool's backend, for JSON.
Report = Callable[[Members, str], dict[str, Any]]


class WishPages(Node):
    """Everything below ``/backends/``.

    :param pools: the memberships of all pools.
    :param report: the state of a backend, for JSON.
    :param writable: whether the operator has allowed it; otherwise every POST is refused.
    """

    isLeaf = True

    def __init__(self, pools: Callable[[], Iterable[Members]], report: Report, writable: bool) -> None:
        super().__init__()
        self._pools = pools
        self._report = report
        self._writable = writable

    def render(self, request: Request) -> bytes | int:
        # Twisted has split the path at each slash and then decoded the parts, and a Unix socket's address has slashes.
        *parts, want = [part.decode("utf-8", "replace") for part in request.postpath or [b""]]
        if want not in WISHES or not any(parts):
            return super().render(request)
        if request.method != b"POST":
            return send(request, only("POST"))
        return send(request, refusal(request, self._writable) or self._wish("/".join(parts), want, request))

    def _wish(self, address: str, want: str, request: Request) -> Answer:
        having = [members for members in self._pools() if address in members.pool.members]
        if not having:
            return self._unknown()
        return wish(having, address, want, request, self._report)

    def _unknown(self) -> Answer:
        lists = [
            "".join((f"There is no such backend in pool {pool.name}. There is\n", *(f"{address}\n" for address in pool.members)))
            for pool in (members.pool for members in self._pools())
        ]
        return Answer("".join(lists) or "There is no pool.\n", code=404)


def wish(having: list[Members], address: str, want: str, request: Request, report: Report) -> Answer:
    """Let it be wanted of the backend in these pools; the body is the reason. The answer is the backend's state, and a list of
    them where there are several."""
    reason = body_text(request, "reason")
    if isinstance(reason, Answer):
        return reason
    for members in having:
        members.wish(Wish(address, want, reason))
    reports = [report(members, address) for members in having]
    return json_answer(reports if len(reports) > 1 else reports[0])
