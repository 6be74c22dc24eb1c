"""Certificates for the tests: an authority that lives as long as the process, and what it has signed, as files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import trustme

__all__ = ["authority", "certificate", "write"]

_KEY_TYPES = {"ecdsa": trustme.KeyType.ECDSA, "rsa": trustme.KeyType.RSA}


def authority(name: str = "one") -> trustme.CA:
    """One that is made when it is first asked for."""
    return _authority(name)


@cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=f"authority {name}", key_type=trustme.KeyType.ECDSA)


@cache
def certificate(*names: str, key_type: str = "ecdsa", signed_by: str = "one", common_name: str | None = None) -> trustme.LeafCert:
    """A certificate for *names*, and its key."""
    return authority(signed_by).issue_cert(*names, common_name=common_name, key_type=_KEY_TYPES[key_type])


def write(folder: str | Path, name: str, *blobs: Any) -> str:
    """Put what trustme made into a PEM file; gives its path."""
    path = Path(folder, name)
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    path.chmod(0o600)
    return str(path)
