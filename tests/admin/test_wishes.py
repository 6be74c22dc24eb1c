"""Promises about what is wanted of backends: an operator's program may say it where that is allowed, a browser's page never."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin import admin_site
from lbproxy.balance.state import Change

from ..support import Rig, split, status, values

FIRST = "10.0.0.1:8000"


class WishTests(SynchronousTestCase):
    """``/backends/ADDRESS/…`` of a writable site."""

    def setUp(self) -> None:
        """A balancer with a backend of each kind."""
        self.rig = Rig("10.0.0.1:8000,[::1]:80,unix:/run/app.sock")
        self.changes: list[Change] = []
        self.rig.pool.observers.append(self.changes.append)
        self.site = self.make_site(writable=True)

    def make_site(self, **options: Any) -> Any:
        return admin_site(self.rig.resource.site, self.rig.listener, self.rig.reactor.seconds, reactor=Clock(), **options)

    def ask(self, path: str, body: bytes = b"", *fields: str, method: str = "POST") -> bytes:
        """The whole response to one request, sent as it is written here."""
        channel: Any = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        lines = "".join(f"{line}\r\n" for line in ("Host: x", f"Content-Length: {len(body)}", *fields))
        with capturedLogs() as events:
            channel.dataReceived(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        self.assertEqual(events, [])
        data: bytes = transport.value()
        return data

    def wants(self) -> list[str]:
        """What is wanted of the backends."""
        return [member.want for member in self.rig.pool.members.values()]

    def refused(self, response: bytes, code: int) -> str:
        """What the refusal says; nothing has changed."""
        self.assertEqual((status(response), self.wants(), self.changes), (code, ["ready"] * 3, []))
        return split(response)[2].decode()

    def test_a_wish_is_told_to_the_pool_with_its_reason(self) -> None:
        """The answer is the backend's state as it is then."""
        response = self.ask(f"/backends/{FIRST}/drain", b" kernel update, 7 pm \n")
        self.assertEqual((status(response), values(response, b"content-type")), (200, [b"application/json"]))
        report = json.loads(split(response)[2])
        self.assertEqual((report["address"], report["state"], report["want"]), (FIRST, "draining", "drain"))
        (change,) = self.changes
        self.assertEqual((change.was, change.now, change.source), ("up", "draining", "operator"))
        self.assertEqual(change.reason, "kernel update, 7 pm")

    def test_every_wish(self) -> None:
        """There and back; to want what is so already changes nothing."""
        for want, state in (("drain", "draining"), ("maintenance", "maintenance"), ("ready", "up"), ("ready", "up")):
            self.assertEqual(json.loads(split(self.ask(f"/backends/{FIRST}/{want}"))[2])["state"], state)
        self.assertEqual(len(self.changes), 3)

    def test_any_address_can_be_named(self) -> None:
        """With the characters that a path may not have written as percentages, and as they are."""
        for path in ("%5B::1%5D:80", "[::1]:80", "%5b%3a%3a1%5d%3a80"):
            self.assertEqual(status(self.ask(f"/backends/{path}/drain")), 200, path)
            self.assertEqual(self.wants(), ["ready", "drain", "ready"])
            self.ask("/backends/[::1]:80/ready")
        for path in ("unix:/run/app.sock", "unix:%2Frun%2Fapp.sock", "unix%3A%2frun/app.sock"):
            self.assertEqual(status(self.ask(f"/backends/{path}/drain")), 200, path)
            self.assertEqual(self.wants(), ["ready", "ready", "drain"])
            self.ask("/backends/unix:/run/app.sock/ready")

    def test_an_unknown_backend(self) -> None:
        """The answer lists those that there are."""
        for path in ("10.0.0.9:8000", "%FF", "a/b/c", f"{FIRST}%2f", "drain"):
            text = self.refused(self.ask(f"/backends/{path}/drain"), 404)
            for address in self.rig.pool.members:
                self.assertIn(f"\n{address}\n", text)

    def test_nothing_else_is_there(self) -> None:
        """Another wish, or none: the answer says what can be asked for."""
        for path in ("", "/", "/drain", "//drain", f"/{FIRST}", f"/{FIRST}/", f"/{FIRST}/DRAIN", f"/{FIRST}/drain/"):
            self.assertIn("/backends/ADDRESS/drain", self.refused(self.ask(f"/backends{path}"), 404), path)

    def test_only_post_changes_something(self) -> None:
        """A link that is followed, or fetched ahead, does not."""
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            response = self.ask(f"/backends/{FIRST}/drain", method=method)
            self.refused(response, 405)
            self.assertEqual(values(response, b"allow"), [b"POST"])

    def test_it_is_off_unless_the_operator_allows_it(self) -> None:
        """The refusal names the option."""
        self.site = self.make_site()
        for path in (FIRST, "10.0.0.9:8000"):
            self.assertIn("--admin-writable", self.refused(self.ask(f"/backends/{path}/drain"), 403))

    def test_a_page_in_a_browser_cannot_do_it(self) -> None:
        """Whichever of the three fields it comes with, and whatever that says; the answer names it."""
        for field in (
            "Origin: https://evil.example",
            "Origin: null",
            "Origin:",
            "origin: http://127.0.0.1:8081",
            "Referer: http://127.0.0.1:8081/",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-origin",
            "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
        ):
            name = field.partition(":")[0].title()
            self.assertIn(f"has {name},", self.refused(self.ask(f"/backends/{FIRST}/drain", b"", field), 403), field)
        self.assertEqual(status(self.ask(f"/backends/{FIRST}/drain", b"", "Sec-Fetch-Site: none")), 200)

    def test_a_reason_is_short(self) -> None:
        """A kilobyte is enough, and more is not cut but refused."""
        self.assertIn("1024", self.refused(self.ask(f"/backends/{FIRST}/drain", b"x" * 1025), 413))
        self.assertEqual(status(self.ask(f"/backends/{FIRST}/drain", b"x" * 1024)), 200)
        self.assertEqual(self.changes[0].reason, "x" * 1024)

    def test_a_reason_is_text(self) -> None:
        """In UTF-8; what comes from an HTML form's encoding is not taken apart."""
        self.assertIn("UTF-8", self.refused(self.ask(f"/backends/{FIRST}/drain", b"\xff"), 400))
        form = "Content-Type: application/x-www-form-urlencoded"  # which curl -d sends
        self.assertEqual(status(self.ask(f"/backends/{FIRST}/drain", "größer=1&x".encode(), form)), 200)
        self.assertEqual(self.changes[0].reason, "größer=1&x")
