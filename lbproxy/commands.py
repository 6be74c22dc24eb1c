"""What ``twistd lbproxy`` is asked instead of to serve: ``--check``, ``--print-config``, ``--explain`` and ``--plan``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .changes import check_places, places_of, store_of
from .config.differences import differences, unchangeable
from .config.keys import TOP_KEYS
from .config.model import Configuration
from .config.printing import print_configuration
from .config.problems import Mistaken, Problem, problems_of
from .config.reading import Loaded, Unreadable, read_options
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
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough; what is left is nobody's, not the interpreter's either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except Unreadable as error:
        sys.exit(str(error))
    except ConfigurationError as error:
        sys.exit(reading_of(options).located(error))
    if wanted:
        sys.exit(0)


def reading_of(options: Options) -> Loaded:
    """What was read: the file, with the options beside it, or these alone."""
    loaded = None if options.file is None else options.file.reading
    return read_options(options.given) if loaded is None else loaded


def _print(options: Options, reactor: Any) -> None:
    sys.stdout.write(print_configuration(reading_of(options)))


def _check(options: Options, reactor: Any) -> None:
    configuration = options.configuration()
    refuse_unusable(configuration, reactor)
    for warning in reading_of(options).warnings:
        _say(warning)
    _say(f"{options['config'] or 'the options'}: ok, {_counted(configuration)}")


def refuse_unusable(configuration: Configuration, reactor: Any) -> None:
    """What can be found out without opening anything but files.

    :raises Mistaken: with all of it.
    """
    problems: list[Problem] = []
    for check in (
        lambda: store_of(configuration),
        lambda: _site(configuration, reactor),
        lambda: check_places(configuration, reactor),
        lambda: _check_written(configuration),
    ):
        try:
            check()
        except ConfigurationError as error:
            problems += problems_of(error, TOP_KEYS)
    if problems:
        raise Mistaken(*problems)


def _check_written(configuration: Configuration) -> None:
    """Whether the files that are written could be there. Who may write them is known only to who serves.

    :raises Mistaken: with all that could not.
    """
    log = configuration.access_log
    problems = []
    log_path = "" if log is None or log.path == "-" else log.path
    for key, path in (("access-log", log_path), ("state-file", configuration.state_file)):
        folder = os.path.dirname(os.path.abspath(path))
        if path and not os.path.isdir(folder):
            problems.append(Problem((key,), f"{path!r} was given, and there is no directory {folder}; make it, or name another"))
        elif path and os.path.isdir(path):
            problems.append(Problem((key,), f"{path!r} was given, which is a directory; allowed is a file's path"))
    if problems:
        raise Mistaken(*problems)


def _counted(configuration: Configuration) -> str:
    places = places_of(configuration)
    listeners = len(places.plain) + len(places.secure) + (places.admin is not None)
    counts = [("listener", listeners), ("pool", len(configuration.pools)), ("route", len(configuration.routes))]
    counts += [("worker", configuration.workers)] if configuration.workers > 1 else []
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts)


def _explain(options: Options, reactor: Any) -> None:
    configuration = options.configuration()
    _say(explained(_site(configuration, reactor), configuration, options["explain"]))


def _site(configuration: Configuration, reactor: Any) -> Site:
    """A site that does not run."""
    return Site.of(configuration, reactor, members=Memberships(reactor, partial(in_thread_of, reactor)))


def _plan(options: Options, reactor: Any) -> None:
    old = options.configuration()
    file = ConfigurationFile(options["plan"], options.given)
    new = file.read()
    try:
        refuse_unusable(new, reactor)
    except ConfigurationError as error:
        raise Unreadable(file.located(error), ()) from None
    found = differences(old, new)
    for line in [*map(str, found)] or ["nothing would change"]:
        _say(line)
    if found:
        for line in touched(reactor, old, new):
            _say(line)
    refused = unchangeable(old, new)
    if refused:
        raise Unreadable(file.located(Mistaken(*refused)), ())


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
