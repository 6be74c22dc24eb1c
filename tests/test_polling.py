"""Promises about the one registration that a reactor has for all wires."""

from __future__ import annotations

import gc
import select
import socket
from typing import Any
from weakref import ref

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from zope.interface.verify import verifyObject

from lbproxy.polling import WirePoll, poll_of

from .support import ReactorCase


class FakeWire:
    """One end of a socket pair, which remembers what it is told; *act* is done when it may read."""

    def __init__(self, case: ReactorCase) -> None:
        self.near, self.far = socket.socketpair()
        case.addCleanup(self.near.close)
        case.addCleanup(self.far.close)
        self.near.setblocking(False)
        self.heard: list[str] = []
        self.act: Any = None
        self.lost: Failure | None = None

    def fileno(self) -> int:
        return self.near.fileno()

    def doRead(self) -> Any:
        self.heard.append("read")
        return self.act() if self.act is not None else None

    def doWrite(self) -> Any:
        self.heard.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self.lost = reason
        self.poll.removeReader(self)
        self.poll.removeWriter(self)
        self.near.close()

    poll: Any


class PollCase(ReactorCase):
    """A poll, and wires on it."""

    def setUp(self) -> None:
        if not hasattr(select, "epoll"):
            raise SkipTest("no epoll here")
        super().setUp()
        self.poll = poll_of(self.reactor)

    def wire(self) -> Any:
        wire = FakeWire(self)
        wire.poll = self.poll
        return wire

    def known(self) -> list[Any]:
        """What the reactor reads from, but for what it has for itself."""
        return [reader for reader in self.reactor.getReaders() if reader not in self.reactor._internalReaders]

    def wires(self, number: int) -> list[Any]:
        """So many, each with something to be read."""
        made = [self.wire() for _ in range(number)]
        for wire in made:
            wire.far.send(b"x")
            self.poll.addReader(wire)
        return made


class Serving(PollCase):
    """Who is told, and of what."""

    def test_each_wire_is_told_of_what_it_asked_for(self) -> None:
        """Reading, writing, or both; and nothing after it asked no more."""
        reader, writer, both, neither = (self.wire() for _ in range(4))
        for wire in (reader, writer, both, neither):
            wire.far.send(b"x")
        for wire in (reader, both, neither):
            self.poll.addReader(wire)
        for wire in (writer, both, neither):
            self.poll.addWriter(wire)
        self.poll.removeReader(neither)
        self.poll.removeWriter(neither)
        self.turn(1)
        self.assertEqual([wire.heard for wire in (reader, writer, both, neither)], [["read"], ["write"], ["read", "write"], []])

    def test_a_peer_that_is_gone_is_not_read_where_nobody_reads(self) -> None:
        """A wire that is paused hears of it by writing."""
        wire = self.wire()
        self.poll.addWriter(wire)
        wire.far.close()
        self.turn(1)
        self.assertEqual(wire.heard, ["write"])

    def test_a_wire_that_another_has_ended_is_not_served(self) -> None:
        """Although it was ready in the same moment."""
        made = self.wires(2)
        for one, other in (made, reversed(made)):
            one.act = lambda other=other: other.connectionLost(Failure(ConnectionDone()))
        self.turn(1)
        self.assertEqual(sorted(wire.heard for wire in made), [[], ["read"]])

    def test_a_wire_that_ends_in_reading_is_not_written_to(self) -> None:
        """Its end is told once."""
        wire = self.wires(1)[0]
        self.poll.addWriter(wire)
        wire.act = lambda: CONNECTION_LOST
        self.turn(2)
        self.assertEqual((wire.heard, wire.lost.value), (["read"], CONNECTION_LOST))

    def test_an_error_ends_one_wire_alone(self) -> None:
        """It is logged, and the others are served."""
        made = self.wires(3)
        made[1].act = lambda: 1 / 0
        self.turn(1)
        self.assertEqual([wire.heard for wire in made], [["read"]] * 3)
        self.assertEqual([wire.lost is not None for wire in made], [False, True, False])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Living(PollCase):
    """When the reactor knows of it."""

    def test_a_socket_that_was_closed_behind_a_wires_back_leaves_nothing_behind(self) -> None:
        """The next one with its number is watched: Twisted itself may end a connection in the very event in which it came about,
        when its peer has reset it by then."""
        old, stay = self.wire(), self.wire()
        for wire in (old, stay):
            self.poll.addReader(wire)
        number = old.fileno()
        old.near.close()
        old.fileno = lambda: number  # a wire remembers it
        new = self.wire()
        self.assertEqual(new.fileno(), number)
        self.poll.addReader(new)
        old.poll.removeReader(old)  # whenever it hears of it
        new.far.send(b"x")
        self.turn()
        self.assertIn("read", new.heard)
        self.poll.removeReader(new)
        self.poll.addReader(new)
        self.assertEqual(self.poll.wires, [stay, new])

    def test_a_wire_whose_socket_was_closed_can_be_taken_out(self) -> None:
        """Without an error, which would keep whoever does it from the rest."""
        old, stay = self.wire(), self.wire()
        for wire in (old, stay):
            self.poll.addReader(wire)
        number = old.fileno()
        old.near.close()
        old.fileno = lambda: number
        self.poll.addWriter(old)
        self.poll.removeReader(old)
        self.poll.removeWriter(old)
        self.assertEqual(self.poll.wires, [stay])

    def test_it_is_registered_while_there_are_wires(self) -> None:
        """And its descriptor is open no longer than that."""
        self.assertEqual((self.known(), self.poll.fileno()), ([], -1))
        first, second = self.wires(2)
        self.assertEqual(self.known(), [self.poll])
        self.assertEqual(self.poll.wires, [first, second])
        for wire in (first, second):
            self.poll.removeReader(wire)
        self.assertEqual((self.known(), self.poll.fileno()), ([], -1))
        self.poll.addReader(first)
        self.turn(1)
        self.assertEqual(first.heard, ["read"])

    def test_there_is_one_for_a_reactor(self) -> None:
        """And another for another; it is gone with its reactor."""
        self.assertIs(poll_of(self.reactor), self.poll)
        other = SelectReactor()
        gone = ref(poll_of(other))
        self.assertIsNot(gone(), self.poll)
        for waking in list(other._internalReaders):
            waking.connectionLost(Failure(ConnectionDone()))
        del other
        gc.collect()
        self.assertIsNone(gone())

    def test_the_reactors_end_ends_all(self) -> None:
        """As it ends whatever else it knows."""
        made = self.wires(2)
        for reader in self.reactor.removeAll():
            reader.connectionLost(Failure(CONNECTION_LOST))
        self.assertTrue(all(wire.lost is not None for wire in made))
        self.assertEqual(self.poll.fileno(), -1)

    def test_it_is_a_descriptor_that_is_read(self) -> None:
        """No more is asked of any reactor."""
        self.wires(1)
        self.assertTrue(verifyObject(IReadDescriptor, self.poll))
        self.assertIsInstance(self.poll, WirePoll)


class EPollServing(Serving):
    """The same under an epoll reactor."""

    def make_reactor(self) -> Any:
        from twisted.internet.epollreactor import EPollReactor

        return EPollReactor()
