"""``python -m bench soak``: its clients know what became of each request, and its checks find what is wrong."""

# mypy: allow-untyped-calls

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.connecting import HOST
from bench.servers.soak_backend import Backend
from bench.soak.clients import Anew, Broken, Client, Crowd, Download, Tunnel, Upload, length_of
from bench.soak.command import draw, parse, text
from bench.soak.engine import Schedule, Story, due, makers
from bench.soak.ledger import NOTICED, Failure, Ledger, not_explained, not_owned_up
from bench.soak.samples import FILES, KIB, Sample, level_rows, not_level

PATIENCE = 10.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def failure(target: str = "/1", when: float = 100.0, repeated: bool = False) -> Failure:
    """Compose one."""
    return Failure("get", target, when - 0.01, when, 0, repeated, "an end")


def eventually(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("not in time")
        time.sleep(0.005)


class Scripted:
    """A server that treats its connections as it is told, one after the other, and serves the rest well.

    :param script: how each of the first connections is treated: with so many good answers, then ended.
    :ivar asked: request lines.
    """

    def __init__(self, *script: int, instead: bytes = b"") -> None:
        self._script, self._instead = list(script), instead
        self.asked: list[str] = []
        self._listening = socket.create_server((HOST, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            good = self._script.pop(0) if self._script else None
            threading.Thread(target=self._serve, args=(connection, good), daemon=True).start()

    def _serve(self, connection: socket.socket, good: int | None) -> None:
        with connection:
            data = b""
            while received := connection.recv(65536):
                data += received
                if b"\r\n\r\n" not in data:
                    continue
                self.asked.append(data.split(b"\r\n", 1)[0].decode())
                data = b""
                if good is not None and good <= 0:
                    connection.sendall(self._instead)
                    return
                connection.sendall(ANSWER)
                good = None if good is None else good - 1

    def close(self) -> None:
        """Listen no more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class ClientTests(SynchronousTestCase):
    """Honest clients, who keep count."""

    def against(self, *script: int, instead: bytes = b"") -> tuple[Scripted, Ledger]:
        """A client of such a server, until some answers have come."""
        server = Scripted(*script, instead=instead)
        self.addCleanup(server.close)
        crowd = Crowd(server.port, list(makers(((Client, 1, (0, 0), 0.001),))))
        eventually(lambda: crowd.ledger.answered["get"] >= 5)
        crowd.stop()
        return server, crowd.ledger

    def test_all_well(self) -> None:
        """Nothing failed, nothing broke."""
        _, ledger = self.against()
        self.assertEqual((ledger.failures, ledger.broken), ([], []))

    def test_sent_again(self) -> None:
        """A kept-alive connection that ends before any byte of an answer is a failure, and its request is sent again."""
        server, ledger = self.against(2)
        (only,) = ledger.failures
        self.assertTrue(only.repeated)
        self.assertEqual((only.answered, len(ledger.broken)), (0, 1))
        self.assertIn(f"GET {only.target}-again HTTP/1.1", server.asked)

    def test_sent_again_once(self) -> None:
        """The second end is one too many."""
        _, ledger = self.against(2, 0)
        self.assertEqual([one.repeated for one in ledger.failures], [True, False])
        self.assertEqual(len(ledger.broken), 2)

    def test_not_on_a_new_connection(self) -> None:
        """One that has not served before says more than that it had been about to close."""
        server, ledger = self.against(0)
        self.assertEqual([one.repeated for one in ledger.failures], [False])
        self.assertFalse(any("again" in line for line in server.asked))

    def test_not_once_an_answer_has_begun(self) -> None:
        """It may have had its effect."""
        _, ledger = self.against(2, instead=b"HTTP/1.1 200 OK\r\n")
        (only,) = ledger.failures
        self.assertEqual((only.repeated, only.answered), (False, 17))

    def test_another_status(self) -> None:
        """Is a failure, though no connection broke."""
        _, ledger = self.against(2, instead=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        (only,) = ledger.failures
        self.assertIn("502", only.why)
        self.assertEqual(ledger.broken, [])

    def test_nobody_listens(self) -> None:
        """Is a failure as well."""
        with socket.socket() as taken:
            taken.bind((HOST, 0))
            crowd = Crowd(taken.getsockname()[1], list(makers(((Client, 1, (0, 0), 0.001),))))
            eventually(lambda: crowd.ledger.failures)
            crowd.stop()
        self.assertIn("cannot connect", crowd.ledger.failures[0].why)

    def test_lengths(self) -> None:
        """A head must say how long its body is."""
        self.assertEqual(length_of(b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 12"), 12)
        self.assertRaises(Broken, length_of, b"HTTP/1.1 200 OK\r\nA: b")


class BackendTests(SynchronousTestCase):
    """The backend, and all kinds of clients on it."""

    @contextmanager
    def backend(self) -> Iterator[Backend]:
        """One that serves."""
        backend = Backend(0)
        thread = threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield backend
        finally:
            backend.shutdown()
            thread.join()
            backend.server_close()

    def test_all_kinds(self) -> None:
        """Each is answered, none fails, and what they asked for is remembered."""
        kinds = (Client, Upload, Download, Anew, Tunnel)
        with self.backend() as backend:
            crowd = Crowd(backend.server_address[1], list(makers([(kind, 1, (2, 3), 0.001) for kind in kinds])))
            eventually(lambda: all(crowd.ledger.answered[kind.kind] > 1 for kind in kinds))
            crowd.stop()
            self.assertEqual((crowd.ledger.failures, crowd.ledger.broken), ([], []))
            self.assertIn("/upgrade?n=tunnel-4-1", backend.seen)


class LedgerTests(SynchronousTestCase):
    """Whether the clients' count and ``/status`` agree."""

    def test_explained(self) -> None:
        """By a kill just before, and by nothing else."""
        failures = [failure(when=100.0), failure(when=100.0 + NOTICED + 0.1), failure(when=99.9)]
        self.assertEqual(not_explained(failures, [100.0]), failures[1:])

    def test_equal(self) -> None:
        """What failed was lost."""
        self.assertEqual(not_owned_up([failure("/1"), failure("/2")], 1, {"exchanges": 2}, {"/1", "/2"}), "")

    def test_unread(self) -> None:
        """A request that no backend has seen need not have begun."""
        self.assertEqual(not_owned_up([failure("/1"), failure("/2")], 1, {"exchanges": 1}, {"/1"}), "")
        self.assertIn("has seen 0", not_owned_up([failure("/1"), failure("/2")], 1, {"exchanges": 1}, {"/1", "/2"}))

    def test_just_ended(self) -> None:
        """One a kill may have come to its end, and no more."""
        self.assertEqual(not_owned_up([failure("/1")], 1, {"exchanges": 2}, {"/1"}), "")
        self.assertIn("1 requests failed", not_owned_up([failure("/1")], 1, {"exchanges": 3}, {"/1"}))

    def test_a_kill_that_costs_nothing_is_found_out(self) -> None:
        """If a balancer says so."""
        self.assertNotEqual(not_owned_up([failure("/1")], 1, {"exchanges": 0}, {"/1"}), "")


class LevelTests(SynchronousTestCase):
    """Whether memory is level."""

    def samples(self, last: int, files: int = 10, name: str = "worker 0") -> list[Sample]:
        """Ninety seconds, of which the last thirty have another size, in KiB."""
        return [
            Sample(float(when), name, 7, 50_000 if when < 60 else last, 40_000, 10 if when < 60 else files) for when in range(90)
        ]

    def test_level(self) -> None:
        """A little more is level."""
        self.assertEqual(not_level(self.samples(50_000 + KIB), 0), [])

    def test_grown(self) -> None:
        """More than that is not."""
        (problem,) = not_level(self.samples(50_001 + KIB), 0)
        self.assertEqual(problem, "worker 0: RSS has grown from 48.8 to 56.8 MiB")

    def test_a_large_process_may_grow_by_a_tenth(self) -> None:
        """8 MiB are little to it."""
        samples = [Sample(float(when), "a", 7, 200_000 if when < 60 else 219_000, 1, 1) for when in range(90)]
        self.assertEqual(not_level(samples, 0), [])

    def test_warming_up(self) -> None:
        """What is before its end is not looked at."""
        early = [Sample(float(when), "worker 0", 7, 1, 1, 1) for when in range(30)]
        self.assertEqual(not_level(early + [one for one in self.samples(50_000) if one.when >= 30], 30), [])

    def test_descriptors(self) -> None:
        """Of all processes together."""
        both = self.samples(50_000, 10 + FILES) + self.samples(50_000, 11, "worker 1")
        both = sorted(both, key=lambda one: one.when)
        self.assertEqual(not_level(both, 0), ["descriptors have grown from 20 to 53"])

    def test_a_process_that_was_hardly_seen(self) -> None:
        """Is not said to be level."""
        self.assertEqual(not_level(self.samples(50_000), 88), ["worker 0: there are not enough samples of it"])

    def test_rows(self) -> None:
        """A line a process."""
        rows = level_rows(self.samples(51_200), 0)
        self.assertEqual(rows[1], ["worker 0", "48.8", "50.0", "39.1", "39.1", "10"])


class ScheduleTests(SynchronousTestCase):
    """What happens when."""

    def test_due(self) -> None:
        """A third of the interval is before the first; never, with an interval of 0."""
        self.assertEqual(list(due(30, 100, 175)), [110, 140, 170])
        self.assertEqual(list(due(0, 100, 175)), [])

    def test_options(self) -> None:
        """Ten minutes by default."""
        self.assertEqual((parse([]).seconds, parse([]).reload_every, parse([]).kill_every), (600, 10, 60))
        self.assertEqual(parse(["--seconds", "20"]).seconds, 20)

    def test_report(self) -> None:
        """Passed, or why not."""
        samples = LevelTests().samples(50_000)
        story = Story(Schedule(90, warm_up=9), samples, [1.0], 3, {"get": 1000}, 2, {"exchanges": 2, "connections": 3})
        told = text(story, {"cores": 2})
        self.assertTrue(told.endswith("\npassed\n"))
        self.assertIn("was lost: exchanges 2, connections 3", told)
        story.problems.append("this is wrong")
        self.assertTrue(text(story, {}).endswith("NOT PASSED: this is wrong\n"))

    def test_chart(self) -> None:
        """A picture, where matplotlib is."""
        path = Path(f"{self.mktemp()}.png")
        try:
            draw(Story(Schedule(90), LevelTests().samples(50_000)), path)
        except ModuleNotFoundError as error:
            self.assertIn("matplotlib", str(error))
        else:
            self.assertTrue(path.read_bytes().startswith(b"\x89PNG"))
