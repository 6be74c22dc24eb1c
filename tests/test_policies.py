"""Policies by name: what an operator may write, and what is answered to what is mistaken."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import lbproxy
from lbproxy import Backend, Pool, policy_maker
from lbproxy.balance.hashing import Hash
from lbproxy.balance.peak_ewma import PeakEwma
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IPolicy
from lbproxy.policies import POLICY_NAMES

from .support import given

ALL = "round-robin, least-connections, random, two-choices, peak-ewma, hash, first"


class PolicyMakerTests(SynchronousTestCase):
    """Lbproxy's own."""

    def refused(self, text: str) -> list[str]:
        """The lines of the answer."""
        return str(self.assertRaises(ConfigurationError, policy_maker, text)).splitlines()

    def test_every_name(self) -> None:
        """Each makes policies of that name, a fresh one each time."""
        self.assertEqual(", ".join(POLICY_NAMES), ALL)
        for name in POLICY_NAMES:
            make = policy_maker(name)
            self.assertEqual(make().name, name)
            self.assertTrue(IPolicy.providedBy(make()))
            self.assertIsNot(make(), make())

    def test_options_reach_the_policy(self) -> None:
        """Whatever the order, and although a value has a colon in it."""
        policy: Any = policy_maker("peak-ewma:decay=2.5")()
        self.assertIsInstance(policy, PeakEwma)
        self.assertEqual(policy._decay, 2.5)
        policy = policy_maker("hash:key=header:X-User, bound=1.5,method=ring")()
        self.assertIsInstance(policy, Hash)
        self.assertEqual((policy._bound, policy._method), (1.5, "ring"))

    def test_hash_goes_by_the_address_unless_told_otherwise(self) -> None:
        """Its key has a default."""
        self.assertIsInstance(policy_maker("hash")(), Hash)

    def test_the_random_source_is_the_one_given(self) -> None:
        """The same seed gives the same choices."""
        for name in ("random", "two-choices", "peak-ewma"):
            chosen = []
            for _ in range(2):
                make = policy_maker(name, random=Random(9), seconds=Clock().seconds)
                pool = Pool([Backend(f"10.0.0.{number}", 80) for number in range(10)], policy=make, seconds=lambda: 0.0)
                chosen.append([next(pool.candidates()).address for _ in range(50)])
            self.assertEqual(*chosen)

    def test_a_pool_with_tiers_takes_it(self) -> None:
        """It makes a policy for each tier."""
        backends = [Backend("a", 80), Backend("b", 80, tier=1)]
        pool = Pool(backends, policy=policy_maker("least-connections"))
        self.assertEqual([member.address for member in pool.candidates()], ["a:80", "b:80"])

    def test_unknown_name(self) -> None:
        """The nearest one is suggested, and all are named."""
        self.assertEqual(
            self.refused("rond-robin"), [f"policy: 'rond-robin' was given (did you mean round-robin?); allowed are {ALL}"]
        )
        self.assertEqual(self.refused("zzz"), [f"policy: 'zzz' was given; allowed are {ALL}"])
        self.assertEqual(self.refused(""), [f"policy: '' was given; allowed are {ALL}"])

    def test_unknown_option(self) -> None:
        """The nearest one is suggested, and those that there are are named."""
        self.assertEqual(
            self.refused("hash:kee=ip"),
            ["policy: hash: there is no option 'kee' (did you mean key?); allowed are key, method, bound"],
        )
        self.assertEqual(self.refused("peak-ewma:x=1"), ["policy: peak-ewma: there is no option 'x'; allowed is decay"])
        self.assertEqual(self.refused("first:x=1"), ["policy: first: there is no option 'x'; allowed is first alone"])

    def test_values_out_of_range(self) -> None:
        """What was given, as it was written, and what is allowed."""
        for text in ("0", "3601", "-1", "nan", "inf", "ten", "", "1_0", "٣"):
            self.assertEqual(
                self.refused(f"peak-ewma:decay={text}"),
                [f"policy: peak-ewma: decay={text!r} was given; allowed is a number from 0.1 to 3600 (seconds)"],
            )
        self.assertEqual(
            self.refused("hash:bound=0.5"), ["policy: hash: bound='0.5' was given; allowed is a number from 1 to 100"]
        )
        self.assertEqual(
            self.refused("hash:method=maglev"), ["policy: hash: method='maglev' was given; allowed are auto, rendezvous, ring"]
        )
        self.assertEqual(
            self.refused("hash:key=user"),
            [
                ("policy: hash: key='user' was given; allowed are ip, uri, path, header:NAME, cookie:NAME and query:NAME, each "
                "perhaps with =~ REGEX, and several with or between them")
            ],
        )

    def test_a_comma_in_a_pattern(self) -> None:
        """In braces it belongs to a regular expression, and not between options."""
        policy_maker("hash:key=path =~ ^/([a-z]{1,3})/,method=ring")()

    def test_all_mistakes_at_once(self) -> None:
        """One line each."""
        lines = self.refused("hash:bound=0,key=ip,key=uri,methd=ring,what,key=")
        self.assertEqual(
            lines,
            [
                "policy: hash: key was given twice, as 'ip' and 'uri'; allowed is one",
                "policy: hash: 'what' was given; allowed is option=value, with commas between them",
                "policy: hash: key was given twice, as 'ip' and ''; allowed is one",
                "policy: hash: bound='0' was given; allowed is a number from 1 to 100",
                "policy: hash: there is no option 'methd' (did you mean method?); allowed are key, method, bound",
            ],
        )

    @given(st.one_of(st.text(), st.sampled_from(POLICY_NAMES).flatmap(lambda name: st.text().map(lambda rest: f"{name}:{rest}"))))
    def test_any_text(self, text: str) -> None:
        """It makes policies or is refused with an explanation, and nothing else."""
        try:
            make: Callable[[], IPolicy] = policy_maker(text)
        except ConfigurationError as error:
            self.assertIn("allowed", str(error))
        else:
            self.assertTrue(IPolicy.providedBy(make()))


PLUGINS = """
from zope.interface import implementer
from twisted.plugin import IPlugin
from lbproxy import Policy
from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IPolicyMaker

class Last(Policy):
    name = "last"
    def candidates(self, exchange=None):
        return reversed(self.members)

@implementer(IPlugin, IPolicyMaker)
class Maker:
    help = "the last one first"
    def __init__(self, name, make):
        self.name, self._make = name, make
    def make(self, options, random, seconds):
        return self._make(options, random, seconds)

def last(options, random, seconds):
    if options.keys() - {"n"}:
        raise ConfigurationError(f"last: {sorted(options)} were given; allowed is n")
    return Last()

maker = Maker("last", last)
shadow = Maker("first", last)
broken = Maker("broken", lambda options, random, seconds: {}["no such thing"])
nothing = Maker("nothing", lambda options, random, seconds: None)
nameless = Maker("", last)
del nameless.name
"""

SAYING = """
import sys
from lbproxy import policy_maker, Backend, Pool
from lbproxy.errors import ConfigurationError
for text in sys.argv[1:]:
    try:
        make = policy_maker(text)
    except ConfigurationError as error:
        print(error)
    else:
        pool = Pool([Backend("a", 80), Backend("b", 80)], policy=make)
        print(make().name, [member.address for member in pool.candidates()])
assert "twisted.internet.reactor" not in sys.modules
"""


class PluginTests(SynchronousTestCase):
    """Users' own, found by Twisted's plugin system: for real, in a process with such a plugin on its path."""

    def say(self, *texts: str) -> list[str]:
        """What becomes of each text."""
        with tempfile.TemporaryDirectory() as directory:
            plugins = Path(directory, "twisted", "plugins")
            plugins.mkdir(parents=True)
            Path(plugins, "our_policies.py").write_text(PLUGINS)
            home = os.path.dirname(os.path.dirname(os.path.abspath(lbproxy.__file__)))
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join((directory, home))}
            command = [sys.executable, "-c", SAYING, *texts]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=directory)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.splitlines()

    def test_policies_of_users(self) -> None:
        """A name that is not ours is looked for among them; what goes wrong there is said with the plugin's name."""
        known = f"{ALL}, broken, last, nothing"
        self.assertEqual(
            self.say("last", "last:n=3", "last:m=1", "last:n=1,n=2", "lst", "broken", "nothing", "first"),
            [
                "last ['b:80', 'a:80']",
                "last ['b:80', 'a:80']",
                "last: ['m'] were given; allowed is n",
                "policy: last: n was given twice, as '1' and '2'; allowed is one",
                f"policy: 'lst' was given (did you mean last?); allowed are {known}",
                "policy: the plugin broken (twisted.plugins.our_policies) failed: KeyError: 'no such thing'",
                "policy: the plugin nothing (twisted.plugins.our_policies) made None, which does not provide IPolicy",
                "first ['a:80', 'b:80']",
            ],
        )
