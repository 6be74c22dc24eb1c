"""From the options to a configuration: those that were given alone, or beside a file that they are stronger than."""

from __future__ import annotations

import getopt
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from .config.model import AccessLogFile, Certificates, Configuration, PoolConfiguration
from .config.reading import Loaded, Unreadable, read_configuration
from .files import FileStamp
from .settings import Settings
from .tls.files import absolute

__all__ = ["NOT_IN_FILES", "ConfigurationFile", "configuration_of", "given_options"]

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


def configuration_of(options: Mapping[str, Any], settings: Settings, policy: str, listens: Mapping[str, Any]) -> Configuration:
    """What options without a file say: one pool, and no routes.

    :param options: as they are after parsing, each of its own type.
    :param settings: those among them.
    :param policy: as it was written.
    :param listens: what was said of ``listen`` and ``tls-listen``; None: nothing.
    """
    pool = PoolConfiguration(
        backends=tuple(options["backends"]),
        policy=policy,
        probe=options["probe"],
        settings=settings,
        backend_ca=_absolute(options["backend-ca"]),
        backend_certificate=None if options["backend-certificate"] is None else absolute(options["backend-certificate"]),
    )
    return Configuration(
        listen=listens["listen"],
        tls_listen=listens["tls-listen"],
        certificates=_certificates(options) if options["certificate"] else None,
        admin=options["admin"],
        admin_writable=options["admin-writable"],
        access_log=_access_log(options),
        settings=settings,
        pools=(pool,),
        state_file=_absolute(options["state-file"]) or "",
    )


def _absolute(path: str | None) -> str | None:
    """A daemon changes its directory."""
    return path and os.path.abspath(path)


def _certificates(options: Mapping[str, Any]) -> Certificates:
    default = options["default-certificate"]
    return Certificates(
        files=tuple(map(absolute, options["certificate"])),
        default=None if default is None else absolute(default),
        reject_unknown_names=options["reject-unknown-names"],
        profile=options["tls-profile"],
        client_ca=_absolute(options["client-ca"]),
        client_auth=options["client-auth"],
    )


def _access_log(options: Mapping[str, Any]) -> AccessLogFile | None:
    path = options["access-log"]
    if path is None:
        return None
    path = path if path == "-" else os.path.abspath(path)
    return AccessLogFile(path=path, format=options["access-log-format"], explain=options["access-log-explain"])


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
        self._files: tuple[str, ...] = (self.path,)
        self.read_as = FileStamp()

    def read(self) -> Configuration:
        """What it says now. Blocking; safe in a thread.

        :raises ConfigurationError: every mistake in it, a line each.
        """
        before = self.stamp()
        try:
            self.reading = read_configuration(self.path, self.overrides)
            self._files = self.reading.files
        except Unreadable as error:
            self._files = error.files
            raise
        finally:
            # What changes while it is read is seen the next time; of a file that is new here nobody knows how it was.
            known = dict(before.states)
            self.read_as = FileStamp(tuple((path, known.get(path, now)) for path, now in self.stamp().states))
        return self.reading.configuration

    def stamp(self) -> FileStamp:
        """The state of the files that it consists of. Blocking; safe in a thread."""
        return FileStamp.of(self._files)
