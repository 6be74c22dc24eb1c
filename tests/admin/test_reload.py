"""The configuration can be looked at, asked about and read anew; who may not do so changes nothing."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from lbproxy.errors import ConfigurationError

from ..support import START, split, status, values
from .support import Reloads, SeveralCase


@attrs.frozen
class Result:
    """What came of it."""

    when: float
    ok: bool
    errors: tuple[str, ...] = ()
    differences: tuple[Any, ...] = ()


WELL = Result(START, True, (), ("pool app: backend a:1 was added",))
ILL = Result(START + 1, False, ("lb.toml:3: retries: 'x' was given", "lb.toml:9: pool: there is none"))


class ReloadTests(SeveralCase):
    """``/reload`` and what ``/status`` says of it."""

    def setUp(self) -> None:
        super().setUp()
        self.reloads = Reloads()
        self.admin = self.make_site(writable=True, reloader=self.reloads)

    def test_a_good_one(self) -> None:
        """The answer comes when it is done, and says what differed."""
        done: Deferred[Any] = Deferred()
        self.reloads.result = done
        transport = StringTransport()
        self.begin(transport, "/reload")
        self.assertEqual(transport.value(), b"")
        done.callback(WELL)
        self.assertEqual(status(transport.value()), 200)
        self.assertEqual(
            json.loads(split(transport.value())[2]),
            {"time": "1970-01-01T00:16:40.000Z", "ok": True, "errors": [], "differences": ["pool app: backend a:1 was added"]},
        )

    def test_one_with_mistakes(self) -> None:
        """They are the answer, as text."""
        self.reloads.result = succeed(ILL)
        response = self.ask("/reload")
        self.assertEqual((status(response), split(response)[2].decode().splitlines()), (422, list(ILL.errors)))
        self.assertEqual(values(response, b"content-type"), [b"text/plain; charset=utf-8"])
        self.assertTrue(response.startswith(b"HTTP/1.1 422 Unprocessable Content\r\n"))

    def test_one_that_fails(self) -> None:
        """An error of ours is logged, and the answer says that nothing has changed."""
        done: Deferred[Any] = Deferred()
        self.reloads.result = done
        transport = StringTransport()
        self.begin(transport, "/reload")
        done.errback(ValueError("oops"))
        self.assertEqual((status(transport.value()), len(self.flushLoggedErrors(ValueError))), (500, 1))

    def test_a_client_that_leaves(self) -> None:
        """It is read nevertheless, and nobody is answered."""
        done: Deferred[Any] = Deferred()
        self.reloads.result = done
        transport = StringTransport()
        channel = self.begin(transport, "/reload")
        channel.connectionLost(Failure(ConnectionDone()))
        done.callback(WELL)
        self.assertEqual((self.reloads.asked, transport.value()), (1, b""))

    def test_who_may_not(self) -> None:
        """A GET, a browser's page, and anybody unless the operator allows it."""
        response = self.ask("/reload", method="GET")
        self.assertEqual((status(response), values(response, b"allow")), (405, [b"POST"]))
        self.assertEqual(status(self.ask("/reload", b"", "Referer: http://x/")), 403)
        self.admin = self.make_site(reloader=self.reloads)
        self.assertEqual((status(self.ask("/reload")), self.reloads.asked), (403, 0))

    def test_without_a_file(self) -> None:
        """There is nothing to be read."""
        self.admin = self.make_site(writable=True)
        self.assertEqual(status(self.ask("/reload")), 404)
        self.assertIsNone(self.get_json("/status")["reload"])

    def test_status(self) -> None:
        """The last one stands there, with the counts of all."""
        report = self.get_json("/status")["reload"]
        self.assertEqual(report, {"reloads": {}, "last": None})
        self.reloads.last, self.reloads.counts = ILL, {"success": 3, "failure": 1}
        report = self.get_json("/status")["reload"]
        self.assertEqual(report["reloads"], {"failure": 1, "success": 3})
        self.assertEqual(
            report["last"], {"time": "1970-01-01T00:16:41.000Z", "ok": False, "errors": list(ILL.errors), "differences": []}
        )


class ConfigurationTests(SeveralCase):
    """``/config`` and ``/explain``."""

    def test_the_configuration(self) -> None:
        """It is text."""
        self.admin = self.make_site(configuration=lambda: "retries = 3\n")
        self.assertEqual(self.get("/config"), (200, "retries = 3\n"))

    def test_there_is_nothing_to_be_shown(self) -> None:
        """Where nobody gives it."""
        self.assertEqual((self.get("/config")[0], self.get("/explain?request=GET%20/")[0]), (404, 404))

    def explain(self, request: str) -> Any:
        """As the routes would."""
        if request == "text":
            return "route: shop\n"
        if " " not in request:
            raise ConfigurationError("request: it has no method")
        return {"request": request}

    def test_explained(self) -> None:
        """The request is given as it is written, and what is said of it is text or JSON."""
        self.admin = self.make_site(explain=self.explain)
        report = self.get_json("/explain?request=GET%20https://shop.example/cart%3Fx=1")
        self.assertEqual(report, {"request": "GET https://shop.example/cart?x=1"})
        self.assertEqual(self.get("/explain?request=text"), (200, "route: shop\n"))

    def test_what_cannot_be_explained(self) -> None:
        """The answer says why."""
        self.admin = self.make_site(explain=self.explain)
        self.assertEqual(self.get("/explain?request=x"), (400, "request: it has no method\n"))
        for query in ("", "?request=a&request=b", "?x=1"):
            code, text = self.get(f"/explain{query}")
            self.assertEqual((code, "/explain?request=GET%20" in text), (400, True), query)
