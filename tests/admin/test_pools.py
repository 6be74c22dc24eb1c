"""Promises about members: an operator's program may change who is one where that is allowed, a browser's page never."""

from __future__ import annotations

import json
from typing import Any

from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.tiers import Tiers

from ..support import split, status, values
from .support import POOLS, SeveralCase

BACKENDS = "/pools/app/backends"


class MemberTests(SeveralCase):
    """``/pools/NAME/…`` of a writable site."""

    def json(self, response: bytes) -> Any:
        """What an answer says."""
        return json.loads(split(response)[2])

    def refused(self, response: bytes, code: int) -> str:
        """What the refusal says; nothing has changed."""
        self.assertEqual((status(response), self.memberships.overlays), (code, {}), response)
        self.assertEqual(self.there(), [("a:1", 1), ("both:1", 1)])
        return split(response)[2].decode()

    def test_pools(self) -> None:
        """They can be listed, and each be looked at."""
        self.assertEqual(self.get_json("/pools"), list(POOLS))
        self.assertEqual(self.get_json("/pools/"), list(POOLS))
        self.assertEqual([one["address"] for one in self.get_json("/pools/canary")["backends"]], ["c:1", "both:1"])

    def test_pools_that_come_and_go(self) -> None:
        """What is shown, and can be changed, is what there is now."""
        app = self.pool("app")
        self.site.balancers = {"app": app}
        self.assertEqual(self.get_json("/pools"), ["app"])
        self.assertEqual([pool["name"] for pool in self.get_json("/status")["pools"]], ["app"])
        self.assertEqual(status(self.ask("/backends/c:1/drain")), 404)
        self.assertEqual(status(self.ask("/backends/both:1/drain")), 200)

    def test_an_unknown_pool(self) -> None:
        """The answer lists those that there are."""
        for method, path in (("GET", "/pools/x"), ("POST", "/pools/x/backends"), ("DELETE", "/pools/x/backends/a:1")):
            self.assertIn("\ncanary\n", self.refused(self.ask(path, method=method), 404))

    def test_a_backend_is_added(self) -> None:
        """Written as on the command line, or as an object; it is down until a probe found it well."""
        for body, member in (
            (b"n:1:weight=3\n", ("n:1", 3)),
            (b'{"address": "m:1", "weight": 2, "tier": "backup"}', ("m:1", 2)),
        ):
            response = self.ask(BACKENDS, body)
            report = self.json(response)
            self.assertEqual((status(response), report["pool"], report["up"]), (201, "app", False))
            self.assertEqual(self.there()[-1], member)
        self.assertEqual(self.there("canary"), [("c:1", 1), ("both:1", 1)])
        self.assertEqual(self.get_json("/pools/app")["said"]["added"], ["n:1:weight=3", "m:1:weight=2:backup"])

    def test_one_that_is_there_already(self) -> None:
        """As it is described it is no change; otherwise it is a conflict."""
        self.assertEqual(status(self.ask(BACKENDS, b"a:1")), 200)
        self.assertIn("a:1 is there already", self.refused(self.ask(BACKENDS, b"a:1:weight=2"), 409))

    def test_what_is_no_backend(self) -> None:
        """The answer says what is allowed."""
        for body, words in (
            (b"", "has no port"),
            (b"a", "has no port"),
            (b"a:1,b:1", "cannot be read"),
            (b"{", "no JSON"),
            (b'{"address": 1}', "address 1 was given"),
            (b'{"a":' * 200, "no JSON"),
            (b"\xff", "UTF-8"),
        ):
            self.assertIn(words, self.refused(self.ask(BACKENDS, body), 400), body)
        self.assertIn("1024", self.refused(self.ask(BACKENDS, b"x" * 1025), 413))

    def test_one_that_the_pool_cannot_have(self) -> None:
        """Such as one of a tier, where there is one policy object."""
        self.pool("app").pool._tiers = Tiers(RoundRobin())
        self.assertIn("tier", self.refused(self.ask(BACKENDS, b"n:1:backup"), 400))

    def test_a_backend_is_removed(self) -> None:
        """The answer is the pool as it is then."""
        response = self.ask(f"{BACKENDS}/a:1", method="DELETE")
        self.assertEqual((status(response), [one["address"] for one in self.json(response)["backends"]]), (200, ["both:1"]))
        self.assertEqual(self.json(response)["said"]["removed"], ["a:1"])

    def test_the_last_one_stays(self) -> None:
        """The answer says what to do first."""
        response = self.ask("/pools/shadow/backends/s:1", method="DELETE")
        self.assertIn("add another one first", self.refused(response, 409))

    def test_an_unknown_backend(self) -> None:
        """The answer lists those that there are."""
        for method, path in (
            ("DELETE", "x:1"),
            ("DELETE", "c:1"),
            ("DELETE", "a:1/drain"),
            ("POST", "x:1/drain"),
            ("POST", "x:1/weight"),
        ):
            text = self.refused(self.ask(f"{BACKENDS}/{path}", b"2", method=method), 404)
            self.assertIn("no such backend in pool app. There is\na:1\nboth:1\n", text)

    def test_any_address_can_be_named(self) -> None:
        """A Unix socket's has slashes."""
        self.ask(BACKENDS, b"unix:/run/app.sock")
        self.assertEqual(status(self.ask(f"{BACKENDS}/unix:/run/app.sock/weight", b"3")), 200)
        self.assertEqual(self.there()[-1], ("unix:/run/app.sock", 3))
        self.assertEqual(status(self.ask(f"{BACKENDS}/unix:%2Frun/app.sock", method="DELETE")), 200)
        self.assertEqual(len(self.there()), 2)

    def test_a_weight(self) -> None:
        """It is a number in the body."""
        response = self.ask(f"{BACKENDS}/a:1/weight", b" 7\n")
        self.assertEqual((status(response), self.json(response)["weight"], self.there()[0]), (200, 7, ("a:1", 7)))

    def test_what_is_no_weight(self) -> None:
        """The answer says what is allowed."""
        for body in (b"", b"0", b"1001", b"-1", b"1.5", b"x", b"9" * 100, "²".encode()):
            text = self.refused(self.ask(f"{BACKENDS}/a:1/weight", body), 400)
            self.assertIn("allowed is a whole number from 1 to 1000", text)
        self.refused(self.ask(f"{BACKENDS}/a:1/weight", b"9" * 1025), 413)

    def test_a_wish_is_for_one_pool(self) -> None:
        """What another pool has under the same address goes on."""
        response = self.ask(f"{BACKENDS}/both:1/drain", b"update")
        self.assertEqual((status(response), self.json(response)["state"]), (200, "draining"))
        self.assertEqual(self.pool("canary").pool.members["both:1"].want, "ready")
        self.assertEqual(self.memberships.overlays["app"].wishes["both:1"].reason, "update")
        self.ask(f"{BACKENDS}/both:1/ready")
        self.assertEqual(self.memberships.overlays, {})

    def test_a_wish_without_a_pool_is_for_all_that_have_it(self) -> None:
        """The answer is a list where there are several."""
        report = self.json(self.ask("/backends/both:1/maintenance"))
        self.assertEqual([(one["pool"], one["state"]) for one in report], [("app", "maintenance"), ("canary", "maintenance")])
        report = self.json(self.ask("/backends/c:1/drain"))
        self.assertEqual((report["pool"], report["state"]), ("canary", "draining"))
        self.assertEqual(list(self.memberships.overlays), ["app", "canary"])
        self.assertEqual(status(self.ask("/backends/x:1/drain")), 404)

    def test_other_methods_are_refused(self) -> None:
        """With the list of those that are not."""
        for method, path, allowed in (
            ("POST", "/pools", b"GET, HEAD"),
            ("DELETE", "/pools/app", b"GET, HEAD"),
            ("GET", BACKENDS, b"POST"),
            ("PUT", f"{BACKENDS}/a:1", b"DELETE"),
            ("GET", f"{BACKENDS}/a:1/drain", b"POST"),
            ("GET", f"{BACKENDS}/a:1/weight", b"POST"),
        ):
            response = self.ask(path, method=method)
            self.refused(response, 405)
            self.assertEqual(values(response, b"allow"), [allowed], path)

    def test_nothing_else_is_there(self) -> None:
        """The answer says what can be asked for."""
        for path in ("/pools/app/x", f"{BACKENDS}/a:1", f"{BACKENDS}/a:1/stop", f"{BACKENDS}//drain", "/pools/app/"):
            self.assertIn("/pools/NAME/backends", self.refused(self.ask(path), 404), path)

    def test_it_is_off_unless_the_operator_allows_it(self) -> None:
        """The refusal names the option."""
        self.admin = self.make_site(memberships=self.memberships)
        for method, path in (("POST", BACKENDS), ("DELETE", f"{BACKENDS}/a:1"), ("POST", f"{BACKENDS}/a:1/weight")):
            self.assertIn("--admin-writable", self.refused(self.ask(path, b"n:1", method=method), 403))

    def test_a_page_in_a_browser_cannot_do_it(self) -> None:
        """Whatever it wants."""
        for method, path in (("POST", BACKENDS), ("DELETE", f"{BACKENDS}/a:1"), ("POST", f"{BACKENDS}/a:1/drain")):
            response = self.ask(path, b"n:1", "Origin: http://127.0.0.1:8081", method=method)
            self.assertIn(f"This {method} has Origin", self.refused(response, 403))

    def test_without_memberships(self) -> None:
        """What is said is told to the pool all the same, and nothing remembers it."""
        self.admin = self.make_site(writable=True)
        self.assertEqual(status(self.ask(BACKENDS, b"n:1")), 201)
        self.assertEqual(status(self.ask(f"{BACKENDS}/a:1", method="DELETE")), 200)
        self.assertEqual(self.there(), [("both:1", 1), ("n:1", 1)])
        self.assertIsNone(self.get_json("/pools/app")["said"])
