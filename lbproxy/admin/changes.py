"""What every page has in common at which something is changed: who may do it, and what they sent with it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET, Request

from .pages import Answer, Node, send

__all__ = ["BODY_BYTES", "Order", "body_text", "only", "refusal"]

#: A reason is a sentence or two, and a thousand of them are kept for ``/events``; a backend is less.
BODY_BYTES = 1024

_NOT_WRITABLE = Answer(
    "Nothing can be changed here: start lbproxy with --admin-writable to allow it, and see to it that the administration can be "
    "reached by operators only.\n",
    code=403,
)


def only(*methods: str) -> Answer:
    """The refusal of any other method."""
    allowed = ", ".join(methods)
    return Answer(f"Only {allowed} is served here.\n", code=405, fields=((b"Allow", allowed.encode("ascii")),))


def refusal(request: Request, writable: bool) -> Answer | None:
    """Why nothing may be changed by the request; None: it may.

    A page in an operator's browser must not be able to change anything on their behalf, so whatever comes from a browser's page
    is refused: they say so in Origin, Referer or Sec-Fetch-Site, and programs such as curl send none of these.

    :param writable: whether the operator has allowed it to whoever comes here.
    """
    if not writable:
        return _NOT_WRITABLE
    for name in ("Origin", "Referer", "Sec-Fetch-Site"):
        values = request.requestHeaders.getRawHeaders(name, [])
        if values and (name != "Sec-Fetch-Site" or values != ["none"]):
            method = (request.method or b"").decode("ascii", "replace")
            return Answer(
                f"This {method} has {name}, so it comes from a page in a browser, and any page could have sent it; use a program "
                "such as curl.\n",
                code=403,
            )
    return None


class Order(Node):
    """A page at which something is ordered by POST that takes a while, and that answers when it is done.

    :param writable: whether the operator has allowed it; otherwise every POST is refused.
    """

    def __init__(self, writable: bool) -> None:
        super().__init__()
        self._writable = writable

    def begin(self) -> Answer | Deferred[Answer]:
        """Have it done.

        :return: at once why that is not begun, or what came of it, which never fails.
        """
        raise NotImplementedError

    def render(self, request: Request) -> bytes | int:
        answer = only("POST") if request.method != b"POST" else refusal(request, self._writable) or self.begin()
        if isinstance(answer, Answer):
            return send(request, answer)
        left: list[object] = []
        request.notifyFinish().addErrback(left.append)  # the client has left; it is done nevertheless
        answer.addCallback(_finish, request, left)
        return NOT_DONE_YET


def _finish(answer: Answer, request: Request, left: list[object]) -> None:
    if not left:
        request.write(send(request, answer))
        request.finish()


def body_text(request: Request, what: str) -> str | Answer:
    """The request's body as text without the space around it; or the refusal of one that is too long, or no text.

    :param what: it is to be, such as ``reason``.
    """
    assert request.content is not None
    data: bytes = request.content.read(BODY_BYTES + 1)
    if len(data) > BODY_BYTES:
        return Answer(f"The {what} has more than {BODY_BYTES} bytes; it may have as many at most.\n", code=413)
    try:
        return data.decode().strip()
    except UnicodeDecodeError:
        return Answer(f"The {what} is no UTF-8 text; nothing else is taken.\n", code=400)
