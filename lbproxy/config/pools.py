"""Pools of a document: their backends, how they are probed, and what else is said of them, or of all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..balance.backend import BACKEND_OPTIONS, Backend
from ..errors import ConfigurationError
from ..health.spec import ProbeSpec
from ..policies import policy_maker
from ..routing.checks import size
from ..settings import Settings
from .document import Document
from .environment import Text, key_file
from .habits import OF_POOLS
from .keys import COMMA_LISTS, PAIR_KEYS, POOL_KEYS, POOL_SETTING_KEYS, PROBE_KEYS, SIZES, pool_hint, with_example
from .model import PoolConfiguration
from .problems import Problem, from_lines
from .strangers import unknown_keys
from .structure import SAID, Mistakes, Structurer, shown, stand_in

__all__ = ["PoolReader", "absolute_path", "as_settings_have_it", "path_of"]

#: What goes with a path that is asked for alone.
_OF_REQUESTS = PROBE_KEYS[1:]


class PoolReader:
    """Reads what is said of pools.

    :param top: what is said of all.
    """

    def __init__(self, structurer: Structurer, document: Document, top: Mapping[str, Any]) -> None:
        self._structurer = structurer
        self._document = document
        self._top = top

    def settings(
        self, table: Mapping[str, Any], base: Mapping[str, Any], only: frozenset[str]
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Arguments of :class:`Settings`: those of *base*, and over them what *table* says.

        :param only: the keys that are looked for.
        """
        given = {key: as_settings_have_it(key, value) for key, value in table.items() if key in only}
        values, problems = self._structurer.fields(Settings, given)
        problems = [_with_units(problem) for problem in problems]
        if "sticky-key-file" in table:
            if "sticky-key" in table:
                problems.append(Problem(("sticky-key-file",), "it was given, and sticky-key as well; give one of the two"))
            problems += self._tried("sticky-key-file", lambda: values.update(sticky_key=self._key(table["sticky-key-file"])))
        if table.get("sticky") == "":
            problems.append(Problem(("sticky",), "'' was given; allowed is a cookie's name"))
        return {**base, **values}, problems

    def _key(self, value: Any) -> bytes:
        path = self._structurer.absolute(value, self._structurer.read(value, str))
        self._document.files.add(path)
        try:
            return key_file(path)
        except ConfigurationError as error:
            raise Mistakes(*(Problem((), line) for line in str(error).splitlines())) from None

    def read(self, name: str, table: Any, base: Mapping[str, Any]) -> tuple[PoolConfiguration, list[Problem]]:
        """A pool, and what is wrong with it; what could not be read of it is as by default.

        :param table: what is said of it alone.
        :param base: the arguments of the site's :class:`Settings`.
        """
        if not isinstance(table, dict):
            message = f'{shown(table)} was given; allowed is a table, such as [pools.{name}] with backends = ["10.0.0.1:8000"]'
            return PoolConfiguration(name=name), [Problem((), message)]
        problems = unknown_keys(table, POOL_KEYS, pool_hint, OF_POOLS)
        if not name.strip():
            problems.append(Problem((), f"{name!r} was given as a pool's name; allowed is any that is not empty"))
        values: dict[str, Any] = {"name": name}
        settings, more = self.settings(table, base, POOL_SETTING_KEYS)
        problems += more
        values["settings"] = stand_in(Settings, settings)
        if "backends" in table:
            problems += self._tried("backends", lambda: values.update(self._backends(table["backends"])))
        problems += self._policy_and_tls(table, values)
        probe, more = self._probe(table)
        return PoolConfiguration(**values, probe=probe), [*problems, *more]

    def top_problems(self) -> list[Problem]:
        """What is wrong with what is said of all pools, the settings apart: for where no pool is there to be read."""
        return [*self._policy_and_tls(self._top, {}), *self._probe(self._top)[1]]

    def _tried(self, key: str, act: Callable[[], object]) -> list[Problem]:
        try:
            act()
        except Mistakes as mistakes:
            return [with_example(key, one).below(key) for one in mistakes.problems]
        return []

    def _policy_and_tls(self, table: Mapping[str, Any], values: dict[str, Any]) -> list[Problem]:
        said = {**self._top, **table}
        problems: list[Problem] = []
        if "policy" in said:
            problems += self._tried("policy", lambda: values.update(policy=self._policy(said["policy"])))
        for key in ("backend-ca", "backend-certificate"):
            if key in said:

                def read(key: str = key) -> None:
                    values[key.replace("-", "_")] = path_of(self._structurer, said[key], key in PAIR_KEYS)

                problems += self._tried(key, read)
        return problems

    def _policy(self, value: Any) -> str:
        text: str = self._structurer.read(value, str)
        try:
            policy_maker(text)
        except ConfigurationError as error:
            raise Mistakes(*_lines(error, "policy")) from None
        return text

    # Probes.

    def _probe(self, table: Mapping[str, Any]) -> tuple[ProbeSpec, list[Problem]]:
        said = {key: value for key, value in self._top.items() if key in PROBE_KEYS}
        if str(table.get("probe")) in ("tcp", "tls"):
            said = {}  # what all are asked is not for this one
        said.update({key: value for key, value in table.items() if key in PROBE_KEYS})
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for key, value in said.items():

            def read(key: str = key, value: Any = value) -> None:
                values[key] = self._probe_value(key, value)

            problems += self._tried(key, read)
        if problems:
            return ProbeSpec.parse(None), problems
        try:
            spec = ProbeSpec.parse(
                values.get("probe"),
                headers=values.get("probe-header", ()),
                **{key.removeprefix("probe-"): values[key] for key in _OF_REQUESTS if key in values and key != "probe-header"},
            )
        except ConfigurationError as error:
            return ProbeSpec.parse(None), from_lines(error, PROBE_KEYS)
        return spec, []

    def _probe_value(self, key: str, value: Any) -> Any:
        if key == "probe-header":
            return self._structurer.read(value, tuple[str, ...])
        if key in ("probe-status", "probe-port") and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self._structurer.read(value, str)

    # Backends.

    def _backends(self, value: Any) -> dict[str, Any]:
        if isinstance(value, dict) and value.keys() == {"file"}:
            path = self._structurer.absolute(value["file"], self._structurer.read(value["file"], str))
            if not path or path == value["file"].folder:
                raise Mistakes(Problem(("file",), "'' was given; allowed is a file's path"))
            return {"backends_file": path}
        listed = value if isinstance(value, (list, tuple)) else [value]
        backends: dict[str, Backend] = {}
        problems: list[Problem] = []
        for place, one in enumerate(listed):
            steps = (place,) if listed is value else ()
            try:
                for backend in self._parsed(one):
                    if backend.address in backends:
                        message = f"backend {backend.address} is named twice; name each once, with a weight for its share"
                        raise Mistakes(Problem((), message))
                    backends[backend.address] = backend
            except Mistakes as mistakes:
                problems += [problem.below(*steps) for problem in mistakes.problems]
        if problems:
            raise Mistakes(*problems)
        return {"backends": tuple(backends.values())}

    def _parsed(self, value: Any) -> list[Backend]:
        """The backends of one text, which may have commas, or of one table."""
        if isinstance(value, Backend):
            return [value]
        if isinstance(value, dict):
            texts = [self._of_table(value)]
        else:
            try:
                texts = [part for part in self._structurer.read(value, str).split(",") if part.strip()]
            except Mistakes as mistakes:
                if SAID in mistakes.problems:
                    raise
                message = f'{shown(value)} was given; allowed is "HOST:PORT", or {{ address = "HOST:PORT", weight = 2 }}'
                raise Mistakes(Problem((), message)) from None
        backends, problems = [], []
        for text in texts:
            try:
                backends.append(Backend.parse(text))
            except ConfigurationError as error:
                problems += [Problem((), line) for line in str(error).splitlines()]
        if problems:
            raise Mistakes(*problems)
        return backends

    def _of_table(self, table: dict[str, Any]) -> str:
        """The same backend as a text."""
        problems = unknown_keys(table, ("address", *BACKEND_OPTIONS))
        if "address" not in table:
            problems.append(Problem((), f"{shown(table)} was given; its address is missing"))
        words: dict[str, str] = {}
        for key, value in table.items():
            if key in BACKEND_OPTIONS or key == "address":
                try:
                    words[key] = self._word(key, value)
                except Mistakes as mistakes:
                    problems += [one.below(key) for one in mistakes.problems]
        if problems:
            raise Mistakes(*problems)
        return words.pop("address") + "".join(words.values())

    def _word(self, key: str, value: Any) -> str:
        if key == "backup" or (key == "verify" and isinstance(value, bool)):
            switched = self._structurer.read(value, bool)
            return (":backup" if switched else "") if key == "backup" else "" if switched else ":verify=off"
        if isinstance(value, float) or (isinstance(value, bool) and key in ("weight", "tier", "max-in-flight")):
            raise Mistakes(Problem((), f"{shown(value)} was given; allowed is a whole number"))
        if isinstance(value, int) and not isinstance(value, bool) and key != "address":
            return f":{key}={'v' if key == 'proxy-protocol' else ''}{value}"
        text: str = self._structurer.read(value, str)
        return text.strip() if key == "address" else f":{key}={text}"


def path_of(structurer: Structurer, value: Any, pair: bool = False) -> str:
    """A path, from the root on.

    :param pair: whether two with a comma between them are meant, where there is no file with a comma in its name.
    """
    text: str = structurer.read(value, str)
    if not text:
        raise Mistakes(Problem((), "'' was given; allowed is a path"))
    if not isinstance(value, Text):  # what stands in a file that stands for a text
        return os.path.abspath(text)
    return absolute_path(value, pair)


def absolute_path(value: Text, pair: bool = False) -> str:
    """The path that a text says, from the root on; *pair* as for :func:`path_of`."""
    whole = os.path.normpath(os.path.join(value.folder, value))
    if not pair or "," not in value or os.path.exists(whole):
        return whole
    return ",".join(os.path.normpath(os.path.join(value.folder, part)) for part in value.split(",", 1))


def _with_units(problem: Problem) -> Problem:
    """Numbers of bytes have units in a file, which those who are asked for a number are not told of elsewhere."""
    if len(problem.path) != 1 or problem.path[0] not in SIZES or "; allowed is a whole number" not in problem.message:
        return problem
    return attrs.evolve(problem, message=f'{problem.message}, or one with k, m or g behind it, such as "64k"')


def _lines(error: ConfigurationError, key: str) -> list[Problem]:
    """Problems of an error that is about one key, relative to it."""
    return [Problem(one.path[1:], one.message) for one in from_lines(error, (), (key,))]


def as_settings_have_it(key: str, value: Any) -> Any:
    """Lists of texts with commas, and numbers of bytes of texts with k, m or g."""
    if isinstance(value, Text) and value.known and key in COMMA_LISTS:
        return [Text.of(part.strip(), value.folder, written=part.strip()) for part in value.split(",")]
    if isinstance(value, Text) and value.known and key in SIZES:
        read = size(str(value))
        return read if isinstance(read, int) else value
    return value

