"""Promises about what an exchange tells of a backend that took its request and did not serve it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ..support import GET, OK, Rig

CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"


class Ejection(SynchronousTestCase):
    """Failures in a row take a backend out for a while; one that serves is left alone."""

    def setUp(self) -> None:
        self.rig = Rig("10.0.0.1:8000,10.0.0.2:8000:backup")

    def serve(self, answer: bytes, *, whole: bool = True) -> None:
        """A client asks, and the first backend answers so."""
        self.rig.client().send(GET)
        backend = self.rig.accept()
        backend.send(answer)
        if not whole or b"close" in answer:
            backend.hang_up()

    def ejected(self) -> str:
        return str(self.rig.member().ejected)

    def test_one_that_cuts_its_responses_short_is_taken_out(self) -> None:
        """Though each of them began well."""
        for _ in range(2):
            self.serve(CUT, whole=False)
        self.assertEqual(self.ejected(), "")
        self.serve(CUT, whole=False)
        self.assertEqual(self.ejected(), "answers")
        self.assertIn("3 failures in a row", self.rig.member().reason)

    def test_one_that_says_it_cannot_serve_is_taken_out(self) -> None:
        """502, 503 and 504 are failures of whoever answers them; 500 is the request's."""
        for status, out in ((b"500", ""), (b"503", "answers")):
            for _ in range(3):
                self.serve(b"HTTP/1.1 " + status + b" X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.assertEqual(self.ejected(), out)

    def test_one_whole_response_ends_a_row_of_failures(self) -> None:
        """However it is framed, and when its body comes later too."""
        late = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
        for answers in ([OK], [late, b"done"]):
            for _ in range(2):
                self.serve(CUT, whole=False)
            self.rig.client().send(GET)
            backend = self.rig.accept()
            for answer in answers:
                backend.send(answer)
            backend.hang_up()
            self.assertEqual((self.ejected(), self.rig.member().failing), ("", 0))

    def test_a_503_whose_body_comes_later_is_a_failure_all_the_same(self) -> None:
        """That it is whole does not make it a success."""
        for _ in range(3):
            self.rig.client().send(GET)
            backend = self.rig.accept()
            backend.send(b"HTTP/1.1 503 X\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
            backend.send(b"busy")
            backend.hang_up()
        self.assertEqual(self.ejected(), "answers")
