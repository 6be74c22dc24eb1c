"""A second, independent opinion on what bytes say: messages as h11 reads them, and rules that h11 does not know.

Where h11 takes more than RFC 9112 allows, :func:`check_raw` is stricter, because a backend may read such bytes in another way: a
bare LF that ends a line, folded lines, control bytes in values. Where h11 takes less, :data:`STRICTER` lists it with its reason;
anything else that lbproxy takes and h11 refuses is a finding.
"""

from __future__ import annotations

import re
from typing import Any

import h11

__all__ = [
    "STRICTER",
    "Message",
    "Unkept",
    "check_raw",
    "hold",
    "in_words",
    "is_stricter",
    "read_request",
    "read_response",
    "tokens",
]

#: What a head may have for h11, so that it is our limits that strike and not its own.
LARGE = 1 << 20

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\Z")
_FRAMING = (b"content-length", b"transfer-encoding")
_SIZE = re.compile(rb"[0-9A-Fa-f]+\Z")

# From a last chunk's size line into its trailers.
_TRAILERS = rb"(?i)\n0+[ \t]*(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*"

#: Where h11 refuses what RFC 9112 allows: what it says, what stands in such bytes, the reason.
STRICTER: list[tuple[str, re.Pattern[bytes], str]] = [
    (
        "illegal chunk header",
        re.compile(rb"\n[0-9A-Fa-f]+[ \t]+;"),
        "section 7.1.1 allows white space before a chunk extension; h11 takes it at the end of the line alone",
    ),
    (
        "Transfer-Encoding",
        re.compile(_TRAILERS + rb"transfer-encoding:"),
        "section 6.5.1 of RFC 9110 lets a recipient drop trailers that frame, as lbproxy does; h11 judges them as a head's",
    ),
    ("Content-Length", re.compile(_TRAILERS + rb"content-length:"), "as above"),
]


class Unkept(AssertionError):
    """A promise was not kept.

    :ivar promise: which, in words.
    """

    def __init__(self, promise: str, *evidence: Any) -> None:
        super().__init__(f"{promise}: {', '.join(map(repr, evidence))}" if evidence else promise)
        self.promise = promise


def hold(kept: object, promise: str, *evidence: Any) -> None:
    """Raise :class:`Unkept` unless it is *kept*."""
    if not kept:
        raise Unkept(promise, *evidence)


class Message:
    """One message as h11 reads it.

    :ivar head: h11's event; None while the head is not complete.
    :ivar interim: the statuses of interim responses before it.
    :ivar body: of it what is here.
    :ivar whole: whether its end is here.
    :ivar raw: its bytes, those of interim responses included.
    :ivar rest: the bytes after it.
    """

    def __init__(self) -> None:
        self.head: Any = None
        self.interim: list[int] = []
        self.body = b""
        self.whole = False
        self.raw = self.rest = b""

    def take(self, event: Any) -> None:
        """Take one of h11's events."""
        if isinstance(event, h11.InformationalResponse):
            self.interim.append(event.status_code)
        elif isinstance(event, h11.Data):
            self.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self.whole = True
        else:
            self.head = event

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields of that name (in lower case)."""
        return [value for field, value in self.head.headers if field == name]

    def names(self) -> set[bytes]:
        """The names of all fields, in lower case."""
        return {name for name, _ in self.head.headers}


def read_request(data: bytes) -> Message:
    """The first request in *data*; h11's own error when it is none."""
    return _read(h11.Connection(h11.SERVER, LARGE), data, False)


def read_response(data: bytes, method: bytes, ended: bool) -> Message:
    """The first response in *data*.

    :param method: of the request that it answers.
    :param ended: whether the connection was closed in good order after it.
    """
    connection = h11.Connection(h11.CLIENT, LARGE)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return _read(connection, data, ended)


def _read(connection: h11.Connection, data: bytes, ended: bool) -> Message:
    message = Message()
    connection.receive_data(data)
    while not message.whole:
        event = connection.next_event()
        if event is h11.NEED_DATA and ended and message.head is not None and _until_close(message):
            connection.receive_data(b"")
        elif event is h11.NEED_DATA:
            break
        else:
            message.take(event)
    message.rest = connection.trailing_data[0] if message.whole else b""
    message.raw = data[: len(data) - len(message.rest)]
    return message


def _until_close(message: Message) -> bool:
    return not any(message.values(name) for name in _FRAMING)


def is_stricter(error: h11.ProtocolError, data: bytes) -> bool:
    """Whether h11 refused *data* with this error for what RFC 9112 allows."""
    return any(words in str(error) and pattern.search(data) for words, pattern, _ in STRICTER)


def in_words(error: h11.ProtocolError) -> str:
    """What h11 says, without the bytes and numbers that it says it of: one cause is one finding."""
    return re.sub(r"\d+", "N", str(error).partition(":")[0])


def tokens(message: Message, name: bytes) -> set[bytes]:
    """The parts of a field that is a list, in lower case."""
    parts = b",".join(message.values(name)).lower().split(b",")
    return {part.strip(b" \t") for part in parts} - {b""}


def check_raw(message: Message) -> None:
    """Hold the bytes of a message that left lbproxy to the letter of RFC 9112, where h11 does not."""
    head, _, body = message.raw.partition(b"\r\n\r\n")
    for _ in message.interim:
        _check_lines(head)
        hold(not _framing_lines(head), "an interim response has no framing", head)
        head, _, body = body.partition(b"\r\n\r\n")
    _check_lines(head)
    framing = message.values(b"content-length") + message.values(b"transfer-encoding")
    hold(len(framing) <= 1, "one framing field", framing)
    hold(len(_framing_lines(head)) == len(framing), "one framing field", head)
    hold(not message.values(b"keep-alive") + message.values(b"proxy-connection"), "no hop-by-hop field", head)
    if message.values(b"transfer-encoding") and body:
        _check_chunks(body, message.whole)


def _framing_lines(head: bytes) -> list[bytes]:
    return [line for line in head.lower().split(b"\r\n") if line.partition(b":")[0].strip() in _FRAMING]


def _check_lines(head: bytes) -> None:
    first, *fields = head.split(b"\r\n")
    hold(not _CONTROL.search(first), "no control byte in a start line", first)
    for line in fields:
        hold(_FIELD.match(line), "field lines are a name, a colon, a value", line)


def _check_chunks(body: bytes, whole: bool) -> None:
    """Sizes alone, without signs, spaces or extensions, and CRLF where it belongs."""
    while True:
        size, end, body = body.partition(b"\r\n")
        if not end and not whole:
            return
        hold(_SIZE.match(size), "chunk sizes are hexadecimal digits alone", size)
        length = int(size, 16)
        if not length:
            break
        hold(body[length : length + 2] in ((b"\r\n",) if whole else (b"\r\n", b"\r", b"")), "chunks end with CRLF", size)
        body = body[length + 2 :]
    for line in body.split(b"\r\n"):
        hold(not line or _FIELD.match(line) or not whole, "trailer lines are a name, a colon, a value", line)
