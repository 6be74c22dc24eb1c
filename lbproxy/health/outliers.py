"""Backends that differ from their peers, found from what they did in an interval. Pure: functions on values.

Both rules are statistical, so they need peers: :data:`LEAST_HOSTS` backends with at least :data:`LEAST_REQUESTS` requests each in
the interval; with fewer nobody is an outlier. The success rate's is Envoy's (the section "Success rate" of its documentation's
"Outlier detection", whose figures these are); the latency's mirrors it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, sqrt

import attrs

from ..balance.state import BackendState

__all__ = [
    "DEVIATIONS",
    "LEAST_BAD",
    "LEAST_HOSTS",
    "LEAST_REQUESTS",
    "Figures",
    "Outlier",
    "latency_outliers",
    "success_rate_outliers",
]

#: Envoy's ``success_rate_minimum_hosts``.
LEAST_HOSTS = 5
#: Envoy's ``success_rate_request_volume``.
LEAST_REQUESTS = 100
#: Bad ones that a backend must have had to be an outlier by success rate. Envoy asks for none, and so takes one of five backends
#: out for a single failure in 100 requests where the others had none.
LEAST_BAD = 5
#: Envoy's ``success_rate_stdev_factor``, 1900 thousandths there. The standard deviation is that of the whole population.
DEVIATIONS = 1.9
#: A slow backend is one that takes more than so many times as long as the others too: equals differ by less.
TIMES_SLOWER = 2.0


@attrs.frozen
class Figures:
    """What a backend did, as counted from its beginning or in an interval.

    :ivar requests: responses and failed attempts. One that broke off within its response is both.
    :ivar bad: of these, failed attempts and responses of 500 and above.
    :ivar answers: responses.
    :ivar seconds: from these responses' requests to their heads, together.
    """

    requests: int = 0
    bad: int = 0
    answers: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, member: BackendState) -> Figures:
        """As its counters are now."""
        statuses = member.statuses
        failures = member.failures
        errors = sum(count for status, count in statuses.items() if status >= 500)
        return cls(sum(statuses.values()) + failures, errors + failures, sum(member.buckets), member.latency_sum)

    def since(self, before: Figures) -> Figures:
        """What was added after *before*."""
        return Figures(
            self.requests - before.requests,
            self.bad - before.bad,
            self.answers - before.answers,
            self.seconds - before.seconds,
        )


@attrs.frozen
class Outlier:
    """A backend that differs, and by how much, in words.

    :ivar cause: ``"success-rate"`` or ``"latency"``.
    """

    address: str
    cause: str
    evidence: str


def success_rate_outliers(figures: Mapping[str, Figures]) -> list[Outlier]:
    """Those whose success rate is below the mean less 1.9 standard deviations, the worst first.

    :param figures: what each backend did in the interval, by address.
    """
    rates = {
        address: (done.requests - done.bad) / done.requests
        for address, done in figures.items()
        if done.requests >= LEAST_REQUESTS
    }
    if len(rates) < LEAST_HOSTS:
        return []
    mean, deviation = _mean_and_deviation(rates)
    limit = mean - DEVIATIONS * deviation
    low = sorted((rate, address) for address, rate in rates.items() if rate < limit and figures[address].bad >= LEAST_BAD)
    return [
        Outlier(
            address,
            "success-rate",
            f"success rate {rate:.1%} of {figures[address].requests} requests, where the others' mean is "
            f"{_mean_of_others(rates, rate):.1%} and the limit {limit:.1%}".replace("%", " %"),
        )
        for rate, address in low
    ]


def latency_outliers(figures: Mapping[str, Figures]) -> list[Outlier]:
    """Those whose mean latency is above the mean plus 1.9 standard deviations and twice the others' mean, the slowest first.

    :param figures: what each backend did in the interval, by address.
    """
    means = {address: done.seconds / done.answers for address, done in figures.items() if done.answers >= LEAST_REQUESTS}
    if len(means) < LEAST_HOSTS:
        return []
    mean, deviation = _mean_and_deviation(means)
    limit = mean + DEVIATIONS * deviation
    slow = sorted(
        ((seconds, address) for address, seconds in means.items() if seconds > limit and _is_slower(means, seconds)),
        reverse=True,
    )
    return [
        Outlier(
            address,
            "latency",
            f"mean latency {_ms(seconds)} of {figures[address].answers} responses, where the others' mean is "
            f"{_ms(_mean_of_others(means, seconds))} and the limit {_ms(limit)}",
        )
        for seconds, address in slow
    ]


def _mean_and_deviation(values: Mapping[str, float]) -> tuple[float, float]:
    mean = fsum(values.values()) / len(values)
    return mean, sqrt(fsum((value - mean) ** 2 for value in values.values()) / len(values))


def _mean_of_others(values: Mapping[str, float], own: float) -> float:
    return (fsum(values.values()) - own) / (len(values) - 1)


def _is_slower(means: Mapping[str, float], seconds: float) -> bool:
    return seconds > TIMES_SLOWER * _mean_of_others(means, seconds)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
