"""What an operator wants of a backend, told by POST: ``/backends/ADDRESS/drain``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.server import Request

from ..balance.pool import Pool
from ..balance.state import WISHES, BackendState, Wish
from .pages import Answer, Node, json_answer, send

__all__ = ["REASON_BYTES", "WishPages"]

#: A reason is a sentence or two, and a thousand of them are kept for ``/events``.
REASON_BYTES = 1024

_NOT_ALLOWED = Answer("Only POST is served here.\n", code=405, fields=((b"Allow", b"POST"),))

_NOT_WRITABLE = Answer(
    "Nothing can be changed here: start lbproxy with --admin-writable to allow it, and see to it that the administration can be "
    "reached by operators only.\n",
    code=403,
)


class WishPages(Node):
    """Everything below ``/backends/``.

    A page in an operator's browser must not be able to post here on their behalf, so whatever comes from a browser's page is
    refused: they say so in Origin, Referer or Sec-Fetch-Site, and programs such as curl send none of these.

    :param pool: is told.
    :param report: the state of a backend, for JSON.
    :param writable: whether the operator has allowed it; otherwise every POST is refused.
    """

    isLeaf = True

    def __init__(self, pool: Pool, report: Callable[[BackendState], dict[str, Any]], writable: bool) -> None:
        super().__init__()
        self._pool = pool
        self._report = report
        self._writable = writable

    def render(self, request: Request) -> bytes | int:
        # Twisted has split the path at each slash and then decoded the parts, and a Unix socket's address has slashes.
        *parts, want = [part.decode("utf-8", "replace") for part in request.postpath or [b""]]
        if want not in WISHES or not any(parts):
            return super().render(request)
        if request.method != b"POST":
            return send(request, _NOT_ALLOWED)
        return send(request, self._refusal(request) or self._wish("/".join(parts), want, request))

    def _refusal(self, request: Request) -> Answer | None:
        if not self._writable:
            return _NOT_WRITABLE
        for name in ("Origin", "Referer", "Sec-Fetch-Site"):
            values = request.requestHeaders.getRawHeaders(name, [])
            if values and (name != "Sec-Fetch-Site" or values != ["none"]):
                return Answer(
                    f"This POST has {name}, so it comes from a page in a browser, and any page could have sent it; use a program "
                    "such as curl.\n",
                    code=403,
                )
        return None

    def _wish(self, address: str, want: str, request: Request) -> Answer:
        member = self._pool.members.get(address)
        if member is None:
            known = "".join(f"{known}\n" for known in self._pool.members)
            return Answer(f"There is no such backend in pool {self._pool.name}. There is\n{known}", code=404)
        assert request.content is not None
        data: bytes = request.content.read(REASON_BYTES + 1)
        if len(data) > REASON_BYTES:
            return Answer(f"The reason has more than {REASON_BYTES} bytes; it may have as many at most.\n", code=413)
        try:
            reason = data.decode().strip()
        except UnicodeDecodeError:
            return Answer("The reason is no UTF-8 text; nothing else is taken.\n", code=400)
        self._pool.wish(Wish(address, want, reason))
        return json_answer(self._report(member))
