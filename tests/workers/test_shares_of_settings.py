"""Promises about what of a configuration is divided by the workers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.routing.model import Mirror
from lbproxy.workers.state import packed, unpacked, worker_configuration

from ..sites import configuration, pool, route


class DividedTests(SynchronousTestCase):
    """What is meant for the machine, and bounds each worker by its share."""

    def test_who_may_wait_and_who_may_try_again(self) -> None:
        """Rounded up, for all pools; what is none stays none, and what is no number of things stays as it is."""
        whole = configuration(pool("a:1", "one", queue=5), pool("b:1", "two", queue=0), retry_budget_least=3, max_connections=9)
        part = worker_configuration(whole, 2)
        self.assertEqual([one.settings.queue for one in part.pools], [3, 0])
        self.assertEqual([one.settings.retry_budget_least for one in part.pools], [2, 2])
        self.assertEqual((part.settings.retry_budget, part.settings.max_connections), (whole.settings.retry_budget, 9))

    def test_copies_at_once(self) -> None:
        """Of a mirror; other routes are as they were."""
        routes = (route("a", mirror=Mirror(pool="default", most=5)), route("b"))
        part = worker_configuration(configuration("a:1", routes=routes), 2)
        self.assertEqual([one.mirror.most if one.mirror else None for one in part.routes], [3, None])
        self.assertIs(part.routes[1], routes[1])

    def test_it_reaches_another_process(self) -> None:
        """As it is."""
        part = worker_configuration(configuration("a:1:max-in-flight=3", routes=(route("b"),)), 2)
        self.assertEqual(unpacked(packed(part)), part)
