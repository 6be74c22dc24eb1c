"""A pool and its members: what is below ``/pools/``. Members are added, removed, weighed, drained and made ready here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.web.server import Request

from ..balance.backend import Backend
from ..balance.backend_values import backend_of
from ..balance.state import WISHES
from ..errors import ConfigurationError
from ..membership import Members, MembershipConflict, UnknownBackend
from .changes import body_text, only, refusal
from .pages import Answer, Node, json_answer, send
from .wishes import Report, wish

__all__ = ["PoolPages"]


class PoolPages(Node):
    """Everything below ``/pools/``.

    :param find: gives the membership of the pool of that name; None: there is no such pool.
    :param names: of all pools.
    :param show: the state of a pool, for JSON.
    :param report: the state of a backend, for JSON.
    :param writable: whether the operator has allowed changes; otherwise all of them are refused.
    """

    isLeaf = True

    def __init__(
        self,
        find: Callable[[str], Members | None],
        names: Callable[[], list[str]],
        show: Callable[[str], dict[str, Any]],
        report: Report,
        writable: bool,
    ) -> None:
        super().__init__()
        self._find = find
        self._names = names
        self._show = show
        self._report = report
        self._writable = writable

    def render(self, request: Request) -> bytes | int:
        parts = [part.decode("utf-8", "replace") for part in request.postpath or []]
        if parts in ([], [""]):
            return send(request, self._read(request, self._names))
        members = self._find(parts[0])
        if members is None:
            return send(request, self._unknown_pool())
        if len(parts) == 1:
            return send(request, self._read(request, lambda: self._show(parts[0])))
        if parts[1] != "backends":
            return super().render(request)
        answer = self._change(request, members, parts[2:])
        return super().render(request) if answer is None else send(request, answer)

    def _read(self, request: Request, make: Callable[[], Any]) -> Answer:
        return json_answer(make()) if request.method in (b"GET", b"HEAD") else only("GET", "HEAD")

    def _unknown_pool(self) -> Answer:
        return Answer("There is no such pool. There is\n" + "".join(f"{name}\n" for name in self._names()), code=404)

    def _change(self, request: Request, members: Members, rest: list[str]) -> Answer | None:
        """What comes of a request for ``/pools/NAME/backends`` with *rest* after it; None: there is nothing there."""
        # As in WishPages, an address may have slashes.
        address, act = "/".join(rest[:-1]), rest[-1] if rest else ""
        method = request.method
        if method == b"DELETE" and any(rest):
            return self._guarded(request, members, lambda: self._remove(members, "/".join(rest)))
        if not any(rest):
            if method != b"POST":
                return only("POST")
            return self._guarded(request, members, lambda: self._add(members, request))
        if not address or act not in (*WISHES, "weight"):
            return only("DELETE") if method != b"POST" else None
        if method != b"POST":
            return only("POST")
        if act == "weight":
            return self._guarded(request, members, lambda: self._weigh(members, address, request))
        return self._guarded(request, members, lambda: self._wish(members, address, act, request))

    def _guarded(self, request: Request, members: Members, change: Callable[[], Answer]) -> Answer:
        refused = refusal(request, self._writable)
        if refused is not None:
            return refused
        try:
            return change()
        except UnknownBackend:
            known = "".join(f"{address}\n" for address in members.pool.members)
            return Answer(f"There is no such backend in pool {members.pool.name}. There is\n{known}", code=404)
        except ConfigurationError as error:
            return Answer(f"{error}\n", code=409 if isinstance(error, MembershipConflict) else 400)

    def _add(self, members: Members, request: Request) -> Answer:
        text = body_text(request, "backend")
        if isinstance(text, Answer):
            return text
        backend = _backend(text)
        code = 200 if backend.address in members.pool.members else 201
        members.add(backend)
        answer = json_answer(self._report(members, backend.address))
        return Answer(answer.body, answer.kind, code)

    def _remove(self, members: Members, address: str) -> Answer:
        members.remove(address)
        return json_answer(self._show(members.pool.name))

    def _weigh(self, members: Members, address: str, request: Request) -> Answer:
        text = body_text(request, "weight")
        if isinstance(text, Answer):
            return text
        weight: Any = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
        members.weigh(address, weight)
        return json_answer(self._report(members, address))

    def _wish(self, members: Members, address: str, want: str, request: Request) -> Answer:
        if address not in members.pool.members:
            raise UnknownBackend(address)
        return wish([members], address, want, request, self._report)


def _backend(text: str) -> Backend:
    """A backend as on the command line, or as a JSON object.

    :raises ConfigurationError: it is neither.
    """
    if not text.startswith("{"):
        return backend_of(text)
    try:
        return backend_of(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigurationError(f"The backend is no JSON: {error}") from None
