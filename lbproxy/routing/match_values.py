"""What may be said of a route's requests: hosts, paths, methods, conditions. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .checks import FIELD_NAME, FIELD_VALUE, REGEX, Rule, raise_all, wrong
from .readings import normal_path, readings

if TYPE_CHECKING:
    from .model import Condition

__all__ = [
    "HOST",
    "METHOD",
    "PATH_PREFIX",
    "WHOLE_PATH",
    "condition_problems",
    "conditions_of",
    "header_problems",
    "hosts",
    "path_bytes",
    "query_problems",
]

#: RFC 1035 section 2.3.4, without the dot at the end.
_LONGEST_HOST = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")

#: They say how a message is framed and what becomes of the connection: there is nothing in them to choose a route by.
_FRAMING = frozenset((
    "connection", "content-length", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
))  # fmt: skip


def hosts(given: Any) -> Any:
    """Names of hosts as they compare: in small letters, without the dot at their end."""
    items = (given,) if isinstance(given, str) else given
    if not isinstance(items, (list, tuple)):
        return given
    return tuple(dict.fromkeys(_host(one) if isinstance(one, str) else one for one in items))


def _host(text: str) -> str:
    lowered = text.lower() if text.isascii() else text
    name = lowered[:-1] if lowered.endswith(".") and lowered != "." else lowered
    if name[:1] == "[" and name[-1:] == "]":
        try:
            return f"[{ip_address(name[1:-1])}]"
        except ValueError:
            return name
    return name


def _is_host(value: object) -> bool:
    """Raises the reason where it can be told."""
    if not isinstance(value, str) or not value or len(value) > _LONGEST_HOST:
        return False
    if not value.isascii():
        raise ValueError(f"it is not ASCII; write {_punycode(value)}")
    if value.startswith("["):
        return _is_ipv6(value)
    if value == "*":
        raise ValueError("a route for any host has no host")
    if "/" in value:
        raise ValueError("it is a URI, or has a path; the path is said with path or path-prefix, the scheme with scheme")
    if ":" in value:
        raise ValueError("it has a port; routes do not look at ports")
    name = value[2:] if value.startswith("*.") else value
    if "*" in name:
        raise ValueError("* is only allowed as the whole first label, and stands for any number of them")
    return all(map(_LABEL.fullmatch, name.split(".")))


def _is_ipv6(value: str) -> bool:
    if not value.endswith("]"):
        raise ValueError("it has a port; routes do not look at ports" if "]:" in value else "its bracket is not closed")
    return ip_address(value[1:-1]).version == 6


def _punycode(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return "it in punycode, as xn--…"


#: A name, as :func:`hosts` leaves it.
HOST = Rule("a name such as shop.example, or *.shop.example for all names below it", _is_host)


def path_bytes(text: str, prefix: bool = False) -> bytes:
    """A path as it compares with a request's: as :func:`.readings.normal_path` gives it, a prefix without the slash at its end.

    :raises ValueError: with the reason why there can be no such path.
    """
    if not text.startswith("/"):
        raise ValueError("it does not begin with a slash")
    for mark, name in (("?", "query"), ("#", "fragment")):
        if mark in text:
            raise ValueError(f"it has a {name}" + ("; arguments are said with query" if mark == "?" else ""))
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError("it has white space, or another control character; write a space as %20")
    path = normal_path(text.encode("utf-8"))
    if readings(path) != (path,):
        raise ValueError("backends read it in different ways; it must not have //, dots as segments, ; \\ or %2F")
    return path.rstrip(b"/") if prefix else path


def _is_path(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 8000 and bool(path_bytes(value))


#: One path, all of it.
WHOLE_PATH = Rule("a path that begins with a slash, such as /cart", _is_path)
#: The first segments of paths.
PATH_PREFIX = Rule("the beginning of paths, in whole segments, such as /api; / is all of them", _is_path)


def _is_method(value: object) -> bool:
    if not isinstance(value, str):
        return False
    if value == "CONNECT":
        raise ValueError("it is not served here")
    if _METHOD.fullmatch(value) is None and _METHOD.fullmatch(value.upper()):
        raise ValueError(f"methods are written in capitals: {value.upper()}")
    return _METHOD.fullmatch(value) is not None


METHOD = Rule("a method such as GET (which is not HEAD as well)", _is_method)

_CONDITION = 'a text, { regex = "…" }, true for any value, and false where there must be none'


def conditions_of(
    given: Any, key: str, make: type[Condition], check: Callable[[str, Iterable[Condition]], list[str]] = lambda key, made: []
) -> tuple[Condition, ...]:
    """Conditions as they stand in a file: what is wanted by name. Those that are made already are left as they are.

    :param check: what else is wrong with those that can be made; it is asked where others cannot, so that all is said at once.
    :raises ConfigurationError: with a line for each that cannot be made.
    """
    if not isinstance(given, Mapping):
        if isinstance(given, Iterable) and not isinstance(given, str):
            made = tuple(given)
            if all(isinstance(one, make) for one in made):
                return made
        raise ConfigurationError(wrong(key, given, f"a table of names, each with {_CONDITION}"))
    problems: list[str] = []
    made = tuple(one for name, wanted in given.items() if (one := _condition(name, wanted, key, make, problems)) is not None)
    raise_all([*problems, *check(key, made)] if problems else ())
    return made


def _condition(name: str, wanted: Any, key: str, make: type[Condition], problems: list[str]) -> Condition | None:
    try:
        if isinstance(wanted, bool):
            return make(name=name, present=wanted)
        if isinstance(wanted, str):
            return make(name=name, exact=wanted)
        if isinstance(wanted, Mapping) and wanted and set(wanted) <= {"exact", "regex"}:
            return make(name=name, **wanted)
    except ConfigurationError as error:
        problems += [f"{key}.{name}: {line}" for line in str(error).splitlines()]
        return None
    problems.append(wrong(f"{key}.{name}", wanted, _CONDITION))
    return None


def condition_problems(condition: Condition) -> list[str]:
    """What is wrong with a condition in itself."""
    exact, regex = condition.exact, condition.regex
    problems = [] if regex is None else REGEX.problems("regex", regex)
    if exact is not None and not isinstance(exact, str):
        problems.append(wrong("exact", exact, "a text"))
    if not isinstance(condition.present, bool):
        problems.append(wrong("present", condition.present, "a truth value, true or false"))
    if exact is not None and regex is not None:
        problems.append(f"exact and regex: both were given, {exact!r} and {regex!r}; allowed is one of the two")
    if condition.present is False and (exact is not None or regex is not None):
        problems.append("present: false was given together with a value; allowed is either of them")
    return problems


def header_problems(key: str, conditions: Iterable[Condition]) -> list[str]:
    """What is wrong with conditions that are to be met by header fields."""
    problems: list[str] = []
    seen: set[str] = set()
    for condition in conditions:
        name, where = condition.name, f"{key}.{condition.name}"
        problems += FIELD_NAME.problems(key, name)
        if not isinstance(name, str):
            continue
        if name.lower() == "host":
            problems.append(f"{key}: {name!r} was given; which hosts a route is for is said with host")
        elif name.lower() in _FRAMING:
            problems.append(wrong(key, name, f"any name but {', '.join(sorted(_FRAMING))}"))
        if name.lower() in seen:
            problems.append(f"{key}: {name!r} was given twice; allowed is one condition for each name, whatever its case")
        seen.add(name.lower())
        if condition.exact is not None:
            problems += FIELD_VALUE.problems(where, condition.exact)
            if condition.exact != condition.exact.strip(" \t"):
                problems.append(f"{where}: {condition.exact!r} was given; no value has white space around it")
    return problems


def query_problems(key: str, conditions: Iterable[Condition]) -> list[str]:
    """What is wrong with conditions that are to be met by the query's arguments."""
    problems: list[str] = []
    seen: set[str] = set()
    for condition in conditions:
        if not isinstance(condition.name, str) or not 0 < len(condition.name) <= 1000:
            problems.append(wrong(key, condition.name, "the name of an argument, decoded"))
        elif condition.name in seen:
            problems.append(f"{key}: {condition.name!r} was given twice; allowed is one condition for each name")
        seen.add(condition.name)
    return problems
