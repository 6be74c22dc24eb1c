"""A policy of one's own, which ``twistd lbproxy`` knows by name.

Put a copy at ``twisted/plugins/nearest_policy.py`` in a directory on PYTHONPATH, and

    twistd -n lbproxy -b 10.0.0.1:8000,10.1.0.1:8000 --policy nearest:prefix=10.0.

sends requests to the backends whose address begins with 10.0. as long as one of them is well, and to the others only then. By
itself

    python examples/policy_plugin.py

runs the conformance kit over it.
"""

from lbproxy import Policy
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IPolicyMaker
from twisted.plugin import IPlugin
from zope.interface import implementer


class Nearest(Policy):
    """Those that are near, from any of them on; then the others likewise."""

    name = "nearest"

    def __init__(self, prefix: str, random) -> None:
        super().__init__()
        self.prefix, self.random = prefix, random
        self.near, self.far = [], []

    def set_members(self, members) -> None:
        """Called when somebody comes, goes, fails or recovers: what can be sorted out beforehand is sorted out here."""
        super().set_members(members)
        self.near = [member for member in members if member.address.startswith(self.prefix)]
        self.far = [member for member in members if not member.address.startswith(self.prefix)]

    def candidates(self, exchange=None):
        """Called for each exchange, which has a request and a client; whom it yields first is asked first."""
        for group in (self.near, self.far):
            begin = self.random.randrange(len(group)) if group else 0
            for place in range(len(group)):
                yield group[(begin + place) % len(group)]

    def figure(self, member, exchange=None) -> float:
        """What is shown to whoever asks why: 1 for those that are near."""
        return float(member.address.startswith(self.prefix))


@implementer(IPlugin, IPolicyMaker)
class NearestMaker:
    """Makes one for each tier of a pool, from what stands behind the name."""

    name = "nearest"
    help = "backends whose address begins with prefix=TEXT first"

    def make(self, options, random, seconds) -> Nearest:
        """Make a policy; *random* and *seconds* are the only chance and the only clock that it may use."""
        if list(options) != ["prefix"]:
            raise ConfigurationError(f"policy: nearest: {', '.join(options) or 'nothing'} was given; allowed is prefix=TEXT")
        return Nearest(options["prefix"], random)


# Twisted's plugin system looks for objects at the top of the module.
nearest = NearestMaker()


if __name__ == "__main__":
    import unittest

    from lbproxy.testing import PolicyConformance

    class NearestTests(PolicyConformance, unittest.TestCase):
        """The promises that lbproxy relies on, each a test."""

        weighted = busy = False  # it promises no shares

        def make_policy(self, random, seconds):
            """The policy to be tested."""
            return Nearest("10.0.", random)

    unittest.main(argv=["policy_plugin.py"], verbosity=2)
