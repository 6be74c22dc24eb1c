"""The attributes of ``attrs`` classes by the keys of a file, and what their types say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import attrs

from ..routing.model import FixedAnswer

__all__ = ["FieldKey", "element_of", "field_keys", "is_list_kind", "is_several", "is_table_kind", "without_none"]


@attrs.frozen
class FieldKey:
    """An attribute, and the key for it.

    :ivar kind: its type; Any where that cannot be found out.
    :ivar is_path: whether its texts are paths of files.
    """

    key: str
    attribute: attrs.Attribute[Any]
    kind: Any
    is_path: bool

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.attribute.default is attrs.NOTHING


_FIELDS: dict[type, dict[str, FieldKey]] = {}
#: Keys that are not called as their attributes are.
_CALLED: dict[tuple[type, str], str] = {(FixedAnswer, "kind"): "type"}


def field_keys(cls: type) -> dict[str, FieldKey]:
    """The attributes of a class by their keys: ``path_prefix`` is ``path-prefix``, ``type_`` is ``type``.

    An attribute's metadata may say that its texts are paths (``{"path": True}``), as a validator does whose ``allowed`` is "the
    path of ...".
    """
    if cls not in _FIELDS:
        try:
            attrs.resolve_types(cls)
        except NameError:
            pass  # some module is imported for its types alone
        _FIELDS[cls] = {one.key: one for one in (_field_key(cls, field) for field in attrs.fields(cls) if field.init)}
    return _FIELDS[cls]


def _field_key(cls: type, attribute: attrs.Attribute[Any]) -> FieldKey:
    allowed = getattr(attribute.validator, "allowed", "")
    return FieldKey(
        _CALLED.get((cls, attribute.name)) or attribute.name.strip("_").replace("_", "-"),
        attribute,
        Any if isinstance(attribute.type, str) or attribute.type is None else attribute.type,
        bool(attribute.metadata.get("path")) or (isinstance(allowed, str) and allowed.startswith("the path of")),
    )


@cache
def is_several(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


@cache
def without_none(kind: Any) -> Any:
    """``str`` of ``str | None``."""
    if is_several(kind):
        inner = [one for one in get_args(kind) if one is not NoneType]
        return inner[0] if len(inner) == 1 else kind
    return kind


@cache
def is_list_kind(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return origin in (tuple, list, frozenset, set, Sequence)


@cache
def element_of(kind: Any) -> Any:
    arguments = get_args(kind)
    return arguments[0] if is_list_kind(kind) and arguments else Any


@cache
def is_table_kind(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (dict, Mapping)
