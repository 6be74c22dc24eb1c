"""Latency aware: a decaying peak of latency, weighed by what is in flight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
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

#: Seconds below which no figure falls, so that what is in flight counts for a member that was idle for long, too.
LEAST = 1e-6

#: The decay in seconds, from and to.
DECAYS = (0.1, 3600.0)


class PeakEwma(TwoChoices):
    """Of two members drawn at random by weight, choose the one with the lower cost: latency × (in flight + 1) / weight.

    The latency is an exponentially weighted moving average over time, sensitive to peaks (Finagle's, and Envoy's
    ``peak_ewma``): one above it is taken at once, one below it decays in. It decays while there is no sample as well, so that a
    member which was slow once, and got no exchanges for that, comes back. A failed attempt counts as no faster than
    :data:`FAILED` and than the average; one that was given up counts not at all.

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
        self._averages: dict[BackendState, tuple[float, float]] = {}  # seconds of latency, and when that was so

    def set_members(self, members: Sequence[BackendState]) -> None:
        """Choose among these from now on. Those that stay keep their average."""
        super().set_members(members)
        assumed = (ASSUMED, self._seconds())
        averages = self._averages
        self._averages = {member: averages.get(member, assumed) for member in members}

    def ended(self, member: BackendState, seconds: float | None, failed: bool) -> None:
        """An attempt is over: learn from its latency."""
        if seconds is None or member not in self._averages:
            return
        average, at = self._averages[member]
        now = self._seconds()
        share = exp(min(at - now, 0.0) / self._decay)
        if failed:
            seconds = max(seconds, average * share, FAILED)
        if seconds < average:
            seconds += (average - seconds) * share
        self._averages[member] = (seconds, now)

    def figure(self, member: BackendState, exchange: Asking | None = None) -> float:
        """The cost, in seconds; of the two drawn, the lesser one is chosen."""
        now = self._seconds()
        average, at = self._averages.get(member) or (ASSUMED, now)
        if at < now:  # or the clock was set back
            average = max(average * exp((at - now) / self._decay), LEAST)
        return average * (member.in_flight + 1) / member.weight
