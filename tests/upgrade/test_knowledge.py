"""What was known of backends goes on to be known, as far as it concerns who is there now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import parse_backends
from lbproxy.balance.overlay import Overlay
from lbproxy.balance.pool import Pool
from lbproxy.balance.state import Verdict, Wish
from lbproxy.members import Memberships
from lbproxy.settings import Settings
from lbproxy.state_file import state_text
from lbproxy.upgrade.knowledge import hold, learn
from lbproxy.workers.calls import snapshot

from ..tls.fake_store import Threads


class KnowledgeTests(SynchronousTestCase):
    """A pool of three."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.old, self.new = self.pool("a:1,b:1,gone:1"), self.pool("a:1,b:1,new:1")
        memberships = Memberships(self.clock, Threads())
        memberships.configure(self.new, parse_backends(["a:1,b:1,new:1"]))
        self.members = memberships.of(self.new)
        self.service: Any = SimpleNamespace(
            clock=self.clock,
            members=memberships,
            site=SimpleNamespace(settings=Settings(eject_time=30), balancers={"app": SimpleNamespace(pool=self.new)}),
        )

    def pool(self, backends: str) -> Pool:
        return Pool(parse_backends([backends]), name="app", seconds=self.clock.seconds)

    def states(self) -> dict[str, str]:
        """Of the new program's backends."""
        return {address: member.state for address, member in self.new.members.items()}

    def test_who_is_down(self) -> None:
        """Stays so until a probe finds it well; who is there is the new configuration's affair."""
        self.old.apply(Verdict("a:1", False, "refused", "probe"))
        self.old.apply(Verdict("gone:1", False, "refused", "probe"))
        self.old.apply(Verdict("b:1", False, "cannot be connected to", "traffic", "connect"))
        learn(self.service, snapshot(self.old))
        self.assertEqual(self.states(), {"a:1": "down", "b:1": "down", "new:1": "up"})
        self.clock.advance(1000)
        self.assertEqual(self.states()["b:1"], "down")
        for address in ("a:1", "b:1"):
            self.new.apply(Verdict(address, True, "connects", "probe", "connect"))
        self.assertEqual(set(self.states().values()), {"up"})

    def test_who_was_ejected(self) -> None:
        """Comes back when its time is over, though nobody is left who has ejected it; unless it was ejected again since."""
        self.old.apply(Verdict("a:1", False, "503", "traffic"))
        self.old.apply(Verdict("b:1", False, "502", "traffic"))
        learn(self.service, snapshot(self.old))
        self.clock.advance(29)
        self.assertEqual(self.states(), {"a:1": "down", "b:1": "down", "new:1": "up"})
        self.new.apply(Verdict("b:1", True, "its time is over", "traffic"))
        self.new.apply(Verdict("b:1", False, "504", "traffic"))
        self.clock.advance(1)
        self.assertEqual(self.states(), {"a:1": "up", "b:1": "down", "new:1": "up"})

    def test_what_operators_said(self) -> None:
        """Holds, and nothing else does: not what a state file says that is older."""
        self.members.wish(Wish("b:1", "maintenance"))
        said = Overlay(wishes={"a:1": Wish("a:1", "drain", "a new disk")})
        hold(self.service, state_text({"app": said}))
        self.assertEqual(self.states(), {"a:1": "draining", "b:1": "up", "new:1": "up"})
        self.assertEqual(self.service.members.overlays, {"app": said})
        hold(self.service, state_text({}))
        self.assertEqual(set(self.states().values()), {"up"})

    def test_what_cannot_be_read(self) -> None:
        """Is told in the log, and all else goes on."""
        hold(self.service, "{}")
        self.assertEqual(set(self.states().values()), {"up"})
