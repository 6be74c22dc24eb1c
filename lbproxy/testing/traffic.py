"""A policy among members that come, go and work: what :class:`.PolicyConformance` moves it with."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NoReturn

from twisted.internet.task import Clock

from ..balance.backend import Backend
from ..balance.policy import Asking
from ..balance.state import BackendState
from ..interfaces import IPolicy

__all__ = ["OPERATIONS", "Operation", "Traffic", "make_member", "random_operations"]

#: What may happen to a policy, in :meth:`Traffic.do`; a number says to whom.
OPERATIONS = ("pick", "open", "go on", "begin", "end", "give up", "join", "leave", "weigh", "wait", "figure")

Operation = tuple[str, int]


def random_operations(random: Random, count: int) -> list[Operation]:
    """So many, in any order."""
    return [(random.choice(OPERATIONS), random.randrange(1000)) for _ in range(count)]


def make_member(number: int, weight: int = 1) -> BackendState:
    """A member of a pool, its address made from the number."""
    return BackendState(Backend(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 8000, weight=weight), 0.0)


class _Asking:
    """A candidates() iterator that is half used.

    :ivar allowed: whom it may yield.
    :ivar owed: whom it must, before it ends.
    """

    def __init__(self, candidates: Iterator[BackendState], members: Sequence[BackendState]) -> None:
        self.candidates = candidates
        self.allowed = set(members)
        self.owed = set(members)
        self.seen: set[BackendState] = set()


class Traffic:
    """Moves a policy, and fails where it breaks a promise.

    :param fail: a test case's own.
    :param ask: makes an exchange of a number.
    :param complete: whether every member must be yielded.
    :ivar members: in the policy.
    :ivar running: the members of the attempts that run; some may have left.
    :ivar chosen: the addresses of those that came first, in order.
    """

    def __init__(
        self,
        policy: IPolicy,
        clock: Clock,
        members: Sequence[BackendState],
        *,
        fail: Callable[[str], NoReturn],
        ask: Callable[[int], Asking | None],
        complete: bool = True,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.running: list[BackendState] = []
        self.chosen: list[str] = []
        self.operations = 0
        self._fail = fail
        self._ask = ask
        self._complete = complete
        self._known = list(members)
        self._asking: list[_Asking] = []
        self.members: list[BackendState] = []
        self.set_members(members)

    def broken(self, promise: str, what: str) -> NoReturn:
        """Fail, naming the promise."""
        self._fail(f"policy {self.policy.name}: {promise}; {what} (after {self.operations} operations)")

    def call(self, promise: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the policy, which must not raise."""
        try:
            return function(*arguments)
        except Exception:
            self.broken(promise, f"it raised:\n{traceback.format_exc()}")

    def do(self, operation: Operation) -> None:
        """Let something happen."""
        self.operations += 1
        word, number = operation
        getattr(self, "_do_" + word.replace(" ", "_"))(number)

    # Members.

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Tell the policy, with a list that is nobody else's."""
        self.members = list(members)
        for used in self._asking:
            used.allowed.update(members)
            used.owed.intersection_update(members)
        self.call("set_members takes any members, none too", self.policy.set_members, list(members))

    def _do_join(self, number: int) -> None:
        away = [member for member in self._known if member not in self.members]
        if number % 2 or not away:
            away = [make_member(len(self._known), number % 7 + 1)]
            self._known += away
        place = number % (len(self.members) + 1)
        self.set_members([*self.members[:place], away[number % len(away)], *self.members[place:]])

    def _do_leave(self, number: int) -> None:
        if self.members:
            place = number % len(self.members)
            self.set_members([*self.members[:place], *self.members[place + 1 :]])

    def _do_weigh(self, number: int) -> None:
        if self.members:
            member = self.members[number % len(self.members)]
            member.weight = member.backend.weight * (number % 10 + 1) / 10
            self.set_members(self.members)

    # Candidates.

    def first(self, exchange: Asking | None) -> BackendState:
        """The first candidate, where there are members."""
        candidates = self.call("candidates takes any exchange, and None", self.policy.candidates, exchange)
        member: BackendState | None = self.call("candidates yields, and does not raise", next, candidates, None)
        if member is None:
            self.broken("a policy with members yields one", f"it has {len(self.members)} and yielded none")
        return member

    def _do_pick(self, number: int) -> None:
        self._do_open(number)
        self._exhaust(self._asking.pop())

    def _do_open(self, number: int) -> None:
        exchange = self._ask(number) if number % 8 else None
        candidates = self.call("candidates takes any exchange, and None", self.policy.candidates, exchange)
        used = _Asking(candidates, self.members)
        self._asking.append(used)
        member = self._next(used)
        self.chosen.append("" if member is None else member.address)

    def _next(self, used: _Asking) -> BackendState | None:
        member: BackendState | None = self.call(
            "candidates yields although members come and go, and does not raise", next, used.candidates, None
        )
        if member is None:
            if self._complete and not used.owed <= used.seen:
                missing = ", ".join(sorted(one.address for one in used.owed - used.seen))
                self.broken("each member is a candidate, whoever comes or goes meanwhile", f"not yielded: {missing}")
            return None
        if member not in used.allowed:
            self.broken("a candidate is one of the members", f"{member!r} is none of {len(used.allowed)}")
        if member in used.seen:
            self.broken("each member is a candidate at most once", f"{member.address} was yielded twice")
        used.seen.add(member)
        return member

    def _exhaust(self, used: _Asking) -> None:
        while self._next(used) is not None:
            pass

    def _do_go_on(self, number: int) -> None:
        if self._asking:
            self._exhaust(self._asking.pop(number % len(self._asking)))

    # Attempts.

    def begin(self, member: BackendState) -> None:
        """An attempt begins."""
        member.in_flight += 1
        self.running.append(member)
        self.call("begun takes any member, also one that has left", self.policy.begun, member)

    def end(self, place: int, seconds: float | None, failed: bool = False) -> None:
        """One of those that run is over."""
        running = self.running
        running[place], running[-1] = running[-1], running[place]
        member = running.pop()
        member.in_flight -= 1
        self.call("ended takes any member, also one that has left", self.policy.ended, member, seconds, failed)

    def _do_begin(self, number: int) -> None:
        if self._known:
            self.begin(self._known[number % len(self._known)])  # chosen by somebody else, or gone

    def _do_end(self, number: int) -> None:
        if self.running:
            self.end(number % len(self.running), number / 1000, number % 5 == 0)

    def _do_give_up(self, number: int) -> None:
        if self.running:
            self.end(number % len(self.running), None, number % 2 == 0)

    # What people see, and time.

    def _do_wait(self, number: int) -> None:
        self.clock.advance(number / 10)

    def _do_figure(self, number: int) -> None:
        exchange = self._ask(number) if number % 8 else None
        for member in self.members:
            figure = self.call("a figure can be asked for each member", self.policy.figure, member, exchange)
            if not isinstance(figure, (int, float)) or math.isnan(figure):
                self.broken("a figure is a number, infinity allowed", f"that of {member.address} is {figure!r}")
