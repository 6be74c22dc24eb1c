"""The filters that a file can name."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.routing.filters import FILTERS

SAID: dict[str, dict[str, Any]] = {
    "addresses": {"allow": ["10.0.0.0/8"]},
    "basic-auth": {"file": "users"},
    "body-limit": {"bytes": 1},
    "cors": {"origins": ["*"]},
    "error-pages": {"statuses": [404], "text": "x"},
    "faults": {"abort": 500},
    "forward-auth": {"url": "http://10.0.0.1/"},
    "headers": {"request_set": {"X-A": "1"}},
    "in-flight": {"limit": 1},
    "path-rewrite": {"regex": "a", "replacement": "b"},
    "prefix-add": {"prefix": "/a"},
    "prefix-strip": {"prefix": "/a"},
    "rate-limit": {"rate": 1},
    "security-headers": {},
}


class RegistryTests(SynchronousTestCase):
    """What holds for all specifications."""

    def test_a_specification_equals_one_that_says_the_same(self) -> None:
        """And is made anew from what it holds, so that what is printed reads back equal."""
        for kind, said in SAID.items():
            spec = FILTERS[kind](**said)
            self.assertEqual(spec, FILTERS[kind](**said))
            self.assertEqual(spec, FILTERS[kind](**attrs.asdict(spec, recurse=False)))
            self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, spec, "type", "x")

    def test_types_of_keys_can_be_found_out(self) -> None:
        """By whoever reads them from a file."""
        for kind in SAID:
            for field in attrs.fields(attrs.resolve_types(FILTERS[kind])):
                self.assertNotIsInstance(field.type, str)
