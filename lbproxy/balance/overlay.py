"""What operators said of a pool's members at run time, over what its configuration says. Pure.

What was said holds until the configuration comes to say the same: then it is the configuration's word, and goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

import attrs

from .backend import Backend
from .state import Wish

__all__ = ["Overlay", "effective", "settled"]

_Value = TypeVar("_Value")


@attrs.frozen
class Overlay:
    """What was said, as a plain value.

    :ivar added: backends that are members as they stand here, whatever the configuration says of their addresses.
    :ivar removed: addresses that are none, though the configuration names them.
    :ivar weights: of backends that the configuration names, by address.
    :ivar wishes: what is wanted of members, by address; of one that is to be ready nothing is kept.
    """

    added: tuple[Backend, ...] = ()
    removed: tuple[str, ...] = ()
    weights: Mapping[str, int] = MappingProxyType({})
    wishes: Mapping[str, Wish] = MappingProxyType({})

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.weights or self.wishes)

    def add(self, backend: Backend) -> Overlay:
        """A backend is to be a member."""
        return self._forget(backend.address, added=backend)

    def remove(self, address: str) -> Overlay:
        """A member is to be one no more; nothing else that was said of it is kept."""
        rest = self._forget(address)
        return attrs.evolve(rest, removed=(*rest.removed, address), wishes=_without(self.wishes, address))

    def weigh(self, address: str, weight: int) -> Overlay:
        """A member is to have another weight.

        :raises ConfigurationError: for one that no backend can have, where it is known to have been added here.
        """
        for backend in self.added:
            if backend.address == address:
                added = tuple(attrs.evolve(one, weight=weight) if one is backend else one for one in self.added)
                return attrs.evolve(self, added=added)
        return attrs.evolve(self, weights={**self.weights, address: weight})

    def wish(self, wish: Wish) -> Overlay:
        """Something is wanted of a member."""
        rest = _without(self.wishes, wish.address)
        return attrs.evolve(self, wishes=rest if wish.want == "ready" else {**rest, wish.address: wish})

    def _forget(self, address: str, *, added: Backend | None = None) -> Overlay:
        """Forget what was said of the place and the weight of a backend."""
        rest = tuple(backend for backend in self.added if backend.address != address)
        return attrs.evolve(
            self,
            added=rest if added is None else (*rest, added),
            removed=tuple(other for other in self.removed if other != address),
            weights=_without(self.weights, address),
        )


def _without(values: Mapping[str, _Value], address: str) -> Mapping[str, _Value]:
    return {key: value for key, value in values.items() if key != address}


def effective(configured: Iterable[Backend], overlay: Overlay) -> tuple[Backend, ...]:
    """The members that a pool has in the end: as configured, with what was said over it, and those that were added at the end.

    Where nobody would be left, what was removed is not: a pool is never empty.
    """
    configured = tuple(configured)
    added = {backend.address: backend for backend in overlay.added}
    kept = [
        added.pop(backend.address) if backend.address in added else _weighed(backend, overlay)
        for backend in configured
        if backend.address not in overlay.removed
    ]
    return (*kept, *added.values()) or tuple(_weighed(backend, overlay) for backend in configured)


def _weighed(backend: Backend, overlay: Overlay) -> Backend:
    weight = overlay.weights.get(backend.address, backend.weight)
    return backend if weight == backend.weight else attrs.evolve(backend, weight=weight)


def settled(configured: Iterable[Backend], overlay: Overlay) -> Overlay:
    """What is left to be said over the configuration: not what it says itself, nor anything of those that are no members."""
    named = {backend.address: backend for backend in configured}
    members = {backend.address: backend for backend in effective(named.values(), overlay)}
    return Overlay(
        tuple(backend for backend in overlay.added if named.get(backend.address) != backend),
        tuple(address for address in overlay.removed if address in named and address not in members),
        {
            address: weight
            for address, weight in overlay.weights.items()
            if address in named and address in members and named[address].weight != weight
        },
        {address: wish for address, wish in overlay.wishes.items() if address in members},
    )
