"""Workers agree by construction: on whom a cookie binds to, and on whom a key leads to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

import lbproxy
from lbproxy.balance.backend import Backend
from lbproxy.balance.state import Verdict, Wish
from lbproxy.config.in_python import completed
from lbproxy.config.model import Configuration, PoolConfiguration
from lbproxy.routing.model import Match, Route
from lbproxy.settings import Settings
from lbproxy.site import Site
from lbproxy.workers.calls import snapshot
from lbproxy.workers.state import packed, worker_configuration

from .agreeing import said, said_by

POLICIES = {"rendezvous": "hash:key=header:x-key", "ring": "hash:key=header:x-key,method=ring"}


class AgreeingTests(SynchronousTestCase):
    """A supervisor's site, and those of its workers."""

    def setUp(self) -> None:
        backends = tuple(Backend(f"b{number}", 80, weight=1 + number % 3) for number in range(9))
        configuration = Configuration(
            settings=Settings(sticky="who"),
            pools=tuple(PoolConfiguration(name=name, policy=policy, backends=backends) for name, policy in POLICIES.items()),
            routes=tuple(Route(name=name, pool=name, match=Match(path_prefix=f"/{name}")) for name in POLICIES),
        )
        configuration = completed(configuration)
        self.site = Site.of(configuration, MemoryReactorClock())
        for balancer in self.site.balancers.values():
            balancer.pool.apply(Verdict("b3:80", False, "", "probe"))
            balancer.pool.wish(Wish("b5:80", "drain"))
        self.packed = packed(worker_configuration(configuration, 2))

    @property
    def state(self) -> dict[str, Any]:
        pools = [balancer.pool for balancer in self.site.balancers.values()]
        return {"random_key": self.site.router.random_key.hex(), "calls": [call for pool in pools for call in snapshot(pool)]}

    def in_a_process(self, seed: str) -> Any:
        """What one says that was started with another seed of Python's own hashes."""
        root = str(Path(lbproxy.__file__).parent.parent)
        given = f"{self.packed.hex()}\n{json.dumps(self.state).encode().hex()}\n"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, [root, *sys.path]))}
        command = [sys.executable, "-m", "tests.workers.agreeing"]
        run = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, timeout=60)
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def test_the_same_cookie_and_the_same_order_in_all_of_them(self) -> None:
        """Two workers, one that is started later, and processes with other seeds say the same of each backend and each key."""
        first = said(self.packed, self.state)
        self.assertEqual(said(self.packed, self.state), first)
        self.assertEqual([self.in_a_process(seed) for seed in ("1", "77")], [first, first])
        self.assertEqual(len(set(first["ring"][0])), 9)
        self.assertNotEqual(first["ring"][1], first["rendezvous"][1])

    def test_they_say_what_the_supervisor_would(self) -> None:
        """Where no key was given for cookies either."""
        self.assertEqual(said(self.packed, self.state), said_by(self.site))

    def test_a_worker_that_comes_late_agrees_with_those_that_saw_it_all(self) -> None:
        """How a key is looked up comes of a pool's past too: it was larger once, so that there is a ring, and the first weights
        settled how many points that has."""
        for balancer in self.site.balancers.values():
            first = [member.backend for member in balancer.pool.members.values()]
            balancer.pool.set_backends([Backend(f"other{number}", 80, weight=9) for number in range(20)])
            balancer.pool.set_backends([*(member.backend for member in balancer.pool.members.values()), *first])
            for backend in first:
                balancer.pool.apply(Verdict(backend.address, True, "", "probe"))
            balancer.pool.set_backends(first)
        self.assertEqual(said(self.packed, self.state), said_by(self.site))
