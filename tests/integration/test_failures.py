"""Backends that die, stall or talk nonsense, and what their clients notice of it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import signal
import socket
import time

from twisted.trial.unittest import SkipTest

from .support import LOOPBACK, IntegrationTestCase, Load, ask, eventually, free_port, send


class LostBackendTests(IntegrationTestCase):
    """Backends that are killed."""

    def test_no_get_fails_while_backends_are_killed_and_restarted_under_load(self) -> None:
        """Each backend in turn is killed under load and started again.

        No client notices; the operator sees it down, and why; it is back within a probe interval and gets its share again.
        """
        interval = 1.0
        backends = self.backends("abc")
        balancer = self.balancer("--probe-interval", str(interval), backends=backends)
        load = Load(self, balancer.port)
        load.wait_for(200)
        for backend in [*backends, backends[0]]:
            backend.stop()
            about = balancer.wait_state(backend, "down")
            self.assertIn(about["source"], ("probe", "traffic"))
            self.assertRegex(about["reason"], "refused")
            load.wait_for(200)
            backend.start()
            started = time.monotonic()
            balancer.wait_state(backend, "up")
            # Up to a tenth of the interval is jitter; the rest is for a busy machine.
            self.assertLess(time.monotonic() - started, interval * 1.1 + 0.5)
            load.wait_for(20, backend)
        load.stop()
        self.assertEqual(load.failed, [])
        self.assertGreater(sum(load.answered.values()), 1080)
        self.assertGreater(balancer.pool()["retries"], 0)
        self.assertEqual(balancer.pool()["ends"], {"done": sum(load.answered.values())})

    def test_no_get_fails_while_connections_are_reset(self) -> None:
        """Kills that come in the middle of requests alone, again and again, with short answers."""
        backends = self.backends("ab")
        balancer = self.balancer("--probe-interval", "0.2", backends=backends)
        load = Load(self, balancer.port, path="/")
        for _ in range(3):
            for backend in backends:
                load.wait_for(30, backend)
                backend.stop()
                backend.start()
                balancer.wait_state(backend, "up")
        load.stop()
        self.assertEqual(load.failed, [])

    def test_no_get_fails_while_backends_restart_in_order(self) -> None:
        """The same with backends that close their connections as they end (SIGTERM), as in a rolling deployment."""
        backends = self.backends("ab")
        balancer = self.balancer("--probe-interval", "0.5", backends=backends)
        load = Load(self, balancer.port)
        for backend in backends:
            load.wait_for(20, backend)
            backend.process.signal(signal.SIGTERM)
            backend.process.wait()
            load.wait_for(100)
            backend.start()
            load.wait_for(20, backend)
        load.stop()
        self.assertEqual(load.failed, [])

    def test_posts_succeed_while_a_backend_is_dead(self) -> None:
        """Nothing was sent to the dead one, so that each POST goes on to the other, whole."""
        alive, dead = self.backends("ad")
        balancer = self.balancer("--probe-interval", "60", backends=[alive, dead])
        dead.stop()  # after the first probe and long before the second: traffic alone finds out
        body = b"x" * 10_000
        for _ in range(20):
            answer = ask(balancer.port, "/", "POST", body)
            self.assertAnswered(answer)
            self.assertEqual((answer.backend, answer.json()["size"]), ("a", 10_000))
        about = balancer.of(dead)
        self.assertEqual((about["state"], about["source"]), ("down", "traffic"))
        self.assertEqual(about["requests"], 4, "one attempt and three retries, by one exchange alone")
        self.assertEqual(len(alive.seen()["requests"]), 20)

    def test_posts_succeed_after_kept_connections_died_with_their_backend(self) -> None:
        """Connections that were kept to a backend are forgotten when it dies; no POST is sent into one of them."""
        alive, dead = self.backends("ad")
        balancer = self.balancer("--probe-interval", "60", backends=[alive, dead])
        for _ in range(4):
            self.assertAnswered(ask(balancer.port))
        self.assertEqual(balancer.of(dead)["idle_connections"], 1)
        dead.stop()
        eventually("no connection is kept to the dead backend", lambda: balancer.of(dead)["idle_connections"] == 0)
        for _ in range(10):
            answer = ask(balancer.port, "/", "POST", b"x")
            self.assertAnswered(answer)
            self.assertEqual(answer.backend, "a")

    def test_a_backend_that_was_restarted_between_two_gets_is_not_noticed(self) -> None:
        """A kept-alive connection that a backend closed under us is not the client's trouble."""
        backend = self.backend()
        balancer = self.balancer("--probe-interval", "60", backends=[backend])
        connection = self.connection(balancer.port)
        for _ in range(3):
            self.assertAnswered(send(connection))
            backend.stop()
            backend.start()
        self.assertAnswered(send(connection))

    def test_all_backends_down_is_503_until_one_comes_back(self) -> None:
        """The answer says when to come back; the process stays, and serves as soon as it can."""
        backends = self.backends("ab")
        balancer = self.balancer("--probe-interval", "0.5", backends=backends)
        self.assertAnswered(balancer.admin("/healthz"))
        for backend in backends:
            backend.stop()
        for method in ("GET", "POST"):
            answer = ask(balancer.port, "/", method, b"body" if method == "POST" else None)
            self.assertAnswered(answer, 503)
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
        self.assertAnswered(balancer.admin("/healthz"), 503)
        for backend in backends:
            balancer.wait_state(backend, "down")
        self.assertFalse(balancer.process.ended)
        backends[1].start()
        balancer.wait_state(backends[1], "up")
        self.assertEqual(ask(balancer.port).backend, "b")
        self.assertAnswered(balancer.admin("/healthz"))

    def test_the_only_backend_is_tried_though_traffic_found_it_down(self) -> None:
        """One lost connection must not be an outage until the next probe."""
        backend = self.backend()
        balancer = self.balancer("--probe-interval", "60", backends=[backend])
        backend.stop()
        self.assertAnswered(ask(balancer.port), 503)
        self.assertEqual(balancer.of(backend)["state"], "down")
        backend.start()
        self.assertAnswered(ask(balancer.port))

    def test_it_starts_while_no_backend_is_there(self) -> None:
        """Balancers are often started before what they balance."""
        backend = self.backend()
        backend.stop()
        balancer = self.balancer("--probe-interval", "0.5", backends=[backend])
        self.assertAnswered(ask(balancer.port), 503)
        backend.start()
        balancer.wait_state(backend, "up")
        self.assertAnswered(ask(balancer.port))


class UnreachableBackendTests(IntegrationTestCase):
    """A backend whose host does not say anything at all."""

    def test_a_connect_time_out_moves_on_at_once(self) -> None:
        """Nothing was sent, so that a POST goes on too; time-outs are not repeated as refusals are."""
        with socket.socket() as silent:
            silent.bind((LOOPBACK, free_port()))
            silent.listen(0)
            place = f"{LOOPBACK}:{silent.getsockname()[1]}"
            balancer = self.balancer("--connect-timeout", "0.5", "--probe-interval", "60", backends=[self.backend(), place])
            self.fill(silent.getsockname())
            for _ in range(4):
                answer = ask(balancer.port, "/", "POST", b"body")
                self.assertAnswered(answer)
                self.assertEqual(answer.json()["size"], 4)
            about = balancer.pool()["backends"][1]
            self.assertEqual((about["state"], about["source"], about["requests"]), ("down", "traffic", 1))
            self.assertIn("0.5 s", about["reason"])

    def fill(self, address: tuple[str, int]) -> None:
        """Fill the queue of a listening socket that accepts nothing: the kernel then drops further attempts."""
        for _ in range(20):
            client = socket.socket()
            self.addCleanup(client.close)
            client.settimeout(0.2)
            try:
                client.connect(address)
            except TimeoutError:
                return
        raise SkipTest("this machine's kernel does not drop connections when a listener's queue is full")


class StalledBackendTests(IntegrationTestCase):
    """A backend that is stopped (SIGSTOP): the kernel takes its connections, and nobody answers."""

    def test_a_get_moves_on_and_a_post_gets_504(self) -> None:
        """A GET may be sent again elsewhere; a POST may have been processed, and is not repeated."""
        good, stalled = self.backends("gs")
        balancer = self.balancer("--response-timeout", "1", "--probe-interval", "60", backends=[good, stalled])
        stalled.process.signal(signal.SIGSTOP)
        began = time.monotonic()
        answers = [ask(balancer.port) for _ in range(2)]
        self.assertEqual([(answer.status, answer.backend) for answer in answers], [(200, "g")] * 2)
        self.assertGreater(time.monotonic() - began, 1)
        answers = [ask(balancer.port, "/", "POST", b"body") for _ in range(2)]
        self.assertEqual(sorted(answer.status for answer in answers), [200, 504])
        self.assertEqual(sum("POST" in line for line in good.seen()["requests"]), 1)
        self.assertEqual(balancer.of(stalled)["in_flight"], 0)

    def test_a_post_with_an_idempotency_key_moves_on(self) -> None:
        """Its client says that it may be repeated."""
        good, stalled = self.backends("gs")
        balancer = self.balancer("--response-timeout", "1", "--probe-interval", "60", backends=[good, stalled])
        stalled.process.signal(signal.SIGSTOP)
        answers = [ask(balancer.port, "/", "POST", b"body", Idempotency_Key="7") for _ in range(2)]
        self.assertEqual([(answer.status, answer.backend) for answer in answers], [(200, "g")] * 2)

    def test_a_put_moves_on_with_its_body_while_that_is_kept(self) -> None:
        """64 KiB are kept to be sent again. A larger body cannot be: 504, and that is counted."""
        good, stalled = self.backends("gs")
        balancer = self.balancer("--response-timeout", "0.5", "--probe-interval", "60", backends=[good, stalled])
        stalled.process.signal(signal.SIGSTOP)
        for size, statuses in ((60_000, [200, 200]), (100_000, [200, 504])):
            body = bytes(range(250)) * (size // 250)
            answers = [ask(balancer.port, "/", "PUT", body) for _ in range(2)]
            self.assertEqual(sorted(answer.status for answer in answers), statuses)
            wanted = hashlib.sha256(body).hexdigest()
            self.assertEqual({answer.json()["sha256"] for answer in answers if answer.status == 200}, {wanted})
        self.assertIn(b'\nlbproxy_pool_replays_lost_total{pool="default"} 1.0\n', balancer.admin("/metrics").body)

    def test_a_backend_that_stops_taking_an_upload(self) -> None:
        """The upload is not held for ever, and its client gets an answer."""
        stalled = self.backend()
        balancer = self.balancer("--idle-timeout", "1", "--response-timeout", "1", "--probe-interval", "60", backends=[stalled])
        stalled.process.signal(signal.SIGSTOP)
        size = 32 << 20
        client = self.socket(balancer.port)
        with contextlib.suppress(ConnectionError):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        self.assertIn(b" 504 ", client.recv(100))
        self.assertEqual(balancer.of(stalled)["in_flight"], 0)

    def test_silence_in_mid_body_is_cut_short(self) -> None:
        """A response that stops coming is not waited for without end, nor finished as if whole."""
        backend = self.backend()
        balancer = self.balancer("--idle-timeout", "1", backends=[backend])
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            ask(balancer.port, "/drip?parts=2&pause=15")
        self.assertEqual(balancer.pool()["ends"], {"truncated": 1})


class BrokenAnswerTests(IntegrationTestCase):
    """Answers that are cut short, or none."""

    def test_a_truncated_body_is_never_finished_as_if_whole(self) -> None:
        """Whatever its framing, the client sees that something is missing."""
        balancer = self.balancer(backends=[self.backend()])
        for how in ("sized", "chunked", "reset"):
            with self.assertRaises((http.client.IncompleteRead, ConnectionError), msg=how):
                ask(balancer.port, f"/cut?how={how}")
        self.assertEqual(balancer.pool()["ends"], {"truncated": 3})
        self.assertAnswered(ask(balancer.port))

    def test_a_body_ended_by_the_connection_is_whole(self) -> None:
        """Without any framing, the connection's orderly end is the body's; the client gets it with a frame."""
        balancer = self.balancer(backends=[self.backend()])
        connection = self.connection(balancer.port)
        for _ in range(3):
            answer = send(connection, "/until-close")
            self.assertEqual(answer.body, b"until the end")
            self.assertEqual(answer.headers["Transfer-Encoding"], "chunked")

    def test_garbage_is_502_on_post_and_another_backend_on_get(self) -> None:
        """What is no HTTP is never passed on."""
        # Three in a row would eject the one that talks it.
        balancer = self.balancer("--eject-failures", "0", backends=self.backends("ab"))
        answers = [ask(balancer.port, "/garbage?only=b") for _ in range(4)]
        self.assertEqual([(answer.status, answer.backend) for answer in answers], [(200, "a")] * 4)
        answers = [ask(balancer.port, "/garbage?only=b", "POST", b"x") for _ in range(4)]
        self.assertEqual(sorted(answer.status for answer in answers), [200, 200, 502, 502])
        self.assertAnswered(ask(balancer.port, "/garbage"), 502)


class LeavingClientTests(IntegrationTestCase):
    """Clients that do not wait."""

    def test_a_client_that_leaves_in_mid_response(self) -> None:
        """Its attempt is dropped: the backend notices, and nothing stays in flight."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        client = self.socket(balancer.port)
        client.sendall(b"GET /drip?parts=2000&pause=0.02 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b" 200 ", client.recv(100))
        self.assertEqual(balancer.of(backend)["in_flight"], 1)
        client.close()
        eventually("nothing is in flight", lambda: balancer.of(backend)["in_flight"] == 0)
        eventually("the backend notices", lambda: backend.seen()["left"] == 1)
        self.assertEqual((balancer.pool()["in_flight"], balancer.pool()["ends"]), (0, {"client-left": 1}))

    def test_a_client_that_leaves_before_the_response(self) -> None:
        """The same while the backend has not yet answered, where a client that ends its sending counts as gone."""
        backend = self.backend()
        balancer = self.balancer("--abort-on-close", backends=[backend])
        client = self.socket(balancer.port)
        client.sendall(b"GET /slow?seconds=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually("the backend is at work", lambda: backend.seen()["requests"])
        client.close()
        eventually("nothing is in flight", lambda: balancer.of(backend)["in_flight"] == 0, seconds=0.9)
        self.assertEqual(balancer.pool()["ends"], {"client-left": 1})

    def test_a_client_that_does_not_read(self) -> None:
        """It is dropped after the time for writing, and the backend is free again."""
        backend = self.backend()
        balancer = self.balancer("--write-timeout", "1", backends=[backend])
        client = self.socket(balancer.port, receive_buffer=64 * 1024)
        client.sendall(b"GET /big?size=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually("the backend is at work", lambda: balancer.of(backend)["in_flight"] == 1)
        eventually("the client is dropped", lambda: balancer.pool()["ends"] == {"client-timeout": 1})
        eventually("the backend notices", lambda: backend.seen()["left"] == 1)
        self.assertEqual(balancer.of(backend)["in_flight"], 0)

    def test_a_client_that_leaves_in_mid_upload(self) -> None:
        """The backend does not take half a body for a whole one."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        client = self.socket(balancer.port)
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        eventually("the backend has the half", lambda: backend.seen()["received"] == 500)
        client.close()
        eventually("the backend notices", lambda: backend.seen()["left"] == 1)
        eventually("nothing is in flight", lambda: balancer.of(backend)["in_flight"] == 0)


class StopTests(IntegrationTestCase):
    """SIGTERM to the load balancer."""

    def test_what_is_under_way_is_finished(self) -> None:
        """The listener closes at once, an exchange that runs is finished, then the process ends."""
        backend = self.backend()
        balancer = self.balancer(backends=[backend])
        idle = self.socket(balancer.port)
        connection = self.connection(balancer.port)
        connection.request("GET", "/slow?seconds=1.5")
        eventually("the backend is at work", lambda: backend.seen()["requests"])
        balancer.begin_stop()
        self.assertEqual(idle.recv(100), b"", "an idle connection is closed at once")
        with self.assertRaises(ConnectionRefusedError):
            self.socket(balancer.port)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.headers["Connection"]), (200, "close"))
        self.assertIn(b"sha256", answer.read())
        balancer.stop()
