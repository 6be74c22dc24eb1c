"""What ``/status`` says of the processes that carry exchanges, as plain values."""

from __future__ import annotations

import os
from typing import Any

import attrs

from ..observe.processes import WorkerEnd, WorkerFigures, Workers, cpu_seconds, resident_bytes
from ..observe.times import iso_time

__all__ = ["worker_status"]


def worker_status(workers: Workers | None, now: float) -> dict[str, Any]:
    """Everything that is known of workers, ready for JSON.

    :param workers: None: there are none, for one process does all.
    :param now: seconds since the epoch.
    :return: ``workers``, each with its ``number``, ``pid`` (null: it has no process just now), ``state`` (``starting``,
        ``serving``, ``draining`` or ``waiting``), ``age`` in seconds, client ``connections`` that are open, exchanges that are
        ``in_flight``, ``requests`` that have ended since it began, seconds of ``cpu`` and bytes of ``memory`` (null: the system
        does not say), ``restarts``, and how the one before ended as ``last_end``: its ``time``, ``reason``, ``exchanges_lost``
        (they were running), ``connections_lost`` (they were open) and ``unreported``, exchanges that had ended, but are in no
        other figure (null: there was none). ``workers_lost``: the same of all that have ended, as ``exchanges``,
        ``connections`` and ``unreported``. ``supervisor``: its own ``pid``, ``cpu`` and ``memory``. All are null with one
        process.
    """
    if workers is None:
        return {"workers": None, "workers_lost": None, "supervisor": None}
    return {
        "workers": [_worker(one, now) for one in workers.each],
        "workers_lost": attrs.asdict(workers.lost),
        "supervisor": _process(os.getpid()),
    }


def _process(pid: int | None) -> dict[str, Any]:
    return {"pid": pid, "cpu": cpu_seconds(pid), "memory": resident_bytes(pid)}


def _worker(one: WorkerFigures, now: float) -> dict[str, Any]:
    return {
        "number": one.number,
        **_process(one.pid),
        "state": one.state,
        "age": None if one.began is None else round(now - one.began, 3),
        "connections": one.connections,
        "in_flight": one.in_flight,
        "requests": one.requests,
        "restarts": one.restarts,
        "last_end": None if one.last_end is None else _end(one.last_end),
    }


def _end(end: WorkerEnd) -> dict[str, Any]:
    return {
        "time": iso_time(end.time),
        "reason": end.reason,
        "exchanges_lost": end.loss.exchanges,
        "connections_lost": end.loss.connections,
        "unreported": end.loss.unreported,
    }
