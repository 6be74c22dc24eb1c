"""The filter ``body-limit``."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import ConfigurationError
from lbproxy.http1.answers import Answer
from lbproxy.routing.filters.body_limit import BodyLimit
from tests.routing.filters.support import live, passing
from tests.routing.support import RoutedRig
from tests.support import post, split, status

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class BodyLimitTests(SynchronousTestCase):
    """Larger bodies are refused."""

    def test_a_length_is_believed(self) -> None:
        """One byte more is too many, before any has come."""
        one = live(BodyLimit(bytes=5))
        self.assertIsNone(one.request(passing("POST / HTTP/1.1\nHost: a\nContent-Length: 5")))
        self.assertIsNone(one.request(passing()))
        answer = one.request(passing("POST / HTTP/1.1\nHost: a\nContent-Length: 6"))
        assert isinstance(answer, Answer)
        self.assertEqual((answer.status, answer.end), (413, "too-large"))

    def test_what_comes_in_chunks_is_counted(self) -> None:
        """One byte more than the limit is too many."""
        one = live(BodyLimit(bytes=5))
        passage = passing(CHUNKED[:-4])
        self.assertIsNone(one.request(passage))
        self.assertIsNone(one.takes(passage, b"123"))
        self.assertIsNone(one.takes(passage, b"45"))
        self.assertIsNotNone(one.takes(passage, b"6"))

    def test_what_came_with_the_head_is_too_large_at_once(self) -> None:
        """It was taken in before the filter was asked."""
        passage = passing(CHUNKED[:-4])
        passage.exchange.request_bytes = 6
        self.assertIsNotNone(live(BodyLimit(bytes=5)).request(passage))

    def test_a_size_is_given(self) -> None:
        """As a number or a text."""
        self.assertEqual(BodyLimit(bytes="64k").bytes, 65536)
        for size in ("x", -1, None, 1.5):
            error = self.assertRaises(ConfigurationError, BodyLimit, bytes=size)
            self.assertTrue(str(error).startswith("bytes: "))


class WholeTests(SynchronousTestCase):
    """Through a whole balancer."""

    def test_a_body_that_says_its_length_reaches_no_backend(self) -> None:
        """413, and its end."""
        rig = RoutedRig(BodyLimit(bytes=5))
        self.assertEqual(status(rig.refused(post(b"123456"))), 413)
        self.assertEqual(rig.ended[0].end, "too-large")

    def test_a_body_in_chunks_ends_where_it_becomes_too_large(self) -> None:
        """The client gets 413, and the backend never the whole."""
        rig = RoutedRig(BodyLimit(bytes=5))
        client = rig.client()
        client.send(CHUNKED + b"3\r\nabc\r\n")
        backend = rig.accept()
        self.assertEqual(split(backend.received())[2], b"3\r\nabc\r\n")
        client.send(b"3\r\ndef\r\n0\r\n\r\n")
        rig.turn()
        self.assertEqual((status(client.received()), rig.ended[0].end), (413, "too-large"))
        self.assertTrue(backend.aborted)
        self.assertEqual(backend.received(), b"")
