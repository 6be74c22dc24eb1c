"""Promises about what an exchange tells of how it went: all of it, to whom it may, and to nobody else."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

from lbproxy import errors
from lbproxy.balance.policy import Policy
from lbproxy.balance.state import Verdict, Wish
from lbproxy.errors import AttemptFailed, BadResponse
from lbproxy.proxy.explain import LINE_LIMIT, SURVEYED, explain, explanation_line
from lbproxy.proxy.relay import Relay

from ..support import GET, OK, Rig, given, post, status, values
from ..test_web import WebRig
from .waiting import BUSY, LONG, ONE, PAIR, SMALL, SWITCHING, TWO, UPGRADE, WaitsCase

TRUSTED = ["192.0.2.7"]
FIELD = b"X-Lbproxy-Explain"


def asking(data: bytes = GET, value: bytes = b"1") -> bytes:
    """The request of one who wants to know."""
    return data.replace(b"\r\n", b"\r\n%b: %b\r\n" % (FIELD, value), 1)


def told(answer: bytes) -> Any:
    """What the response's field says."""
    (value,) = values(answer, FIELD)
    return json.loads(value)


class ExplainCase(WaitsCase):
    """Peers are trusted unless a test says otherwise."""

    def trusting(self, backends: str = PAIR, **settings: Any) -> Rig:
        return self.rig(backends, **{"trusted_proxies": TRUSTED, **settings})


class WhatIsTold(ExplainCase):
    """Each part of a decision, with times and figures."""

    def test_a_plain_exchange(self) -> None:
        """Candidates with the policy's figures, one attempt, no waits."""
        rig = self.trusting()
        client = self.asks(rig, asking())
        backend = rig.accept()
        rig.wait(0.5)
        backend.send(OK)
        self.assertEqual(
            told(client.received()),
            {
                "policy": "round-robin",
                "candidates": [{"backend": ONE, "figure": 0.5}, {"backend": TWO, "figure": 0.5}],
                "budget": {"taken": 0, "allowed": 3},
                "line": 0,
                "sticky": None,
                "attempts": [{"backend": ONE, "for": "first", "after": 0.0, "seconds": 0.5, "end": "answered", "why": ""}],
                "queued": 0.0,
                "backoffs": [],
                "budgeted": False,
                "end": None,
            },
        )

    def test_who_was_passed_over_and_why(self) -> None:
        """Down, wanted by nobody, or full."""
        three = f"{PAIR},10.0.0.3:8000:max-in-flight=1,10.0.0.4:8000"
        rig = self.trusting(three, queue=0)
        rig.pool.apply(Verdict(ONE, False, "no route to host", "probe"))
        rig.pool.wish(Wish(TWO, "maintenance"))
        self.asks(rig)
        client = self.asks(rig, asking())
        rig.accept()
        rig.accept().send(OK)
        candidates = {one["backend"]: one for one in told(client.received())["candidates"]}
        self.assertEqual(candidates[ONE]["passed_over"], "down: no route to host")
        self.assertEqual(candidates[TWO]["passed_over"], "maintenance")
        self.assertEqual(candidates["10.0.0.3:8000"]["passed_over"], "full: 1 in flight, at most 1")
        self.assertEqual((candidates[ONE]["figure"], "passed_over" in candidates["10.0.0.4:8000"]), (None, False))

    def test_each_attempt_and_its_end(self) -> None:
        """Given up, answered."""
        rig = self.trusting(hedge=95)
        rig.balancer.hedging.delay = 0.1  # type: ignore[union-attr]
        client = self.asks(rig, asking())
        rig.accept()
        rig.wait(0.25)
        rig.accept().send(OK)
        attempts = told(client.received())["attempts"]
        self.assertEqual([(one["for"], one["end"]) for one in attempts], [("first", "given-up"), ("hedge", "answered")])

    def test_failures_say_why(self) -> None:
        """With the error's words, and what it was followed by."""
        rig = self.trusting(retry_on=("connect", "reset", "503"), upstream_idle=0)
        client = self.asks(rig, asking())
        rig.accept().send(BUSY)
        rig.accept().send(OK)
        first, second = told(client.received())["attempts"]
        self.assertEqual((first["end"], first["why"], second["for"]), ("status", "the backend answered 503", "status"))
        client = self.asks(rig, asking())
        rig.refuse(4)
        rig.accept().send(OK)
        answer = told(client.received())
        self.assertEqual([one["end"] for one in answer["attempts"]], ["refused"] * 4 + ["answered"])
        self.assertIn("refused", answer["attempts"][0]["why"])

    def test_waits(self) -> None:
        """Seconds in the line, of each back-off, and whether there was a place in the budget."""
        rig = self.trusting(SMALL, queue_timeout=2)
        first = self.asks(rig)
        rig.accept()
        client = self.asks(rig, asking())
        late = self.asks(rig, asking())
        rig.wait(1)
        first.reset()
        rig.accept()
        rig.wait(2)
        answer = told(late.received())
        self.assertEqual((answer["queued"], answer["end"], answer["line"], answer["attempts"]), (2.0, "queue-timeout", 1, []))
        client.reset()
        (exchange,) = [one for one in rig.ended if one.end == "client-left" and one.waits is not None]
        self.assertEqual(explain(exchange)["queued"], 1.0)

    def test_back_offs_and_the_budget(self) -> None:
        """As they were."""
        rig = self.trusting(backoffs=1, eject_failures=0)
        client = self.asks(rig, asking())
        rig.accept().reset()
        rig.accept().reset()
        rig.wait(0.25)
        rig.accept().send(OK)
        answer = told(client.received())
        self.assertEqual((len(answer["backoffs"]), answer["budgeted"]), (1, True))
        self.assertTrue(0 <= answer["backoffs"][0] <= 0.025)

    def test_own_answers_are_explained_too(self) -> None:
        """With the cause word of their end."""
        rig = self.trusting()
        rig.mark(ONE, up=False)
        rig.mark(TWO, up=False)
        answer = self.asks(rig, asking()).received()
        self.assertEqual((status(answer), told(answer)["end"]), (503, "no-backend"))

    def test_tunnels_too(self) -> None:
        """In the 101."""
        rig = self.trusting()
        client = self.asks(rig, asking(UPGRADE))
        rig.accept().send(SWITCHING)
        self.assertEqual(told(client.received())["policy"], "round-robin")

    def test_a_session_is_named(self) -> None:
        """By the backend that it is bound to."""
        rig = self.trusting(sticky="lb")
        assert rig.balancer.sticky is not None
        client = self.asks(rig, asking(GET.replace(b"\r\n\r\n", b"\r\nCookie: lb=%b\r\n\r\n" % rig.balancer.sticky.token(TWO))))
        rig.accept().send(OK)
        self.assertEqual(told(client.received())["sticky"], TWO)

    def test_panic_is_told(self) -> None:
        """Health was ignored."""
        rig = self.trusting(panic=100)
        rig.mark(ONE, up=False)
        client = self.asks(rig, asking())
        rig.accept().send(OK)
        self.assertTrue(told(client.received())["panic"])

    def test_a_policy_without_figures_ends_no_exchange(self) -> None:
        """What only explains must not break what it explains."""

        class Broken(Policy):
            def figure(self, member: Any, exchange: Any = None) -> float:
                raise ZeroDivisionError("a bug")

        class Wordy(Policy):
            def figure(self, member: Any, exchange: Any = None) -> float:
                return "many"  # type: ignore[return-value]

        for policy, error in ((Broken, ZeroDivisionError), (Wordy, ValueError)):
            rig = self.trusting(ONE, policy=policy)
            client = self.asks(rig, asking())
            rig.accept().send(OK)
            self.assertEqual(told(client.received())["candidates"], [{"backend": ONE, "figure": None}])
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)


class ToWhom(ExplainCase):
    """Trusted peers that ask. It tells of the network's inside."""

    def test_not_to_others(self) -> None:
        """Whoever they say they are."""
        rig = self.rig(PAIR)
        client = self.asks(rig, asking())
        backend = rig.accept()
        asked = backend.received()
        backend.send(OK)
        self.assertEqual((client.received(), values(asked, FIELD)), (OK, []))
        self.assertIsNone(rig.ended[0].decision)

    def test_not_unasked(self) -> None:
        """Nor to who asks for something else."""
        for data in (GET, asking(value=b"0"), asking(asking())):
            rig = self.trusting()
            client = self.asks(rig, data)
            backend = rig.accept()
            asked = backend.received()
            backend.send(OK)
            self.assertEqual((client.received(), values(asked, FIELD)), (OK, []))

    def test_a_backends_field_is_not_taken_for_ours(self) -> None:
        """It is dropped, from heads, from hints and from trailers."""
        line = FIELD + b': {"end": "done"}\r\n'
        chunked = b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n%b\r\n" % (line, line)
        for answer in (
            OK.replace(b"\r\n", b"\r\n" + line, 1),
            chunked,
            b"HTTP/1.1 103 Early Hints\r\n%b\r\n%b" % (line, OK),
        ):
            rig = self.trusting()
            client = self.asks(rig)
            rig.accept().send(answer)
            came = client.received()
            self.assertNotIn(FIELD.lower(), came.lower())
            self.assertIn(b"ok", came)

    def test_ours_stands_alone(self) -> None:
        """Where both would have one."""
        rig = self.trusting()
        client = self.asks(rig, asking())
        rig.accept().send(OK.replace(b"\r\n", b"\r\n%b: forged\r\n" % FIELD.lower(), 1))
        self.assertEqual(told(client.received())["policy"], "round-robin")

    def test_through_twisted_web(self) -> None:
        """The same: to a trusted peer, and the backend is not told that it was asked for."""
        for trusted, count in ((TRUSTED, 1), ([], 0)):
            rig = WebRig(PAIR, trusted_proxies=trusted)
            asked, answer, _ = rig.exchange(asking())
            self.assertEqual((len(values(answer, FIELD)), values(asked, FIELD)), (count, []))


class HowMuch(ExplainCase):
    """One line of ASCII, which any client's head can hold."""

    def check(self, answer: bytes) -> None:
        (line,) = [line for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n") if line.startswith(FIELD)]
        self.assertLessEqual(len(line) + 2, LINE_LIMIT)
        self.assertRegex(line, rb"\A[ -~]*\Z")

    def test_of_a_large_pool_a_part(self) -> None:
        """And how many others there are."""
        rig = self.trusting(",".join(f"10.0.{n // 200}.{n % 200}:8000" for n in range(1000)))
        client = self.asks(rig, asking())
        rig.accept().send(OK)
        answer = client.received()
        self.check(answer)
        told_of = told(answer)
        self.assertEqual(len(told_of["candidates"]) + told_of["more_candidates"], 1000)
        self.assertEqual(len(explain(rig.ended[0])["candidates"]), SURVEYED)

    def test_of_many_attempts_the_last(self) -> None:
        """And how many there were before."""
        rig = self.trusting(f"{ONE},{TWO}", retries=100)
        client = self.asks(rig, asking())
        rig.refuse(101)
        rig.accept().send(OK)
        answer = client.received()
        self.check(answer)
        told_of = told(answer)
        self.assertEqual(len(told_of["attempts"]) + told_of["earlier_attempts"], 102)
        self.assertEqual(told_of["attempts"][-1]["end"], "answered")

    def test_the_longest_texts_are_left_out(self) -> None:
        """Rather than a head that its client refuses."""
        rig = self.trusting(f"{PAIR},10.0.0.3:8000")
        for address in (ONE, TWO):
            rig.pool.apply(Verdict(address, False, "\N{GRINNING FACE}" * 1000, "probe"))
        client = self.asks(rig, asking())
        rig.accept().send(OK)
        answer = client.received()
        self.check(answer)
        self.assertEqual((told(answer)["more_candidates"], told(answer)["earlier_attempts"]), (3, 1))

    def test_what_a_backend_sent_breaks_no_line(self) -> None:
        """Its nonsense stands in the failure's text."""
        rig = self.trusting()
        client = self.asks(rig, asking())
        rig.accept().send(b"\x00\xff\r\nX: \xe4\x0b" + b'"\\' * 500 + b"\r\n\r\n")
        rig.accept().send(OK)
        answer = client.received()
        self.check(answer)
        self.assertEqual(told(answer)["attempts"][0]["end"], "bad-response")

    @given(st.lists(st.text(max_size=3000), min_size=2, max_size=2), st.text(max_size=3000))
    def test_whatever_the_reasons_are(self, reasons: list[str], failure: str) -> None:
        """Texts of probes and of backends, of any length and in any script; they do not grow beyond what is read."""
        rig = Rig(f"{PAIR},10.0.0.3:8000", trusted_proxies=TRUSTED)
        rig.pool.apply(Verdict(ONE, False, reasons[0], "probe"))
        rig.pool.apply(Verdict(TWO, False, reasons[1], "traffic"))
        client = self.asks(rig, asking())
        rig.connect()
        client.reset()
        (exchange,) = rig.ended
        exchange.attempts[0].failure = BadResponse(failure)
        line = explanation_line(exchange)
        self.assertLessEqual(len(line), LINE_LIMIT)
        self.assertRegex(line, rb"\A[ -~]*\r\n\Z")
        json.loads(line.partition(b": ")[2])


class CauseWords(ExplainCase):
    """One for each way in which an exchange can end, all of them in one list."""

    KNOWN = frozenset(re.findall(r"``([a-z-]+)``", (Relay.__doc__ or "").partition(":ivar end:")[2].partition(":ivar")[0]))

    def test_each_failures_word_is_in_it(self) -> None:
        """Whatever an attempt may fail with; but for a status that is to be tried again, since another attempt follows it."""
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AttemptFailed)]
        causes = {kind.cause for kind in kinds if kind is not AttemptFailed}
        self.assertEqual(causes - self.KNOWN, {"status"})

    def test_each_end_is_in_it(self) -> None:
        """Of those that a client, a backend or a limit can bring about."""
        ends: set[str] = set()
        for data, answer, settings in (
            (GET, OK, {}),
            (GET, LONG, {}),
            (post(b"x"), b"garbage\r\n\r\n", {}),
            (post(b"x"), b"", {"response_timeout": 1}),
            (post(b"x"), b"", {"attempt_timeout": 1}),
            (GET, b"", {"exchange_timeout": 1}),
            (post(b"x")[:-1], b"", {"idle_timeout": 1}),
            (UPGRADE, SWITCHING, {"tunnel_timeout": 1}),
        ):
            rig = self.rig(**settings)  # type: ignore[arg-type]
            self.asks(rig, data)
            backend = rig.accept()
            backend.send(answer)
            rig.wait(3)
            backend.reset()
            ends |= set(rig.counters.ends)
        expected = "done truncated bad-response response-timeout attempt-timeout exchange-timeout client-timeout tunnel-idle"
        self.assertEqual(ends, set(expected.split()))
        self.assertEqual(ends - self.KNOWN, set())
