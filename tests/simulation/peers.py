"""The connections of the simulated clients and backends: what each has sent, what each has got."""

from __future__ import annotations

from typing import Any

from lbproxy.wire import HIGH_WATER

from ..support import Peer
from .messages import Answer, Asked, Outbox, number_of

__all__ = ["Backend", "Client", "End"]

_PROXY_HEADERS = (b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n")


class End(Peer):
    """A peer whose connection holds so many unread bytes, and says once, as a socket does, that it is full.

    :ivar name: what a trace calls it.
    :ivar out: what it is about to send.
    :ivar sent: what it has sent, and our side perhaps not read.
    :ivar left: whether it has closed or reset the connection itself.
    :ivar stopped: whether it has ever stopped reading.
    """

    def __init__(self, clock: Any, name: str, narrow: bool, address: str) -> None:
        super().__init__(clock, address)
        self.name = name
        self.out = Outbox()
        self.sent = bytearray()
        self.left = self.stopped = False
        self._room = HIGH_WATER if narrow else 1 << 30

    def say(self, data: bytes) -> bool:
        """Send it, unless the connection has ended; whether there was anything to be heard."""
        if not data or self.gone:
            return False
        self.sent += data
        self.send(data)
        return True

    @property
    def gone(self) -> bool:
        """Whether nothing that it sends is heard any more."""
        return self.lost or self.closed or self.left or self._ending is not None or self.said_all

    @property
    def said_all(self) -> bool:
        """Whether it has ended its sending, and still reads."""
        return self._reads_on

    @property
    def full(self) -> bool:
        """Whether it does not read."""
        return self._full

    def write(self, data: bytes) -> None:
        super().write(data)
        came = self.received()
        self.unsent += len(came)
        self.take(came)
        if self.unsent > self._room and not self._full:
            self.stop_reading()

    def take(self, data: bytes) -> None:
        """Something has come, be it read or not."""
        raise NotImplementedError

    def stop_reading(self) -> None:
        self.stopped = True
        super().stop_reading()

    def read_on(self) -> None:
        self.unsent = 0
        super().read_on()

    def read_a_little(self) -> None:
        """It takes some bytes, and is as full as before."""
        self.unsent -= min(self.unsent, 1000)

    def rest_is_read(self) -> None:
        """What has come is read by one that reads."""
        if not self._full:
            self.unsent = 0

    def leave(self) -> None:
        """Close."""
        self.left = True
        self.hang_up()

    def break_off(self) -> None:
        """Reset."""
        self.left = True
        self.reset()


class Client(End):
    """A client.

    :ivar asked: its requests, in order.
    :ivar talks_nonsense: whether what it sends is HTTP no more, so that it asks for nothing more.
    :ivar got: what it was sent.
    """

    def __init__(self, clock: Any, name: str, narrow: bool) -> None:
        super().__init__(clock, name, narrow, "192.0.2.7")
        self.asked: list[Asked] = []
        self.talks_nonsense = False
        self.got = bytearray()

    def ask(self, asked: Asked) -> None:
        """Let a request follow what it is about to send."""
        before = self.asked[-1].ends if self.asked else 0
        asked.head_ends = before + len(asked.head)
        asked.ends = before + sum(map(len, asked.parts))
        self.asked.append(asked)
        self.out.add(*asked.parts)

    def take(self, data: bytes) -> None:
        self.got += data

    @property
    def in_chunks(self) -> bool:
        """Whether it has sent a chunked request's head, and a part of its body or none, but no chunk in part."""
        last = self.asked[-1] if self.asked else None
        sending = last is not None and last.head_ends <= len(self.sent) < last.ends
        return last is not None and sending and not self.out.torn and b"chunked" in last.head

    @property
    def in_tunnel(self) -> bool:
        """Whether it was told that its protocol is spoken now."""
        return bool(self.asked) and self.asked[-1].upgrade and b"HTTP/1.1 101 " in self.got


class Backend(End):
    """A backend's connection.

    :ivar host: where it is.
    :ivar requests: the bytes of each request that came, in order; of the last, what came after it too.
    :ivar answer: the one that it has begun last.
    :ivar tunnel_begins: how many bytes it had sent when its tunnel began; None: there is none.
    """

    def __init__(self, clock: Any, name: str, narrow: bool, address: str) -> None:
        super().__init__(clock, name, narrow, address)
        self.host = address
        self.requests: list[bytearray] = []
        self.answer: Answer | None = None
        self.answered = True
        self._answer_begins = 0
        self.tunnel_begins: int | None = None

    def take(self, data: bytes) -> None:
        if not self.requests and data.startswith(_PROXY_HEADERS):
            return
        if not self.requests or (self.answered and number_of(data)):  # a body may go on after an early answer
            self.answered = False
            self.answer = None
            self.requests.append(bytearray())
        self.requests[-1] += data

    @property
    def asked(self) -> int:
        """The number of the request that it has got and not answered; 0: there is none."""
        return 0 if self.answered or not self.requests else number_of(bytes(self.requests[-1][:100]))

    def say(self, data: bytes) -> bool:
        """Send it. An answer counts as given before its last bytes are sent: the next request may come at once."""
        answer = self.answer
        if answer is not None and not self.out and not self.gone and self.tunnel_begins is None:
            answer.whole = not answer.until_close
            self.answered = not answer.last
        return super().say(data)

    def begin(self, answer: Answer) -> None:
        """Let an answer be what it is about to send."""
        self.answer = answer
        self._answer_begins = len(self.sent)
        self.out.add(answer.head, *answer.framed)

    def leave(self) -> None:
        """Close. An answer without another end ends with it, and nobody can know whether there was to be more."""
        answer = self.answer
        if answer is not None and answer.until_close:
            answer.body = answer.body[: max(0, len(self.sent) - self._answer_begins - len(answer.head))]
            answer.whole = True
        super().leave()
