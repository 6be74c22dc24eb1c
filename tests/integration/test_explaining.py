"""Why an exchange went where it went: the field for trusted peers, and the log."""

from __future__ import annotations

import json
from typing import Any

from .support import IntegrationTestCase, LoadBalancer, ask, eventually


class ExplainingTests(IntegrationTestCase):
    """Five backends: one is well, one drains, one is found dead by a probe, one is full, one dies and nobody knows yet."""

    def setUp(self) -> None:
        super().setUp()
        self.well, self.drained, self.dead, self.full, self.dying = self.all = self.backends("abcde")
        self.log = self.folder / "access.json"
        self.dead.stop()

    def explaining(self, *options: str) -> LoadBalancer:
        """A balancer in whose pool that is so."""
        places = [backend.place for backend in self.all]
        places[3] += ":max-in-flight=1"
        balancer = self.balancer(
            "--policy", "least-connections", "--admin-writable", "--probe-interval", "60", "--access-log", str(self.log),
            "--access-log-format", "json", "--access-log-explain", *options, backends=places,
        )  # fmt: skip
        balancer.wait_state(self.dead, "down")
        balancer.wish(self.drained, "drain")
        return balancer

    def last_line(self, number: int) -> Any:
        """The log's last line, once there are that many."""

        def written() -> list[str] | None:
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            return lines if len(lines) == number else None

        return json.loads(eventually(f"{number} lines are written", written)[-1])

    def check_candidates(self, explained: Any) -> None:
        """Each backend, its figure, and why it was passed over."""
        told = {one["backend"]: (one["figure"], one.get("passed_over")) for one in explained["candidates"]}
        self.assertEqual([*told], [backend.place for backend in self.all])
        self.assertEqual(told[self.well.place], (1, None))
        self.assertEqual(told[self.drained.place], (None, "draining"))
        figure, why = told[self.dead.place]
        self.assertIsNone(figure)
        self.assertRegex(why, "^down: .*refused")
        self.assertEqual(told[self.full.place], (1, "full: 1 in flight, at most 1"))
        self.assertEqual(told[self.dying.place][1], None)
        self.assertEqual(explained["policy"], "least-connections")
        self.assertEqual(explained["budget"], {"taken": 0, "allowed": 3})
        self.assertEqual((explained["line"], explained["sticky"], explained["queued"]), (0, None, 0))

    def check_attempts(self, explained: Any) -> None:
        """Four at the one that has died, of which the others knew nothing, and one at the one that is well."""
        attempts = explained["attempts"]
        self.assertEqual([one["backend"] for one in attempts], [self.dying.place] * 4 + [self.well.place])
        self.assertEqual([one["for"] for one in attempts], ["first"] + ["retry"] * 4)
        self.assertEqual([one["end"] for one in attempts], ["refused"] * 4 + ["answered"])
        self.assertIn("refused", attempts[0]["why"])
        self.assertEqual([one["after"] for one in attempts], sorted(one["after"] for one in attempts))
        self.assertTrue(all(one["seconds"] >= 0 for one in attempts))

    def test_a_trusted_peer_and_the_log_are_told_the_same(self) -> None:
        """Who could have been chosen, who could not and why, the policy's figures, each attempt and its end."""
        balancer = self.explaining("--trusted-proxies", "127.0.0.1")
        for _ in range(2):  # of three that are idle, each gets one in turn: the one that dies is next
            self.at_once(1, lambda: ask(balancer.port, "/hold"))
        held = [self.well, self.full]
        eventually("two are at work", lambda: [balancer.of(backend)["in_flight"] for backend in held] == [1, 1])
        self.dying.stop()
        answer = ask(balancer.port, X_Lbproxy_Explain="1")
        told = json.loads(answer.headers["X-Lbproxy-Explain"])
        self.check_candidates(told)
        self.check_attempts(told)
        logged = self.last_line(1)["explain"]
        self.assertEqual((logged["candidates"], logged["attempts"]), (told["candidates"], told["attempts"]))
        self.assertEqual((told["end"], logged["end"]), (None, "done"), "the field leaves before the end")
        self.assertEqual(balancer.of(self.dying)["state"], "down")
        for backend in held:
            backend.direct("/step")

    def test_nobody_else_is_told(self) -> None:
        """A peer that is not trusted gets no such field; the log has it all the same, and without asking."""
        balancer = self.explaining()
        self.assertNotIn("X-Lbproxy-Explain", ask(balancer.port, X_Lbproxy_Explain="1").headers)
        told = self.last_line(1)["explain"]
        self.assertEqual((told["attempts"][0]["end"], told["end"]), ("answered", "done"))
