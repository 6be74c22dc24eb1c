"""Tests for lbproxy.tls.profiles."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from lbproxy.tls.profiles import PROFILES, SESSION_LIFETIME, SOURCE, apply_profile, profile_named


def suites_of(name: str) -> list[str]:
    """What OpenSSL makes of a profile."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    apply_profile(context, profile_named(name))
    return SSL.Connection(context, None).get_cipher_list()


class ProfileTests(SynchronousTestCase):
    """Tests for Mozilla's recommendations as data."""

    def test_names(self) -> None:
        """There are two, and the one for everybody is the default."""
        self.assertEqual(PROFILES, ("intermediate", "modern"))
        self.assertIn("6.0", SOURCE)

    def test_all_suites_are_known_to_openssl(self) -> None:
        """Nothing in the lists is misspelt, and nothing else is spoken."""
        profile = profile_named("intermediate")
        self.assertEqual(suites_of("intermediate"), [*profile.suites_13, *profile.suites])

    def test_forward_secrecy(self) -> None:
        """Every suite has a key exchange of its own for each session, and none of Diffie and Hellman's with large numbers."""
        for suite in profile_named("intermediate").suites:
            self.assertTrue(suite.startswith("ECDHE-"), suite)

    def test_versions(self) -> None:
        """TLS 1.2 is the least, and for the modern one 1.3."""
        self.assertEqual(profile_named("intermediate").minimum, SSL.TLS1_2_VERSION)
        self.assertEqual(profile_named("modern").minimum, SSL.TLS1_3_VERSION)

    def test_nothing_is_remembered(self) -> None:
        """The server keeps no sessions, and tickets are good for a bounded time."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        apply_profile(context, profile_named("intermediate"))
        self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF)
        self.assertEqual(context.get_timeout(), SESSION_LIFETIME)

    def test_options(self) -> None:
        """Compression and renegotiation are off."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        apply_profile(context, profile_named("modern"))
        wanted = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION
        self.assertEqual(context.set_options(0) & wanted, wanted)
        self.assertFalse(context.set_options(0) & SSL.OP_CIPHER_SERVER_PREFERENCE)
