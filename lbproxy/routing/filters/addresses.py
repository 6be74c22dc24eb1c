"""The filter ``addresses``: who may come, by where from."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import attrs

from ...addresses import Address, as_ipv4, read_address
from ...http1.answers import Answer
from ...settings import Network
from .. import checks
from ..checks import NETWORK, each
from ..filter import Filter

if TYPE_CHECKING:
    from ..filter import FilterContext, Verdict
    from ..passage import Passage

__all__ = ["Addresses"]

_FORBIDDEN = Answer(status=403, end="forbidden", why="This is not served to your address.")


@attrs.frozen(kw_only=True)
class Addresses:
    """Clients in some networks are let on, those in others answered with 403.

    Of the networks that a client is in, the smallest decides; where one stands in both lists it is denied. Who is in none is let
    on if there is no list of those that are allowed, and denied otherwise: ``0.0.0.0/0`` and ``::/0`` are everybody. Behind a
    trusted proxy it is that proxy's client that counts. Clients without an address, as those of a Unix socket, are in none.

    :ivar allow: networks and addresses.
    :ivar deny: likewise.
    """

    type: ClassVar[str] = "addresses"
    allow: tuple[Network, ...] = attrs.field(default=(), converter=checks.networks, validator=each(NETWORK))
    deny: tuple[Network, ...] = attrs.field(default=(), converter=checks.networks, validator=each(NETWORK))

    def __attrs_post_init__(self) -> None:
        if not self.allow and not self.deny:
            checks.raise_all([checks.wrong("allow", [], "one network at least, here or in deny")])

    def make(self, context: FilterContext) -> Filter:
        """Make the filter."""
        return _Addresses(self.allow, self.deny)


class _Addresses(Filter):
    def __init__(self, allow: Iterable[Network], deny: Iterable[Network]) -> None:
        rules = {as_ipv4(network): True for network in allow}
        self._others = not rules
        rules.update((as_ipv4(network), False) for network in deny)
        #: By (bits of an address, bits after the prefix), the smallest networks first: whether each prefix may come.
        self._by_size: dict[tuple[int, int], dict[int, bool]] = {}
        for network in sorted(rules, key=lambda one: -one.prefixlen):
            shift = network.max_prefixlen - network.prefixlen
            table = self._by_size.setdefault((network.max_prefixlen, shift), {})
            table[int(network.network_address) >> shift] = rules[network]
        # Most come from where one came before. Bounded, since strangers choose where they come from.
        self._may_come = lru_cache(maxsize=4096)(self._look_up)

    def request(self, passage: Passage) -> Verdict:
        return None if self._may_come(passage.client.address) else _FORBIDDEN

    def _look_up(self, text: str) -> bool:
        address = read_address(text)
        return self._others if address is None else self._in_smallest(address)

    def _in_smallest(self, address: Address) -> bool:
        value, bits = int(address), address.max_prefixlen
        for (kind, shift), table in self._by_size.items():
            if kind == bits and value >> shift in table:
                return table[value >> shift]
        return self._others
