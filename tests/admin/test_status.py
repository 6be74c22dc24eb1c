"""The status report names each backend, its state, and why it is in it."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin.backend_status import backend_status
from lbproxy.admin.status import status
from lbproxy.balance.backend import parse_backends
from lbproxy.balance.round_robin import RoundRobin
from lbproxy.balance.state import Wish
from lbproxy.settings import Settings

from ..support import GET, START, Rig


class StatusTests(SynchronousTestCase):
    """``status`` of a balancer with two backends."""

    def setUp(self) -> None:
        """A balancer with two backends."""
        self.rig = Rig("10.0.0.1:8000:weight=5,10.0.0.2:8000", retries=0)

    def status(self) -> dict[str, Any]:
        """The report ten seconds after the beginning."""
        return status(self.rig.running("1.2.3"), START + 10)

    def backend(self, place: int = 0) -> dict[str, Any]:
        """What it says of one backend."""
        found: dict[str, Any] = self.status()["pools"][0]["backends"][place]
        return found

    def test_version_and_uptime(self) -> None:
        """It says which version runs and for how long."""
        report = self.status()
        self.assertEqual((report["version"], report["uptime"]), ("1.2.3", 10.0))

    def test_pool(self) -> None:
        """Each pool has its name, its policy, and its backends in the order they were given."""
        (pool,) = self.status()["pools"]
        self.assertEqual((pool["name"], pool["policy"]), ("default", "round-robin"))
        self.assertEqual([backend["address"] for backend in pool["backends"]], ["10.0.0.1:8000", "10.0.0.2:8000"])

    def test_backends(self) -> None:
        """Each backend is there with all that is known of it, in the order they were given."""
        for place, member in enumerate(self.rig.pool.members.values()):
            self.assertEqual(self.backend(place), backend_status(self.rig.balancer, member, START + 10))

    def test_panicking(self) -> None:
        """Whether health is ignored."""
        self.assertIs(self.status()["pools"][0]["panicking"], False)
        self.rig.pool.settings = Settings(panic=80)
        self.rig.mark("10.0.0.1:8000", up=False)
        self.assertIs(self.status()["pools"][0]["panicking"], True)

    def test_tiers(self) -> None:
        """Each tier has the share that the pool gives to it: 1.4 times what is fit of it, and the rest goes on."""
        self.assertEqual(self.status()["pools"][0]["tiers"], [{"tier": 0, "backends": 2, "fit": 2, "share": 1.0}])
        self.rig = Rig("a:1:backup,b:2:tier=1,c:3:tier=1,d:4,e:5", policy=RoundRobin)
        self.rig.mark("d:4", up=False)
        self.rig.pool.wish(Wish("b:2", "drain"))
        self.assertEqual(
            self.status()["pools"][0]["tiers"],
            [
                {"tier": 0, "backends": 2, "fit": 1, "share": 0.7},
                {"tier": 1, "backends": 2, "fit": 1, "share": 0.3},
                {"tier": "backup", "backends": 1, "fit": 1, "share": 0.0},
            ],
        )

    def test_tiers_in_a_panic(self) -> None:
        """Though all are tried, each tier's share is by how many of it are well."""
        self.rig = Rig("a:1,b:1,c:1,d:1:tier=1,e:1:tier=1,f:1:tier=1", policy=RoundRobin, panic=90)
        for address in ("a:1", "b:1", "d:1", "e:1"):
            self.rig.mark(address, up=False)
        (pool,) = self.status()["pools"]
        self.assertEqual((pool["panicking"], [tier["fit"] for tier in pool["tiers"]]), (True, [3, 3]))
        taken = [next(self.rig.pool.candidates(None)).backend.tier for _ in range(100)]
        self.assertEqual([tier["share"] for tier in pool["tiers"]], [taken.count(0) / 100, taken.count(1) / 100])

    def test_a_tier_that_is_the_only_one_left(self) -> None:
        """It takes all, whatever it took before."""
        self.rig = Rig("a:1,b:1,c:1:tier=1", policy=RoundRobin)
        self.rig.mark("a:1", up=False)
        self.rig.pool.set_backends(parse_backends(["a:1,b:1"]))
        self.assertEqual(self.status()["pools"][0]["tiers"], [{"tier": 0, "backends": 2, "fit": 1, "share": 1.0}])

    def test_counters(self) -> None:
        """A pool's finished exchanges are counted by status and by end, and those that run too."""
        self.rig.kept_alive()
        self.assertEqual(self.backend()["idle_connections"], 1)
        self.rig.client().send(GET)
        (pool,) = self.status()["pools"]
        self.assertEqual((pool["requests"], pool["in_flight"], pool["retries"]), (1, 1, 0))
        self.assertEqual((pool["statuses"], pool["ends"]), ({"200": 1}, {"done": 1}))

    def test_connections(self) -> None:
        """Clients' connections are counted, with what was refused, what timed out and what a limit did."""
        self.rig.client().send(b"GET / HTTP/1.1\r\n\r\n")
        self.rig.listener.timed_out["idle"] = 2
        self.rig.listener.limited["connections"] = 3
        self.rig.listener.fields_dropped = 4
        connections = self.status()["connections"]
        del connections["limits"]
        self.assertEqual(
            connections,
            {
                "open": 1,
                "accepted": 1,
                "limited": {"connections": 3},
                "rejected": {"host": 1},
                "timed_out": {"idle": 2},
                "fields_dropped": 4,
            },
        )

    def test_limits(self) -> None:
        """What is allowed stands beside what was counted, and what is not limited is null."""
        limits = {"connections": None, "requests": 1000, "head": 16384, "fields": 100, "target": 8192, "body": None}
        self.assertEqual(self.status()["connections"]["limits"], limits)
        self.rig = Rig(body_limit=5, connection_requests=0)
        self.rig.listener.connections_limit = 7
        found = self.status()["connections"]["limits"]
        self.assertEqual((found["connections"], found["requests"], found["body"]), (7, None, 5))

    def test_tunnels(self) -> None:
        """Tunnels that are open, all that there were, and the interim responses."""
        counters = self.rig.counters
        counters.tunnels, counters.tunnels_total, counters.interim = 1, 2, 3
        (pool,) = self.status()["pools"]
        self.assertEqual((pool["tunnels"], pool["tunnels_total"], pool["interim"]), (1, 2, 3))

    def test_draining(self) -> None:
        """It says whether it has been told to stop."""
        self.assertIs(self.status()["draining"], False)
        report = status(self.rig.running(), START, draining=True)
        self.assertIs(report["draining"], True)

    def test_plain_values(self) -> None:
        """It is a value of its own: JSON can hold it, and changing it changes nothing."""
        report = self.status()
        self.assertEqual(json.loads(json.dumps(report)), report)
        report["connections"]["rejected"]["x"] = 1
        self.assertEqual(self.rig.listener.rejected, {})
