"""What ``twistd lbproxy`` is asked instead of to serve: ``--check``, ``--print-config``, ``--explain`` and ``--plan``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .changes import check_places, places_of, store_of
from .config.differences import differences
from .config.model import Configuration
from .config.printing import print_configuration
from .config.reading import read_text
from .errors import ConfigurationError
from .explaining import explained
from .members import Memberships
from .option_config import ConfigurationFile
from .options import Options
from .plan import touched
from .site import Site
from .tls.watch import in_thread_of

__all__ = ["refuse_unusable", "run_command"]


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
    loaded = None if options.file is None else options.file.reading
    sys.stdout.write(print_configuration(read_text("", "the options", options.given) if loaded is None else loaded))


def _check(options: Options, reactor: Any) -> None:
    configuration = options.configuration()
    refuse_unusable(configuration, reactor)
    if options.file is not None and options.file.reading is not None:
        for warning in options.file.reading.warnings:
            _say(warning)
    _say(f"{options['config'] or 'the options'}: ok, {_counted(configuration)}")


def refuse_unusable(configuration: Configuration, reactor: Any) -> None:
    """What can be found out without opening anything but files.

    :raises ConfigurationError: names all of it.
    """
    problems = []
    for check in (
        lambda: store_of(configuration),
        lambda: _site(configuration, reactor),
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
    _say(explained(_site(configuration, reactor), configuration, options["explain"]))


def _site(configuration: Configuration, reactor: Any) -> Site:
    """A site that does not run."""
    return Site.of(configuration, reactor, members=Memberships(reactor, partial(in_thread_of, reactor)))


def _plan(options: Options, reactor: Any) -> None:
    old = options.configuration()
    new = ConfigurationFile(options["plan"], options.given).read()
    refuse_unusable(new, reactor)
    found = differences(old, new)
    for line in [*map(str, found)] or ["nothing would change"]:
        _say(line)
    if found:
        for line in touched(reactor, old, new):
            _say(line)


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
