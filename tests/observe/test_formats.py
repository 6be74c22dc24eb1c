"""The access log's formats are what analysers expect, and no client can forge a line."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.observe.formats import format_combined, format_json
from lbproxy.observe.outcome import AttemptRecord, Outcome

OUTCOME = Outcome(
    client="192.0.2.7",
    request_id="0123456789abcdef0123456789abcdef",
    method="GET",
    target="/x?y=1",
    minor=1,
    host="example.org",
    referer="http://example.org/",
    user_agent="curl/8.5.0",
    status=200,
    end="done",
    response_bytes=12,
    request_bytes=3,
    started=1795356000.0,  # 2026-11-22 14:00:00 UTC
    duration=0.5,
    response_time=0.25,
    attempts=(AttemptRecord("10.0.0.1:8000", True, "stale", "gone"), AttemptRecord("10.0.0.1:8000", False, "")),
)

#: What an analyser takes for a line, with what stands between the quotes as groups.
_QUOTED = r'"((?:[ !#-\[\]-~]|\\x[0-9A-F]{2})*)"'
_COMBINED = re.compile(rf"(\S+) - - \[[^]]+\] {_QUOTED} (\d{{3}}) (\d+) {_QUOTED} {_QUOTED}\n")

#: Any bytes as they are decoded, the nasty ones more often.
ANYTHING = st.text(st.one_of(st.sampled_from('"\\\n\r\x00\x7f\x85\xa0\xff x'), st.characters(max_codepoint=255)), max_size=30)


def but(**changes: Any) -> Outcome:
    """The example with something changed."""
    return attrs.evolve(OUTCOME, **changes)


def unescape(text: str) -> str:
    """What a reader of the combined format makes of a quoted part."""
    return re.sub(r"\\x([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)


class CombinedTests(SynchronousTestCase):
    """The ``combined`` format."""

    def test_line(self) -> None:
        """A line is exactly what nginx and Apache write, in UTC."""
        self.assertEqual(
            format_combined(OUTCOME),
            '192.0.2.7 - - [22/Nov/2026:14:00:00 +0000] "GET /x?y=1 HTTP/1.1" 200 12 "http://example.org/" "curl/8.5.0"\n',
        )

    def test_absent(self) -> None:
        """A hyphen stands for a field that the client did not send, and nothing for an empty one."""
        self.assertTrue(format_combined(but(referer=None, user_agent="")).endswith(' 200 12 "-" ""\n'))

    def test_time_is_the_end(self) -> None:
        """The time is when the exchange ended, so that the lines of a log are in order."""
        self.assertIn("[22/Nov/2026:14:01:30 +0000]", format_combined(but(duration=90.0)))

    def test_client_left(self) -> None:
        """A client that left before the answer is 499, as in nginx."""
        self.assertIn('" 499 0 "', format_combined(but(status=0, end="client-left", response_bytes=0)))

    def test_answered_by_the_listener(self) -> None:
        """Where the listener answered for the exchange, the status is what it answers."""
        self.assertIn('" 408 12 "', format_combined(but(status=0, end="client-timeout")))
        self.assertIn('" 400 12 "', format_combined(but(status=0, end="bad-request")))

    def test_escapes(self) -> None:
        """Quotes, backslashes, control bytes and what is not ASCII become hexadecimal escapes, as in nginx."""
        line = format_combined(but(target='/"\\\n\x7f\xe9', user_agent="a\tb"))
        self.assertIn(r'"GET /\x22\x5C\x0A\x7F\xE9 HTTP/1.1"', line)
        self.assertTrue(line.endswith('"a\\x09b"\n'))

    def test_forged_address(self) -> None:
        """An address that is none, from a wrapped listener, stays one word of one line."""
        self.assertTrue(format_combined(but(client="1.2.3.4 - \n\u4e2d")).startswith(r"1.2.3.4\x20-\x20\x0A\xE4\xB8\xAD - - ["))

    @settings(deadline=None)
    @given(target=ANYTHING, referer=ANYTHING, agent=ANYTHING)
    def test_cannot_be_forged(self, target: str, referer: str, agent: str) -> None:
        """Whatever a client sends, there is one line, and a reader gets back exactly what was sent."""
        line = format_combined(but(target=target, referer=referer, user_agent=agent))
        found = _COMBINED.fullmatch(line)
        assert found is not None, line
        self.assertEqual(
            [unescape(part) for part in found.groups()],
            ["192.0.2.7", f"GET {target} HTTP/1.1", "200", "12", referer, agent],
        )

    @settings(deadline=None)
    @given(client=st.text(st.characters(), min_size=1))
    def test_any_address(self, client: str) -> None:
        """Whatever an address is, lone surrogates included, there is one line that a reader can take apart."""
        self.assertIsNotNone(_COMBINED.fullmatch(format_combined(but(client=client))))


class JSONTests(SynchronousTestCase):
    """The ``json`` format."""

    def test_object(self) -> None:
        """A line is one object with all there is to say."""
        line = format_json(OUTCOME)
        self.assertTrue(line.endswith("}\n"))
        self.assertEqual(
            json.loads(line),
            {
                "time": "2026-11-22T14:00:00.500Z",
                "client": "192.0.2.7",
                "request_id": "0123456789abcdef0123456789abcdef",
                "method": "GET",
                "scheme": "http",
                "target": "/x?y=1",
                "protocol": "HTTP/1.1",
                "host": "example.org",
                "route": None,
                "pool": None,
                "status": 200,
                "end": "done",
                "bytes": 12,
                "request_bytes": 3,
                "duration": 0.5,
                "response_time": 0.25,
                "attempts": [
                    {"backend": "10.0.0.1:8000", "reused": True, "failure": "stale", "why": "gone"},
                    {"backend": "10.0.0.1:8000", "reused": False, "failure": "", "why": ""},
                ],
                "referer": "http://example.org/",
                "user_agent": "curl/8.5.0",
            },
        )

    def test_scheme(self) -> None:
        """What came over TLS says so."""
        self.assertEqual(json.loads(format_json(but(secure=True)))["scheme"], "https")

    def test_absent(self) -> None:
        """What there was not is null."""
        line = json.loads(format_json(but(host=None, referer=None, user_agent=None, response_time=None)))
        self.assertEqual([line[name] for name in ("host", "referer", "user_agent", "response_time")], [None] * 4)

    def test_microseconds(self) -> None:
        """Times are rounded to the microsecond: what is finer is noise."""
        self.assertIn('"duration":0.123457,', format_json(but(duration=0.123456789)))

    @settings(deadline=None)
    @given(target=ANYTHING, host=ANYTHING, agent=ANYTHING, client=st.text(st.characters()))
    def test_cannot_be_forged(self, target: str, host: str, agent: str, client: str) -> None:
        """Whatever a client sends, there is one line of ASCII, and a reader gets back exactly what was sent."""
        line = format_json(but(target=target, host=host, user_agent=agent, client=client))
        self.assertTrue(line.isascii())
        self.assertTrue(line[:-1].isprintable())
        read = json.loads(line)
        self.assertEqual([read[name] for name in ("target", "host", "user_agent", "client")], [target, host, agent, client])
