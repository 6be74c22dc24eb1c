"""How plain counters become what ``prometheus_client`` writes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from ..balance.state import DURATION_BOUNDS

__all__ = ["add_histogram", "from_zero", "with_samples"]

_BOUNDS = [*map(floatToGoString, DURATION_BOUNDS), "+Inf"]

_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)


def with_samples(family: _Family, samples: Iterable[tuple[Sequence[str], float]]) -> _Family:
    """Add samples, each the values of the family's labels and its own value."""
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def from_zero(labels: Iterable[str], counts: Mapping[str, int]) -> Iterator[tuple[tuple[str], float]]:
    """Samples for all *labels*, and for those that were counted besides: labels that are known ahead have their series from the
    beginning, for Prometheus sees no increase in one that begins at 1."""
    for label in dict.fromkeys((*labels, *counts)):
        yield (label,), counts.get(label, 0)


def add_histogram(family: HistogramMetricFamily, labels: Sequence[str], buckets: Iterable[int], whole: float) -> None:
    """Add a histogram of durations.

    :param buckets: counts by duration, one for each bound of :data:`~lbproxy.balance.state.DURATION_BOUNDS` and one for the rest.
    :param whole: the seconds of all together.
    """
    family.add_metric(labels, list(zip(_BOUNDS, map(float, accumulate(buckets)), strict=True)), whole)
