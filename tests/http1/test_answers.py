"""Promises about what the balancer answers in its own name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.http1.answers import last_answer

from ..support import response, split, values


class LastAnswers(SynchronousTestCase):
    """Responses that end a connection."""

    def test_they_are_whole_responses(self) -> None:
        """With a length, a date and a close, for every status that a listener gives."""
        for status in (400, 405, 408, 413, 414, 417, 431, 501, 505):
            answer = last_answer(status, "a sentence")
            head, _, body = answer.partition(b"\r\n\r\n")
            parsed = response(head + b"\r\n\r\n")
            self.assertEqual((parsed.status, parsed.length, parsed.keep_alive), (status, len(body), False))
            self.assertEqual(len(values(answer, b"Date")), 1)
            self.assertIn(b"a sentence", split(answer)[2])

    def test_a_status_that_nobody_has_registered(self) -> None:
        """A backend's own may come to be answered for it, when it was to be tried again elsewhere and that was in vain."""
        self.assertEqual(split(last_answer(499, ""))[0], b"HTTP/1.1 499 Unknown")

    def test_405_says_which_methods_are_served(self) -> None:
        """Those of HTTP but CONNECT; other answers say nothing of methods."""
        (allowed,) = values(last_answer(405, ""), b"Allow")
        methods = allowed.split(b", ")
        self.assertIn(b"GET", methods)
        self.assertNotIn(b"CONNECT", methods)
        self.assertEqual(values(last_answer(400, ""), b"Allow"), [])
