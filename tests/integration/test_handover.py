"""A place goes from one listener to another at a reload: on real sockets, while clients connect."""

from __future__ import annotations

import http.client
import os
import threading

from .support import LOOPBACK, PATIENCE, ask
from .test_reloads import NAME, ReloadsCase


class HandoverTests(ReloadsCase):
    """One port, of which the file says another thing each time."""

    def write(self, *lines: str) -> None:
        """A file with these lines."""
        admin = f"admin = 'tcp:{self.admin_port}:interface={LOOPBACK}'"
        backends = f"backends = ['{self.app[0].place}', '{self.app[1].place}']"
        self.config.write_text("\n".join((admin, "admin-writable = true", *lines, backends, "")))

    def reload(self) -> None:
        """Have the file read, which has no mistake."""
        answer = ask(self.admin_port, "/reload", "POST")
        self.assertEqual(answer.status, 200, answer.body)

    def secure(self) -> int:
        """The status of an answer over TLS."""
        connection = http.client.HTTPSConnection(LOOPBACK, self.port, timeout=PATIENCE, context=self.trust)
        try:
            connection.request("GET", "/", headers={"Host": NAME})
            return connection.getresponse().status
        finally:
            connection.close()

    def test_from_plain_to_tls_and_back(self) -> None:
        """On the same port; nobody who connects is refused, and other places on it are another matter."""
        self.trust.check_hostname = False
        place = f"tcp:{self.port}:interface={LOOPBACK}"
        plain = (f"listen = '{place}'",)
        secure = ("listen = []", f"tls-listen = '{place}'", f"certificate = '{self.new_certificate()}'")
        self.write(*plain)
        self.start()
        connecting = Connecting(self.port)
        for _ in range(5):
            self.write(*secure)
            self.reload()
            self.assertEqual(self.secure(), 200)
            self.write(*plain)
            self.reload()
            self.assertEqual(ask(self.port, "/").status, 200)
        self.assertEqual(connecting.stop(), [])

    def test_another_address_on_the_same_port(self) -> None:
        """Is said to be in the way of the old one, with what can be done; nothing has changed."""
        self.write(f"listen = 'tcp:{self.port}:interface={LOOPBACK}'")
        self.start()
        self.write(f"listen = 'tcp:{self.port}'")
        answer = ask(self.admin_port, "/reload", "POST")
        self.assertIn(b"have it closed by a reload of its own first", answer.body)
        self.assertEqual(ask(self.port, "/").status, 200)

    def test_a_socket_in_the_file_system(self) -> None:
        """In the same place with other rights it is in the way too."""
        path = self.folder / "lb.sock"
        self.write(f"listen = 'unix:{path}:mode=666'")
        self.start()
        self.write(f"listen = 'unix:{path}:mode=600'")
        answer = ask(self.admin_port, "/reload", "POST")
        self.assertIn(b"have it closed by a reload of its own first", answer.body)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o666)


class Connecting:
    """Connects all the time, and says when it was refused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._refused: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.005):
            connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=PATIENCE)
            try:
                connection.connect()
            except OSError as error:
                self._refused.append(repr(error))
            finally:
                connection.close()

    def stop(self) -> list[str]:
        """What was wrong."""
        self._over.set()
        self._thread.join()
        return self._refused
