"""Promises about how an operator says what is probed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.health.spec import ProbeSpec

from ..support import given


class WellFormed(SynchronousTestCase):
    """What is read."""

    def test_a_connection(self) -> None:
        """Without a path a connection is all that is tried, with TLS or without; unless that is said, as the backend has it."""
        for text in ("tcp", "tls"):
            self.assertEqual(ProbeSpec.parse(text), ProbeSpec(scheme=text))
        self.assertEqual(ProbeSpec.parse(), ProbeSpec())

    def test_a_page(self) -> None:
        """2xx and 3xx are well, as with nginx Plus."""
        spec = ProbeSpec.parse("http:/health?deep=1")
        self.assertEqual((spec.scheme, spec.path, spec.allowed), ("http", "/health?deep=1", "200-399"))
        self.assertEqual(ProbeSpec.parse("https:/health"), ProbeSpec("/health", scheme="https"))
        self.assertEqual([spec.allows(status) for status in (199, 200, 399, 400)], [False, True, True, False])

    def test_all_options(self) -> None:
        """Each with its value as it is used."""
        spec = ProbeSpec.parse(
            "http:/",
            status="200-299, 404",
            body="ok|fine",
            headers=["X-A: 1", "X-A:2", "x-b:  c:d "],
            host="[::1]:80",
            port="8081",
        )
        self.assertEqual(
            spec,
            ProbeSpec(
                "/",
                ((200, 299), (404, 404)),
                "ok|fine",
                (("X-A", "1"), ("X-A", "2"), ("x-b", "c:d")),
                "[::1]:80",
                8081,
                "http",
            ),
        )
        self.assertEqual(spec.allowed, "200-299,404")
        self.assertEqual([spec.allows(status) for status in (200, 299, 300, 404)], [True, True, False, True])


class Mistakes(SynchronousTestCase):
    """What is not read: the message names the option, what was given, and what is allowed."""

    def problems(self, text: str = "http:/", **options: Any) -> list[str]:
        return str(self.assertRaises(ConfigurationError, ProbeSpec.parse, text, **options)).split("\n")

    def test_what_to_probe(self) -> None:
        """A path is one of a request: visible ASCII, beginning with one slash."""
        for text in (
            "",
            "udp",
            "http",
            "http:",
            "http:x",
            "http://host/path",
            "https://host/path",
            "https:",
            "tls:/health",
            "http:/a b",
            "http:/a#b",
            "http:/é",
            "http:/a\r\nb: c",
            "http:/\n",
        ):
            (problem,) = self.problems(text)
            self.assertTrue(problem.startswith("--probe: "), problem)
            self.assertIn(repr(text), problem)
            self.assertIn("tcp, tls, http:/path or https:/path", problem)
        self.assertLess(len(self.problems("http:/" + "x" * 9000)[0]), 400)

    def test_statuses(self) -> None:
        """Final ones, and ranges that are not upside down."""
        for status in ("", "99", "600", "200-", "299-200", "200;204", "2xx", "-1", "200,,204", "２００"):
            (problem,) = self.problems(status=status)
            self.assertIn(f"--probe-status: {status!r} was given; allowed are statuses from 100 to 599", problem)

    def test_patterns(self) -> None:
        """A regular expression that can be compiled, and is not endless."""
        for body in ("(", "[", "*", "a{2,1}", "", "x" * 1001):
            (problem,) = self.problems(body=body)
            self.assertTrue(problem.startswith("--probe-body: "), problem)
            self.assertIn("1 to 1000 characters", problem)

    def test_fields(self) -> None:
        """Nothing that ends a line, and none that says how the request is framed."""
        for field in ("no colon", ": value", "na me: x", "a: b\r\nc: d", "a: \0", "a\n: b", "a: \udc80", "a: b\x7f", ""):
            (problem,) = self.problems(headers=[field])
            self.assertIn("allowed is Name: value", problem)
        for name in ("Content-Length", "transfer-encoding", "CONNECTION", "Upgrade", "TE", "Expect"):
            self.assertIn("allowed is any name but connection, content-length", self.problems(headers=[f"{name}: x"])[0])
        self.assertIn("--probe-host", self.problems(headers=["Host: x"])[0])

    def test_hosts_and_ports(self) -> None:
        """What could not be in a Host field, and what is no port."""
        for host in ("", "a b", "a\r\nb", "é", "x" * 256):
            self.assertTrue(self.problems(host=host)[0].startswith("--probe-host: "))
        for port in ("0", "65536", "-1", "x", "", 0, True, "８０"):
            self.assertIn("1 to 65535", self.problems(port=port)[0])

    def test_options_that_go_with_a_page_alone(self) -> None:
        """Who probes by connecting and asks for a status has forgotten something."""
        problems = self.problems("tcp", status="200", body="x", headers=["a: b"], host="h", port=1)
        self.assertEqual(
            [problem.partition(":")[0] for problem in problems],
            ["--probe-status", "--probe-body", "--probe-header", "--probe-host", "--probe-port"],
        )
        for problem in problems:
            self.assertIn("goes with --probe http:/path and https:/path alone", problem)

    def test_all_at_once(self) -> None:
        """A line for each."""
        problems = self.problems("http:x", status="1", body="(", headers=["x", "a: b", "Host: h"], host="", port="x")
        self.assertEqual(len(problems), 7)

    @given(some.text(max_size=30), some.text(max_size=10), some.text(max_size=10), some.text(max_size=20), some.text(max_size=10))
    def test_whatever_is_written(self, text: str, status: str, body: str, field: str, host: str) -> None:
        """It is read, or it is a mistake that is named; nothing that is read can end a line of the request."""
        try:
            spec = ProbeSpec.parse(f"http:/{text}", status=status, body=body, headers=[field], host=host, port="80")
        except ConfigurationError as error:
            self.assertNotEqual(str(error), "")
        else:
            line = "".join((spec.path, spec.host, *(part for field in spec.headers for part in field)))
            self.assertFalse(set(line) & set("\r\n\0"))
