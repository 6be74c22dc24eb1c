"""What a call costs, in steps of the interpreter: the same on every machine, however busy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from ..balance.state import BackendState

__all__ = ["Watched", "counted"]

Given = TypeVar("Given")


class Watched(BackendState):
    """A member whose figures cost steps to read, even for what is done in C (``min(members, key=attrgetter(…))``)."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        return super().__getattribute__(name)


def counted(call: Callable[..., Given], *arguments: Any) -> tuple[Given, int]:
    """What a call gives, and how many steps of the interpreter it takes."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    before = sys.gettrace()  # a debugger's, or coverage's
    sys.settrace(trace)
    try:
        given = call(*arguments)
    finally:
        sys.settrace(before)
    return given, steps
