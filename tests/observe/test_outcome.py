"""The outcome says what became of an exchange."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.observe.outcome import AttemptRecord, Outcome

from ..support import GET, OK, START, Rig, post


class OutcomeTests(SynchronousTestCase):
    """``Outcome.of`` an exchange that went through a balancer."""

    def test_who_and_what(self) -> None:
        """It names the client and what was asked, and what was answered."""
        rig = Rig()
        rig.kept_alive(b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nuser-AGENT: curl\r\nReferer: http://x/\r\n\r\n")
        outcome = Outcome.of(rig.ended[0])
        self.assertEqual(
            (outcome.client, outcome.method, outcome.target, outcome.minor, outcome.host, outcome.user_agent, outcome.referer),
            ("192.0.2.7", "GET", "/a?b", 1, "example.org", "curl", "http://x/"),
        )
        self.assertEqual((outcome.status, outcome.end, outcome.response_bytes, outcome.request_bytes), (200, "done", 2, 0))

    def test_absent_fields(self) -> None:
        """What the client did not send is None."""
        rig = Rig()
        rig.kept_alive(b"GET / HTTP/1.0\r\n\r\n")
        outcome = Outcome.of(rig.ended[0])
        self.assertEqual((outcome.host, outcome.referer, outcome.user_agent, outcome.minor), (None, None, None, 0))

    def test_times(self) -> None:
        """It says when the exchange began, how long the response's head took and how long all took."""
        rig = Rig()
        rig.client().send(GET)
        backend = rig.accept()
        rig.wait(1)
        backend.send(OK[:-1])
        rig.wait(2)
        backend.send(OK[-1:])
        outcome = Outcome.of(rig.ended[0])
        self.assertEqual((outcome.started, outcome.response_time, outcome.duration), (START, 1.0, 3.0))
        self.assertEqual(outcome.finished, START + 3)

    def test_request_bytes(self) -> None:
        """The bytes of the request's body are counted."""
        rig = Rig()
        rig.kept_alive(post(b"hello"))
        self.assertEqual(Outcome.of(rig.ended[0]).request_bytes, 5)

    def test_attempts(self) -> None:
        """Every attempt stands there in order, with the cause of its failure; the last is the one that answered."""
        rig = Rig("10.0.0.1:8000,10.0.0.2:8000", retries=1)
        rig.client().send(GET)
        rig.refuse(2)
        rig.accept().send(OK)
        first, second = "10.0.0.1:8000", "10.0.0.2:8000"
        refused = AttemptRecord(first, False, "refused", "Connection was refused by other side.")
        self.assertEqual(Outcome.of(rig.ended[0]).attempts, (refused, refused, AttemptRecord(second, False, "")))

    def test_what_was_wrong_with_a_response(self) -> None:
        """A backend's owner can be told what it does, not only that it does something wrong."""
        rig = Rig()
        rig.client().send(GET)
        rig.accept().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")
        (attempt,) = Outcome.of(rig.ended[0]).attempts
        self.assertEqual(attempt.failure, "bad-response")
        self.assertIn("only chunked is taken", attempt.why)

    def test_reused_connection(self) -> None:
        """An attempt over a kept-alive connection says so."""
        rig = Rig()
        client, backend = rig.kept_alive()
        client.send(GET)
        backend.send(OK)
        self.assertEqual(Outcome.of(rig.ended[1]).attempts, (AttemptRecord("10.0.0.1:8000", True, ""),))

    def test_client_left(self) -> None:
        """An exchange whose client left before the answer has no status and no response time."""
        rig = Rig()
        client = rig.client()
        client.send(GET)
        rig.accept()
        client.reset()
        outcome = Outcome.of(rig.ended[0])
        self.assertEqual((outcome.end, outcome.status, outcome.response_time), ("client-left", 0, None))
