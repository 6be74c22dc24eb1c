"""Heads of messages as values, and what a message may be. They are read in :mod:`.request_head` and :mod:`.response_head`."""

from __future__ import annotations

from math import inf

from ..settings import Settings

__all__ = ["MessageLimits", "RequestHead", "ResponseHead"]


class MessageLimits:
    """What a message may be.

    :ivar size: bytes of a head.
    :ivar fields: fields in a head.
    :ivar target: bytes of a request target.
    :ivar body: bytes of a request's body.
    :ivar underscores: whether a request's field names may have them.
    """

    __slots__ = ("body", "fields", "size", "target", "underscores")

    def __init__(self, size: int, fields: int, target: int, body: float = inf, underscores: bool = False) -> None:
        self._take(size, fields, target, body, underscores)

    def _take(self, size: int, fields: int, target: int, body: float, underscores: bool) -> None:
        self.fields = fields
        self.size = size
        self.target = target
        self.body = body
        self.underscores = underscores

    @classmethod
    def of(cls, settings: Settings) -> MessageLimits:
        """As the settings say."""
        return cls(*_limits(settings))

    def configure(self, settings: Settings) -> None:
        """Let them be what these settings say, for whoever goes by this object."""
        self._take(*_limits(settings))


def _limits(settings: Settings) -> tuple[int, int, int, float, bool]:
    return (
        settings.head_limit,
        settings.field_limit,
        settings.target_limit,
        settings.body_limit or inf,
        settings.allow_underscores,
    )


class RequestHead:
    """One request's head.

    :ivar method: as it came, such as ``b"GET"``.
    :ivar target: the request target as it came; of one in absolute form, the part that goes on: the path with its query, or
        ``*``.
    :ivar minor: 0 or 1, of HTTP/1.x.
    :ivar fields: the lines of the fields that go on, each ended by CRLF: in order, in their case, repeated ones kept.
    :ivar known: the values of the fields that mean something here (:data:`.fields.KNOWN_IN_REQUEST`), by lower-case name.
    :ivar host: the Host field's value, or in HTTP/1.0 without one the host of a target in absolute form; otherwise None.
    :ivar length: the body's Content-Length; -1 when there is none.
    :ivar chunked: whether the body comes in chunks.
    :ivar has_body: whether body bytes follow the head.
    :ivar keep_alive: whether the client wants the connection kept.
    :ivar expects_continue: whether the client waits for 100 before it sends the body; its Expect field goes on.
    :ivar upgrade: the protocols that the client would go over to, as its Upgrade field names them; empty when there are none,
        or one among them that would lead past this balancer's rules: then it is an ordinary request.
    :ivar trailers_wanted: whether the client takes trailers.
    :ivar fields_dropped: lines that do not go on because their names have underscores.
    :ivar plain: whether there is nothing in it for its next hop alone to be told.
    """

    # Defaults stand in the class, not in slots: most heads change none of them, and setting each costs.
    host: bytes | None = None
    length = -1
    chunked = False
    has_body = False
    keep_alive = True
    expects_continue = False
    upgrade = b""
    trailers_wanted = False
    fields_dropped = 0
    plain = True

    def __init__(self, method: bytes, target: bytes, minor: int, fields: bytes, known: dict[bytes, bytes]) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.known = known

    def frame(self, length: int, chunked: bool) -> None:
        """Say how the body is framed; heads without this have none."""
        self.length = length
        self.chunked = chunked
        self.plain = self.plain and not chunked
        self.has_body = chunked or length > 0


class ResponseHead:
    """One response's head.

    :ivar status: 100 to 999.
    :ivar reason: the reason phrase, perhaps empty.
    :ivar fields: the lines of the fields that go on, each ended by CRLF, in order; Content-Length is among them.
    :ivar length: the body's length; 0 when the response has none by rule, -1 when it is not known ahead.
    :ivar chunked: whether the body comes in chunks.
    :ivar keep_alive: whether the backend keeps the connection.
    :ivar upgrade: the Upgrade field's value, of a 101 (never empty there) or a 426.
    """

    length = -1
    chunked = False
    keep_alive = True
    upgrade = b""

    def __init__(self, status: int, reason: bytes, fields: bytes) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
