"""Promises about sticky sessions: who is bound comes back, and nothing that was not signed is obeyed."""

from __future__ import annotations

import re

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import BackendState, Verdict, Wish
from lbproxy.errors import ConfigurationError
from lbproxy.http1.head import RequestHead
from lbproxy.proxy.client import Client
from lbproxy.proxy.sticky import Sticky, keeps_sessions
from lbproxy.settings import Settings

from ..support import Rig, given, request, values

KEY = b"0123456789abcdef"
TOKEN = re.compile(rb"[A-Za-z0-9_-]{22,}\Z")


class Asked:
    """An exchange as far as it matters here."""

    def __init__(self, *fields: bytes, secure: bool = False) -> None:
        lines = b"".join(field + b"\r\n" for field in fields)
        self.request: RequestHead = request(b"GET / HTTP/1.1\r\nHost: example.org\r\n%b\r\n" % lines)
        self.client = Client("192.0.2.7", secure, b"")
        self.bound: BackendState | None = None


class StickyCase(SynchronousTestCase):
    """A pool of three, and a cookie that is called ``lb``."""

    def setUp(self) -> None:
        self.pool = self.make_pool("a:1,b:2,c:3")
        self.sticky = Sticky("lb", KEY, 0)

    def make_pool(self, backends: str, panic: int = 0) -> Pool:
        return Pool(parse_backends([backends]), seconds=lambda: 100.0, settings=Settings(panic=panic))

    def bound_to(self, address: str) -> Asked:
        """An exchange of a client that is bound to the backend of that address."""
        return Asked(b"Cookie: lb=%b" % self.sticky.token(address))

    def tried(self, exchange: Asked) -> list[str]:
        """Whom the exchange would try."""
        return [member.address for member in self.sticky.candidates(exchange, self.pool)]

    def mark(self, address: str, up: bool = False, source: str = "probe") -> None:
        self.pool.apply(Verdict(address, up, "evidence", source))


class Tokens(StickyCase):
    """What stands in the cookie."""

    def test_a_token_is_text_that_any_cookie_may_carry(self) -> None:
        """It has 128 bits or more, and no padding."""
        for address in ("a:1", "[::1]:80", "unix:/run/ä.sock"):
            self.assertRegex(self.sticky.token(address), TOKEN)

    def test_a_token_lasts_as_long_as_the_key(self) -> None:
        """Another process with the same key knows it, and one with another key does not; each backend has its own."""
        self.assertEqual(Sticky("x", KEY, 9).token("a:1"), self.sticky.token("a:1"))
        self.assertNotEqual(Sticky("lb", KEY[::-1], 0).token("a:1"), self.sticky.token("a:1"))
        self.assertEqual(len({self.sticky.token(address) for address in self.pool.members}), 3)

    def test_a_key_that_can_be_guessed_is_refused(self) -> None:
        """The empty one above all, which everybody has."""
        for key in (b"", b"0123456789abcde"):
            self.assertRaises(ConfigurationError, Sticky, "lb", key, 0)

    def test_the_cookie_is_for_this_site_alone_and_not_for_scripts(self) -> None:
        """The whole line, for a client without TLS and one with it, with and without an end."""
        member, token = self.pool.members["b:2"], self.sticky.token("b:2")
        plain = b"Set-Cookie: lb=%b; Path=/; HttpOnly; SameSite=Lax" % token
        self.assertEqual(self.sticky.set_cookie(Asked(), member), plain + b"\r\n")
        self.assertEqual(self.sticky.set_cookie(Asked(secure=True), member), plain + b"; Secure\r\n")
        self.assertEqual(Sticky("lb", KEY, 60).set_cookie(Asked(), member), plain + b"; Max-Age=60\r\n")

    def test_the_cookie_that_was_set_leads_back(self) -> None:
        """What a client sends back, among its other cookies, is known again."""
        for member in self.pool.members.values():
            line = self.sticky.set_cookie(Asked(), member)
            pair = line.split(b": ", 1)[1].split(b";", 1)[0]
            for cookies in (pair, b"a=1; %b; c=3" % pair):
                self.assertIs(self.sticky.member(Asked(b"Cookie: " + cookies), self.pool.members), member)


class Bindings(StickyCase):
    """Whom an exchange goes to."""

    def test_the_bound_member_comes_first_and_once(self) -> None:
        """The others follow, should it fail; each of them once as well."""
        for address in ("a:1", "b:2", "c:3"):
            for _ in range(4):
                exchange = self.bound_to(address)
                tried = self.tried(exchange)
                self.assertEqual((tried[0], sorted(tried)), (address, ["a:1", "b:2", "c:3"]))
                self.assertIs(exchange.bound, self.pool.members[address])

    def test_who_has_no_cookie_is_bound_to_nobody(self) -> None:
        """It goes where the policy says, and is bound to whoever answers."""
        exchange = Asked()
        self.assertEqual([self.tried(exchange)[0] for _ in range(3)], ["a:1", "b:2", "c:3"])
        self.assertIsNone(exchange.bound)
        self.assertTrue(self.sticky.needs_cookie(exchange, self.pool.members["a:1"]))

    def test_the_policy_is_not_asked_for_who_is_served_by_the_bound_one(self) -> None:
        """Sessions do not take turns away from others."""
        for _ in range(5):
            next(self.sticky.candidates(self.bound_to("a:1"), self.pool))
        self.assertEqual(self.tried(Asked())[0], "a:1")

    def test_a_forged_binding_is_picked_anew(self) -> None:
        """Another key's token, a token with a letter changed, an address in clear: as if there were no cookie."""
        token = self.sticky.token("b:2")
        for value in (Sticky("lb", KEY[::-1], 0).token("b:2"), token[:-1], token + b"x", token.swapcase(), b"b:2", b""):
            exchange = Asked(b"Cookie: lb=" + value)
            self.assertEqual(len(self.tried(exchange)), 3)
            self.assertIsNone(exchange.bound, value)
            self.assertTrue(self.sticky.needs_cookie(exchange, self.pool.members["b:2"]))

    @given(st.binary(max_size=60).filter(lambda value: not set(value) & set(b"\r\n\0")))
    def test_no_value_but_a_members_token_is_ever_obeyed(self, value: bytes) -> None:
        """Whatever the cookie says, the policy's turn goes on."""
        head = RequestHead(b"GET", b"/", 1, b"Cookie: lb=%b\r\n" % value, {})
        exchange = Asked()
        exchange.request = head
        pool = self.make_pool("a:1,b:2,c:3")
        self.assertEqual([next(self.sticky.candidates(exchange, pool)).address for _ in range(3)], ["a:1", "b:2", "c:3"])
        self.assertIsNone(exchange.bound)

    def test_a_backend_that_left_is_bound_to_no_more(self) -> None:
        """And one that was added can be, with the token that it would always have had."""
        gone, new = self.bound_to("a:1"), self.bound_to("d:4")
        self.assertEqual((self.tried(gone)[0], self.sticky.member(new, self.pool.members)), ("a:1", None))
        self.pool.set_backends(parse_backends(["b:2,d:4"]))
        self.mark("d:4", up=True)
        self.assertEqual(self.tried(new)[0], "d:4")
        self.assertEqual(sorted(self.tried(gone)), ["b:2", "d:4"])
        self.assertIsNone(gone.bound)


class Kept(StickyCase):
    """Which bindings hold."""

    def test_one_that_answers_its_own_is_not_set_again(self) -> None:
        """A cookie once is enough."""
        exchange = self.bound_to("a:1")
        self.tried(exchange)
        self.assertFalse(self.sticky.needs_cookie(exchange, self.pool.members["a:1"]))

    def test_a_full_one_keeps_its_binding(self) -> None:
        """It is asked first all the same; whoever answers in its place sets no cookie."""
        member = self.pool.members["a:1"]
        member.limit = member.in_flight = 1
        exchange = self.bound_to("a:1")
        self.assertEqual(self.tried(exchange)[0], "a:1")
        self.assertFalse(self.sticky.needs_cookie(exchange, self.pool.members["b:2"]))

    def test_one_that_drains_keeps_its_own_and_gets_no_others(self) -> None:
        """That is what draining is for."""
        self.pool.wish(Wish("a:1", "drain"))
        exchange = self.bound_to("a:1")
        self.assertEqual(self.tried(exchange)[0], "a:1")
        self.assertFalse(self.sticky.needs_cookie(exchange, self.pool.members["a:1"]))
        self.assertEqual(sorted(self.tried(Asked())), ["b:2", "c:3"])

    def test_nobody_is_bound_to_one_that_began_to_drain_before_it_answered(self) -> None:
        """Else it would never be empty."""
        exchange = Asked()
        self.tried(exchange)
        self.pool.wish(Wish("a:1", "drain"))
        self.assertFalse(self.sticky.needs_cookie(exchange, self.pool.members["a:1"]))

    def test_one_that_is_down_or_in_maintenance_loses_its_own(self) -> None:
        """They are bound to whoever answers now."""
        self.mark("a:1")
        self.pool.wish(Wish("b:2", "maintenance"))
        for address in ("a:1", "b:2"):
            exchange = self.bound_to(address)
            self.assertEqual(self.tried(exchange), ["c:3"])
            self.assertTrue(self.sticky.needs_cookie(exchange, self.pool.members["c:3"]))

    def test_one_that_goes_down_over_the_exchange_loses_it(self) -> None:
        """The one that takes over keeps the client."""
        exchange = self.bound_to("a:1")
        candidates = self.sticky.candidates(exchange, self.pool)
        next(candidates)
        self.mark("a:1", source="traffic")
        other = next(candidates)
        self.assertNotEqual(other.address, "a:1")
        self.assertTrue(self.sticky.needs_cookie(exchange, other))

    def test_one_that_failed_only_this_once_keeps_it(self) -> None:
        """The next request goes there again."""
        exchange = self.bound_to("a:1")
        candidates = self.sticky.candidates(exchange, self.pool)
        next(candidates)
        self.assertFalse(self.sticky.needs_cookie(exchange, next(candidates)))

    def test_in_panic_health_is_ignored_here_too(self) -> None:
        """But not the operator's wish."""
        self.pool = self.make_pool("a:1,b:2,c:3,d:4", panic=50)
        for address in ("a:1", "b:2", "c:3"):
            self.mark(address)
        self.assertEqual(self.tried(self.bound_to("a:1"))[0], "a:1")
        self.pool.wish(Wish("a:1", "drain"))
        self.assertEqual(self.tried(self.bound_to("a:1"))[0], "a:1")
        self.pool.wish(Wish("a:1", "maintenance"))
        self.assertNotIn("a:1", self.tried(self.bound_to("a:1")))

    def test_a_lone_backend_that_is_tried_although_it_is_down_keeps_them(self) -> None:
        """There is nobody else to bind them to."""
        self.pool = self.make_pool("a:1")
        self.mark("a:1", source="traffic")
        member = self.pool.members["a:1"]
        self.assertEqual((self.tried(self.bound_to("a:1")), keeps_sessions(member)), (["a:1"], True))


class Carried(SynchronousTestCase):
    """Sticky sessions as clients and backends see them."""

    def setUp(self) -> None:
        self.rig = Rig("10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000", sticky="lb", sticky_key=KEY)

    def ask(self, cookie: bytes = b"") -> tuple[str, list[bytes]]:
        """A client asks; gives who answered it, and the cookies that it got."""
        client = self.rig.client()
        client.send(b"GET / HTTP/1.1\r\nHost: example.org\r\n%b\r\n" % (b"Cookie: %b\r\n" % cookie if cookie else b""))
        connect = self.rig.connect()
        connect.accept().send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return connect.address, values(client.received(), b"set-cookie")

    def test_a_client_comes_back_to_who_answered_it(self) -> None:
        """One cookie is set, once; who has it goes there every time, and others do not."""
        address, (line,) = self.ask()
        cookie = line.split(b";")[0]
        self.assertEqual([self.ask(cookie) for _ in range(4)], [(address, [])] * 4)
        self.assertEqual(len({self.ask()[0] for _ in range(3)}), 3)

    def test_a_drained_backend_keeps_its_clients(self) -> None:
        """And gets no others; in maintenance it loses them, and they get another cookie."""
        address, (line,) = self.ask()
        cookie = line.split(b";")[0]
        self.rig.pool.wish(Wish(address, "drain"))
        self.assertEqual(self.ask(cookie), (address, []))
        self.assertNotIn(address, [self.ask()[0] for _ in range(6)])
        self.rig.pool.wish(Wish(address, "maintenance"))
        other, (line,) = self.ask(cookie)
        self.assertNotEqual(other, address)
        self.assertEqual(self.ask(line.split(b";")[0]), (other, []))

    def test_who_is_sent_elsewhere_because_it_is_full_comes_back(self) -> None:
        """The binding is not set anew for it."""
        address, (line,) = self.ask()
        cookie = line.split(b";")[0]
        member = self.rig.member(address)
        member.limit = 0
        other, cookies = self.ask(cookie)
        self.assertNotEqual(other, address)
        self.assertEqual(cookies, [])
        member.limit = 1
        self.assertEqual(self.ask(cookie), (address, []))
