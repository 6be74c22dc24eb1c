"""A store whose files are the test's: what they have, whether they have changed, and how long it takes to read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from lbproxy.errors import ConfigurationError

DAY = 86400.0


@attrs.frozen
class Shown:
    """What a certificate says of itself."""

    source: str = "/etc/tls/a.pem"
    names: tuple[str, ...] = ("a.example",)
    key_type: str = "ECDSA"
    issuer: str = "CN=Test CA"
    subject: str = "CN=a.example"
    not_before: float = 0.0
    not_after: float = 90 * DAY
    fingerprint: str = "ab" * 32


class FakeStore:
    """Keeps what is in :attr:`files` as :class:`~lbproxy.tls.store.CertificateStore` keeps what is on the disk.

    :ivar files: what would be read.
    :ivar wrong: mistakes in them, a line each.
    :ivar calls: what was asked of it, in order.
    """

    profile = "intermediate"
    client_auth: str | None = None
    warnings: tuple[str, ...] = ()

    def __init__(self, *certificates: Shown) -> None:
        self.certificates = self.files = certificates or (Shown(),)
        self.wrong = ""
        self.error: Exception | None = None
        self._seen: Any = (self.files, "")
        self.calls: list[str] = []

    @property
    def default(self) -> Shown:
        return self.certificates[0]

    def put(self, *certificates: Shown) -> None:
        """Replace the files."""
        self.files = certificates

    def changed(self) -> bool:
        self.calls.append("changed")
        return bool(self._seen != (self.files, self.wrong))

    def load(self) -> tuple[Shown, ...]:
        self.calls.append("load")
        self._seen = (self.files, self.wrong)
        if self.error is not None:
            raise self.error
        if self.wrong:
            raise ConfigurationError(self.wrong)
        return self.files

    def swap(self, loaded: tuple[Shown, ...]) -> None:
        self.calls.append("swap")
        self.certificates = loaded

    def rotate(self) -> None:
        self.calls.append("rotate")

    def taken(self) -> list[str]:
        """What was asked of it since this was asked last."""
        calls, self.calls = self.calls, []
        return calls


class Threads:
    """Threads that do their jobs when the test lets them.

    :ivar held: whether jobs wait for :meth:`finish`.
    """

    def __init__(self) -> None:
        self.held = False
        self._jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, job: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._jobs.append((job, done))
        if not self.held:
            self.finish()
        return done

    @property
    def busy(self) -> int:
        """How many have a job."""
        return len(self._jobs)

    def finish(self) -> None:
        """Let the first job be done."""
        job, done = self._jobs.pop(0)
        try:
            result = job()
        except Exception:
            done.errback()
        else:
            done.callback(result)
