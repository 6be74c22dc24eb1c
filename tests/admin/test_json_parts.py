"""Large values are made a part at a time, and read as the library would have written them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.admin.json_parts import JSON_PIECES, Lazily, json_parts

from ..support import given

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


class JSONPartsTests(SynchronousTestCase):
    """``json_parts``."""

    @given(VALUES)
    def test_it_is_what_the_library_writes(self, value: Any) -> None:
        """With two spaces for each level, and an end of line."""
        self.assertEqual(b"".join(json_parts(value)).decode(), json.dumps(value, indent=2) + "\n")

    @given(st.lists(VALUES, max_size=3))
    def test_what_is_made_lazily_is_a_list(self, values: list[Any]) -> None:
        """As the whole, and inside of objects and of others of its kind."""
        for value, same in (
            (Lazily(values), values),
            ({"a": {"b": Lazily(iter(values))}, "c": 1}, {"a": {"b": values}, "c": 1}),
            (Lazily([{"a": Lazily(values)}, 1]), [{"a": values}, 1]),
        ):
            self.assertEqual(b"".join(json_parts(value)).decode(), json.dumps(same, indent=2) + "\n")

    def test_values_are_made_when_their_turn_comes(self) -> None:
        """So that a list of any length is made a part at a time."""
        made: list[int] = []

        def numbers() -> Iterator[int]:
            for number in range(4 * JSON_PIECES):
                made.append(number)
                yield number

        parts = json_parts({"numbers": Lazily(numbers())})
        self.assertEqual(made, [])
        for _ in range(2):
            before = len(made)
            next(parts)
            self.assertLess(len(made) - before, JSON_PIECES + 1)
        self.assertEqual(len(json.loads(b"".join(json_parts({"numbers": Lazily(numbers())})))["numbers"]), 4 * JSON_PIECES)
