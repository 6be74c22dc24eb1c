"""What workers are lent of files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lbproxy import files
from lbproxy.errors import ConfigurationError
from lbproxy.files import lend, names_in, opened, record
from lbproxy.routing.filters.htpasswd import HtpasswdFile
from lbproxy.tls.notices import say_unreadable
from lbproxy.tls.store import CertificateStore
from lbproxy.workers.loans import packed_loans, take_loans
from tests.integration.certificates import certificate, write

_HASH = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="  # password


class LoansTests(SynchronousTestCase):
    """From the supervisor's files to a worker."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.addCleanup(lend, {})
        self.addCleanup(files._records.clear)

    def hand_over(self, new: bool = False) -> None:
        """The supervisor's loans are the worker's; here, both are this process, so that recording ends."""
        loans = json.loads(json.dumps(packed_loans(new)))
        files._records.clear()
        take_loans(loans)

    def test_without_a_record_nothing_is_lent(self) -> None:
        """A process that is the only one."""
        self.assertEqual(packed_loans(), {})

    def test_contents_and_names(self) -> None:
        """Any bytes."""
        path = self.folder / "a.bin"
        path.write_bytes(bytes(range(256)))
        kept = record()
        names_in(str(self.folder), 10)
        with opened(str(path)):
            kept.keep()
        path.unlink()
        self.hand_over()
        with opened(str(path)) as file:
            self.assertEqual(file.read(), bytes(range(256)))
        self.assertEqual(names_in(str(self.folder), 10), ["a.bin"])

    def test_certificates_as_the_supervisor_has_read_them(self) -> None:
        """Of files, pairs and directories, though none of them is there any more, or is half written; and anew when the
        supervisor has read them anew."""
        self.write("one")
        pair = certificate("pair.example")
        crt = write(self.folder, "x.crt", *pair.cert_chain_pems)
        key = write(self.folder, "x.key", pair.private_key_pem)
        kept = record()
        paths = [str(self.folder / "certs"), f"{crt},{key}"]
        (self.folder / "certs").mkdir()
        self.write("one", "certs/site.pem")
        CertificateStore(paths)
        kept.keep()
        Path(key).write_text("half")
        os.rename(self.folder / "certs", self.folder / "away")
        self.hand_over()
        store = CertificateStore(paths)
        self.assertEqual([one.names for one in store.certificates], [("one.example",), ("pair.example",)])
        self.assertFalse(store.changed())

        os.rename(self.folder / "away", self.folder / "certs")
        lend({})
        Path(key).write_bytes(pair.private_key_pem.bytes())
        self.write("two", "certs/site.pem")
        kept = record()
        CertificateStore(paths)
        self.hand_over(new=True)
        self.assertTrue(store.changed())
        store.swap(store.load())
        self.assertEqual(store.certificates[0].names, ("two.example",))

    def write(self, name: str, path: str = "site.pem") -> None:
        leaf = certificate(f"{name}.example")
        write(self.folder, path, leaf.private_key_pem, *leaf.cert_chain_pems)

    def test_no_warning_of_what_was_lent(self) -> None:
        """Its supervisor has said that it cannot be read."""
        with patch("os.access", return_value=False), patch("lbproxy.tls.notices._log.warn") as warn:
            say_unreadable("certificate", [str(self.folder)])
            lend({str(self.folder): ()})
            say_unreadable("certificate", [str(self.folder)])
        self.assertEqual(warn.call_count, 1)

    def test_users_are_lent_to_begin_with(self) -> None:
        """Who can read the file does; who cannot has those that were lent, as long as the file stays; then it is said."""
        path, clock = self.folder / "users", Clock()
        path.write_text(f"joe:{_HASH}\n")
        lent = {str(path): f"ann:{_HASH}\n".encode()}
        lend(lent)
        self.assertEqual([*HtpasswdFile(str(path), clock.seconds).users()], [b"joe"])
        with patch("lbproxy.files._opened", side_effect=PermissionError(13, "Permission denied")):
            users = HtpasswdFile(str(path), clock.seconds)
            self.assertEqual([*users.users()], [b"ann"])
            clock.advance(10)
            self.assertEqual([*users.users()], [b"ann"])
            lend({})
            self.assertRaises(ConfigurationError, HtpasswdFile, str(path), clock.seconds)
            path.write_text("")
            with patch("lbproxy.routing.filters.htpasswd._log.error") as error:
                clock.advance(10)
                self.assertEqual([*users.users()], [b"ann"])
            self.assertEqual(error.call_count, 1)

    def test_users_in_a_folder_that_cannot_be_looked_into(self) -> None:
        """Nothing need be said each second."""
        path, clock = str(self.folder / "users"), Clock()
        lend({path: f"ann:{_HASH}\n".encode()})
        refused: dict[str, Any] = {"side_effect": PermissionError(13, "Permission denied")}
        with patch("lbproxy.files._opened", **refused), patch("os.stat", **refused):
            users = HtpasswdFile(path, clock.seconds)
            clock.advance(10)
            with patch("lbproxy.routing.filters.htpasswd._log.error") as error:
                self.assertEqual([*users.users()], [b"ann"])
            self.assertEqual(error.call_count, 0)
