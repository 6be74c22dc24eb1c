"""Configurations that are made in Python: what is left open in them is said, and they are checked for what files are checked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from ..errors import ConfigurationError
from ..policies import policy_maker
from ..routing.naming import named
from .keys import POOL_SETTING_KEYS, SETTING_KEYS, SITE_KEYS
from .model import OF_THE_SITE, AccessLogFile, Certificates, Configuration, PoolConfiguration
from .problems import KeyPath, Problem, from_lines, path_text
from .rules import access_log_problems, cross_problems

__all__ = ["alone", "completed"]

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
#: Attributes that are not called as their keys are.
_CALLED = {"sticky-key-file": "sticky_key", "certificate": "certificates"}
#: Where an attribute stands, by the class that has it.
_PARTS: dict[type, tuple[str, ...]] = {Configuration: (), Certificates: ("certificates",), AccessLogFile: ("access_log",)}
#: How a file has it, and how Python.
_WORDS = (
    ('[[routes]] with pool = "NAME" alone', 'Route(pool="NAME")'),
    ("[pools.NAME]", "PoolConfiguration(name=NAME)"),
    ("[filters.NAME]", "filters={NAME: ...}"),
    ('{ file = "PATH" }', 'backends_file="PATH"'),
    ("--access-log FILE --access-log-format json; give both as well", 'format="json"; give that as well'),
)


def completed(configuration: Configuration) -> Configuration:
    """The same, with a name for each route, and with the site's settings for pools that have none of their own.

    :raises ConfigurationError: with a line for each mistake, which names the attribute.
    """
    whole = attrs.evolve(configuration, pools=_with_settings(configuration))
    rules = (_member_problems, _filter_problems, cross_problems, _log_problems, _policy_problems)
    problems = [problem for rule in rules for problem in rule(whole)]
    if problems:
        raise ConfigurationError("\n".join(map(_said, problems)))
    whole = attrs.evolve(whole, routes=named(whole.routes))
    return configuration if whole == configuration else whole


def alone(configuration: Configuration) -> Configuration:
    """The same, for the only process that there is to be.

    :raises ConfigurationError: it wants several.
    """
    if configuration.workers > 1:
        given = configuration.workers
        raise ConfigurationError(f"workers: {given} was given; several workers are for twistd lbproxy; allowed is 1")
    return configuration


def _with_settings(configuration: Configuration) -> tuple[PoolConfiguration, ...]:
    return tuple(
        attrs.evolve(pool, settings=configuration.settings) if pool.settings is OF_THE_SITE else pool
        for pool in configuration.pools
    )


def _member_problems(configuration: Configuration) -> Iterator[Problem]:
    """Who names a pool's members must be one."""
    for pool in configuration.pools:
        if pool.backends and pool.backends_file:
            message = "it was given, and backends as well; give one of the two"
            yield Problem(("pools", pool.name, "backends_file"), message)


def _filter_problems(configuration: Configuration) -> Iterator[Problem]:
    """What stands for a filter must be able to make one."""
    places: list[tuple[KeyPath, object]] = [(("filters", name), one) for name, one in configuration.filters.items()]
    for number, route in enumerate(configuration.routes):
        own = enumerate(route.filters)
        places += [(("routes", number, "filters", place), one) for place, one in own if not isinstance(one, str)]
    for path, one in places:
        if not isinstance(getattr(one, "type", None), str) or not callable(getattr(one, "make", None)):
            message = f"{one!r} was given; allowed is what makes a filter: it has a type, which is a text, and make(context)"
            yield Problem(path, message)


def _log_problems(configuration: Configuration) -> Iterator[Problem]:
    log = configuration.access_log
    if log is not None:
        yield from access_log_problems(log.path, log.format, log.explain)


def _policy_problems(configuration: Configuration) -> Iterator[Problem]:
    for pool in configuration.pools:
        try:
            policy_maker(pool.policy)
        except ConfigurationError as error:
            yield from (one.below("pools", pool.name) for one in from_lines(error, (), ("policy",)))


# In Python's words.


def _said(problem: Problem) -> str:
    message = problem.message
    for of_a_file, of_python in _WORDS:
        message = message.replace(of_a_file, of_python)
    message = _OPTION.sub(lambda found: _called(found[1]), message)
    return f"{path_text(_steps(problem.path))}: {message}"


def _called(key: str) -> str:
    return _CALLED.get(key) or key.replace("-", "_")


def _steps(path: KeyPath) -> list[str | int]:
    """The attributes that lead to a key. Names of pools, routes and filters are left as they are."""
    if path[0] == "pools" and len(path) > 2:
        key = str(path[2])
        settings = ["settings"] if key in POOL_SETTING_KEYS or key == "sticky-key-file" else []
        return [*path[:2], *settings, _called(key), *path[3:]]
    if path[0] in ("pools", "filters"):
        return list(path)
    if len(path) > 1:
        return [_called(step) if isinstance(step, str) and place < 3 else step for place, step in enumerate(path)]
    return _at_the_top(str(path[0]))


def _at_the_top(key: str) -> list[str | int]:
    if key == "backends":
        return ["pools"]
    if key in SITE_KEYS:
        _, cls, name = SITE_KEYS[key]
        return [*_PARTS[cls], name]
    return [*(["settings"] if key in SETTING_KEYS else []), _called(key)]
