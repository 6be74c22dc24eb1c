"""Promises that hold whatever happens: peers that act at random, then silence, and everything has come to its end.

Each simulation comes from a seed, which the failure's message names; ``LBPROXY_SIMULATION_SEED`` plays that one again.
``LBPROXY_EXAMPLES=10000`` plays so many of each kind.
"""

from __future__ import annotations

import os
import random
import traceback

import attrs
from twisted.trial.unittest import SynchronousTestCase

from .simulation.promises import check_timers
from .simulation.world import World

SEED = os.environ.get("LBPROXY_SIMULATION_SEED")
EXAMPLES = int(os.environ.get("LBPROXY_EXAMPLES", "350"))


class WhateverPeersDo(SynchronousTestCase):
    """What arrives is what was sent, to whom it was sent; the counters add up; and in the end nothing is left."""

    def test_the_listener(self) -> None:
        """Requests, bodies, half-closes, resets, full connections, tunnels, drains, in any order."""
        self.simulate(EXAMPLES)

    def test_the_web_face(self) -> None:
        """The same through ``twisted.web``, without what only the listener can do."""
        self.simulate(EXAMPLES // 3, web=True)

    def test_routes_before_the_listener(self) -> None:
        """Filters, mirrors, splits, fixed answers and resources in any order, and other ones in between."""
        self.simulate(EXAMPLES, routes=True)

    def test_routes_before_the_web_face(self) -> None:
        """The same through ``twisted.web``."""
        self.simulate(EXAMPLES // 3, web=True, routes=True)

    def test_a_seed_gives_the_same_simulation_again(self) -> None:
        """To the last action."""
        for seed in range(10):
            first, second = World(seed), World(seed)
            first.run()
            second.run()
            self.assertEqual(first.trace, second.trace)
            self.assertNotEqual(first.trace, World(seed + 1).trace)

    def test_what_was_said_just_before_all_fell_silent(self) -> None:
        """A request that comes only after the client has read its last answer is carried to its end as well."""
        world = World(1, web=True)
        balancer = world.rig.balancer
        balancer.configure(attrs.evolve(balancer.settings, attempt_timeout=1.0))
        client = world.connect()
        world.ask(client, "GET")
        world.rig.reactor.callLater(0, client.say, client.out.rest())
        world.fall_silent()
        check_timers(world)
        self.assertEqual(len(world.rig.ended), 1)

    def simulate(self, times: int, *, web: bool = False, routes: bool = False) -> None:
        """So many simulations from new seeds, or the one that is asked for."""
        first = random.SystemRandom().randrange(1 << 32)
        for seed in range(first, first + times) if SEED is None else [int(SEED)]:
            self.play(World(seed, web=web, routes=routes), seed)

    def play(self, world: World, seed: int) -> None:
        """One simulation, in which nothing may go wrong, and nothing may be logged that did."""
        try:
            world.run()
            wrong = "".join(failure.getTraceback() for failure in self.flushLoggedErrors())
        except Exception:
            self.flushLoggedErrors()
            wrong = traceback.format_exc()
        if wrong:
            replay = f"LBPROXY_SIMULATION_SEED={seed} python -m twisted.trial {self.id()}"
            self.fail("\n".join([wrong, "after", *world.trace, f"to play it again: {replay}"]))
