"""From the options to a configuration: those that were given alone, or beside a file that they are stronger than."""

from __future__ import annotations

import getopt
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from .config.model import Configuration
from .config.printing import print_configuration
from .config.reading import Loaded, Unreadable, read_configuration, read_options
from .errors import ConfigurationError, LBProxyError
from .files import FileStamp
from .routing.filter import files_of
from .tls.files import absolute

__all__ = ["DEMO_ADMIN", "NOT_IN_FILES", "ConfigurationFile", "configuration_of", "given_options"]

#: Where the demo's operators connect unless they say where.
DEMO_ADMIN = "tcp:8081:interface=127.0.0.1"
#: In the place of backends that are not there yet.
_LATER = "127.0.0.1:1"
#: What is said to the command alone.
NOT_IN_FILES = frozenset(("check", "config", "demo", "explain", "help", "plan", "print-config", "version"))

#: What may be repeated, and of it what is a list within one text.
_SEVERAL = frozenset(("backends", "certificate", "listen", "probe-header", "tls-listen", "trusted-proxies"))
_LISTS = frozenset(("backends", "trusted-proxies"))
_PATHS = frozenset((
    "access-log", "backend-ca", "backend-certificate", "certificate", "client-ca", "default-certificate", "state-file",
    "sticky-key-file",
))  # fmt: skip


def given_options(options: Any, words: Sequence[str]) -> dict[str, Any]:
    """What was really given for files' keys, whether or not it is the default: True for a switch, a list of texts for what may be
    repeated, and the last text for all else.

    :param options: a :class:`twisted.python.usage.Options`, that knows which there are.
    """
    try:
        found, _ = getopt.getopt(list(words), options.shortOpt, options.longOpt)
    except getopt.error:
        return {}  # which is said elsewhere
    given: dict[str, Any] = {}
    for word, text in found:
        name = word.lstrip("-")
        key = options.synonyms.get(name, name).replace("_", "-")
        if key in NOT_IN_FILES:
            continue
        value = absolute(text) if key in _PATHS and text not in ("", "-") else text  # a daemon changes its directory
        if key in _SEVERAL:
            texts = [one.strip() for one in value.split(",")] if key in _LISTS else [value]
            given.setdefault(key, []).extend(texts)
        else:
            given[key] = value if f"{key}=" in options.longOpt else True
    return given


def configuration_of(given: Mapping[str, Any], demo: bool = False) -> Configuration:
    """What options without a file say: one pool, and no routes.

    :param given: as :func:`given_options` finds them; they have been checked.
    :param demo: whether the pool is to have backends only later.
    """
    if not demo:
        return read_options(given).configuration
    configuration = read_options({"admin": DEMO_ADMIN, **given, "backends": [_LATER]}).configuration
    pools = tuple(attrs.evolve(pool, backends=()) for pool in configuration.pools)
    return attrs.evolve(configuration, pools=pools)


class ConfigurationFile:
    """A file that says it all, with the options that were given beside it.

    :param path: its own; what it includes it names itself.
    :param overrides: by key, what is said beside it (:func:`given_options`).
    :ivar reading: what was read last without a mistake.
    :ivar read_as: the state of the files when they were read last.
    """

    def __init__(self, path: str, overrides: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.path = os.path.abspath(path)
        self.overrides = overrides
        self.reading: Loaded | None = None
        self._served: Loaded | None = None
        self._files: tuple[str, ...] = (self.path,)
        self.read_as = FileStamp()

    def read(self) -> Configuration:
        """What it says now. Blocking; safe in a thread.

        :raises ConfigurationError: every mistake in it, a line each.
        """
        before = self.stamp()
        try:
            self.reading = read_configuration(self.path, self.overrides)
            self._served = self._served or self.reading
            self._files = (*self.reading.files, *_files_of_filters(self.reading.configuration))
        except Unreadable as error:
            self._files = error.files
            raise
        finally:
            # What changes while it is read is seen the next time; of a file that is new here nobody knows how it was.
            known = dict(before.states)
            self.read_as = FileStamp(tuple((path, known.get(path, now)) for path, now in self.stamp().states))
        return self.reading.configuration

    def served(self) -> None:
        """What was read last is gone by from now on."""
        self._served = self.reading

    def printed(self) -> str:
        """What is gone by, as a file without its secrets."""
        loaded = self._served or self.reading
        return "" if loaded is None else print_configuration(loaded, secrets=False)

    def located(self, error: LBProxyError) -> str:
        """What was found to be wrong with it after it was read, such as a certificate that has expired, with files and lines."""
        if self.reading is None or isinstance(error, Unreadable) or not isinstance(error, ConfigurationError):
            return str(error)
        return self.reading.located(error)

    def stamp(self) -> FileStamp:
        """The state of the files that it consists of, and of those that its filters are made of. Blocking; safe in a thread."""
        return FileStamp.of(self._files)


def _files_of_filters(configuration: Configuration) -> list[str]:
    specs = [*configuration.filters.values(), *(one for route in configuration.routes for one in route.filters)]
    return [path for spec in specs for path in files_of(spec)]
