"""Promises about what is kept of a request's body for another attempt."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.proxy.replay import RequestBody

from ..support import given


class Replay(SynchronousTestCase):
    """All of it within the limit, nothing beyond."""

    @given(st.lists(st.binary(min_size=1, max_size=20), max_size=8), st.integers(0, 100))
    def test_what_is_kept_is_the_whole_or_nothing(self, parts: list[bytes], limit: int) -> None:
        """A replay is byte for byte what the client sent so far, or it does not happen."""
        body = RequestBody(limit)
        for part in parts:
            body.add(part)
            body.sent()
        whole = b"".join(parts)
        self.assertEqual((body.size, body.replayable), (len(whole), len(whole) <= limit))
        if body.replayable:
            self.assertEqual((body.take(), body.take()), (whole, whole))

    def test_what_has_not_been_sent_is_never_dropped(self) -> None:
        """However large: nothing of it is lost while no backend has it."""
        body = RequestBody(4)
        body.add(b"hello")
        body.add(b" world")
        self.assertTrue(body.replayable)
        self.assertEqual((body.take(), body.replayable), (b"hello world", False))

    def test_the_limit_is_what_just_fits(self) -> None:
        """As many bytes as the limit says are kept, and one more are not."""
        for size, kept in ((4, True), (5, False)):
            body = RequestBody(4)
            body.add(b"x" * size)
            body.sent()
            self.assertIs(body.replayable, kept)
