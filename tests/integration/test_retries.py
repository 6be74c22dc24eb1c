"""Second attempts: for a status, after a time-out, beside a slow one; and how few there are when nobody can answer."""

from __future__ import annotations

import signal

from .support import Backend, IntegrationTestCase, LoadBalancer, ask, send

#: Attempts for each request where nobody answers, beside the three that may always be repeated: without a budget it would be 3.
MOST = 1.2


def freeze(*backends: Backend) -> None:
    """Let the kernel take their connections, and nobody answer."""
    for backend in backends:
        backend.process.signal(signal.SIGSTOP)


class RetryTests(IntegrationTestCase):
    """One of two backends is not as it should be."""

    def test_a_status_is_retried_where_that_is_wanted(self) -> None:
        """A GET goes on elsewhere; a POST does not, nor anything by default; what all say is passed on."""
        good, bad = backends = self.backends("gb")
        options = ("--eject-failures", "0", "--probe-interval", "60")
        willing = self.balancer("--retry-on", "connect,503", *options, backends=backends)
        default = self.balancer(*options, backends=backends)
        bad.direct("/fault?kind=status&code=503")
        answers = [ask(willing.port) for _ in range(10)]
        self.assertEqual({(answer.status, answer.backend) for answer in answers}, {(200, "g")})
        self.assertEqual(willing.pool()["retries"], 5)
        self.assertEqual(sorted(ask(willing.port, "/", "POST", b"x").status for _ in range(4)), [200, 200, 503, 503])
        self.assertEqual(sorted(ask(default.port).status for _ in range(4)), [200, 200, 503, 503])
        good.direct("/fault?kind=status&code=503")
        answer = ask(willing.port)
        self.assertEqual((answer.status, answer.headers["X-Backend"] in ("g", "b")), (503, True))
        self.assertEqual(willing.of(bad)["statuses"], {"503": 8})

    def test_an_attempt_and_an_exchange_have_times_of_their_own(self) -> None:
        """An attempt that takes too long is given up for another; the whole takes no longer than it may."""
        good, frozen = backends = self.backends("gf")
        options = ("--eject-failures", "0", "--probe-interval", "60", "--probe-timeout", "50")
        balancer = self.balancer("--attempt-timeout", "0.4", "--exchange-timeout", "3", *options, backends=backends)
        freeze(frozen)
        answers = [ask(balancer.port) for _ in range(4)]
        self.assertEqual([(answer.status, answer.backend) for answer in answers], [(200, "g")] * 4)
        self.assertEqual(sorted(ask(balancer.port, "/", "POST", b"x").status for _ in range(2)), [200, 504])
        self.assertEqual(balancer.pool()["ends"], {"done": 5, "attempt-timeout": 1})
        hasty = self.balancer("--exchange-timeout", "0.5", *options, backends=[good])
        self.assertAnswered(ask(hasty.port, "/slow?seconds=5"), 504)
        self.assertEqual(hasty.pool()["ends"], {"exchange-timeout": 1})
        self.assertEqual(hasty.of(good)["in_flight"], 0)

    def test_a_hedge_is_faster_than_a_slow_backend(self) -> None:
        """Once it is known how fast answers are, nobody waits for the slow one; it is asked in its turn all the same."""
        _, slow = backends = self.backends("qs")
        balancer = self.balancer("--hedge", "90", "--probe-interval", "60", backends=backends)
        connection = self.connection(balancer.port)
        for _ in range(110):
            self.assertAnswered(send(connection))
        before, hedges = len(slow.seen()["requests"]), balancer.pool()["hedges"]
        slow.direct("/fault?kind=slow&seconds=5")
        answers = [send(connection) for _ in range(20)]
        self.assertEqual([(answer.status, answer.backend) for answer in answers], [(200, "q")] * 20)
        self.assertGreaterEqual(balancer.pool()["hedges"] - hedges, 10)
        self.assertGreaterEqual(len(slow.seen()["requests"]) - before, 10)
        self.assertEqual(balancer.metrics()("lbproxy_pool_hedges_total"), balancer.pool()["hedges"])


class StormTests(IntegrationTestCase):
    """Nobody answers."""

    def attempts(self, *options: str) -> tuple[LoadBalancer, int]:
        """Forty clients with two requests each, one after the other, at three backends that are frozen: how many attempts were
        made for these 80."""
        backends = self.backends("abc")
        options = ("--eject-failures", "0", "--probe-interval", "60", "--probe-timeout", "50", *options)
        balancer = self.balancer(*options, backends=backends)
        connection = self.connection(balancer.port)
        for _ in range(110 if "--hedge" in options else 0):  # so many answers say how fast they are
            send(connection)
        before = balancer.metrics()("lbproxy_backend_requests_total")
        freeze(*backends)
        asked = self.at_once(40, lambda: [ask(balancer.port).status for _ in range(2)])
        self.assertEqual([one.result() for one in asked], [[504] * 2] * 40)
        return balancer, int(balancer.metrics()("lbproxy_backend_requests_total") - before)

    def test_retries_add_no_more_than_the_budget(self) -> None:
        """Those that get no place in time are answered with what they ran into."""
        balancer, attempts = self.attempts("--attempt-timeout", "0.3")
        self.assertGreater(attempts, 80)
        self.assertLessEqual(attempts, MOST * 80 + 3)
        self.assertEqual(balancer.pool()["retries"], attempts - 80)
        self.assertGreater(balancer.metrics()("lbproxy_pool_retry_budget_refused_total"), 40)

    def test_hedges_are_within_the_budget_too(self) -> None:
        """Whatever the percentile says, where all are slow."""
        balancer, attempts = self.attempts("--hedge", "50", "--response-timeout", "0.5")
        self.assertLessEqual(attempts, MOST * 80 + 3)
        self.assertGreater(balancer.pool()["hedges"], 0)
