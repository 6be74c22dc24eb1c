"""Pages as they are sent: answers that are never cached, a list of contents, and what is said where there is nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, TaskStopped, cooperate
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from .json_parts import json_parts

__all__ = ["CONTENTS", "JSON", "Answer", "Fresh", "Node", "Page", "PartsPage", "json_answer", "send"]

_TEXT = "text/plain; charset=utf-8"
#: The media type of JSON.
JSON = "application/json"

_log = Logger()

_METHODS = (b"GET", b"HEAD")
#: What twisted.web has no words for.
_PHRASES = {422: b"Unprocessable Content"}

CONTENTS = """\
/status   the pools, their backends, routes, client connections and certificates, as JSON
/routes   all routes, and what came of the exchanges that took them, as JSON
/pools    the names of the pools, as JSON; /pools/NAME is one of them
/events   the last changes of state, oldest first, as JSON; ?since=N for those after number N
/metrics  figures for Prometheus
/healthz  200 while a pool has a backend that is up, otherwise 503; also 503 from when it is told to stop
          ?pool=NAME for one pool
/config   the configuration that it goes by, without its secrets
/explain  ?request=GET%20https://shop.example/cart: which route a request takes, and why

With --admin-writable:
POST /backends/ADDRESS/ready        the backend takes exchanges, if it is well, in every pool that has it
POST /backends/ADDRESS/drain        it gets no new ones but for its sticky sessions
POST /backends/ADDRESS/maintenance  it gets none at all
The body, at most 1 KiB of text, is the reason that /events will show.

POST   /pools/NAME/backends                  adds a backend; the body is what the command line takes, or a JSON object with
                                             address, weight, tier and the like
DELETE /pools/NAME/backends/ADDRESS          removes it
POST   /pools/NAME/backends/ADDRESS/weight   the body is its new weight
POST   /pools/NAME/backends/ADDRESS/drain    as above, in this pool alone; so do ready and maintenance
POST   /reload                               reads the configuration anew: 200 and what differed, or 422 and what is wrong
POST   /upgrade                              has a new program take over: 200 and its process, or 422 and why this one goes on
"""


@attrs.frozen
class Answer:
    """What a page says: the body as text or bytes, its media type, the status, further header fields."""

    body: str | bytes
    kind: str = _TEXT
    code: int = 200
    fields: tuple[tuple[bytes, bytes], ...] = ()


_READ_ONLY = Answer("Only GET and HEAD are served here: this page is read-only.\n", code=405, fields=((b"Allow", b"GET, HEAD"),))


def json_answer(value: Any) -> Answer:
    """A value, so that programs and people can read it."""
    return Answer(b"".join(json_parts(value)), JSON)


class Node(Resource):
    """A place in the tree where there is nothing, which says what there is elsewhere."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def getChild(self, path: bytes, request: Request) -> Resource:
        return Node()

    def render(self, request: Request) -> bytes | int:
        return send(request, Answer("There is nothing here. There is\n" + CONTENTS, code=404))


class Page(Node):
    """A page that is made anew each time it is asked for.

    :param make: makes it, from the request.
    """

    def __init__(self, make: Callable[[Request], Answer]) -> None:
        super().__init__()
        self._make = make

    def render(self, request: Request) -> bytes:
        if request.method not in _METHODS:
            return send(request, _READ_ONLY)
        return send(request, self._make(request))


class PartsPage(Node):
    """A page that is made in parts. Where it has several, the reactor has its turns between them, so that nobody's exchange
    waits until a large page is made.

    :param make: makes the parts.
    :param kind: its media type.
    :param reactor: gives the turns; without one, the installed one does.
    """

    def __init__(self, make: Callable[[], Iterator[bytes]], kind: str, reactor: IReactorTime | None) -> None:
        super().__init__()
        self._make = make
        self._kind = kind
        self._cooperate = cooperate if reactor is None else Cooperator(scheduler=partial(reactor.callLater, 0)).cooperate

    def render(self, request: Request) -> bytes | int:
        if request.method not in _METHODS:
            return send(request, _READ_ONLY)
        parts = self._make()
        made = [*islice(parts, 2)]
        if len(made) < 2:
            return send(request, Answer(b"".join(made), self._kind))
        making = self._cooperate(_collected(parts, made))
        request.notifyFinish().addErrback(lambda _: making.stop())  # the client has left
        making.whenDone().addCallbacks(self._finish, self._fail, callbackArgs=(request, made), errbackArgs=(request,))
        return NOT_DONE_YET

    def _finish(self, _: Any, request: Request, made: list[bytes]) -> None:
        request.write(send(request, Answer(b"".join(made), self._kind)))
        request.finish()

    def _fail(self, failure: Failure, request: Request) -> None:
        if not failure.check(TaskStopped):
            request.processingFailed(failure)


class Fresh(Node):
    """A page of figures, which is shown when they are those of now.

    :param refresh: fires then. What is no GET or HEAD does not wait for it.
    """

    def __init__(self, refresh: Callable[[], Deferred[None]], page: Node) -> None:
        super().__init__()
        self.isLeaf = page.isLeaf
        self._refresh = refresh
        self._page = page

    def render(self, request: Request) -> bytes | int:
        if request.method not in _METHODS:
            return self._rendered(request)
        ready: list[object] = []
        refreshing = self._refresh().addErrback(_cannot_refresh).addCallback(ready.append)
        if ready:
            return self._rendered(request)
        left: list[object] = []
        request.notifyFinish().addErrback(left.append)  # the client has left
        refreshing.addCallback(self._finish, request, left).addErrback(request.processingFailed)
        return NOT_DONE_YET

    def _rendered(self, request: Request) -> bytes | int:
        body: bytes | int = self._page.render(request)
        return body

    def _finish(self, _: object, request: Request, left: list[object]) -> None:
        body = NOT_DONE_YET if left else self._rendered(request)
        if isinstance(body, bytes):
            request.write(body)
            request.finish()


def _cannot_refresh(failure: Failure) -> None:
    _log.failure("figures could not be brought up to now", failure)


def _collected(parts: Iterator[bytes], made: list[bytes]) -> Iterator[None]:
    for part in parts:
        made.append(part)
        yield


def send(request: Request, answer: Answer) -> bytes:
    """Set the answer's head; gives what is left of its body for ``render`` to return."""
    body = answer.body.encode() if isinstance(answer.body, str) else answer.body
    request.setResponseCode(answer.code, _PHRASES.get(answer.code))
    for name, value in (
        (b"Content-Type", answer.kind.encode("ascii")),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        *answer.fields,
    ):
        request.setHeader(name, value)
    return b"" if request.method == b"HEAD" else body
