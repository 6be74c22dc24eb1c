"""Requests and responses on their way through one filter, as values."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from lbproxy.http1.answers import Answer
from lbproxy.http1.fields import request_bytes
from lbproxy.http1.head import ResponseHead
from lbproxy.proxy.client import Client
from lbproxy.routing.filter import Filter, FilterContext
from lbproxy.settings import Settings
from tests.support import request, response

__all__ = ["context", "live", "page", "passing", "told", "went"]


def context(seed: int = 1, count: Any = lambda what: None, **settings: Any) -> FilterContext:
    """What a live filter is made with; its clock is a test's."""
    clock = Clock()
    return FilterContext(reactor=clock, clock=clock, random=Random(seed), count=count, settings=Settings(**settings))


def live(spec: Any, **settings: Any) -> Filter:
    """The live filter of a specification."""
    made: Filter = spec.make(context(**settings))
    return made


def passing(text: str | bytes = "GET / HTTP/1.1\nHost: example.org", address: str = "192.0.2.7", secure: bool = False) -> Any:
    """A passage's stand-in, with the request whose head is written here; line ends may be plain."""
    data = text if isinstance(text, bytes) else text.encode("utf-8")
    head = request(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n\r\n")
    lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address.encode(), b"https" if secure else b"http")
    exchange = SimpleNamespace(
        request=head,
        client=Client(address, secure, lines),
        request_id=b"id-7",
        request_bytes=0,
        route="everything",
        target=None,
    )
    return _Passing(exchange)


class _Passing:
    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self.memory: dict[Any, Any] = {}
        self.route = SimpleNamespace(name="everything")

    @property
    def request(self) -> Any:
        return self.exchange.request

    @property
    def client(self) -> Any:
        return self.exchange.client


def told(spec: Any, text: str | bytes, **who: Any) -> bytes:
    """The head that a backend gets of a request which the filter lets on."""
    passage = passing(text, **who)
    verdict = live(spec).request(passage)
    assert verdict is None, verdict
    return request_bytes(passage.request, passage.client, passage.exchange.request_id)


def went(spec: Any, text: str, passage: Any = None) -> ResponseHead:
    """The head of a response that has gone through the filter."""
    head = response(text.encode().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    passage = passing() if passage is None else passage
    one = live(spec)
    assert not isinstance(one.request(passage), Answer)
    one.response(passage, head)
    return head


def page(body: Any, *parts: bytes) -> bytes:
    """What a response's body becomes."""
    return b"".join(body.write(part) for part in parts) + body.finish()  # type: ignore[no-any-return]
