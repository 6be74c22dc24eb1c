"""A configuration as one file, with all defaults, and behind each value where it comes from.

What stands for a secret is printed as it was written. Relative paths become absolute ones, so that the file means the same
wherever it is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, get_args

import attrs
import tomlkit

from ..balance.backend import BACKUP_TIER, Backend
from ..routing.model import Match, Route
from ..settings import Settings
from . import routes
from .environment import Text, is_file_text
from .fields import FieldKey, element_of, field_keys, is_table_kind, without_none
from .keys import NUMBER_KEYS, PAIR_KEYS, PATH_KEYS, PROBE_KEYS, SITE_KEYS, SIZES, default_of
from .model import Configuration
from .pools import absolute_path, as_settings_have_it
from .problems import KeyPath, path_text
from .reading import Loaded
from .secrets import HIDDEN, without_secrets

__all__ = ["backend_text", "print_configuration"]

_HEADING = (
    "# All that holds, with all defaults. Behind each value stands where it comes from.",
    "# What is said here at the top of backends, balancing, health and retries holds for all pools whose tables do not say it.",
)
_SAFER = '{ file = "PATH" } or ${NAME} keeps it out of this file'
#: At the top, in this order.
_ORDER = (
    *SITE_KEYS, "backends", "policy", *PROBE_KEYS, "backend-ca", "backend-certificate", *field_keys(Settings), "sticky-key-file",
)  # fmt: skip
_ROUTE_ORDER = ("name", *field_keys(Match))


def print_configuration(loaded: Loaded, *, secrets: bool = True) -> str:
    """All of it as TOML, which reads back as an equal configuration, as long as the environment and the files that it names stay
    as they are.

    :param secrets: whether those that are written in clear are shown; without them it may not read back at all.
    """
    return "\n".join(_Printer(loaded, secrets).lines()) + "\n"


class _Printer:
    """Writes one configuration."""

    def __init__(self, loaded: Loaded, secrets: bool) -> None:
        self._loaded = loaded
        self._secrets = secrets
        self._values = loaded.values

    def lines(self) -> Iterator[str]:
        """All lines."""
        yield from _HEADING
        names = ", ".join(source.name for source in self._loaded.document.sources)
        yield f"# Read from {names or 'options alone'}."
        yield ""
        yield from map(self._top_line, _ORDER)
        for name, table in self._values.get("pools", {}).items():
            path: KeyPath = ("pools", name)
            yield from self._header(path)
            yield from (self._line((*path, key), key, self._setting(key, value, path)) for key, value in table.items())
        for name, table in self._values.get("filters", {}).items():
            path = ("filters", name)
            yield from self._header(path)
            yield from (self._line((*path, key), key, value) for key, value in self._filter(table).items())
        for number, table in enumerate(self._values.get("routes", [])):
            yield from self._route(number, table)

    # Lines.

    def _header(self, path: KeyPath, brackets: str = "[]") -> list[str]:
        keys = ".".join(map(_key, filter(lambda step: isinstance(step, str), path)))
        half = len(brackets) // 2
        return ["", f"{brackets[:half]}{keys}{brackets[half:]}  # {self._origin(path)}"]

    def _origin(self, path: KeyPath) -> str:
        return self._loaded.origin(path_text(path))

    def _line(self, path: KeyPath, key: str, value: Any) -> str:
        origin = self._origin(path)
        if without_secrets(key, value) != value:
            if self._secrets:
                origin += f"; a secret in clear: {_SAFER}"
            else:
                value = without_secrets(key, value)
        return f"{_key(key)} = {_toml(value)}  # {origin}"

    def _top_line(self, key: str) -> str:
        if key in self._values:
            value = self._setting(key, self._values[key], ())
            if value is None:  # it was made in Python, and may be a secret
                return f"# {key} is not shown  # {self._origin((key,))}"
            here = f", {self._loaded.configuration.workers} here" if value == "auto" and key in NUMBER_KEYS else ""
            return self._line((key,), key, value) + here
        default = _plain(default_of(key))
        if default is None:
            return f"# {key} =  # default: none"
        return f"{key} = {_toml(default)}  # default"

    # Values of the top and of pools.

    def _setting(self, key: str, value: Any, above: KeyPath) -> Any:
        if key in self._loaded.overrides:
            return _of_option(key, value)
        if key == "backends":
            if is_file_text(value):
                return {"file": _path(value["file"])}
            return _portable(value, Any, False)
        if key in PAIR_KEYS:
            return [_pair(one) for one in value] if isinstance(value, list) else _pair(value)
        return _portable(value, str, key in PATH_KEYS and str(value) not in ("-", ""))

    # Filters and routes.

    def _filter(self, table: Any) -> Any:
        if isinstance(table, str):
            return _portable(table, str, False)
        known = routes.filter_types()
        kind = table["type"]
        rest = {key: value for key, value in table.items() if key != "type"}
        if not self._secrets:
            rest = {key: _hidden_values(value) for key, value in rest.items()}
        written = _with_defaults(rest, known[kind]) if kind in known else _portable(rest, Any, False)
        return {"type": _portable(kind, str, False), **written}

    def _route(self, number: int, table: Mapping[str, Any]) -> Iterator[str]:
        path: KeyPath = ("routes", number)
        fields = {**field_keys(Match), **field_keys(Route)}
        yield from self._header(path, "[[]]")
        if not table.get("name"):
            yield f"name = {_toml(_plain(self._loaded.configuration.routes[number].name))}  # default"
        for key in sorted(table, key=lambda key: _ROUTE_ORDER.index(key) if key in _ROUTE_ORDER else len(_ROUTE_ORDER)):
            value = table[key]
            if key == "filters":
                yield from self._route_filters(path, value if isinstance(value, list) else [value])
            elif key != "name" or value:
                field = fields[key]
                yield self._line((*path, key), key, _portable(value, field.kind, field.is_path))

    def _route_filters(self, path: KeyPath, filters: list[Any]) -> Iterator[str]:
        yield "filters = ["
        for place, one in enumerate(filters):
            value = self._filter(one) if self._secrets else without_secrets("", self._filter(one))
            yield f"  {_toml(value)},  # {self._origin((*path, 'filters', place))}"
        yield "]"


def _hidden(value: Any) -> Any:
    """A text that is not to be seen, unless it was written as what it is in."""
    if not isinstance(value, Text) or "${" in value.written.replace("$$", ""):
        return value
    return Text.of(HIDDEN, value.folder)


def _hidden_values(value: Any) -> Any:
    """The same of a table's values."""
    if isinstance(value, dict) and not is_file_text(value):
        return {key: _hidden(one) for key, one in value.items()}
    return value


def _portable(value: Any, kind: Any, is_path: bool) -> Any:
    """A value as it was written, its paths made absolute.

    :param kind: what is wanted there.
    """
    wanted = without_none(kind)
    if isinstance(value, Text):
        return _path(value) if is_path else value.written
    if is_file_text(value) and wanted in (str, bytes):
        return {"file": _path(value["file"])}
    if isinstance(value, dict) and attrs.has(wanted):
        return _with_defaults(value, wanted)
    if isinstance(value, dict):
        inner = get_args(wanted)[1] if is_table_kind(wanted) and len(get_args(wanted)) == 2 else Any
        return {key: _portable(one, inner, is_path) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(one, element_of(wanted), is_path) for one in value]
    return _plain(value)


def _path(value: Text, pair: bool = False) -> str:
    """An absolute path; where variables stand for a part of it, as written.

    :param pair: as for :func:`.pools.path_of`.
    """
    if "$" in value.written:
        return value.written if os.path.isabs(value) else f"{value.folder.replace('$', '$$')}/{value.written}"
    return absolute_path(value, pair).replace("$", "$$")


def _pair(value: Any) -> Any:
    return _path(value, pair=True) if isinstance(value, Text) else _portable(value, str, False)


def _with_defaults(table: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """What a table says, and what else holds."""
    fields = field_keys(cls)
    said = {key: _portable(value, fields[key].kind, fields[key].is_path) for key, value in table.items()}
    defaults = {key: _plain(_default(field)) for key, field in fields.items() if key not in table}
    return {**said, **{key: value for key, value in defaults.items() if value not in (None, {})}}


def _default(field: FieldKey) -> Any:
    default: Any = field.attribute.default
    if default is attrs.NOTHING or (isinstance(default, attrs.Factory) and default.takes_self):  # type: ignore[arg-type]
        return None
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def _of_option(key: str, value: Any) -> Any:
    """An option's value as a file has it."""
    if isinstance(value, Text) and key in PATH_KEYS and value not in ("-", ""):
        return _path(value, key in PAIR_KEYS)
    if isinstance(value, (list, tuple)):
        return [_of_option(key, one) for one in value]
    if key in SIZES:
        value = as_settings_have_it(key, value)
    number = _number_kind(key)
    if isinstance(value, Text) and number is not None and value != "auto":
        return number(value)
    return value.written if isinstance(value, Text) else _plain(value)


def _number_kind(key: str) -> type[float] | None:
    """Whether a key at the top is a number, and which kind."""
    fields = field_keys(Configuration if key in NUMBER_KEYS else Settings)
    kind = without_none(fields[key].kind) if key in fields else None
    return kind if kind in (int, float) else None


def _plain(value: Any) -> Any:
    """A value of Python's as a file says it; None where it says nothing."""
    if isinstance(value, str):
        return value.replace("$", "$$") or None
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (IPv4Network, IPv6Network)):
        return str(value)
    if isinstance(value, Backend):
        return backend_text(value)
    if isinstance(value, (list, tuple, frozenset, set)):
        listed = [_plain(one) for one in value]
        return None if None in listed else listed
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return None


def backend_text(backend: Backend) -> str:
    """A backend as an operator writes it."""
    options = {
        "weight": backend.weight if backend.weight != 1 else None,
        "tier": backend.tier or None,
        "max-in-flight": backend.max_in_flight or None,
        "proxy-protocol": f"v{backend.proxy_protocol}" if backend.proxy_protocol else None,
        "verify-name": f"[{backend.verify_name}]" if ":" in backend.verify_name else backend.verify_name or None,
        "verify": None if backend.verify else "off",
    }
    if backend.tier == BACKUP_TIER:
        options["tier"] = None
    text = f"https://{backend.address}" if backend.tls else backend.address
    text += "".join(f":{name}={value}" for name, value in options.items() if value is not None)
    return text + (":backup" if backend.tier == BACKUP_TIER else "")


# TOML.


def _key(step: Any) -> str:
    return tomlkit.key(str(step)).as_string() if step else '""'


def _toml(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{_joined(value)}]"
    return str(tomlkit.item(value).as_string())


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(map(_toml, values))
