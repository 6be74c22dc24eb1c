"""What ``twistd lbproxy`` is asked instead of to serve: ``--check``, ``--print-config``, ``--explain`` and ``--plan``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from .changes import check_places, places_of, store_of
from .config.differences import differences
from .config.model import Configuration
from .errors import ConfigurationError
from .option_config import ConfigurationFile
from .options import Options
from .plan import touched
from .routing.asking import request_of
from .routing.explain import explain_route
from .site import Site

__all__ = ["run_command"]


def run_command(options: Options, reactor: Any) -> None:
    """Do what is asked for, if it is one of these, and end the process: with status 0, or with 1 and every mistake.

    :raises SystemExit: then.
    """
    commands: dict[str, Callable[[Options, Any], None]] = {
        "print-config": _print,
        "check": _check,
        "plan": _plan,
        "explain": _explain,
    }
    wanted = [command for name, command in commands.items() if options[name]]
    try:
        for command in wanted:
            command(options, reactor)
    except ConfigurationError as error:
        sys.exit(str(error))
    if wanted:
        sys.exit(0)


def _print(options: Options, reactor: Any) -> None:
    from .config.printing import print_configuration
    from .config.reading import read_text

    loaded = read_text("", "lb.toml", options.given) if options.file is None else options.file.reading
    sys.stdout.write(print_configuration(loaded))


def _check(options: Options, reactor: Any) -> None:
    configuration = options.configuration()
    _refuse_unusable(configuration, reactor)
    if options.file is not None:
        for warning in options.file.reading.warnings:
            _say(warning)
    _say(f"{options['config'] or 'the options'}: ok, {_counted(configuration)}")


def _refuse_unusable(configuration: Configuration, reactor: Any) -> None:
    """What can be found out without opening anything but files.

    :raises ConfigurationError: names all of it.
    """
    problems = []
    for check in (
        lambda: store_of(configuration),
        lambda: Site.of(configuration, reactor),
        lambda: check_places(configuration, reactor),
    ):
        try:
            check()
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))


def _counted(configuration: Configuration) -> str:
    places = places_of(configuration)
    listeners = len(places.plain) + len(places.secure) + (places.admin is not None)
    counts = (("listener", listeners), ("pool", len(configuration.pools)), ("route", len(configuration.routes)))
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts)


def _explain(options: Options, reactor: Any) -> None:
    configuration = options.configuration()
    request, client = request_of(options["explain"])
    site = Site.of(configuration, reactor)
    pools = [pool.name for pool in configuration.pools]
    if configuration.routes:
        decision = explain_route(site.router.table, request, client)
        _say(decision)
        route = next((route for route in configuration.routes if route.name == decision.route), None)
        filters = [] if route is None else [*configuration.default_filters, *route.filters]
        names = [one if isinstance(one, str) else one.type for one in filters]
        _say(f"  filters: {', '.join(names) or 'none'}")
        pools = [] if route is None else [route.pool] if route.pool else list(route.split.pools) if route.split else []
    else:
        _say(f"{options['explain']}\n  there are no routes: all goes to pool {pools[0]}")
    for name in pools:
        _say(f"  pool {name}: {', '.join(_candidates(site, name, request, client)) or 'it has no backends here'}")


def _candidates(site: Site, name: str, request: Any, client: Any) -> Iterator[str]:
    """The backends in the order in which the policy would have them tried just now, with nothing running."""
    pool = site.balancers[name].pool
    asking: Any = _Asking(request, client)
    for member in pool.candidates(asking):
        yield member.address


class _Asking:
    """Of an exchange, what policies look at."""

    def __init__(self, request: Any, client: Any) -> None:
        self.request = request
        self.client = client


def _plan(options: Options, reactor: Any) -> None:
    old = options.configuration()
    new = ConfigurationFile(options["plan"], options.given).read()
    _refuse_unusable(new, reactor)
    found = differences(old, new)
    for line in [*map(str, found)] or ["nothing would change"]:
        _say(line)
    if found:
        for line in touched(reactor, old, new):
            _say(line)


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
