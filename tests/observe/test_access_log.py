"""The access log writes a line for each exchange, in batches."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from lbproxy.errors import ConfigurationError
from lbproxy.interfaces import IExchangeObserver
from lbproxy.observe import log_file
from lbproxy.observe.access_log import FLUSH_BYTES, AccessLog
from lbproxy.observe.formats import format_combined, format_json
from lbproxy.observe.outcome import Outcome

from ..support import OK, Rig

REQUEST = b'GET /a"b HTTP/1.1\r\nHost: example.org\r\nUser-Agent: curl\r\n\r\n'


class AccessLogTests(SynchronousTestCase):
    """``AccessLog`` fed with a real exchange."""

    def setUp(self) -> None:
        """A finished exchange, and a file for the log."""
        rig = Rig()
        rig.kept_alive(REQUEST, OK)
        self.exchange = rig.ended[0]
        self.clock = Clock()
        self.path = Path(self.mktemp())

    def log(self, format: str = "combined", path: str | None = None) -> AccessLog:
        """An access log that is open and writes."""
        log = AccessLog(path or str(self.path), format, self.clock)
        log.open()
        log.start()
        self.addCleanup(log.close)
        return log

    def test_interface(self) -> None:
        """It is an observer of exchanges."""
        self.assertTrue(verifyObject(IExchangeObserver, self.log()))

    def test_combined(self) -> None:
        """Its combined lines are what the format's function gives."""
        log = self.log()
        log.exchange_finished(self.exchange)
        log.close()
        self.assertEqual(self.path.read_text(), format_combined(Outcome.of(self.exchange)))

    def test_json(self) -> None:
        """So are its JSON lines."""
        log = self.log("json")
        log.exchange_finished(self.exchange)
        log.close()
        self.assertEqual(self.path.read_text(), format_json(Outcome.of(self.exchange)))
        self.assertEqual(json.loads(self.path.read_bytes())["target"], '/a"b')

    def test_date_moves_on(self) -> None:
        """Each line has its own second, though the date is spelled once for all of a second."""
        log = self.log()
        for second in (1795356000.9, 1795356000.95, 1795356001.0):
            self.exchange.finished = second
            log.exchange_finished(self.exchange)
        log.close()
        self.assertEqual([line.split()[3][-2:] for line in self.path.read_text().splitlines()], ["00", "00", "01"])

    def test_every_second(self) -> None:
        """Lines are in the file after a second at most."""
        log = self.log()
        log.exchange_finished(self.exchange)
        self.assertEqual(self.path.read_bytes(), b"")
        self.clock.advance(1)
        self.assertEqual(self.path.read_bytes().count(b"\n"), 1)

    def test_when_there_are_many(self) -> None:
        """Lines are written before they are due when there are many, so that memory is bounded."""
        log = self.log()
        for _ in range(FLUSH_BYTES // 50):
            log.exchange_finished(self.exchange)
        self.assertGreaterEqual(self.path.stat().st_size, FLUSH_BYTES)

    def test_standard_output(self) -> None:
        """A hyphen is standard output, where a person sees a line after a fifth of a second."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        self.patch(log_file, "_STDOUT", writer)
        log = self.log(path="-")
        log.exchange_finished(self.exchange)
        self.clock.advance(0.2)
        self.assertIn(b'"GET /a\\x22b HTTP/1.1" 200 2', os.read(reader, 1000))
        log.close()
        os.write(writer, b"still open")

    def test_close(self) -> None:
        """After it was closed nothing runs on."""
        self.log().close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_open_again(self) -> None:
        """A log that was closed can be opened and started again, as a service can."""
        log = self.log()
        log.close()
        log.open()
        log.start()
        log.exchange_finished(self.exchange)
        self.clock.advance(1)
        self.assertEqual(self.path.read_bytes().count(b"\n"), 1)

    def test_full_disk(self) -> None:
        """A full disk costs lines, which are counted, and nothing else."""
        log = self.log(path="/dev/full")
        log.exchange_finished(self.exchange)
        self.clock.advance(1)
        self.assertEqual(log.dropped, 1)
        log.exchange_finished(self.exchange)
        self.clock.advance(1)
        self.assertEqual(log.dropped, 2)

    def test_unknown_format(self) -> None:
        """The error for another format names what was given and what is allowed."""
        make: Any = AccessLog
        error = self.assertRaises(ConfigurationError, make, "-", "xml", self.clock)
        self.assertEqual(str(error), "--access-log-format: 'xml' was given; allowed are combined and json")

    def test_cannot_open(self) -> None:
        """A file that cannot be opened is an error before anything starts."""
        self.assertRaises(ConfigurationError, AccessLog("/none/x", "json", self.clock).open)
