"""What probes find, and what a backend's findings amount to: up or down, by how many in a row said so. Pure."""

from __future__ import annotations

import attrs

__all__ = ["Finding", "Tally"]


@attrs.frozen
class Finding:
    """What one probe found, as a plain value.

    :ivar up: whether the backend was well. It is the verdict once there are enough of them in a row.
    :ivar evidence: why, for the operator.
    :ivar time: seconds since the epoch.
    :ivar seconds: what the probe took.
    :ivar in_a_row: how many findings in a row were the same, this one included.
    """

    up: bool
    evidence: str
    time: float
    seconds: float
    in_a_row: int


class Tally:
    """Counts one backend's findings in a row; one that says the opposite begins the count anew.

    A backend that begins down is one that nobody has checked yet, and goes up on its first success whatever *rise* says (as
    Envoy has it); after that *rise* counts for it too. One that begins up goes down on its first *fall* failures.

    :param rise: successes in a row after which one that is down is up.
    :param fall: failures in a row after which one that is up is down.
    :ivar up: the verdict.
    :ivar well: what the last finding was; None before the first.
    :ivar in_a_row: how many findings were that in a row.
    """

    __slots__ = ("_fall", "_proven", "_rise", "in_a_row", "up", "well")

    def __init__(self, rise: int, fall: int, *, up: bool) -> None:
        self.configure(rise, fall)
        self._proven = up
        self.up = up
        self.well: bool | None = None
        self.in_a_row = 0

    def configure(self, rise: int, fall: int) -> None:
        """Go by these from the next finding on; those in a row so far count."""
        self._rise = rise
        self._fall = fall

    def begin_anew(self) -> None:
        """Another probe finds from now on: the verdict stays until it says otherwise, and its findings are counted alone."""
        self.well = None
        self.in_a_row = 0

    def count(self, well: bool) -> bool:
        """Take a finding into account.

        :return: the verdict now.
        """
        self.in_a_row = self.in_a_row + 1 if well is self.well else 1
        self.well = well
        if well and (not self._proven or self.in_a_row >= self._rise):
            self.up = self._proven = True
        elif not well and self.in_a_row >= self._fall:
            self.up = False
        return self.up

    @property
    def in_transition(self) -> bool:
        """Whether it is on its way up or down: what was found last is not the verdict yet."""
        return self.well is not None and self.well is not self.up
