"""What a supervisor and its workers say to each other: AMP over a pair of Unix sockets, which carries descriptors too."""

from __future__ import annotations

import json
from typing import Any

from twisted.protocols import amp

__all__ = [
    "Abandon",
    "Begin",
    "Certificates",
    "Commit",
    "Drain",
    "Farewell",
    "Json",
    "Large",
    "Leaving",
    "Log",
    "Prepare",
    "Refused",
    "Report",
    "Share",
    "Socket",
    "Tell",
]

#: Bytes of a value that AMP takes (:data:`twisted.protocols.amp.MAX_VALUE_LENGTH`).
PIECE = 0xFFFF


class Refused(Exception):
    """A worker cannot do it; says why, a line each."""


class Large(amp.Argument):
    """Bytes of any length: what does not fit into one of AMP's values goes on in further ones."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        data = self.to_bytes(self.retrieve(objects, name.decode("ascii"), proto))  # type: ignore[no-untyped-call]
        for number, start in enumerate(range(0, len(data) or 1, PIECE)):
            strings[_piece(name, number)] = data[start : start + PIECE]

    def fromBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        pieces: list[bytes] = []
        while (piece := strings.pop(_piece(name, len(pieces)), None)) is not None:
            pieces.append(piece)
        objects[name.decode("ascii")] = self.from_bytes(b"".join(pieces))

    def to_bytes(self, value: Any) -> bytes:
        """What is sent."""
        return bytes(value)

    def from_bytes(self, data: bytes) -> Any:
        """What was meant."""
        return data


class Json(Large):
    """A plain value."""

    def to_bytes(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode()

    def from_bytes(self, data: bytes) -> Any:
        return json.loads(data)


def _piece(name: bytes, number: int) -> bytes:
    return b"%b %d" % (name, number) if number else name


# To a worker.


class Socket(amp.Command):
    """A listening socket, for a listener of this description that the next ``Begin`` or ``Prepare`` names. Those of one listener
    have the same number."""

    arguments = [
        (b"listener", amp.Integer()),
        (b"description", amp.Unicode()),
        (b"family", amp.Integer()),
        (b"fd", amp.Descriptor()),
    ]


class Log(amp.Command):
    """An access log, for a worker that may not open it itself.

    ``path`` is as the configuration says it that the next ``Begin`` or ``Prepare`` brings; ``file`` does not hang on the
    directory in which a process runs.
    """

    arguments = [(b"path", amp.Unicode()), (b"file", amp.Unicode()), (b"fd", amp.Descriptor())]


class Begin(amp.Command):
    """Serve.

    ``row`` is the worker's own on the board; ``state`` has what is not in the configuration (:mod:`lbproxy.workers.state`). It is
    answered when it listens.
    """

    arguments = [(b"number", amp.Integer()), (b"row", amp.Integer()), (b"version", amp.Unicode())]
    arguments += [(b"configuration", Large()), (b"state", Json())]
    errors = {Refused: b"REFUSED"}


class Prepare(amp.Command):
    """Prepare to go by another configuration. It is answered when all is prepared."""

    arguments = [(b"configuration", Large()), (b"state", Json())]
    errors = {Refused: b"REFUSED"}


class Commit(amp.Command):
    """Go by what was prepared. A worker that cannot, after all, is of no use any more."""

    errors = {Refused: b"REFUSED"}


class Abandon(amp.Command):
    """Forget what was prepared."""


class Certificates(amp.Command):
    """Read the certificates' files anew: the supervisor has. A worker that cannot says so in its log. ``files`` are lent
    (:mod:`lbproxy.workers.loans`)."""

    arguments = [(b"files", Json())]


class Report(amp.Command):
    """Say what was counted since the last time (:mod:`lbproxy.workers.sheet`). It is the heartbeat as well."""

    response = [(b"sheet", Json())]


class Drain(amp.Command):
    """Bring what runs to its end, and end.

    ``last``: nobody else listens on the same sockets, so that what waits in their queues is to be accepted. ``now``: what runs is
    not waited for.
    """

    arguments = [(b"last", amp.Boolean()), (b"now", amp.Boolean())]


# To the supervisor.


class Farewell(amp.Command):
    """The worker's last report, before it ends in order. It ends when it is answered."""

    arguments = [(b"sheet", Json())]


class Leaving(amp.Command):
    """It was told by a signal to end, accepts nobody any more, and brings to its end what runs."""

    requiresAnswer = False


# Both ways.


class Tell(amp.Command):
    """Calls of :class:`lbproxy.interfaces.IPoolControl`, in their order (:mod:`lbproxy.workers.calls`): what the control plane
    says to all workers; what traffic has taught one of them. Beside these, workers are told ``recall``
    (:meth:`lbproxy.balance.pool.Pool.recall`) and ``slots`` (:class:`lbproxy.workers.slots.Slots`)."""

    arguments = [(b"calls", Json())]
    requiresAnswer = False


class Share(amp.Command):
    """What limits that are the machine's have given, to whom (:mod:`lbproxy.workers.sharing`)."""

    arguments = [(b"given", Json())]
    requiresAnswer = False
