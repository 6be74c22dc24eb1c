"""What operators said at run time holds over the configuration, until that says the same."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.balance.backend import Backend, parse_backends
from lbproxy.balance.overlay import Overlay, effective, settled
from lbproxy.balance.state import Wish

from ..support import given

ADDRESSES = ("a:1", "b:1", "c:1", "d:1")
BACKEND = st.builds(lambda host, weight: Backend(host, 1, weight), st.sampled_from("abcd"), st.integers(1, 3))
CONFIGURED = st.lists(BACKEND, min_size=1, max_size=4, unique_by=lambda backend: backend.address).map(tuple)
SAID = st.one_of(
    BACKEND.map(lambda backend: lambda overlay: overlay.add(backend)),
    st.sampled_from(ADDRESSES).map(lambda address: lambda overlay: overlay.remove(address)),
    st.tuples(st.sampled_from(ADDRESSES), st.integers(1, 3)).map(lambda said: lambda overlay: overlay.weigh(*said)),
    st.builds(Wish, st.sampled_from(ADDRESSES), st.sampled_from(("ready", "drain", "maintenance"))).map(
        lambda wish: lambda overlay: overlay.wish(wish)
    ),
)


def said_of(said: list) -> Overlay:
    """The overlay after all that was said."""
    overlay = Overlay()
    for say in said:
        overlay = say(overlay)
    return overlay


class OverlayTests(SynchronousTestCase):
    """``Overlay``, ``effective`` and ``settled``."""

    def setUp(self) -> None:
        self.configured = tuple(parse_backends(["a:1,b:1:weight=2"]))

    def texts(self, overlay: Overlay) -> list[tuple[str, int]]:
        """The members, with their weights."""
        return [(backend.address, backend.weight) for backend in effective(self.configured, overlay)]

    def test_nothing_was_said(self) -> None:
        """Then it is as configured."""
        self.assertFalse(Overlay())
        self.assertEqual(effective(self.configured, Overlay()), self.configured)

    def test_added(self) -> None:
        """It comes after those that are configured."""
        self.assertEqual(self.texts(Overlay().add(Backend("c", 1))), [("a:1", 1), ("b:1", 2), ("c:1", 1)])

    def test_removed_and_added_again(self) -> None:
        """It is there as it was said the last time, at its old place."""
        removed = Overlay().remove("a:1")
        self.assertEqual(self.texts(removed), [("b:1", 2)])
        self.assertEqual(self.texts(removed.add(Backend("a", 1, 5))), [("a:1", 5), ("b:1", 2)])

    def test_weights(self) -> None:
        """Of one that is configured, and of one that was added."""
        self.assertEqual(self.texts(Overlay().weigh("b:1", 7)), [("a:1", 1), ("b:1", 7)])
        self.assertEqual(self.texts(Overlay().add(Backend("c", 1)).weigh("c:1", 7))[-1], ("c:1", 7))

    def test_whoever_goes_leaves_nothing_behind(self) -> None:
        """Its weight and what was wanted of it are not kept for one that comes under the same address."""
        overlay = Overlay().weigh("a:1", 7).wish(Wish("a:1", "drain")).remove("a:1")
        self.assertEqual(overlay, Overlay(removed=("a:1",)))

    def test_wishes(self) -> None:
        """What is wanted is kept with its reason, and that it is to be ready is not."""
        overlay = Overlay().wish(Wish("a:1", "drain", "update"))
        self.assertEqual(overlay.wishes, {"a:1": Wish("a:1", "drain", "update")})
        self.assertFalse(overlay.wish(Wish("a:1", "ready")))

    def test_the_configuration_changes_elsewhere(self) -> None:
        """What was said holds on."""
        overlay = Overlay().add(Backend("c", 1)).remove("a:1").weigh("b:1", 7)
        self.configured = (*self.configured, Backend("d", 1))
        self.assertEqual(settled(self.configured, overlay), overlay)
        self.assertEqual(self.texts(overlay), [("b:1", 7), ("d:1", 1), ("c:1", 1)])

    def test_the_configuration_comes_to_say_the_same(self) -> None:
        """Then it is its word, and changes with it."""
        overlay = Overlay().add(Backend("c", 1)).remove("a:1").weigh("b:1", 7)
        self.assertEqual(settled(parse_backends(["b:1:weight=7,c:1"]), overlay), Overlay())

    def test_the_configuration_says_something_else_of_one_that_was_added(self) -> None:
        """What was said holds."""
        overlay = Overlay().add(Backend("c", 1, 5))
        self.configured = (*self.configured, Backend("c", 1, 9))
        self.assertEqual(settled(self.configured, overlay), overlay)
        self.assertEqual(self.texts(overlay)[-1], ("c:1", 5))

    def test_a_pool_is_never_empty(self) -> None:
        """When the configuration is left with those alone that were removed, they are back."""
        overlay = Overlay().remove("a:1")
        self.configured = (Backend("a", 1),)
        self.assertEqual(effective(self.configured, overlay), self.configured)
        self.assertFalse(settled(self.configured, overlay))

    @given(CONFIGURED, st.lists(SAID, max_size=8))
    def test_settling_changes_no_member(self, configured: tuple[Backend, ...], said: list) -> None:
        """And there is nothing left to settle then."""
        overlay = said_of(said)
        left = settled(configured, overlay)
        self.assertEqual(effective(configured, left), effective(configured, overlay))
        self.assertEqual(settled(configured, left), left)

    @given(CONFIGURED, st.lists(SAID, max_size=8))
    def test_what_is_written_down_holds_alone(self, configured: tuple[Backend, ...], said: list) -> None:
        """Whoever writes the members into the configuration has nothing left over it, but what is wanted of them."""
        overlay = said_of(said)
        members = effective(configured, overlay)
        left = settled(members, overlay)
        self.assertEqual(effective(members, left), members)
        self.assertFalse(attrs.evolve(left, wishes={}))
