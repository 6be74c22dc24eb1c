"""A filter of one's own, which a configuration file knows by name.

Put a copy at ``twisted/plugins/turn_away_filter.py`` in a directory on PYTHONPATH, and

    [[routes]]
    pool = "default"
    filters = [{ type = "turn-away", word = "robot" }]

answers 403 to clients that have the word in their User-Agent, and tells all others that it has looked. By itself

    python examples/filter_plugin.py

runs the conformance kit over it.
"""

from lbproxy import Answer, Filter
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IFilterMaker
from twisted.plugin import IPlugin
from zope.interface import implementer


class TurnAway(Filter):
    """Clients whose User-Agent has a word in it get no further; what is not said here, the base class does."""

    def __init__(self, word: str, count) -> None:
        self.word, self.count = word.lower().encode(), count

    def request(self, passage):
        """Called for each request: None lets it on, an answer ends it here."""
        for line in passage.request.fields.splitlines():
            name, _, value = line.partition(b":")
            if name.lower() == b"user-agent" and self.word in value.lower():
                self.count("turned-away")  # shown in /status and /metrics
                return Answer(status=403, end="forbidden", why="Not for you.")
        return None

    def response(self, passage, head) -> None:
        """Called for the response's head: lines are added, each ended by CRLF."""
        head.fields += b"X-Looked-At: yes\r\n"


@implementer(IPlugin, IFilterMaker)
class TurnAwayMaker:
    """Makes one from what stands in the file."""

    name = "turn-away"
    help = 'clients with word = "TEXT" in their User-Agent are answered 403'

    def make(self, options, context) -> TurnAway:
        """Make a filter; the context has the only reactor, clock and chance that it may use."""
        word = options.get("word")
        if options.keys() != {"word"} or not isinstance(word, str) or not word:
            raise ConfigurationError(f'word: {word!r} was given; allowed is word = "TEXT" and nothing else')
        return TurnAway(word, context.count)


# Twisted's plugin system looks for objects at the top of the module.
turn_away = TurnAwayMaker()


if __name__ == "__main__":
    import unittest

    from lbproxy.testing import FilterConformance, StubPassage

    class TurnAwayTests(FilterConformance, unittest.TestCase):
        """The promises that lbproxy relies on, each a test."""

        def make_filter(self, context):
            """The filter to be tested."""
            return turn_away.make({"word": "robot"}, context)

        def test_robots_are_turned_away(self):
            """And nobody else is."""
            turned = TurnAway("robot", lambda what: None)
            self.assertIsNone(turned.request(StubPassage(fields={"User-Agent": "Mozilla"})))
            self.assertEqual(turned.request(StubPassage(fields={"User-Agent": "A Robot/1"})).status, 403)

    unittest.main(argv=["filter_plugin.py"], verbosity=2)
