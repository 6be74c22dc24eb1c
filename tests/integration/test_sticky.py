"""Sticky sessions, with curl's cookie jar and by hand."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from http.cookies import SimpleCookie
from typing import Any

from twisted.trial.unittest import SkipTest

from .support import LOOPBACK, PATIENCE, Answer, Backend, IntegrationTestCase, LoadBalancer, ask, fields, read_all
from .test_addresses import self_signed


def given(answer: Answer) -> str | None:
    """The value of the cookie that an answer sets, if it does."""
    cookies: SimpleCookie = SimpleCookie(answer.headers.get("Set-Cookie", ""))
    return cookies["lb"].value if "lb" in cookies else None


def visit(balancer: LoadBalancer, cookie: str | None) -> Answer:
    """One request, with that cookie among others."""
    return ask(balancer.port) if cookie is None else ask(balancer.port, Cookie=f"theme=dark; lb={cookie}; lang=en")


class StickyCase(IntegrationTestCase):
    """Three backends and a balancer that binds clients to them."""

    def sticky(self, backends: list[Backend], *options: str, **more: Any) -> LoadBalancer:
        """Start a balancer."""
        options = ("--sticky", "lb", "--probe-interval", "0.3", "--admin-writable", *options)
        return self.balancer(*options, backends=backends, **more)

    def bind(self, balancer: LoadBalancer) -> tuple[str, str]:
        """A new client's cookie, and who answered it."""
        answer = visit(balancer, None)
        cookie = given(answer)
        assert cookie is not None
        return cookie, answer.backend

    def stays(self, balancer: LoadBalancer, cookie: str, backend: str) -> None:
        """A client with that cookie gets the same backend each time, and no other cookie."""
        answers = [visit(balancer, cookie) for _ in range(6)]
        self.assertEqual([(answer.status, answer.backend, given(answer)) for answer in answers], [(200, backend, None)] * 6)


class SessionTests(StickyCase):
    """One balancer."""

    def setUp(self) -> None:
        super().setUp()
        self.all = self.backends("abc")

    def named(self, name: str) -> Backend:
        """The backend of that name."""
        return next(backend for backend in self.all if backend.name == name)

    def test_curl_with_a_cookie_jar_stays_until_its_backend_dies(self) -> None:
        """Then it is bound to another, and stays there, though the first one comes back."""
        if shutil.which("curl") is None:
            raise SkipTest("there is no curl")
        balancer = self.sticky(self.all, "--sticky-max-age", "3600")
        first = self.curl(balancer)
        self.assertEqual([self.curl(balancer) for _ in range(5)], [first] * 5)
        self.assertNotEqual(ask(balancer.port).backend, ask(balancer.port).backend, "others take turns")
        self.named(first).stop()
        second = self.curl(balancer)
        self.assertNotEqual(second, first)
        self.named(first).start()
        balancer.wait_state(self.named(first), "up")
        self.assertEqual([self.curl(balancer) for _ in range(5)], [second] * 5)

    def curl(self, balancer: LoadBalancer) -> str:
        """Who answers a client that keeps its cookies in a file."""
        jar = str(self.folder / "jar")
        command = ["curl", "-sS", "-i", "--max-time", f"{PATIENCE:g}", "-b", jar, "-c", jar, f"http://{LOOPBACK}:{balancer.port}/"]
        head = subprocess.run(command, check=True, capture_output=True).stdout
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
        return fields(head)["x-backend"]

    def test_forged_and_broken_cookies_are_never_obeyed(self) -> None:
        """Such a client is bound anew, as one without any cookie is; what it made up decides nothing."""
        balancer = self.sticky(self.all)
        cookie, backend = self.bind(balancer)
        self.stays(balancer, cookie, backend)
        self.stays(balancer, f'"{cookie}"', backend)
        changed = ("A" if cookie[0] != "A" else "B") + cookie[1:]
        for forged in (changed, cookie[:-1], cookie + "A", "", "b", self.all[1].place, "%00", "\xff", "x" * 5000, f"{cookie}, x"):
            answers = [visit(balancer, forged) for _ in range(3)]
            self.assertEqual({answer.backend for answer in answers}, {"a", "b", "c"}, forged)
            for answer in answers:
                anew = given(answer)
                assert anew is not None, forged
                self.assertEqual(visit(balancer, anew).backend, answer.backend)

    def test_who_is_drained_keeps_its_sessions_and_gets_no_new_ones(self) -> None:
        """In maintenance it keeps none: they are bound anew."""
        balancer = self.sticky(self.all)
        cookie, backend = self.bind(balancer)
        drained = self.named(backend)
        self.assertEqual(balancer.wish(drained, "drain")["state"], "draining")
        self.stays(balancer, cookie, backend)
        self.assertNotIn(backend, [visit(balancer, None).backend for _ in range(9)])
        balancer.wish(drained, "maintenance")
        answer = visit(balancer, cookie)
        anew = given(answer)
        assert anew is not None
        self.assertNotEqual(answer.backend, backend)
        self.stays(balancer, anew, answer.backend)

    def test_the_cookies_attributes(self) -> None:
        """HttpOnly, SameSite=Lax and what was asked for; Secure over TLS alone."""
        key, certificate = self_signed(self.folder)
        wanted = r"lb=[\w-]{24}; Path=/; HttpOnly; SameSite=Lax"
        plain = self.sticky(self.all, "--sticky-max-age", "60")
        self.assertRegex(str(visit(plain, None).headers["Set-Cookie"]), f"^{wanted}; Max-Age=60$")
        secure = self.sticky(self.all, listen=f"ssl:{{port}}:interface={LOOPBACK}:privateKey={key}:certKey={certificate}")
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(self.socket(secure.port), server_hostname=LOOPBACK) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            self.assertRegex(fields(read_all(client))["set-cookie"], f"^{wanted}; Secure$")


class KeyTests(StickyCase):
    """Several balancers."""

    def test_with_a_key_file_a_binding_outlives_the_process_and_others_understand_it(self) -> None:
        """The same key, the same cookies."""
        path = self.folder / "key"
        path.write_bytes(b"0123456789abcdef0123456789abcdef\n")
        backends = self.backends("abc")
        options = ("--sticky-key-file", str(path))
        first = self.sticky(backends, *options)
        cookie, backend = self.bind(first)
        second = self.sticky(backends, *options)
        self.stays(second, cookie, backend)
        first.stop()
        self.stays(self.sticky(backends, *options), cookie, backend)

    def test_without_one_it_ends_with_the_process_which_says_so(self) -> None:
        """Its clients are bound anew, to whoever's turn it is."""
        backends = self.backends("abc")
        first = self.sticky(backends)
        cookie, _ = self.bind(first)
        self.assertTrue(re.search(r"random key", first.process.output), first.process.output)
        second = self.sticky(backends)
        answers = [visit(second, cookie) for _ in range(3)]
        self.assertEqual({answer.backend for answer in answers}, {"a", "b", "c"})
        self.assertNotIn(None, [given(answer) for answer in answers])
