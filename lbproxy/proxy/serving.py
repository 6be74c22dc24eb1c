"""An exchange that is answered from here, bit by bit: by a resource of ``twisted.web``, say, in the place of a backend.

Between :mod:`.relay`, whose ends and whose bytes these are too, and :mod:`.exchange`.
"""

from __future__ import annotations

from ..http1.head import ResponseHead
from .passing import FILTER_FAILED, Server
from .relay import Relay

__all__ = ["Serving"]


class Serving(Relay):
    """One exchange, but for its attempts."""

    def serve(self, server: Server) -> None:
        """Let *server* answer: it gets the request's body, and gives the response by :meth:`served`, :meth:`response_data`,
        :meth:`served_all` or :meth:`served_broken`."""
        self._server = self._connection = server
        body = self._body
        if body is None:
            return
        here = body.take()
        if here:
            server.write_body(here)
        if self.end:
            return
        if body.ended:
            server.end_body(body.trailers)
        else:
            self.resume_request()

    def invite(self) -> None:
        """Ask a client for the request's body that waits to be asked."""
        if self.request.expects_continue and self._body is not None and not self._body.ended:
            self.response_interim(ResponseHead(100, b"Continue", b""))

    def served(self, head: ResponseHead, data: bytes, complete: bool) -> None:
        """The head of the server's response, with the beginning of its body, or all of it."""
        self.responded = now = self._balancer.seconds()
        if self._balancer.adds_fields:
            head.fields += self._balancer.response_fields(self, head)  # type: ignore[arg-type]  # it is an Exchange
        if self.passing is not None:
            try:
                data = self.passing.back(head, data, complete)
            except Exception:
                self._answer(FILTER_FAILED)
                return
        self.status = head.status
        self.response_bytes = len(data)
        if complete:
            self._finish("route", now)
        elif self._response_paused and self._server is not None:
            self._server.pause()
        self._downstream.respond(head, data, complete)

    def served_all(self) -> None:
        """The server's response is whole."""
        data = b""
        if self.passing is not None:
            try:
                data, _ = self.passing.last(b"", b"")
            except Exception:
                self.answer_with(FILTER_FAILED)
                return
        self.response_bytes += len(data)
        self._finish("route", self._balancer.seconds())
        if data:
            self._downstream.write(data)
        self._downstream.finish()

    def served_broken(self) -> None:
        """The server cannot make its response whole."""
        self._finish("truncated", self._balancer.seconds())
        self._downstream.abort()
