"""What the values of filters and routes must be: converters and validators for frozen ``attrs`` classes. Pure.

A converter makes what was written in a file into what is kept, and leaves as it is what it cannot make anything of; it never
raises. A validator, a :class:`Rule`, then says what is wrong: ``KEY: GIVEN was given; allowed is …``, a line for each mistake,
where KEY is the attribute as it is written in a file::

    @attrs.frozen(kw_only=True)
    class Example:
        allow: tuple[Network, ...] = attrs.field(default=(), converter=networks, validator=each(NETWORK))
        max_age: float = attrs.field(default=0, validator=SECONDS_OR_NONE)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import attrs

from ..errors import ConfigurationError

__all__ = [
    "FIELD_NAME",
    "FIELD_VALUE",
    "FLAG",
    "NETWORK",
    "PATH",
    "PERCENT",
    "REGEX",
    "REGEX_LIMIT",
    "SECONDS",
    "SECONDS_OR_NONE",
    "SIZE",
    "STATUS",
    "TEXT",
    "Rule",
    "each",
    "key_of",
    "matching",
    "networks",
    "number",
    "one_of",
    "raise_all",
    "size",
    "some",
    "table",
    "table_of",
    "texts",
    "unless_empty",
    "wrong",
]

#: Characters of a regular expression at most.
REGEX_LIMIT = 1024


def key_of(attribute: attrs.Attribute[Any]) -> str:
    """An attribute as it is written in a file."""
    return attribute.name.rstrip("_").replace("_", "-")


def wrong(key: str, given: object, allowed: str, reason: str = "") -> str:
    """The line that says what is wrong with a value.

    :param reason: why it is none of those, where that is not plain to see.
    """
    which = f", which is none ({reason})" if reason else ""
    return f"{key}: {given!r} was given{which}; allowed is {allowed}"


def raise_all(problems: Iterable[str]) -> None:
    """Raise what is wrong, a line for each, if anything is.

    :raises ConfigurationError: unless there is none.
    """
    lines = "\n".join(problems)
    if lines:
        raise ConfigurationError(lines)


@attrs.frozen
class Rule:
    """What a value must be; a validator.

    :ivar allowed: that in words.
    :ivar holds: whether it is so; may raise ValueError with the reason why not.
    """

    allowed: str
    holds: Callable[[Any], bool]

    def __call__(self, instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        raise_all(self.problems(key_of(attribute), value))

    def problems(self, key: str, value: Any) -> list[str]:
        """What is wrong with a value: a line, or none."""
        reason = ""
        try:
            if self.holds(value):
                return []
        except ValueError as error:
            reason = str(error)
        return [wrong(key, value, self.allowed, reason)]


Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def each(rule: Rule) -> Validator:
    """All items of a list are so; with the converter :func:`texts` or :func:`networks`."""

    def validate(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        key = key_of(attribute)
        if not isinstance(value, tuple):
            raise ConfigurationError(wrong(key, value, f"a list, each of it {rule.allowed}"))
        raise_all(line for one in value for line in rule.problems(key, one))

    return validate


def some(rule: Rule) -> Validator:
    """The same of a list that must not be empty."""
    all_are = each(rule)

    def validate(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value == ():
            raise ConfigurationError(wrong(key_of(attribute), [], f"a list of one at least, each of it {rule.allowed}"))
        all_are(instance, attribute, value)

    return validate


def table_of(names: Rule, values: Rule) -> Validator:
    """All names and all values of a table are so; with the converter :func:`table`. The key of a value is ``KEY.NAME``."""

    def validate(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        key = key_of(attribute)
        if not isinstance(value, dict):
            raise ConfigurationError(wrong(key, value, f"a table, whose names are {names.allowed}, and values {values.allowed}"))
        raise_all(
            line for name, one in value.items() for line in (*names.problems(key, name), *values.problems(f"{key}.{name}", one))
        )

    return validate


def unless_empty(rule: Rule) -> Rule:
    """The same, or the empty text, which says nothing."""
    return Rule(rule.allowed, lambda value: value == "" or rule.holds(value))


# Converters.


def texts(given: Any) -> Any:
    """A text or a list as a tuple."""
    if isinstance(given, str):
        return (given,)
    return tuple(given) if isinstance(given, (list, tuple)) else given


def table(given: Any) -> Any:
    """A table of one's own."""
    return dict(given) if isinstance(given, Mapping) else given


def networks(given: Any) -> Any:
    """Networks, of a text or a list of addresses and CIDR blocks."""
    items = texts(given)
    return tuple(map(_network, items)) if isinstance(items, tuple) else items


def _network(given: Any) -> Any:
    try:
        return ip_network(given) if isinstance(given, str) else given
    except ValueError:
        return given


_SIZE = re.compile(r"([0-9]{1,18})([kmg]?)\Z", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(given: Any) -> Any:
    """Bytes, of a number or a text such as ``64k``."""
    found = _SIZE.match(given) if isinstance(given, str) and given.isascii() else None
    return given if found is None else int(found[1]) * _FACTORS[found[2].lower()]


# Rules.


def number(low: float, high: float, kind: type = float, unit: str = "") -> Rule:
    """A number from *low* to *high*; a whole one where *kind* is int."""
    types, words = ((int,), "a whole number") if kind is int else ((int, float), "a number")
    return Rule(
        f"{words} from {low:.16g} to {high:.16g}{unit}",
        lambda value: isinstance(value, types) and not isinstance(value, bool) and low <= value <= high,
    )


def one_of(*words: str) -> Rule:
    """One of these words."""
    *most, last = words
    return Rule(f"{', '.join(most)} or {last}" if most else last, lambda value: isinstance(value, str) and value in words)


def matching(pattern: str, allowed: str) -> Rule:
    """A text all of which matches a regular expression."""
    compiled = re.compile(pattern)
    return Rule(allowed, lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None)


def _is_network(value: object) -> bool:
    if isinstance(value, str):
        ip_network(value)  # raises the reason
    return isinstance(value, (IPv4Network, IPv6Network))


def _is_regex(value: object) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= REGEX_LIMIT:
        return False
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return True


SECONDS = number(0.01, 86400, unit=" (seconds)")
SECONDS_OR_NONE = number(0, 86400, unit=" (seconds)")
PERCENT = number(0, 100, unit=" (percent)")
#: Bytes; with the converter :func:`size`.
SIZE = number(0, 1 << 50, int, " (bytes; in a text, k, m and g stand for KiB, MiB and GiB)")
#: A final response's.
STATUS = number(200, 599, int)
FLAG = Rule("a truth value, true or false", lambda value: isinstance(value, bool))
#: Any text that is something.
TEXT = Rule("a text that is not empty", lambda value: isinstance(value, str) and value != "")
#: A file's or a directory's.
PATH = matching(r"[^\x00]+", "the path of a file")
#: A token (RFC 9110 section 5.1).
FIELD_NAME = matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}", "a header field's name: letters, digits and -")
#: What a field's value may be (RFC 9110 section 5.5): nothing that could end its line.
FIELD_VALUE = matching(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]{0,8192}", "a text of one line, of at most 8192 characters")
NETWORK = Rule("an IP address or a CIDR block, such as 10.0.0.0/8 or 2001:db8::/32", _is_network)
REGEX = Rule(f"a regular expression of at most {REGEX_LIMIT} characters", _is_regex)
