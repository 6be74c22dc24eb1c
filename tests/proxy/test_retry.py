"""Promises about what follows a failed attempt: a table of what happened and what was asked."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import (
    AttemptFailed,
    AttemptTimedOut,
    BadResponse,
    BadStatus,
    ConnectFailed,
    ConnectTimedOut,
    NoSocket,
    ResponseTimedOut,
    StaleConnection,
    UpstreamLost,
)
from lbproxy.proxy.retry import Next, after_failure, backoff, is_repeatable, marks_down, repeats_work
from lbproxy.settings import RETRY_WORDS

from ..support import given, post, request

SAME, OTHER, NONE = Next.SAME, Next.OTHER, Next.NONE

#: What happened; tries at this backend so far, of 1 + 3; what follows for GET, for POST.
TABLE = [
    (ConnectFailed, 1, SAME, SAME),
    (ConnectFailed, 3, SAME, SAME),
    (ConnectFailed, 4, OTHER, OTHER),
    (ConnectTimedOut, 1, OTHER, OTHER),
    (StaleConnection, 1, SAME, NONE),
    (UpstreamLost, 1, OTHER, NONE),
    (BadResponse, 1, OTHER, NONE),
    (ResponseTimedOut, 1, OTHER, NONE),
]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def follows(kind: type, data: bytes, *, tries: int = 1, retries: int = 3, replayable: bool = True) -> Next:
    return after_failure(kind("why"), request(data), replayable=replayable, tries=tries, retries=retries)


class AfterAFailure(SynchronousTestCase):
    """The same backend, the next one, or an answer."""

    def test_the_table(self) -> None:
        """What could not be processed is tried again by anyone; what might have been, only where that is harmless."""
        for kind, tries, for_get, for_post in TABLE:
            self.assertEqual(follows(kind, GET, tries=tries), for_get, (kind, tries))
            self.assertEqual(follows(kind, post(b"x"), tries=tries), for_post, (kind, tries))

    def test_idempotent_methods_may_be_repeated(self) -> None:
        """Those of RFC 9110 section 9.2.2, and no others."""
        for method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"):
            self.assertTrue(is_repeatable(request(GET.replace(b"GET", method))), method)
        for method in (b"POST", b"PATCH", b"LOCK", b"PROPFIND"):
            self.assertFalse(is_repeatable(request(GET.replace(b"GET", method))), method)

    def test_a_client_can_say_that_its_post_may_be_repeated(self) -> None:
        """With an Idempotency-Key, in any case, the backend can tell a repetition from a second request."""
        for name in (b"Idempotency-Key", b"idempotency-key"):
            keyed = post(b"x", name + b': "k"')
            self.assertTrue(is_repeatable(request(keyed)))
            self.assertEqual(follows(UpstreamLost, keyed), OTHER)
            self.assertEqual(follows(StaleConnection, keyed), SAME)

    def test_without_its_body_nothing_is_repeated(self) -> None:
        """Half a request is none."""
        for kind, *_ in TABLE:
            self.assertEqual(follows(kind, post(b"x", method=b"PUT"), replayable=False), NONE)

    def test_without_retries_a_refusal_goes_to_the_next_backend(self) -> None:
        """--retries 0 is one attempt at each backend."""
        self.assertEqual(follows(ConnectFailed, GET, retries=0), OTHER)

    def test_a_stale_connection_is_no_attempt(self) -> None:
        """GET on it goes to a new connection even with --retries 0: it is not the client's trouble."""
        self.assertEqual(follows(StaleConnection, GET, retries=0), SAME)

    def test_only_one_that_cannot_be_reached_is_down(self) -> None:
        """A backend that stumbled over one request may be well for all others."""
        down = [kind for kind in dict.fromkeys(kind for kind, *_ in TABLE) if marks_down(kind("why"))]
        self.assertEqual(down, [ConnectFailed, ConnectTimedOut])

    def test_each_failure_has_its_status(self) -> None:
        """503 where no backend could be reached, 504 for a time-out, 502 for a broken answer."""
        statuses = {kind: kind("why").status for kind, *_ in TABLE}
        self.assertEqual(
            statuses,
            {
                ConnectFailed: 503,
                ConnectTimedOut: 504,
                StaleConnection: 502,
                UpstreamLost: 502,
                BadResponse: 502,
                ResponseTimedOut: 504,
            },
        )


class RetryOn(SynchronousTestCase):
    """Which failures may be followed by another attempt at all."""

    #: Each failure, and its word.
    WORDS = (
        (ConnectFailed("why"), "connect"),
        (NoSocket("why"), "connect"),
        (ConnectTimedOut("why"), "connect"),
        (AttemptTimedOut("why", False), "connect"),
        (AttemptTimedOut("why", True), "timeout"),
        (ResponseTimedOut("why"), "timeout"),
        (UpstreamLost("why"), "reset"),
        (BadResponse("why"), "reset"),
        (BadStatus(503), "503"),
    )

    def follows(self, failure: AttemptFailed, *words: str, tries: int = 9) -> Next:
        """After a GET."""
        return after_failure(failure, request(GET), replayable=True, tries=tries, retries=3, retry_on=words)

    def test_each_word_stands_for_its_failures(self) -> None:
        """And for no others."""
        for failure, its in self.WORDS:
            for word in (*RETRY_WORDS, "503", "502"):
                self.assertEqual(self.follows(failure, word), OTHER if word == its else NONE, (failure, word))

    def test_without_any_nothing_is_tried_again(self) -> None:
        """Not even at the same backend."""
        for failure, _ in self.WORDS:
            self.assertEqual(self.follows(failure, tries=1), NONE)

    def test_a_stale_connection_is_none_of_them(self) -> None:
        """It is no attempt of the client's."""
        self.assertEqual(self.follows(StaleConnection("why")), SAME)

    def test_each_failure_says_its_status(self) -> None:
        """That of the answer it was, if it was one."""
        self.assertEqual([BadStatus(status).status for status in (429, 503)], [429, 503])


class Work(SynchronousTestCase):
    """What needs a place in the retry budget."""

    def test_what_was_sent_may_have_been_done(self) -> None:
        """So another attempt repeats it; a refused connection, and one that was closed before, do not."""
        self.assertEqual(
            [repeats_work(failure) for failure, _ in RetryOn.WORDS],
            [False, False, False, False, True, True, True, True, True],
        )
        self.assertFalse(repeats_work(StaleConnection("why")))

    def test_what_was_sent_takes_no_backend_down(self) -> None:
        """Nor does a want of sockets here; an attempt that got no connection in time does."""
        down = [failure for failure, _ in RetryOn.WORDS if marks_down(failure)]
        self.assertEqual([type(failure) for failure in down], [ConnectFailed, ConnectTimedOut, AttemptTimedOut])


class BackOffs(SynchronousTestCase):
    """How long a round waits."""

    @given(st.integers(0, 2000), st.floats(0, 1))
    def test_they_keep_their_bounds(self, turn: int, chance: float) -> None:
        """From nothing to 25 ms, doubling to a quarter of a second, however many there were."""
        self.assertTrue(0 <= backoff(turn, chance) <= min(0.25, 0.025 * 2 ** min(turn, 10)))

    def test_chance_has_all_of_it(self) -> None:
        """Full jitter, so that those who failed together do not come back together."""
        self.assertEqual([backoff(0, chance) for chance in (0.0, 0.5, 1.0)], [0.0, 0.0125, 0.025])
        self.assertEqual([backoff(turn, 1.0) for turn in range(6)], [0.025, 0.05, 0.1, 0.2, 0.25, 0.25])

    @given(st.floats(0, 1))
    def test_they_do_not_shrink(self, chance: float) -> None:
        """By the same chance."""
        waits = [backoff(turn, chance) for turn in range(10)]
        self.assertEqual(waits, sorted(waits))
