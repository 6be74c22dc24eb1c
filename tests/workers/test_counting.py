"""What a worker counts on the board, and that its sheets are cheap."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from lbproxy.routing.model import FixedAnswer, Match, Mirror, Redirect, Route
from lbproxy.workers.board import BEGUN, ENDED, Board
from lbproxy.workers.counting import Ledger

from ..proxy.waiting import LONG, SWITCHING, UPGRADE
from ..sites import SiteRig, configuration, pool, route
from ..support import GET, OK, status
from ..test_site import at
from .figures import FiguresCase, LedgerRole


class LedgerTests(FiguresCase):
    """Begun and ended exchanges balance, whatever becomes of them."""

    def ledger(self, *pools: Any, **more: Any) -> Any:
        """A worker, and its row."""
        self.start(configuration(*pools, **more))
        (worker,) = self.workers
        self.row = self.board.row(0)
        return worker.rig

    def counted(self) -> tuple[int, int]:
        """Exchanges begun and ended."""
        return self.row[BEGUN], self.row[ENDED]

    def test_an_exchange_is_begun_and_then_ended(self) -> None:
        """It is in hand between."""
        rig = self.ledger("10.0.0.1:8000")
        client = rig.client()
        client.send(GET)
        self.assertEqual(self.counted(), (1, 0))
        rig.accept().send(OK)
        self.assertEqual(self.counted(), (1, 1))

    def test_a_client_that_leaves_ends_its_exchange(self) -> None:
        """Also while the response comes."""
        rig = self.ledger("10.0.0.1:8000")
        client = rig.client()
        client.send(GET)
        rig.accept().send(LONG)
        self.assertEqual(self.counted(), (1, 0))
        client.reset()
        self.assertEqual(self.counted(), (1, 1))

    def test_a_tunnel_is_one_exchange_until_its_end(self) -> None:
        """It is in hand as long as it is open."""
        rig = self.ledger("10.0.0.1:8000")
        client = rig.client()
        client.send(UPGRADE)
        backend = rig.accept()
        backend.send(SWITCHING)
        self.assertEqual(self.counted(), (1, 0))
        backend.reset()
        rig.turn()
        self.assertEqual(self.counted(), (1, 1))

    def test_answers_of_our_own_are_exchanges(self) -> None:
        """Redirects, fixed answers, and where there is no route."""
        routes = (
            Route(name="moved", redirect=Redirect(to="https://new.example{uri}"), match=Match(path_prefix=("/moved",))),
            Route(name="fixed", answer=FixedAnswer(body="pong"), match=Match(path_prefix=("/fixed",))),
        )
        rig = self.ledger("10.0.0.1:8000", routes=routes)
        client = rig.client()
        client.send(at("/moved"), at("/fixed"), at("/nowhere"))
        self.assertEqual(self.counted(), (3, 3))

    def test_requests_refused_at_the_door_are_none(self) -> None:
        """They never become exchanges."""
        rig = self.ledger("10.0.0.1:8000")
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(status(client.received()), 400)
        self.assertEqual(self.counted(), (0, 0))

    def test_a_mirrors_copies_are_no_clients_exchanges(self) -> None:
        """Their pool counts them, and the board does not."""
        routes = (Route(name="all", pool="app", mirror=Mirror(pool="shadow")),)
        rig = self.ledger(pool("10.0.0.1:8000", "app"), pool("10.0.0.2:8000", "shadow"), routes=routes)
        client = rig.client()
        client.send(GET)
        for _ in range(2):
            rig.accept().send(OK)
        self.assertEqual(self.counted(), (1, 1))
        self.assertEqual(rig.balancer_of("shadow").counters.statuses, {200: 1})

    def test_a_reload_changes_nothing_of_that(self) -> None:
        """Exchanges are counted once, by whatever way they are carried."""
        rig = self.ledger("10.0.0.1:8000")
        client = rig.client()
        self.workers[0].change(configuration(pool("10.0.0.1:8000"), routes=(route("all"),)))
        client.send(GET)
        rig.accept().send(OK)
        self.workers[0].change(configuration("10.0.0.1:8000"))
        client.send(GET)
        self.assertEqual(self.counted(), (2, 1))

    def test_the_first_exchange_of_a_site_that_nobody_has_started_is_counted_once(self) -> None:
        """It starts the site on its way."""
        board = Board()
        rig = SiteRig(configuration("10.0.0.1:8000"), role=LedgerRole(Ledger(board.row(0))))
        rig.site.stop()
        rig.change(configuration("10.0.0.2:8000"))
        rig.client().send(GET)
        self.assertEqual(board.row(0)[BEGUN], 1)


class CostTests(FiguresCase):
    """A sheet is made twice a second."""

    def test_with_a_thousand_idle_backends_only_those_are_looked_at_that_moved(self) -> None:
        """A sheet of ten that moved says nothing of the others, and is made in little time."""
        backends = ",".join(f"10.0.{number // 250}.{number % 250 + 1}:8000" for number in range(1000))
        self.start(configuration(backends))
        (worker,) = self.workers
        members = list(worker.rig.balancer_of().pool.members.values())
        worker.sheet()
        times = []
        for _ in range(20):
            for member in members[:10]:
                member.requests += 1
                member.answered(200, 0.01)
            begin = perf_counter()
            sheet = worker.counting.sheet()
            times.append(perf_counter() - begin)
            self.assertEqual(set(sheet["pools"]["default"]["members"]), {member.address for member in members[:10]})
        self.assertLess(min(times), 0.01)  # 1 ms where nobody else wants the processor
