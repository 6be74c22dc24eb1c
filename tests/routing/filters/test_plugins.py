"""Promises of users' own filters: how they are found, and what is said of those that cannot be used."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lbproxy import Answer, Filter
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IFilter, IFilterMaker
from lbproxy.routing.filters import plugins
from lbproxy.routing.filters.plugins import PluginFilter, plugin_names, plugin_spec
from lbproxy.testing import FilterConformance

from ...support import GET, status
from .filtered import FilteredRig, context


class Closed(Filter):
    """Answers everybody."""

    def __init__(self, options: Any, context: Any) -> None:
        self.options, self.context = options, context

    def request(self, passage: Any) -> Answer:
        self.context.count("closed")
        return Answer(status=418, end="forbidden", why=self.options["why"])


@implementer(IFilterMaker)
class Maker:
    """A user's."""

    help = "answers everybody"

    def __init__(self, name: Any, make: Any) -> None:
        self.name = name
        self.make = make


def checked(options: Any, context: Any) -> Closed:
    """What a maker does that looks at its options."""
    if "why" not in options:
        raise ConfigurationError("why: nothing was given; allowed is a text")
    return Closed(options, context)


def broken(options: Any, context: Any) -> None:
    raise KeyError("oh")


class PluginCase(SynchronousTestCase):
    """Some plugins are installed."""

    def setUp(self) -> None:
        self.makers = [Maker("closed", checked), Maker("broken", broken), Maker("odd", lambda *_: object()), Maker(None, checked)]
        self.patch(plugins, "getPlugins", lambda interface: iter(self.makers) if interface is IFilterMaker else iter(()))


class PluginConformance(FilterConformance, PluginCase):
    """What a plugin makes is a filter."""

    def make_filter(self, context: Any) -> Any:
        return plugin_spec("closed", {"why": "x"}).make(context)


class PluginTests(PluginCase):
    """On values."""

    def refused(self, name: str, options: Any) -> str:
        return str(self.assertRaises(ConfigurationError, plugin_spec, name, options, ["rate-limit", "in-flight"]))

    def test_they_are_found_by_name(self) -> None:
        """One without a name is passed over."""
        self.assertEqual(plugin_names(), ["broken", "closed", "odd"])

    def test_specifications_are_comparable(self) -> None:
        """By name and options; they are not changed by whoever gave the options, or by the filter."""
        options: Any = {"why": "x", "more": {"list": [1]}}
        spec = plugin_spec("closed", options)
        self.assertEqual((spec.type, spec.options), ("closed", {"why": "x", "more": {"list": [1]}}))
        self.assertEqual(spec, plugin_spec("closed", dict(options)))
        self.assertNotEqual(spec, plugin_spec("closed", {"why": "y"}))
        live: Any = spec.make(context()[0])
        live.options["more"]["list"].append(2)
        options["more"]["list"].append(3)
        self.assertEqual(spec.options["more"], {"list": [1]})
        self.assertTrue(IFilter.providedBy(live))

    def test_unknown_names(self) -> None:
        """The nearest one is suggested, and all are named."""
        known = "allowed is rate-limit, in-flight, broken, closed, odd"
        self.assertEqual(self.refused("closd", {}), f"type: 'closd' was given (did you mean closed?); {known}")
        self.assertEqual(self.refused("rate_limit", {}), f"type: 'rate_limit' was given (did you mean rate-limit?); {known}")
        self.assertEqual(self.refused("xyz", {}), f"type: 'xyz' was given; {known}")

    def test_a_plugins_complaints(self) -> None:
        """Come when the specification is made, in its own words; what fails in it is said to be its own."""
        self.assertEqual(self.refused("closed", {}), "why: nothing was given; allowed is a text")
        module = __name__
        self.assertEqual(self.refused("broken", {}), f"type: the plugin broken ({module}) failed: KeyError: 'oh'")
        said = self.refused("odd", {})
        self.assertTrue(said.startswith(f"type: the plugin odd ({module}) made <object"), said)
        self.assertTrue(said.endswith("which does not provide IFilter"), said)

    def test_one_that_is_gone(self) -> None:
        """Is said when the filter is made."""
        spec = PluginFilter(type="gone")
        error = self.assertRaises(ConfigurationError, spec.make, context()[0])
        self.assertIn("'gone' was given, whose plugin is gone", str(error))

    def test_through_a_balancer(self) -> None:
        """It answers, and counts."""
        rig = FilteredRig(plugin_spec("closed", {"why": "Closed today."}))
        answer = rig.begin(GET).received()
        self.assertEqual((status(answer), b"Closed today." in answer, rig.counts), (418, True, {"closed": 1}))
