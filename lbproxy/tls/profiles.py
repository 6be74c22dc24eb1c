"""Which versions and suites of TLS are spoken with clients: Mozilla's recommendations, as data.

They are those of "Server Side TLS", version 6.0, which is published for machines at
https://ssl-config.mozilla.org/guidelines/6.0.json. Version 6.0 differs from 5.7 in having neither finite-field Diffie-Hellman (a
cheap way to keep a server busy, CVE-2002-20001), and in naming X25519MLKEM768 first among the groups.

The groups are data alone: pyOpenSSL has no public way to set a list of them. OpenSSL's own list holds all of these, in this order
where they are known to it, and some more behind them.
"""

from __future__ import annotations

import attrs
from OpenSSL import SSL

__all__ = ["PROFILES", "SOURCE", "Profile", "apply_profile", "profile_named"]

SOURCE = "https://ssl-config.mozilla.org/guidelines/6.0.json"

#: How long a session can be resumed, in seconds. Two hours are a visit, and not much more for a client's certificate that has run
#: out: a session that is resumed does not show it again. (Mozilla's generator says a day, nginx 5 minutes; RFC 8446 section 4.6.1
#: at most a week.)
SESSION_LIFETIME = 7200
#: A session is resumed by the listener that made it. One for all names, since a ticket is looked at before the name is.
SESSION_ID = b"lbproxy"
#: SSL_MODE_NO_AUTO_CHAIN, which pyOpenSSL has no name for: who signs certificates of clients has no place in our own chain.
_MODE_NO_AUTO_CHAIN = 0x8


@attrs.frozen
class Profile:
    """What is spoken.

    :ivar minimum: the lowest version, as OpenSSL numbers them.
    :ivar suites: of TLS 1.2, by OpenSSL's names. The client's preference decides: it knows what its processor is good at.
    :ivar suites_13: of TLS 1.3.
    :ivar groups: of the key exchange.
    """

    name: str
    minimum: int
    suites: tuple[str, ...]
    suites_13: tuple[str, ...] = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    groups: tuple[str, ...] = ("X25519MLKEM768", "X25519", "prime256v1", "secp384r1")


_PROFILES = {
    "intermediate": Profile(
        "intermediate",
        SSL.TLS1_2_VERSION,
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-CHACHA20-POLY1305",
        ),
    ),
    "modern": Profile("modern", SSL.TLS1_3_VERSION, ()),
}

#: The names of the profiles; the first is the default.
PROFILES = tuple(_PROFILES)


def profile_named(name: str) -> Profile:
    """:raises KeyError: there is none."""
    return _PROFILES[name]


def apply_profile(context: SSL.Context, profile: Profile) -> None:
    """Let *context* speak what *profile* says, and nothing that is good for attackers alone.

    No compression (CRIME) and no renegotiation (CVE-2011-1473). Sessions are resumed by tickets, which the client keeps: the
    server remembers none, so that memory is bounded. Buffers of idle connections are given back.
    """
    context.set_min_proto_version(profile.minimum)
    if profile.suites:
        context.set_cipher_list(":".join(profile.suites).encode())
    context.set_tls13_ciphersuites(":".join(profile.suites_13).encode())
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _MODE_NO_AUTO_CHAIN)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(SESSION_ID)
    context.set_timeout(SESSION_LIFETIME)
