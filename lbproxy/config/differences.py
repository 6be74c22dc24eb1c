"""What differs between two configurations, in an operator's words: what a reload touches. Pure.

A secret is never shown, only that it changes: these are attributes without a representation (``repr=False``), and texts that may
be one: the values of tables in filters and routes, such as a header's, and what a condition wants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..balance.backend import Backend
from ..routing.model import Route
from .model import Configuration, PoolConfiguration
from .problems import Problem

__all__ = ["KINDS", "Difference", "differences", "unchangeable"]

#: What a difference may be about.
KINDS = (
    "listener-opened", "listener-closed", "listeners-reordered", "certificates", "admin", "access-log", "settings", "pool-added",
    "pool-removed", "pool-changed", "pools-reordered", "backend-added", "backend-removed", "backend-changed",
    "backends-reordered", "route-added", "route-removed", "route-changed", "routes-reordered", "filter-added", "filter-removed",
    "filter-changed", "default-filters", "state-file", "watch", "workers", "worker-heartbeat", "other",
)  # fmt: skip

#: Characters of a value that is shown.
_LONGEST = 80
_HIDDEN = "(not shown)"


@attrs.frozen
class Difference:
    """One thing that differs.

    :ivar kind: one of :data:`KINDS`.
    :ivar name: of what it is about: a pool's, for a backend too; a route's, a filter's, a listener's description; else empty.
    :ivar what: what of it: a key such as ``retries``, a backend's address; empty: all of it.
    :ivar was: what it was, in words; empty of what comes.
    :ivar will: what it will be; empty of what leaves.
    """

    kind: str
    name: str = ""
    what: str = ""
    was: str = ""
    will: str = ""

    def __str__(self) -> str:
        """In words for an operator."""
        subject, _, verb = self.kind.rpartition("-")
        if verb in _VERBS:
            what = f"pool {self.name}: backend {self.what}" if subject == "backend" else f"{subject} {self.name}"
            if subject == "listener" and self.what:
                what += f" ({self.what})"
            detail = self.was or self.will
            return f"{what} {_VERBS[verb]}" + (f" ({detail})" if detail else "")
        if verb == "reordered":
            return (f"pool {self.name}: " if self.name else "") + f"another order of {subject}: {self.will}"
        if self.kind == "backend-changed":
            where = f"pool {self.name}: backend {self.what}:"
        else:
            where = f"{f'{subject} {self.name}' if verb == 'changed' else self.kind}: {self.what}".rstrip()
        same = self.was == self.will  # as far as it is shown
        how = f" ({_NO_RELOAD})" if self.kind == "workers" else ""
        return f"{where} {'is another one, not shown' if same else f'{self.was} -> {self.will}'}{how}"


_NO_RELOAD = "it can be changed by an upgrade (SIGUSR2, POST /upgrade) or a restart, not by a reload"
_VERBS = {"opened": "is opened", "closed": "is closed", "added": "comes", "removed": "leaves"}


def differences(old: Configuration, new: Configuration) -> list[Difference]:
    """What is to be done so that what runs as *old* runs as *new*; nothing exactly where the two are equal."""
    if old == new:
        return []
    found = [
        *_listeners(old, new),
        *_values("certificates", "", old.certificates, new.certificates),
        *_values("admin", "", _Admin(old.admin, old.admin_writable), _Admin(new.admin, new.admin_writable)),
        *_values("access-log", "", old.access_log, new.access_log),
        *_values("settings", "", old.settings, new.settings),
        *_pools(old.pools, new.pools),
        *_filters(old.filters, new.filters),
        *_plain("default-filters", old.default_filters, new.default_filters),
        *_routes(old.routes, new.routes),
        *_plain("state-file", old.state_file, new.state_file),
        *_plain("watch", old.watch, new.watch),
        *_plain("workers", old.workers, new.workers),
        *_plain("worker-heartbeat", old.worker_heartbeat, new.worker_heartbeat),
    ]
    # Nothing that counts may go unsaid, whatever a later version adds to a configuration.
    return found or [Difference("other", was="what it was", will="something else")]


def unchangeable(old: Configuration, new: Configuration) -> list[Problem]:
    """What cannot be changed while it runs."""
    return [Problem(("workers",), _NO_RELOAD)] if old.workers != new.workers else []


@attrs.frozen
class _Admin:
    """What is said of the operators' listener."""

    admin: str | None
    admin_writable: bool


# Values with attributes.


def _values(kind: str, name: str, old: Any, new: Any, *, prefix: str = "", hides: bool = False) -> Iterator[Difference]:
    """The attributes in which two values differ; of two kinds of value, that they do."""
    if old == new:
        return
    if type(old) is not type(new) or not attrs.has(type(old)):
        yield Difference(kind, name, prefix.rstrip("."), _shown(old), _shown(new))
        return
    count = 0
    for attribute in _attributes(old):
        was, will = getattr(old, attribute.name), getattr(new, attribute.name)
        if was == will:
            continue
        count += 1
        key = prefix + attribute.name.replace("_", "-")
        if attribute.repr is False:
            yield Difference(kind, name, key, _hidden(was), _hidden(will))
        elif attrs.has(type(was)) and type(was) is type(will):
            yield from _values(kind, name, was, will, prefix=f"{key}.", hides=hides)
        elif isinstance(was, Mapping) and isinstance(will, Mapping):
            yield from _tables(kind, name, key, was, will, hides)
        else:
            yield Difference(kind, name, key, _shown(was), _shown(will))
    if not count:  # they know themselves in what they differ
        yield Difference(kind, name, prefix.rstrip("."), "what it was", "something else")


def _tables(kind: str, name: str, key: str, old: Mapping[Any, Any], new: Mapping[Any, Any], hides: bool) -> Iterator[Difference]:
    for one in dict.fromkeys((*old, *new)):
        was, will = (_value_of(table.get(one), hides) for table in (old, new))
        if one not in old or one not in new or old[one] != new[one]:
            yield Difference(kind, name, f"{key}.{one}", was, will)


def _plain(kind: str, old: Any, new: Any) -> Iterator[Difference]:
    if old != new:
        yield Difference(kind, was=_shown(old), will=_shown(new))


def _value_of(value: object, hides: bool) -> str:
    return _hidden(value) if hides and not isinstance(value, (int, float)) else _shown(value)


def _hidden(value: object) -> str:
    return _HIDDEN if value else "none"


def _shown(value: object) -> str:
    """A value in words, and no secret in it."""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif value is None:
        text = "none"
    elif isinstance(value, Mapping):
        text = ", ".join(map(str, value)) or "none"
    elif isinstance(value, (tuple, list)):
        text = ", ".join(map(_shown, value)) or "none"
    elif isinstance(value, float):
        text = f"{value:.16g}"
    elif attrs.has(type(value)):
        text = _kind_of(value) if hasattr(value, "type") else _shown(getattr(value, _attributes(value)[0].name))
    else:
        text = str(value) or "none"
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _attributes(value: Any) -> Sequence[attrs.Attribute[Any]]:
    """Those that make it what it is; in order."""
    return [attribute for attribute in attrs.fields(type(value)) if attribute.eq]


def _kind_of(value: object) -> str:
    """What a filter, or another value with attributes, is called."""
    return str(getattr(value, "type", type(value).__name__))


# Things that have names.


def _named(
    kind: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    changed: Callable[[str, Any, Any], Iterable[Difference]],
    described: Callable[[Any], str],
) -> Iterator[Difference]:
    """What leaves, comes and changes, in this order."""
    yield from (Difference(f"{kind}-removed", name, was=described(old[name])) for name in old if name not in new)
    yield from (Difference(f"{kind}-added", name, will=described(new[name])) for name in new if name not in old)
    for name in old:
        if name in new and old[name] != new[name]:
            yield from changed(name, old[name], new[name])


def _reordered(kind: str, name: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Difference]:
    """Whether those that are in both stand in another order."""
    both = set(old) & set(new)
    was, will = [one for one in old if one in both], [one for one in new if one in both]
    if was != will:
        yield Difference(kind, name, "", _shown(tuple(was)), _shown(tuple(will)))


def _listeners(old: Configuration, new: Configuration) -> Iterator[Difference]:
    for key, what in (("listen", ""), ("tls_listen", "TLS")):
        was, will = getattr(old, key), getattr(new, key)
        if was == will:
            continue
        before, after = (Counter(("by default",) if given is None else given) for given in (was, will))
        yield from (Difference("listener-closed", one, what) for one in (before - after).elements())
        yield from (Difference("listener-opened", one, what) for one in (after - before).elements())
        if before == after:
            yield Difference("listeners-reordered", "", what, _shown(was), _shown(will))


def _pools(old: Sequence[PoolConfiguration], new: Sequence[PoolConfiguration]) -> Iterator[Difference]:
    was, will = ({pool.name: pool for pool in pools} for pools in (old, new))
    yield from _named("pool", was, will, _pool, _backends_of)
    yield from _reordered("pools-reordered", "", list(was), list(will))


def _backends_of(pool: PoolConfiguration) -> str:
    return f"backends of {pool.backends_file}" if pool.backends_file else _shown(tuple(one.address for one in pool.backends))


def _pool(name: str, old: PoolConfiguration, new: PoolConfiguration) -> Iterator[Difference]:
    was, will = ({backend.address: backend for backend in pool.backends} for pool in (old, new))
    yield from (Difference("backend-removed", name, address) for address in was if address not in will)
    yield from (Difference("backend-added", name, address) for address in will if address not in was)
    for address in was:
        if address in will:
            yield from _backend(name, was[address], will[address])
    yield from _reordered("backends-reordered", name, list(was), list(will))
    settings = _values("pool-changed", name, old.settings, new.settings)
    rest = _values("pool-changed", name, _without(old), _without(new))
    yield from (*settings, *rest)


def _without(pool: PoolConfiguration) -> PoolConfiguration:
    """A pool without what is compared apart."""
    return attrs.evolve(pool, backends=(), settings=_NO_SETTINGS)


_NO_SETTINGS = attrs.fields(PoolConfiguration).settings.default.factory()  # type: ignore[union-attr]


def _backend(pool: str, old: Backend, new: Backend) -> Iterator[Difference]:
    if old != new:
        parts = [
            (attribute.name.replace("_", "-"), getattr(old, attribute.name), getattr(new, attribute.name))
            for attribute in attrs.fields(Backend)
        ]
        differ = [(key, was, will) for key, was, will in parts if was != will]
        was, will = (", ".join(f"{one[0]} {_shown(one[side])}" for one in differ) for side in (1, 2))
        yield Difference("backend-changed", pool, new.address, was, will)


def _filters(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    def changed(name: str, was: Any, will: Any) -> Iterator[Difference]:
        return _values("filter-changed", name, was, will, hides=True)

    yield from _named("filter", old, new, changed, _kind_of)


def _routes(old: Sequence[Route], new: Sequence[Route]) -> Iterator[Difference]:
    was, will = ({route.name: route for route in routes} for routes in (old, new))
    yield from _named("route", was, will, _route, _leads_to)
    yield from _reordered("routes-reordered", "", list(was), list(will))


def _route(name: str, old: Route, new: Route) -> Iterator[Difference]:
    if old.filters != new.filters:
        yield from _route_filters(name, old.filters, new.filters)
    yield from _values("route-changed", name, attrs.evolve(old, filters=()), attrs.evolve(new, filters=()), hides=True)


def _route_filters(name: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> Iterator[Difference]:
    if [*map(_filter_name, old)] != [*map(_filter_name, new)]:
        yield Difference("route-changed", name, "filters", _shown(old), _shown(new))
        return
    for number, (was, will) in enumerate(zip(old, new, strict=True)):
        yield from _values("route-changed", name, was, will, prefix=f"filters[{number}].", hides=True)


def _filter_name(one: Any) -> str:
    return one if isinstance(one, str) else f"{_kind_of(one)} of its own"


def _leads_to(route: Route) -> str:
    if route.pools:
        return f"to {', '.join(route.pools)}"
    return route.targets[0]
