"""From the plain values of a document to frozen ``attrs`` classes, field by field, so that every mistake is found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time
from types import NoneType
from typing import Any, get_args, get_origin

import attrs
from cattrs import Converter

from ..errors import ConfigurationError
from .document import Document
from .environment import Text, file_text, is_file_text
from .fields import FieldKey, element_of, field_keys, is_list_kind, is_several, is_table_kind, without_none
from .problems import KeyPath, Problem, from_lines
from .strangers import unknown_keys

__all__ = ["SAID", "Mistakes", "Structurer", "made", "shown", "stand_in"]

#: Characters of a value that are shown in a message.
_SHOWN = 200


#: Stands for what has been said already, of a text that stands for nothing.
SAID = Problem((), "")


class Mistakes(Exception):
    """Something could not be read.

    :ivar problems: why, their paths being relative to what was to be read; one at least.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


def shown(value: Any) -> str:
    """A value as it was written, or as much of it as tells it from others."""
    text = _written(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Text):
        return repr(value.written)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_written(one)}" for key, one in value.items()) + " }" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    return repr(value) if isinstance(value, (int, float, str, bytes)) else str(value)


class Structurer:
    """Reads values of a document.

    :ivar converter: for hooks of classes that are written in ways of their own; a hook raises :class:`Mistakes`.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.converter = Converter(detailed_validation=False)
        for kind in (str, bytes, int, float, bool):
            self.converter.register_structure_hook(kind, self._plain)
        self.converter.register_structure_hook_func(lambda kind: kind is Any, lambda value, _: self.prepared(value, Any))
        self.converter.register_structure_hook_func(is_list_kind, self._list)
        self.converter.register_structure_hook_func(is_table_kind, self._table)
        self.converter.register_structure_hook_func(is_several, self._several)
        self.converter.register_structure_hook_func(attrs.has, self.instance)

    def read(self, value: Any, kind: Any) -> Any:
        """A value as one of that type.

        :raises Mistakes: it is none.
        """
        return self.converter.structure(value, kind)

    # Classes.

    def instance(self, table: Any, cls: Any) -> Any:
        """An ``attrs`` class of a table with a key for each attribute."""
        known = field_keys(cls)
        if not isinstance(table, dict):
            raise Mistakes(Problem((), f"{shown(table)} was given; allowed is a table with the keys {', '.join(known)}"))
        values, problems = self.fields(cls, table)
        unknown = unknown_keys(table, known)
        mistyped = [_missing(one.meant) for one in unknown if one.meant]  # which is said once
        problems = [*(one for one in problems if one not in mistyped), *unknown]
        if problems:
            raise Mistakes(*problems)
        return made(cls, values)

    def fields(self, cls: type, table: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
        """The arguments that *table* has for a class, each checked by itself, and what is wrong with them. What is no key of the
        class is passed over."""
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        # A stand-in for validators that look at what comes before their own attribute.
        instance: Any = object.__new__(cls)
        for key, field in field_keys(cls).items():
            if key in table:
                try:
                    values[field.attribute.alias or key] = self._field(field, table[key], instance)
                except Mistakes as mistakes:
                    problems += [one.below(key) for one in mistakes.problems]
            elif field.required:
                problems.append(_missing(key))
        return values, problems

    def _field(self, field: FieldKey, value: Any, instance: Any) -> Any:
        attribute = field.attribute
        wanted = without_none(field.kind)
        if wanted is bool and not isinstance(value, (bool, Text)):
            raise Mistakes(Problem((), f"{shown(value)} was given; allowed is {_WORDS[bool]}"))
        if attrs.has(wanted) and attribute.converter is None and not isinstance(value, dict):
            return self.instance(value, wanted)  # which says which keys there are
        checked = attribute.validator is not None or attribute.converter is not None
        read = self.prepared(value, field.kind) if checked else self.read(value, field.kind)
        if field.is_path:
            read = self.absolute(value, read)
        try:
            converted = _converted(attribute, read, instance)
            object.__setattr__(instance, attribute.name, converted)
            if attribute.validator is not None:
                attribute.validator(instance, attribute, converted)
        except ConfigurationError as error:
            raise Mistakes(*(_without_key(one, field) for one in from_lines(error, (), (field.key,)))) from None
        except AttributeError:
            pass  # a validator looks at what has not been read: making the whole will tell
        except (TypeError, ValueError) as error:
            wrong = "is of the wrong kind" if isinstance(error, TypeError) else f"cannot be read: {error}"
            raise Mistakes(Problem((), f"{shown(value)} was given, which {wrong}")) from None
        return read

    def absolute(self, value: Any, read: Any) -> Any:
        """Paths, relative to where they were written, from the root on."""
        if isinstance(value, Text) and isinstance(read, str):
            return os.path.normpath(os.path.join(value.folder, read)) if read else ""
        if isinstance(value, (list, tuple)) and isinstance(read, (list, tuple)):
            return type(read)(self.absolute(one, other) for one, other in zip(value, read, strict=True))
        if isinstance(value, dict) and isinstance(read, dict):
            return {key: self.absolute(value[key], one) for key, one in read.items()}
        if isinstance(value, Text) and isinstance(read, (list, tuple)):
            return type(read)(self.absolute(value, one) for one in read)
        return read

    # Values that are checked by whom they are for.

    def prepared(self, value: Any, kind: Any) -> Any:
        """A value of Python's own types: texts are what they stand for, and numbers where numbers are wanted and they may be.
        Whether it is of that type is for others to say."""
        wanted = without_none(kind)
        if isinstance(value, Text):
            if not value.known:
                raise Mistakes(SAID)
            if is_list_kind(wanted):
                return [self.prepared(value, element_of(wanted))]
            text = _free(value, wanted) if value.free else str(value)
            return text.encode() if wanted is bytes and isinstance(text, str) else text
        if isinstance(value, (date, time)):
            raise Mistakes(Problem((), f"{value} was given; dates and times are wanted nowhere, and texts stand in quotes"))
        if is_file_text(value) and wanted in (str, bytes):
            text = self._file_text(value)
            return text.encode() if wanted is bytes else text
        if isinstance(value, dict) and attrs.has(wanted):
            return self.instance(value, wanted)
        if isinstance(value, dict):
            inner = get_args(wanted)[1] if is_table_kind(wanted) and len(get_args(wanted)) == 2 else Any
            return self._each(value.items(), lambda one: self.prepared(one, inner), dict)
        if isinstance(value, (list, tuple)):
            return self._each(enumerate(value), lambda one: self.prepared(one, element_of(wanted)), _values)
        return value

    def _file_text(self, value: dict[str, Any]) -> str:
        path = value["file"]
        if not path.known:
            raise Mistakes(SAID)
        try:
            text = file_text(path, self._document.files)
        except ConfigurationError as error:
            raise Mistakes(Problem((), str(error))) from None
        self._document.hidden.add(text, shown(value))
        return text

    # Hooks.

    def _plain(self, value: Any, kind: type) -> Any:
        read = self.prepared(value, kind)
        if kind is float and isinstance(read, int) and not isinstance(read, bool):
            return float(read)
        if type(read) is not kind:
            raise Mistakes(Problem((), f"{shown(value)} was given; allowed is {_WORDS[kind]}"))
        return read

    def _list(self, value: Any, kind: Any) -> Any:
        make = get_origin(kind) or kind
        make = tuple if make is Sequence else make
        inner = element_of(kind)
        if isinstance(value, (list, tuple)):
            return make(self._each(enumerate(value), lambda one: self.read(one, inner), _values))
        return make([self.read(value, inner)])

    def _table(self, value: Any, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise Mistakes(Problem((), f"{shown(value)} was given; allowed is a table"))
        inner = get_args(kind)[1] if len(get_args(kind)) == 2 else Any
        return self._each(value.items(), lambda one: self.read(one, inner), dict)

    def _several(self, value: Any, kind: Any) -> Any:
        problems: tuple[Problem, ...] = ()
        for one in get_args(kind):
            if one is not NoneType:
                try:
                    return self.read(value, one)
                except Mistakes as mistakes:
                    problems = problems or mistakes.problems
        raise Mistakes(*problems)

    @staticmethod
    def _each(items: Iterable[tuple[Any, Any]], read: Callable[[Any], Any], make: Callable[[dict[Any, Any]], Any]) -> Any:
        """All that is inside a list or a table, or all that is wrong with it."""
        values: dict[Any, Any] = {}
        problems: list[Problem] = []
        failed = False
        for step, one in items:
            try:
                values[step] = read(one)
            except Mistakes as mistakes:
                failed = True
                problems += [problem.below(step) for problem in mistakes.problems]
        if failed:
            raise Mistakes(*problems)
        return make(values)


_WORDS: dict[type, str] = {
    str: "a text",
    bytes: "a text",
    int: "a whole number",
    float: "a number",
    bool: "a truth value, true or false",
}
_TRUTH = {"true": True, "false": False}


def stand_in(cls: type, values: Mapping[str, Any]) -> Any:
    """The same of what could be read, with defaults for the rest, and without looking at whether it goes together."""
    instance: Any = object.__new__(cls)
    fields = attrs.fields(cls)
    for one in fields:
        default = one.default
        made = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
        value = values.get(one.alias or one.name, made)
        try:
            value = _converted(one, value, instance)
        except ConfigurationError:
            value = made
        object.__setattr__(instance, one.name, value)
    return instance


def made(cls: type, values: Mapping[str, Any], path: KeyPath = ()) -> Any:
    """Make one of values that have been checked each by itself.

    :raises Mistakes: they do not go together.
    """
    try:
        return cls(**values)
    except ConfigurationError as error:
        raise Mistakes(*from_lines(error, field_keys(cls), path)) from None


def _values(items: dict[int, Any]) -> list[Any]:
    return list(items.values())


def _without_key(problem: Problem, field: FieldKey) -> Problem:
    return Problem(problem.path[1:], problem.message.removeprefix(f"{field.attribute.name}: "))


def _converted(attribute: attrs.Attribute[Any], value: Any, instance: Any) -> Any:
    converter: Any = attribute.converter
    if converter is None:
        return value
    if isinstance(converter, attrs.Converter):
        told: Any = converter
        arguments = [instance] if told.takes_self else []
        arguments += [attribute] if told.takes_field else []
        return told.converter(value, *arguments)
    return converter(value)


def _free(text: Text, kind: Any) -> Any:
    """A text that may stand for something else, as what is wanted; as a text if it is none."""
    kinds = get_args(kind) if is_several(kind) else (kind,)
    if bool in kinds and text.strip().lower() in _TRUTH:
        return _TRUTH[text.strip().lower()]
    for number in (int, float):
        if number in kinds and text.isascii() and "_" not in text:
            try:
                return number(text)
            except ValueError:
                continue
    return str(text)


def _missing(key: str) -> Problem:
    return Problem((), f"{key} is missing")
