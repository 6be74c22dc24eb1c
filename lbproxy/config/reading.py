"""Reading a configuration: files, and what options say over them, into one :class:`~.model.Configuration`.

Every mistake is found in one go, and told with its file and line, the path of its key, what was given and what is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from ..errors import ConfigurationError
from ..observe.formats import FORMATS
from ..routing.model import Route
from ..routing.naming import named
from ..settings import Settings
from ..tls.profiles import PROFILES
from ..tls.store import CLIENT_AUTH
from .certain import Certain
from .document import Document, read_document
from .environment import Text
from .habits import OF_THE_TOP
from .keys import NUMBER_KEYS, PAIR_KEYS, PATH_KEYS, SETTING_KEYS, SITE_KEYS, TOP_KEYS, top_hint, with_example
from .model import AccessLogFile, Certificates, Configuration, PoolConfiguration
from .places import INSTEAD, lines_of, place_of, pointed
from .pools import PoolReader, path_of
from .problems import Problem, did_you_mean, path_of_text, problems_of
from .routes import RouteReader
from .rules import access_log_problems, cross_problems, unused
from .strangers import unknown_keys
from .structure import Mistakes, Structurer, shown, stand_in

__all__ = ["Loaded", "Unreadable", "read_configuration", "read_options", "read_text"]

_WORDS = {"tls-profile": PROFILES, "client-auth": CLIENT_AUTH, "access-log-format": FORMATS}


class Unreadable(ConfigurationError):
    """Mistakes in files, a line each.

    :ivar files: as :attr:`Loaded.files`.
    """

    def __init__(self, message: str, files: tuple[str, ...]) -> None:
        super().__init__(message)
        self.files = files


@attrs.frozen(eq=False)
class Loaded:
    """What was read.

    :ivar configuration: all of it.
    :ivar files: absolute paths of all that it was read from, also of what was looked for and is not there; directories are those
        in which ``include`` looks. When one of them changes, it may read differently.
    :ivar warnings: what is no mistake, but most likely not what was meant, each with its place.
    :ivar document: as it was written.
    :ivar overrides: what options said over it, by key.
    :ivar values: as it was written, with what options said in its place.
    """

    configuration: Configuration
    files: tuple[str, ...]
    warnings: tuple[str, ...]
    document: Document = attrs.field(repr=False)
    overrides: Mapping[str, Any] = attrs.field(repr=False)
    values: Mapping[str, Any] = attrs.field(repr=False)

    def origin(self, path: str) -> str:
        """Where a value comes from: such as ``lb.toml:12``, ``--retries``, or ``default``.

        :param path: as in messages: ``retries``, ``pools.app.retries``, ``routes[2].host``. What is not said of a pool is what is
            said of all.
        """
        place = place_of(self.document, self.overrides, path_of_text(path), exact=True)[1]
        return "default" if place is None else str(place)

    def located(self, error: ConfigurationError) -> str:
        """What was found to be wrong only when it was put into use: a line for each mistake, with its place."""
        problems = problems_of(error, TOP_KEYS)
        placed = [pointed(self.values, one) for one in problems if one.path]
        others = [one.message for one in problems if not one.path]  # they are about no value
        return "\n".join([*lines_of(self.document, self.overrides, placed), *others])


def read_configuration(
    path: str, overrides: Mapping[str, Any] = MappingProxyType({}), *, variables: Mapping[str, str] | None = None
) -> Loaded:
    """Read a file and all that it includes. It blocks for as long as that takes.

    :param overrides: what options say, by their names without dashes: texts, lists of texts, numbers, truth values. They win over
        all that files say, of pools too.
    :param variables: what ``${NAME}`` stands for; None: the environment.
    :raises Unreadable: with a line for each mistake, in the order of files and lines.
    """
    return _Reading(read_document(path, os.environ if variables is None else variables), overrides).loaded()


def read_text(
    text: str,
    name: str = "lb.toml",
    overrides: Mapping[str, Any] = MappingProxyType({}),
    *,
    variables: Mapping[str, str] | None = None,
) -> Loaded:
    """The same of a text, as if it stood in a file of that name."""
    return _Reading(read_document(name, os.environ if variables is None else variables, text), overrides).loaded()


def read_options(overrides: Mapping[str, Any]) -> Loaded:
    """The same of options alone, without any file.

    :raises Unreadable: with a line for each mistake, which names the option.
    """
    return _Reading(Document(), overrides).loaded()


class _Reading:
    """One reading."""

    def __init__(self, document: Document, overrides: Mapping[str, Any]) -> None:
        self._document = document
        self._overrides = overrides
        self._problems: list[Problem] = []
        self._top = self._with_overrides(document.values)
        self._structurer = Structurer(document)
        self._pools = PoolReader(self._structurer, document, self._top)
        self._routes = RouteReader(self._structurer)

    def loaded(self) -> Loaded:
        """All of it.

        :raises ConfigurationError: there are mistakes.
        """
        self._problems += unknown_keys(self._top, TOP_KEYS, top_hint, OF_THE_TOP)
        configuration = self._configuration()
        if all(problem.path[:1] not in ((), ("include",)) for problem in self._document.problems):  # all files are there
            self._problems += cross_problems(configuration, Certain([*self._document.problems, *self._problems]))
        if self._problems or self._document.problems:
            lines = self._lines([*self._document.problems, *self._problems])
            raise Unreadable("\n".join(lines), tuple(sorted(self._document.files)))
        configuration = self._final(configuration)
        return Loaded(
            configuration,
            tuple(sorted(self._document.files)),
            tuple(self._lines(unused(configuration))),
            self._document,
            self._overrides,
            self._top,
        )

    # Options over files.

    def _with_overrides(self, values: dict[str, Any]) -> dict[str, Any]:
        given = {key: _as_text(value) for key, value in self._overrides.items()}
        hidden = {*given, *(INSTEAD[key] for key in given if key in INSTEAD)}
        top = {key: value for key, value in values.items() if key not in hidden}
        pools = top.get("pools")
        if isinstance(pools, dict):
            top["pools"] = {
                name: {key: value for key, value in pool.items() if key not in hidden or key == "backends"}
                if isinstance(pool, dict)
                else pool
                for name, pool in pools.items()
            }
            self._give_backends(given, top["pools"], "backends" in values)
        return {**top, **given}

    def _give_backends(self, given: dict[str, Any], pools: dict[str, Any], at_top: bool) -> None:
        """Backends that an option gives are the only pool's, whatever it is called."""
        if "backends" not in given or at_top or "default" in pools:
            return
        if len(pools) == 1:
            name = next(iter(pools))
            if isinstance(pools[name], dict):
                pools[name]["backends"] = given.pop("backends")
        elif pools:
            names = ", ".join(pools)
            message = f"it is for one pool, and the file has several ({names}); say their backends there"
            self._problems.append(Problem(("backends",), message))

    # Reading.

    def _configuration(self) -> Configuration:
        values = self._site()
        settings, problems = self._pools.settings(self._top, {}, SETTING_KEYS)
        self._problems += problems
        pools = self._all_pools(settings)
        routes, filters = self._routes_and_filters()
        values["settings"] = stand_in(Settings, settings)
        values = {key: value for key, value in values.items() if value is not None}
        return Configuration(**values, pools=tuple(pools), routes=tuple(routes), filters=MappingProxyType(filters))

    def _site(self) -> dict[str, Any]:
        """The arguments of :class:`Configuration` that are said at the top, but for the settings."""
        read: dict[type, dict[str, Any]] = {Configuration: {}, Certificates: {}, AccessLogFile: {}}
        for key, (kind, cls, name) in SITE_KEYS.items():
            if key in self._top:
                try:
                    read[cls][name] = self._site_value(key, self._top[key], kind)
                except Mistakes as mistakes:
                    self._problems += [with_example(key, one).below(key) for one in mistakes.problems]
        log = read[AccessLogFile]
        if not any(problem.path[:1] in (("access-log",), ("access-log-format",)) for problem in self._problems):
            found = access_log_problems(log.get("path"), log.get("format"), log.get("explain", False), FORMATS[0])
            # A print of all defaults says the format even where there is no log.
            self._problems += [one for one in found if one.path != ("access-log-format",) or log.get("format") != FORMATS[0]]
        return {
            **read[Configuration],
            "certificates": Certificates(**{"files": (), **read[Certificates]}) if read[Certificates] else None,
            "access_log": AccessLogFile(**log) if "path" in log else None,
        }

    def _site_value(self, key: str, value: Any, kind: Any) -> Any:
        if key == "certificate":
            listed = value if isinstance(value, (list, tuple)) else [value]
            return tuple(self._each_path(listed))
        if key in PATH_KEYS and not (value in ("", "-") and key in ("access-log", "state-file")):
            return path_of(self._structurer, value, key in PAIR_KEYS)
        if key in NUMBER_KEYS:
            return self._number(key, value)
        read = self._structurer.read(value, kind)
        if key in _WORDS and read not in _WORDS[key]:
            allowed = " and ".join(_WORDS[key])
            raise Mistakes(Problem((), f"{shown(value)} was given{did_you_mean(read, _WORDS[key])}; allowed are {allowed}"))
        if read == "" and key == "admin":
            raise Mistakes(Problem((), "'' was given; allowed is an endpoint description such as tcp:8081:interface=127.0.0.1"))
        return (read or None) if key in ("listen", "tls-listen") else read

    def _number(self, key: str, value: Any) -> Any:
        values, problems = self._structurer.fields(Configuration, {key: value})
        if problems:
            raise Mistakes(*(attrs.evolve(one, path=one.path[1:]) for one in problems))
        return next(iter(values.values()))

    def _each_path(self, values: Iterable[Any]) -> Iterable[str]:
        problems: list[Problem] = []
        failed = False
        for place, one in enumerate(values):
            try:
                yield path_of(self._structurer, one, pair=True)
            except Mistakes as mistakes:
                failed = True
                problems += [problem.below(place) for problem in mistakes.problems]
        if failed:
            raise Mistakes(*problems)

    def _all_pools(self, settings: Mapping[str, Any]) -> list[PoolConfiguration]:
        tables = self._top.get("pools", {})
        if not isinstance(tables, dict):
            message = f"{shown(tables)} was given; allowed are tables, such as [pools.NAME] with backends"
            self._problems.append(Problem(("pools",), message))
            return []
        tables = dict(tables)
        if "backends" in self._top:
            tables = self._with_default(tables)
        pools = []
        for name, table in tables.items():
            pool, problems = self._pools.read(name, table, settings)
            self._problems += [one.below("pools", name) for one in problems]
            pools.append(pool)
        if not tables:
            self._problems += self._pools.top_problems()
        return pools

    def _with_default(self, tables: dict[str, Any]) -> dict[str, Any]:
        """The pools, and the one whose backends stand at the top, which is the first."""
        own = tables.pop("default", {})
        if isinstance(own, dict) and "backends" in own and "backends" not in self._overrides:
            message = "they were given at the top as well, which are this pool's; give them once"
            self._problems.append(Problem(("pools", "default", "backends"), message))
        own = {**own, "backends": self._top["backends"]} if isinstance(own, dict) else own
        return {"default": own, **tables}

    def _routes_and_filters(self) -> tuple[list[Route], dict[str, Any]]:
        filters, problems = self._routes.filters(self._top.get("filters", {}))
        self._problems += [one.below("filters") for one in problems]
        routes, problems = self._routes.routes(self._top.get("routes", []))
        self._problems += [one.below("routes") for one in problems]
        return routes, filters

    def _lines(self, problems: Iterable[Problem]) -> list[str]:
        return lines_of(self._document, self._overrides, problems)

    def _final(self, configuration: Configuration) -> Configuration:
        """The same with a name for each route, and without certificates that are none."""
        certificates = configuration.certificates
        return attrs.evolve(
            configuration,
            routes=named(configuration.routes),
            certificates=certificates if certificates is not None and certificates.files else None,
        )


def _as_text(value: Any) -> Any:
    """An option's value as a document has it: its texts may stand for numbers, and paths are relative to where we are."""
    if isinstance(value, str):
        return Text.of(value, os.getcwd(), written=value.replace("$", "$$"), free=True)
    if isinstance(value, (list, tuple)):
        return [_as_text(one) for one in value]
    return value
