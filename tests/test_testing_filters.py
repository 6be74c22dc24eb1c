"""Promises to those who write filters: the kit finds what is broken, and names the promise."""

from __future__ import annotations

import unittest
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from lbproxy import Answer, Filter
from lbproxy.testing import FilterConformance, StubPassage


class Keeping(Filter):
    """Knows all there ever were."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def request(self, passage: Any) -> None:
        self.seen.append(passage)


class Tearing(Filter):
    """Breaks a request's lines."""

    def request(self, passage: Any) -> None:
        passage.request.fields += b"X-Broken: yes"


class Injecting(Filter):
    """Breaks a response's."""

    def response(self, passage: Any, head: Any) -> None:
        head.fields += b"X-A: 1\r\n\r\nHTTP/1.1 200 OK\r\n"


class Saying(Filter):
    """Says what is nothing to be said."""

    def request(self, passage: Any) -> Any:
        return 403


class Counting(Filter):
    """Fails when told of an end in another order."""

    def __init__(self) -> None:
        self.running: list[Any] = []

    def request(self, passage: Any) -> None:
        self.running.append(passage)

    def over(self, passage: Any) -> None:
        assert self.running.pop() is passage


class Forgetting(Counting):
    """Leaves its own exchanges to another."""

    def over(self, passage: Any) -> None:
        self.running.remove(passage)

    def take_over(self, old: Any) -> None:
        self.running, old.running = old.running, []


class Answering(Filter):
    """Answers some at once, some later, lets on some, and is asked for ever about others."""

    def __init__(self) -> None:
        self.number = 0

    def request(self, passage: Any) -> Any:
        self.number += 1
        answer = Answer(status=403, end="forbidden", why="no")
        return (answer, None, succeed(answer), succeed(None), Deferred())[self.number % 5]


class NoFilter:
    """Has not what is asked of one."""


def failures(make: Any) -> dict[str, str]:
    """What the kit finds: the last line of each failure, by test."""

    class Case(FilterConformance, SynchronousTestCase):
        """The kit."""

        def make_filter(self, context: Any) -> Any:
            return make()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    found = [*result.failures, *result.errors]
    return {case.id().rpartition(".")[2]: said.strip().splitlines()[-1] for case, said in found}


class FilterConformanceTests(SynchronousTestCase):
    """The tests that any filter passes."""

    def test_what_is_well_passes(self) -> None:
        """Whatever it says."""
        for make in (Filter, Answering):
            self.assertEqual(failures(make), {})

    def test_what_is_broken_does_not(self) -> None:
        """The failure names the promise."""
        for make, test, said in (
            (Keeping, "test_exchanges_are_not_kept", "an exchange that is over is not kept"),
            (Tearing, "test_exchanges_end_in_any_way", "a request's fields stay whole lines, each ended by CRLF"),
            (Injecting, "test_exchanges_end_in_any_way", "a response's fields stay whole lines, each ended by CRLF"),
            (Saying, "test_exchanges_end_in_any_order", "request gives None, an Answer or a Deferred of either; it gave 403"),
            (Counting, "test_exchanges_end_in_any_order", "AssertionError"),
            (Forgetting, "test_it_is_told_of_those_that_came_before_a_reload", "ValueError"),
            (NoFilter, "test_it_is_a_filter", "IFilter"),
        ):
            found = failures(make)
            self.assertIn(test, found, make)
            self.assertIn(said, found[test])

    def test_it_says_what_is_missing(self) -> None:
        """Without a filter there is nothing to test."""

        class Case(FilterConformance, SynchronousTestCase):
            """The kit."""

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
        self.assertIn("makes its filter in make_filter(context)", result.errors[0][1])


class StubPassageTests(SynchronousTestCase):
    """One request's way."""

    def test_it_has_what_filters_look_at(self) -> None:
        """The request, who asks, the route, and a memory."""
        passage = StubPassage("PUT", "/x?y", {"Host": "a", "X-A": "1"}, client="2001:db8::1", secure=True, route="r")
        request = passage.request
        self.assertEqual((request.method, request.target, request.host), (b"PUT", b"/x?y", b"a"))
        self.assertEqual((passage.client.address, passage.client.secure), ("2001:db8::1", True))
        self.assertEqual((passage.route.name, passage.memory, passage.told("x-a")), ("r", {}, ["1"]))
        self.assertIs(passage.exchange.request, request)

    def test_responses_go_back_through_filters(self) -> None:
        """From the last to the first."""

        class Marking(Filter):
            def __init__(self, mark: bytes) -> None:
                self.mark = mark

            def response(self, passage: Any, head: Any) -> None:
                head.fields += b"X-Mark: %b\r\n" % self.mark

        head = StubPassage().respond(Marking(b"first"), Marking(b"last"), status=404, fields={"X-A": "1"})
        self.assertEqual((head.status, head.fields), (404, b"X-A: 1\r\nX-Mark: last\r\nX-Mark: first\r\n"))
