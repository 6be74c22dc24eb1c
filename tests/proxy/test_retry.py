"""Promises about what follows a failed attempt: a table of what happened and what was asked."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lbproxy.errors import BadResponse, ConnectFailed, ConnectTimedOut, ResponseTimedOut, StaleConnection, UpstreamLost
from lbproxy.proxy.retry import Next, after_failure, is_repeatable, marks_down

from ..support import post, request

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
