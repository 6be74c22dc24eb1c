"""Latency aware: a decaying peak of latency, weighed by what is in flight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .policy import Asking
from .state import BackendState
from .two_choices import TwoChoices

if TYPE_CHECKING:
    from random import Random

__all__ = ["PeakEwma"]

#: Seconds taken for a member's latency before its first sample (Envoy's ``default_rtt``). It decays as a sample does, so that a
#: new member among faster ones is tried soon.
ASSUMED = 0.010

#: Seconds that a failed attempt counts as, at least: a backend that fails at once must not look like the fastest.
FAILED = 1.0

#: The least latency that there is: a clock may see none at all pass.
LEAST = 1e-6

#: The decay in seconds, from and to.
DECAYS = (0.1, 3600.0)


class PeakEwma(TwoChoices):
    """Of two members drawn at random by weight, choose the one with the lower cost: latency × (in flight + 1) / weight.

    The latency is an exponentially weighted moving average over time, sensitive to peaks (Finagle's, and Envoy's
    ``peak_ewma``): one above it is taken at once, one below it decays in. It decays while there is no sample as well, so that a
    member which was slow once, and got no exchanges for that, comes back. A failed attempt counts as no faster than
    :data:`FAILED` and than the average; one that was given up counts not at all.

    All averages decay alike, so the logarithms of what they would have been at one and the same moment are kept, and a choice
    compares these without a look at the clock.

    Shares are as the weights say where there is work for all. Of an idle pool, whoever has the lower latency for its weight is
    preferred.

    :param random: the source of chance.
    :param seconds: the clock.
    :param decay: seconds in which the weight of what was falls to 37 % (1/e); 0.1 to 3600.
    :raises ConfigurationError: for another decay.
    """

    name = "peak-ewma"

    def __init__(self, random: Random, seconds: Callable[[], float], *, decay: float = 10.0) -> None:
        low, high = DECAYS
        if not low <= decay <= high:
            raise ConfigurationError(
                f"peak-ewma: decay {decay!r} was given; allowed is a number from {low:g} to {high:g} (seconds)"
            )
        super().__init__(random)
        self._seconds = seconds
        self._decay = decay
        # Seconds of latency, when that was so, and its logarithm at the clock's beginning.
        self._averages: dict[BackendState, tuple[float, float, float]] = {}
        self._last = 0.0
        self._set_back = 0.0

    def _now(self) -> float:
        """The clock, which goes on where it was when somebody sets it back: otherwise all that was learnt before would look
        as if it had still to come."""
        now = self._seconds() + self._set_back
        if now < self._last:
            self._set_back += self._last - now
            now = self._last
        self._last = now
        return now

    def _average(self, seconds: float, now: float) -> tuple[float, float, float]:
        return seconds, now, log(seconds) + now / self._decay

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Choose among these from now on. Those that stay keep their average."""
        super().set_members(members)
        assumed = self._average(ASSUMED, self._now())
        averages = self._averages
        self._averages = {member: averages.get(member, assumed) for member in members}

    def ended(self, member: BackendState, seconds: float | None, failed: bool) -> None:
        """An attempt is over: learn from its latency."""
        if seconds is None or member not in self._averages:
            return
        average, at, _ = self._averages[member]
        now = self._now()
        share = exp((at - now) / self._decay)
        if failed:
            seconds = max(seconds, average * share, FAILED)
        if seconds < average:
            seconds += (average - seconds) * share
        self._averages[member] = self._average(max(seconds, LEAST), now)

    def _is_better(self, other: BackendState, one: BackendState) -> bool:
        # Both costs' logarithms, rearranged so that one has to be taken.
        ratio = (one.in_flight + 1) * other.weight / ((other.in_flight + 1) * one.weight)
        averages = self._averages
        return averages[other][2] - averages[one][2] < log(ratio)

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """The cost, in seconds; of the two drawn, the lesser one is chosen."""
        now = self._now()
        average, at, _ = self._averages.get(member) or (ASSUMED, now, 0.0)
        return average * exp((at - now) / self._decay) * (member.in_flight + 1) / member.weight
