"""What a worker needs to know to begin, beside the messages that it gets from then on."""

from __future__ import annotations

import copyreg
import pickle
from types import MappingProxyType
from typing import Any, TypedDict

import attrs

from ..config.model import Configuration
from ..routing.model import Route
from ..settings import Settings
from .loans import Loans

__all__ = ["State", "packed", "unpacked", "worker_configuration"]


class State(TypedDict):
    """Of the moment. All plain values, for JSON.

    - ``workers``: how many there are in all.
    - ``random_key``: signs sticky sessions where no key was given; hexadecimal.
    - ``backends``: whom each pool consists of, by its name (:func:`lbproxy.workers.calls.plain_backends`).
    - ``calls``: bring the pools to what they are (:func:`lbproxy.workers.calls.snapshot`).
    - ``files``: what is lent of files (:mod:`lbproxy.workers.loans`).
    """

    workers: int
    random_key: str
    backends: dict[str, list[dict[str, Any]]]
    calls: list[list[Any]]
    files: Loans


def worker_configuration(configuration: Configuration, workers: int) -> Configuration:
    """What a worker goes by: without what its supervisor does alone, and with its share of what is the machine's. Files of
    backends are named, but a worker does not read them: it is told whom its pools consist of."""
    return attrs.evolve(
        configuration,
        admin=None,
        admin_writable=False,
        state_file="",
        watch=False,
        workers=1,
        settings=_settings(configuration.settings, workers),
        routes=tuple(_route(route, workers) for route in configuration.routes),
        pools=tuple(attrs.evolve(pool, settings=_settings(pool.settings, workers)) for pool in configuration.pools),
    )


def _settings(settings: Settings, workers: int) -> Settings:
    """Certificates are watched, and outliers are found, by the supervisor, who sees all. How many may wait, and how many may be
    at a further attempt whatever the percentage says, is divided by the workers, and rounded up."""
    return attrs.evolve(
        settings,
        certificate_check=0.0,
        outliers=(),
        queue=-(-settings.queue // workers),
        retry_budget_least=-(-settings.retry_budget_least // workers),
    )


def _route(route: Route, workers: int) -> Route:
    """With the worker's share of the copies that there may be at once, rounded up."""
    mirror = route.mirror
    return route if mirror is None else attrs.evolve(route, mirror=attrs.evolve(mirror, most=-(-mirror.most // workers)))


def _frozen(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


# Of which pickle knows nothing; and configurations are full of them.
copyreg.pickle(MappingProxyType, lambda proxy: (_frozen, (dict(proxy),)))


def packed(configuration: Configuration) -> bytes:
    """A configuration as bytes for a process of the same version."""
    return pickle.dumps(configuration)


def unpacked(data: bytes) -> Configuration:
    """The configuration. Only for bytes of our own supervisor, who could run anything here anyway."""
    configuration: Configuration = pickle.loads(data)
    return configuration
