"""Users' own filters, found by Twisted's plugin system (:class:`lbproxy.interfaces.IFilterMaker`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from random import Random
from types import MappingProxyType
from typing import Any

import attrs
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins

from ...errors import ConfigurationError
from ...interfaces import IFilter, IFilterMaker
from ..checks import raise_all
from ..filter import Filter, FilterContext

__all__ = ["PluginFilter", "plugin_names", "plugin_spec"]


def _own(given: Mapping[str, Any]) -> dict[str, Any]:
    return deepcopy(dict(given))


@attrs.frozen(kw_only=True)
class PluginFilter:
    """A filter of a user's own, as a file says it. Two are equal when type and options are.

    :ivar type: the maker's name.
    :ivar options: the other keys of its table. Nobody may change them.
    """

    type: str
    options: Mapping[str, Any] = attrs.field(default=MappingProxyType({}), converter=_own)

    def make(self, context: FilterContext) -> Filter:
        """Make the live filter.

        :raises ConfigurationError: for whatever goes wrong in the plugin, or where there is none of that name.
        """
        return _made(_makers(), self.type, self.options, context)


def plugin_names() -> list[str]:
    """The types that plugins offer."""
    return sorted(_makers())


def plugin_spec(name: str, options: Mapping[str, Any], built_in: Iterable[str] = ()) -> PluginFilter:
    """The specification of a filter that is none of lbproxy's own, its options checked: the filter is made once for that, with a
    reactor that leads nowhere and a clock that stands still.

    :param built_in: the types of lbproxy's own, for the error.
    :raises ConfigurationError: for what cannot be used, with a line for each mistake.
    """
    makers = _makers()
    if name not in makers:
        known = [*built_in, *sorted(makers)]
        nearest = get_close_matches(name, known, n=1)
        meant = f" (did you mean {nearest[0]}?)" if nearest else ""
        allowed = ", ".join(known) or "the name of a plugin, of which there are none"
        raise ConfigurationError(f"type: {name!r} was given{meant}; allowed is {allowed}")
    spec = PluginFilter(type=name, options=options)
    nowhere = MemoryReactorClock()
    _made(makers, name, spec.options, FilterContext(reactor=nowhere, clock=nowhere, random=Random(0)))
    return spec


def _makers() -> dict[str, Any]:
    """Makers by name. One without a name cannot be asked for, and keeps nobody from the others."""
    return {maker.name: maker for maker in getPlugins(IFilterMaker) if isinstance(getattr(maker, "name", None), str)}


def _made(makers: Mapping[str, Any], name: str, options: Mapping[str, Any], context: FilterContext) -> Filter:
    """What a plugin makes, of options of its own."""
    maker = makers.get(name)
    if maker is None:
        raise ConfigurationError(f"type: {name!r} was given, whose plugin is gone; allowed is one that is there")
    whose = f"the plugin {name} ({type(maker).__module__})"
    try:
        made: Filter = maker.make(_own(options), context)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"type: {whose} failed: {type(error).__name__}: {error}") from error
    raise_all([] if IFilter.providedBy(made) else [f"type: {whose} made {made!r}, which does not provide IFilter"])
    return made
