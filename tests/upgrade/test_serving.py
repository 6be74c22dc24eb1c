"""Promises on whether a program serves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.role import Role
from lbproxy.upgrade.serving import LATELY, SignsOfLife, when_serving
from lbproxy.workers.supervisor import SupervisorRole


class ServingTests(SynchronousTestCase):
    """One process, and a supervisor with its workers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.begun: Deferred[None] = Deferred()
        self.crew: Any = SimpleNamespace(when_ready=lambda: self.begun, on_report=[])

    def service(self, role: Role) -> Any:
        """What has this role."""
        return SimpleNamespace(role=role, clock=self.clock)

    def supervisor(self) -> Any:
        """One with workers."""
        role = SupervisorRole(2)
        role.crew = self.crew
        return self.service(role)

    def test_one_process_serves_when_it_was_started(self) -> None:
        """And lives as long as it can be asked."""
        alone = self.service(Role())
        self.successResultOf(when_serving(alone))
        lives = SignsOfLife(alone)
        self.clock.advance(10 * LATELY)
        self.assertTrue(lives())

    def test_a_supervisor_serves_when_its_workers_do(self) -> None:
        """Not sooner."""
        serving = when_serving(self.supervisor())
        self.assertNoResult(serving)
        self.begun.callback(None)
        self.successResultOf(serving)

    def test_it_lives_while_one_worker_answers(self) -> None:
        """When none has for too long it does not, until one does again."""
        lives = SignsOfLife(self.supervisor())
        self.clock.advance(LATELY)
        self.assertTrue(lives())
        self.clock.advance(1.0)
        self.assertFalse(lives())
        for heard in self.crew.on_report:
            heard(None, {})
        self.assertTrue(lives())
