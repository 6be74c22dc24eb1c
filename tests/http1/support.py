"""The server side of HTTP/1.1 in memory, with exchanges that the test answers."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.deadlines import DeadlineSweep
from lbproxy.http1.factory import ServerFactory
from lbproxy.http1.head import RequestHead
from lbproxy.proxy.counters import ListenerCounters
from lbproxy.settings import Settings

from ..support import OK, START, Peer, response

IDLE = 60.0


class FakeExchange:
    """An exchange that remembers what it is told, and answers when the test says so."""

    def __init__(self, downstream: Any, head: RequestHead, client: Any) -> None:
        self.downstream = downstream
        self.head = head
        self.client = client
        self.body = b""
        self.ended = not head.has_body
        self.end = ""
        self.heard: list[str] = []
        self.forwarded = False

    def body_data(self, data: bytes) -> None:
        assert data
        self.body += data

    def body_end(self, trailers: bytes = b"") -> None:
        self.ended = True
        self.trailers = trailers

    def client_lost(self, end: str = "client-left", status: int = 0) -> None:
        self.end = end

    def pause_response(self) -> None:
        self.heard.append("pause")

    def resume_response(self) -> None:
        self.heard.append("resume")

    def respond(self, data: bytes = OK, complete: bool = True) -> None:
        """Answer with the head and the beginning of the body in *data*."""
        head, _, body = data.partition(b"\r\n\r\n")
        parsed = response(head + b"\r\n\r\n", self.head.method)
        if complete:
            self.end = "done"
        self.downstream.respond(parsed, body, complete)

    def finish(self, *data: bytes) -> None:
        """Send the rest of the body, and end it."""
        for part in data:
            self.downstream.write(part)
        self.end = "done"
        self.downstream.finish()


class FakeMaker:
    """Makes exchanges that wait for the test; *answer* is given at once instead."""

    def __init__(self) -> None:
        self.exchanges: list[FakeExchange] = []
        self.answer = b""

    def client(self, address: str, secure: bool, source: Any, destination: Any, identity: bytes = b"") -> Any:
        return address, secure

    def exchange(self, downstream: Any, head: RequestHead, client: Any) -> FakeExchange:
        return FakeExchange(downstream, head, client)

    def forward(self, exchange: FakeExchange) -> None:
        exchange.forwarded = True
        self.exchanges.append(exchange)
        if self.answer:
            exchange.respond(self.answer)


class ServerCase(SynchronousTestCase):
    """One client's connection."""

    settings = Settings()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.sweep = DeadlineSweep(self.clock, IDLE)
        self.sweep.start()
        self.maker = FakeMaker()
        self.counters = ListenerCounters()
        self.factory = ServerFactory(self.maker, self.settings, self.clock.seconds, self.sweep.watched, self.counters)
        self.client = self.connect()

    def connect(self) -> Peer:
        return Peer(self.clock).attach(self.factory.buildProtocol(None))

    @property
    def exchanges(self) -> list[FakeExchange]:
        return self.maker.exchanges

    @property
    def exchange(self) -> FakeExchange:
        return self.maker.exchanges[-1]

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
