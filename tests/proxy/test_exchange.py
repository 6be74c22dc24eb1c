"""Promises about the way of one request: attempts at backends, the relay both ways, and every way in which it can end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy import exchange as exchange_module

from ..support import GET, OK, Rig, post, split, status, unchunk, values

ONE, TWO, THREE = "10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"
PAIR = f"{ONE},{TWO}"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class ExchangeCase(SynchronousTestCase):
    """After each test the books must balance."""

    def rig(self, backends: str = ONE, **settings: object) -> Rig:
        self.last = Rig(backends, **settings)
        return self.last

    def assert_all_is_over(self) -> None:
        """No exchange runs, no attempt is in flight, and every exchange was counted once."""
        rig = self.last
        rig.turn()
        counters = rig.counters
        self.assertEqual(counters.in_flight, 0)
        self.assertEqual([member.in_flight for member in rig.pool.members.values()], [0] * len(rig.pool.members))
        for counted in (counters.statuses, counters.ends):
            self.assertEqual(sum(counted.values()), len(rig.ended))
        self.assertEqual(sum(counters.buckets), len(rig.ended) - counters.tunnels_total)


class Attempts(ExchangeCase):
    """Which backends are tried, how often, and what is concluded."""

    def test_one_request_and_its_response(self) -> None:
        """What the client sends reaches the backend, and what the backend answers the client."""
        rig = self.rig()
        client = rig.client("192.0.2.9")
        client.send(b"GET /a?b HTTP/1.1\r\nHost: x.org\r\nX: y\r\n\r\n")
        backend = rig.accept()
        first, fields, _ = split(backend.received())
        self.assertEqual((first, fields[:2]), (b"GET /a?b HTTP/1.1", [b"Host: x.org", b"X: y"]))
        self.assertIn(b"X-Forwarded-For: 192.0.2.9", fields)
        backend.send(OK)
        self.assertEqual(client.received(), OK)
        self.assertEqual(rig.member().requests, 1)
        self.assert_all_is_over()

    def test_a_refusal_is_tried_again_three_times_then_the_backend_is_down(self) -> None:
        """And the exchange goes on to the next one, unseen by the client."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(GET)
        self.assertEqual(rig.refuse(4), [ONE] * 4)
        self.assertEqual((rig.member(ONE).up, rig.member(ONE).source), (False, "traffic"))
        self.assertIn("refused", rig.member(ONE).reason)
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual((rig.member(ONE).requests, rig.member(ONE).failures, rig.member(TWO).requests), (4, 4, 1))
        self.assertEqual(rig.counters.retries, 4)
        self.assert_all_is_over()

    def test_what_is_down_gets_no_more(self) -> None:
        """The next exchanges go to the others at once."""
        rig = self.rig(PAIR)
        rig.client().send(GET)
        rig.refuse(4)
        rig.accept().send(OK)
        for _ in range(3):
            rig.client().send(GET)
        self.assertEqual({connect.address for connect in rig.connects}, {TWO})
        self.assertEqual(rig.member(ONE).requests, 4)

    def test_each_backend_is_tried_at_most_once(self) -> None:
        """With three that refuse: four attempts at each, in turn, and then 503."""
        rig = self.rig(f"{PAIR},{THREE}")
        client = rig.client()
        client.send(GET)
        self.assertEqual(rig.refuse(12), [ONE] * 4 + [TWO] * 4 + [THREE] * 4)
        self.assertEqual((status(client.received()), rig.connects), (503, []))
        self.assertFalse(rig.pool.available)
        self.assert_all_is_over()

    def test_how_often_is_a_setting(self) -> None:
        """--retries 0 is one attempt at each backend."""
        rig = self.rig(PAIR, retries=0)
        rig.client().send(GET)
        self.assertEqual(rig.refuse(2), [ONE, TWO])
        self.assertEqual(rig.connects, [])
        self.assert_all_is_over()

    def test_a_backend_that_recovers_within_the_retries_stays_up(self) -> None:
        """A restart of a moment costs nothing."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(GET)
        rig.refuse(3)
        rig.accept().send(OK)
        self.assertEqual((status(client.received()), rig.member(ONE).up), (200, True))
        self.assert_all_is_over()

    def test_a_connect_time_out_moves_on_at_once(self) -> None:
        """Waiting another time for the same backend would only cost time."""
        rig = self.rig(PAIR, connect_timeout=3)
        client = rig.client()
        client.send(GET)
        first = rig.connect()
        rig.wait(2.5)
        self.assertEqual((first.cancelled, rig.connects), (False, []))
        rig.wait(1)
        self.assertTrue(first.cancelled)
        self.assertEqual([connect.address for connect in rig.connects], [TWO])
        self.assertEqual((rig.member(ONE).up, rig.member(ONE).requests), (False, 1))
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assert_all_is_over()

    def test_a_connect_time_out_everywhere_is_504(self) -> None:
        """The client is told that it took too long."""
        rig = self.rig(PAIR, connect_timeout=3)
        client = rig.client()
        client.send(GET)
        rig.wait(7)
        self.assertEqual((status(client.received()), rig.counters.ends), (504, {"connect-timeout": 1}))
        self.assert_all_is_over()

    def test_a_lone_backend_down_by_traffic_is_tried_again(self) -> None:
        """By the next exchange, which may find it well."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        rig.refuse(4)
        self.assertEqual((status(client.received()), rig.member().up), (503, False))
        client.send(GET)
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assert_all_is_over()

    def test_get_is_repeated_elsewhere_when_a_backend_drops_it(self) -> None:
        """It may have been processed, which does no harm; the backend is not down for it, but the failure is counted."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(GET)
        rig.accept().reset()
        self.assertEqual([connect.address for connect in rig.connects], [TWO])
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual((rig.member(ONE).up, rig.member(ONE).failures), (True, 1))
        self.assert_all_is_over()

    def test_post_is_not_repeated_after_bytes_were_sent(self) -> None:
        """Nobody's order is placed twice: 502."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(post(b"order"))
        backend = rig.accept()
        self.assertTrue(backend.received().endswith(b"order"))
        backend.reset()
        self.assertEqual((status(client.received()), rig.connects, rig.counters.ends), (502, [], {"lost": 1}))
        self.assertEqual(rig.counters.replays_lost, 0)
        self.assert_all_is_over()

    def test_post_is_tried_again_while_nothing_was_sent(self) -> None:
        """A refused connection has processed nothing; the body goes to the next backend whole."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(post(b"order"))
        rig.refuse(4)
        backend = rig.accept()
        self.assertTrue(backend.received().endswith(b"\r\n\r\norder"))
        backend.send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assert_all_is_over()

    def test_post_with_an_idempotency_key_is_repeated(self) -> None:
        """With its key and its body."""
        rig = self.rig(PAIR)
        rig.client().send(post(b"order", b'Idempotency-Key: "k"'))
        first = rig.accept()
        sent = first.received()
        first.reset()
        self.assertEqual(rig.accept().received(), sent)

    def test_a_broken_answer_to_get_is_tried_elsewhere(self) -> None:
        """Another backend may do better; when none does, 502."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(GET)
        rig.accept().send(b"SSH-2.0-OpenSSH\r\n\r\n")
        rig.accept().send(b"nonsense\r\n\r\n")
        self.assertEqual((status(client.received()), rig.counters.ends), (502, {"bad-response": 1}))
        self.assert_all_is_over()

    def test_a_broken_answer_to_post_is_502(self) -> None:
        """And its connection is dropped."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(post(b"order"))
        backend = rig.accept()
        backend.send(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.assertEqual((status(client.received()), backend.aborted, rig.connects), (502, True, []))
        self.assert_all_is_over()

    def test_no_response_in_time_is_504(self) -> None:
        """For POST at once, since it cannot be repeated."""
        rig = self.rig(PAIR, response_timeout=30)
        client = rig.client()
        client.send(post(b"order"))
        backend = rig.accept()
        rig.wait(29)
        self.assertEqual(client.received(), b"")
        rig.wait(3)
        self.assertEqual((status(client.received()), backend.aborted), (504, True))
        self.assertEqual(rig.counters.ends, {"response-timeout": 1})
        self.assert_all_is_over()


class NoBackend(ExchangeCase):
    """When nobody can take a request."""

    def test_503_with_retry_after(self) -> None:
        """At once, without a connection, and the client's own connection is kept."""
        rig = self.rig(PAIR, probe_interval=5, probe_timeout=5)
        rig.mark(ONE, up=False)
        rig.mark(TWO, up=False)
        client = rig.client()
        client.send(GET)
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Retry-After")), (503, [b"5"]))
        self.assertEqual((rig.connects, client.closed, rig.counters.ends), ([], False, {"no-backend": 1}))
        self.assert_all_is_over()

    def test_service_goes_on_when_one_is_back(self) -> None:
        """The same client's next request is served."""
        rig = self.rig()
        rig.mark(ONE, up=False)
        client = rig.client()
        client.send(GET)
        client.received()
        rig.mark(ONE, up=True)
        client.send(GET)
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assert_all_is_over()

    def test_head_gets_no_body(self) -> None:
        """Also when the answer is our own."""
        rig = self.rig()
        rig.mark(ONE, up=False)
        client = rig.client()
        client.send(GET.replace(b"GET", b"HEAD"))
        answer = client.received()
        self.assertEqual((status(answer), split(answer)[2]), (503, b""))
        self.assertGreater(int(values(answer, b"Content-Length")[0]), 0)
        self.assert_all_is_over()

    def test_an_upload_is_refused_without_waiting_for_it(self) -> None:
        """The answer comes at once, and the connection ends in good order."""
        rig = self.rig()
        rig.mark(ONE, up=False)
        client = rig.client()
        client.send(post(b"x" * 1000, b"Expect: 100-continue")[:-1000])
        self.assertEqual((status(client.received()), client.half_closed), (503, True))
        self.assert_all_is_over()


class Stale(ExchangeCase):
    """A kept-alive connection that the backend closes as the request goes out."""

    def test_get_succeeds_on_a_new_connection(self) -> None:
        """To the same backend, and nobody counts it as its failure."""
        rig = self.rig(PAIR)
        client, stale = rig.kept_alive()
        client.send(GET)
        rig.accept().send(OK)
        client.received()
        client.send(GET)
        stale.hang_up()
        self.assertEqual([connect.address for connect in rig.connects], [ONE])
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)
        self.assertEqual((rig.member(ONE).up, rig.member(ONE).failures), (True, 0))
        self.assert_all_is_over()

    def test_get_succeeds_without_retries_too(self) -> None:
        """It is not the client's trouble, whatever the operator says of attempts."""
        rig = self.rig(retries=0)
        client, stale = rig.kept_alive()
        client.send(GET)
        stale.hang_up()
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_the_other_idle_ones_are_not_tried_in_turn(self) -> None:
        """They were most likely closed with it: the next attempt makes a new connection."""
        rig = self.rig()
        for _ in range(3):
            rig.client().send(GET)
        for stale in [rig.accept() for _ in range(3)]:
            stale.send(OK)
        client = rig.client()
        client.send(GET)
        stale.reset()
        rig.accept().send(OK)
        self.assertEqual(status(client.received()), 200)

    def test_post_gets_502(self) -> None:
        """It may have been processed."""
        rig = self.rig(PAIR)
        client, stale = rig.kept_alive(post(b"first"))
        client.send(GET)
        rig.accept().send(OK)
        client.received()
        client.send(post(b"order"))
        self.assertTrue(stale.received().endswith(b"order"))
        stale.hang_up()
        self.assertEqual((status(client.received()), rig.connects, rig.counters.ends["stale"]), (502, [], 1))
        self.assert_all_is_over()


class Replays(ExchangeCase):
    """What can be repeated of a body."""

    def upload(self, size: int, sent_before: int | None = None) -> tuple[Rig, bytes]:
        """A PUT whose first attempt is lost after all or a part of its body was sent."""
        rig = self.rig(PAIR)
        self.client = rig.client()
        data = post(b"x" * size, method=b"PUT")
        cut = len(data) - size + (size if sent_before is None else sent_before)
        self.client.send(data[:cut])
        backend = rig.accept()
        sent = backend.received()
        self.assertEqual(len(split(sent)[2]), size if sent_before is None else sent_before)
        backend.reset()
        return rig, data[cut:]

    def test_a_body_of_64_kib_is_repeated(self) -> None:
        """Whole and unchanged."""
        rig, _ = self.upload(64 * 1024)
        backend = rig.accept()
        self.assertEqual(split(backend.received())[2], b"x" * 64 * 1024)
        backend.send(OK)
        self.assertEqual((status(self.client.received()), rig.counters.replays_lost), (200, 0))
        self.assert_all_is_over()

    def test_a_larger_one_is_not_and_that_is_counted(self) -> None:
        """502, and an operator can see that a larger buffer would have helped."""
        rig, _ = self.upload(64 * 1024 + 1)
        self.assertEqual((status(self.client.received()), rig.connects), (502, []))
        self.assertEqual((rig.counters.replays_lost, rig.counters.ends), (1, {"lost": 1}))
        self.assert_all_is_over()

    def test_half_a_body_is_repeated_and_goes_on(self) -> None:
        """What the client sends later follows what was replayed."""
        rig, rest = self.upload(1000, sent_before=400)
        backend = rig.accept()
        self.assertEqual(split(backend.received())[2], b"x" * 400)
        rig.turn()
        self.client.send(rest)
        self.assertEqual(backend.received(), b"x" * 600)
        backend.send(OK)
        self.assertEqual(status(self.client.received()), 200)
        self.assert_all_is_over()

    def test_a_chunked_body_is_repeated(self) -> None:
        """With its framing made anew."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(CHUNKED.replace(b"POST", b"PUT") + b"5\r\nhello\r\n", b"6\r\n world\r\n0\r\n\r\n")
        first = rig.accept()
        rig.turn()
        first.reset()
        self.assertEqual(unchunk(split(rig.accept().received())[2]), b"hello world")

    def test_however_large_it_waits_while_nothing_was_sent(self) -> None:
        """A body that came with its head is not lost by a refusal, and the client is read no further meanwhile."""
        rig = self.rig(PAIR)
        client = rig.client()
        client.send(post(b"x" * 200_000)[:-50_000])
        self.assertTrue(client.unread)
        rig.refuse(4)
        backend = rig.accept()
        self.assertEqual(len(split(backend.received())[2]), 150_000)
        self.assertFalse(client.unread)


class Relay(ExchangeCase):
    """Bytes both ways, as they come."""

    def test_a_response_streams(self) -> None:
        """Each part goes on in the turn that brought it."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(LONG)
        self.assertTrue(client.received().endswith(b"begun"))
        backend.send(b" more")
        self.assertEqual((client.received(), client.closed), (b" more", False))
        self.assertEqual((rig.counters.response_bytes, rig.counters.ends), (10, {"done": 1}))
        self.assert_all_is_over()

    def test_a_last_part_that_fills_the_client_does_not_pause_the_next_exchange(self) -> None:
        """The connection to the backend is free by then, and others use it."""
        rig = self.rig()
        slow, other = rig.client(), rig.client()
        slow.send(GET)
        backend = rig.accept()
        backend.send(LONG)
        write = slow.write

        def fill(data: bytes) -> None:
            write(data)
            slow.stop_reading()

        self.patch(slow, "write", fill)
        backend.send(b" more")
        self.assertFalse(backend.unread)
        other.send(GET)
        backend.send(OK)
        self.assertEqual(other.received(), OK)
        self.assert_all_is_over()

    def test_an_upload_streams(self) -> None:
        """Sized as sized, chunked as chunked."""
        rig = self.rig()
        client = rig.client()
        client.send(post(b"hello")[:-5])
        backend = rig.accept()
        rig.turn()
        backend.received()
        client.send(b"he")
        self.assertEqual(backend.received(), b"he")
        client.send(b"llo")
        self.assertEqual(backend.received(), b"llo")
        backend.send(OK)
        client.received()
        client.send(CHUNKED + b"5\r\nhello\r\n")
        self.assertEqual(split(backend.received())[2], b"5\r\nhello\r\n")
        client.send(b"1\r\n!\r\n0\r\nX: y\r\n\r\n")
        self.assertEqual(backend.received(), b"1\r\n!\r\n0\r\nX: y\r\n\r\n")
        backend.send(OK)
        self.assertEqual((status(client.received()), rig.counters.request_bytes), (200, 11))
        self.assert_all_is_over()

    def test_a_client_that_stops_reading_pauses_the_backend(self) -> None:
        """Nothing is held in memory but what the sockets hold."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        backend.send(LONG)
        client.received()
        client.stop_reading()
        backend.send(b" more")
        self.assertEqual((backend.unread, client.received()), (True, b""))
        client.read_on()
        rig.turn()
        self.assertEqual((backend.unread, client.received()), (False, b" more"))
        self.assert_all_is_over()

    def test_a_backend_that_stops_reading_pauses_the_uploader(self) -> None:
        """And lets it go on."""
        rig = self.rig()
        client = rig.client()
        client.send(post(b"x" * 10)[:-10])
        backend = rig.accept()
        rig.turn()
        backend.received()
        backend.stop_reading()
        client.send(b"x" * 10)
        self.assertEqual((client.unread, backend.received()), (True, b""))
        backend.read_on()
        rig.turn()
        self.assertEqual((client.unread, backend.received()), (False, b"x" * 10))

    def test_an_uploader_waits_for_the_connection(self) -> None:
        """While there is none it is read no further."""
        rig = self.rig()
        client = rig.client()
        client.send(post(b"x" * 10)[:-10])
        self.assertTrue(client.unread)
        backend = rig.accept()
        rig.turn()
        client.send(b"x" * 10)
        self.assertEqual((client.unread, backend.received()[-10:]), (False, b"x" * 10))

    def test_an_early_response_reaches_the_client_during_its_upload(self) -> None:
        """A refused upload is not carried on, on either side."""
        rig = self.rig()
        client = rig.client()
        client.send(post(b"x" * 1000)[:-600])
        backend = rig.accept()
        backend.received()
        backend.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        answer = client.received()
        self.assertEqual((status(answer), values(answer, b"Connection"), answer[-2:]), (413, [b"close"], b"no"))
        client.send(b"x" * 600)
        self.assertEqual((backend.received(), backend.closed, client.half_closed), (b"", True, True))
        self.assert_all_is_over()

    def test_a_response_cut_short_aborts_the_client(self) -> None:
        """Nobody takes a part for the whole; the backend's failure is counted."""
        for answer in (LONG, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"):
            for end in ("hang_up", "reset"):
                rig = self.rig()
                client = rig.client()
                client.send(GET)
                backend = rig.accept()
                backend.send(answer)
                getattr(backend, end)()
                self.assertTrue(client.aborted)
                self.assertFalse(client.received().endswith(b"0\r\n\r\n"))
                self.assertEqual((rig.counters.ends, rig.member().failures), ({"truncated": 1}, 1))
                self.assert_all_is_over()

    def test_a_backend_that_falls_silent_in_mid_body_aborts_the_client(self) -> None:
        """After the idle time-out."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        rig.accept().send(LONG)
        rig.wait(62)
        self.assertEqual((client.aborted, rig.counters.ends), (True, {"truncated": 1}))
        self.assert_all_is_over()


class Leaving(ExchangeCase):
    """Clients that go before their answer is whole."""

    def test_the_backends_connection_is_aborted(self) -> None:
        """While it waits, while it streams, and while it is uploaded to."""
        for data, answer in ((GET, b""), (GET, LONG), (post(b"hello")[:-2], b"")):
            rig = self.rig()
            client = rig.client()
            client.send(data)
            backend = rig.accept()
            rig.turn()
            if answer:
                backend.send(answer)
            client.reset()
            self.assertEqual((backend.aborted, rig.counters.ends), (True, {"client-left": 1}))
            self.assertEqual((rig.member().failures, rig.member().up), (0, True))
            self.assert_all_is_over()

    def test_a_connect_that_is_under_way_is_cancelled(self) -> None:
        """Nobody is waiting for it, and the backend is not blamed."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        connect = rig.connect()
        client.reset()
        self.assertTrue(connect.cancelled)
        self.assertEqual((rig.connects, rig.member().failures, rig.member().up), ([], 0, True))
        self.assertEqual(rig.counters.ends, {"client-left": 1})
        self.assert_all_is_over()

    def test_no_timer_is_left(self) -> None:
        """Of a connect that was given up."""
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        client.reset()
        rig.resource.stop()
        self.assertEqual(rig.reactor.getDelayedCalls(), [])

    def test_a_client_that_breaks_its_body_off_with_nonsense(self) -> None:
        """The backend never sees the request as complete."""
        rig = self.rig()
        client = rig.client()
        client.send(CHUNKED + b"5\r\nhello\r\n")
        backend = rig.accept()
        rig.turn()
        client.send(b"nonsense\r\n")
        self.assertEqual((status(client.received()), backend.aborted), (400, True))
        self.assertFalse(backend.received().endswith(b"0\r\n\r\n"))
        self.assertEqual(rig.counters.ends, {"bad-request": 1})
        self.assert_all_is_over()


class Counting(ExchangeCase):
    """The figures an operator sees."""

    def test_they_add_up(self) -> None:
        """After a mixture of ends, by status and by end."""
        rig = self.rig(PAIR)
        client, _ = rig.kept_alive()
        client.send(GET)
        rig.accept().send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        client.send(post(b"x"))
        client.reset()
        self.assertEqual((rig.counters.statuses, rig.counters.ends), ({200: 1, 404: 1, 0: 1}, {"done": 2, "client-left": 1}))
        self.assertEqual(sum(member.requests for member in rig.pool.members.values()), 3)
        self.assert_all_is_over()

    def test_an_observer_is_told_of_each_exchange_once(self) -> None:
        """With its attempts, in order, and how each went."""
        rig = self.rig(PAIR)
        rig.client().send(GET)
        rig.refuse(4)
        rig.accept().send(OK)
        (exchange,) = rig.ended
        self.assertEqual((exchange.status, exchange.end, exchange.response_bytes), (200, "done", 2))
        self.assertEqual([attempt.member.address for attempt in exchange.attempts], [ONE] * 4 + [TWO])
        self.assertEqual([attempt.failure is None for attempt in exchange.attempts], [False] * 4 + [True])

    def test_how_long_it_took_is_measured(self) -> None:
        """By the reactor's clock."""
        rig = self.rig()
        rig.client().send(GET)
        backend = rig.accept()
        rig.wait(2)
        backend.send(OK)
        self.assertAlmostEqual(rig.counters.duration_sum, 2.0)


class Bugs(ExchangeCase):
    """An error of ours is logged, and neither a client nor a connection is left hanging."""

    def test_one_while_the_request_is_sent(self) -> None:
        """The client gets 502, and the connection that was made for it is dropped."""

        def broken(*_: object) -> bytes:
            raise ZeroDivisionError("a bug")

        self.patch(exchange_module, "request_bytes", broken)
        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(status(client.received()), 502)
        self.assertTrue(backend.aborted)
        self.assert_all_is_over()

    def test_one_while_the_response_is_given(self) -> None:
        """The client's connection is dropped, although the exchange is over."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        rig = self.rig()
        client = rig.client()
        client.send(GET)
        backend = rig.accept()
        self.patch(client, "write", broken)
        backend.send(OK)
        rig.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(client.aborted)
        self.assert_all_is_over()
