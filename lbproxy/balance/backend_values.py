"""A backend as a text or a table, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from ..errors import ConfigurationError
from .backend import BACKUP_TIER, Backend

__all__ = ["BACKEND_KEYS", "backend_of", "backend_text"]

#: The keys of a table that stands for a backend, and what each may be.
BACKEND_KEYS = {
    "address": "a text such as 10.0.0.1:8000 or https://app.example:8443",
    "weight": "a whole number",
    "tier": "a whole number, or backup",
    "max-in-flight": "a whole number",
    "proxy-protocol": "v1 or v2",
    "verify": "true or false",
    "verify-name": "a text",
}
_NUMBERS = ("weight", "tier", "max-in-flight")


def backend_of(value: object) -> Backend:
    """Read a backend that is written as on the command line, or as a table with its ``address`` and options by name.

    :raises ConfigurationError: says what is wrong with it, and what is allowed.
    """
    if isinstance(value, str):
        return Backend.parse(value)
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"backend {value!r} was given; allowed is a text such as 10.0.0.1:8000, or a table with address")
    return Backend.parse(_as_text(value))


def _as_text(table: Mapping[str, object]) -> str:
    """The table as an operator would write it in one line, so that there is one set of rules for both."""
    unknown = [key for key in table if key not in BACKEND_KEYS]
    if unknown:
        nearest = get_close_matches(str(unknown[0]), BACKEND_KEYS, 1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        raise ConfigurationError(f"backend: key {unknown[0]!r} is not known{hint}; known are {', '.join(BACKEND_KEYS)}")
    address = table.get("address")
    if not isinstance(address, str):
        given = "no address" if address is None else f"address {address!r}"
        raise ConfigurationError(f"backend: {given} was given; allowed is {BACKEND_KEYS['address']}")
    options = [_option(address, name, value) for name, value in table.items() if name != "address"]
    return "".join((address.strip(), *options))


def _option(address: str, name: str, value: object) -> str:
    if name == "tier" and value == "backup":
        return ":backup"
    if name == "verify" and isinstance(value, bool):
        return "" if value else ":verify=off"
    if name in _NUMBERS and isinstance(value, int) and not isinstance(value, bool):
        return f":{name}={value}"
    if name in ("proxy-protocol", "verify-name") and isinstance(value, str):
        return f":{name}=[{value}]" if ":" in value and not value.startswith("[") else f":{name}={value}"
    raise ConfigurationError(f"backend {address}: {name} {value!r} was given; allowed is {BACKEND_KEYS[name]}")


def backend_text(backend: Backend) -> str:
    """The backend as an operator would write it: :meth:`.Backend.parse` reads the same again."""
    name = f"[{backend.verify_name}]" if ":" in backend.verify_name else backend.verify_name
    tier = ":backup" if backend.tier == BACKUP_TIER else f":tier={backend.tier}"
    options = (
        (backend.weight != 1, f":weight={backend.weight}"),
        (backend.tier != 0, tier),
        (backend.max_in_flight != 0, f":max-in-flight={backend.max_in_flight}"),
        (backend.proxy_protocol != 0, f":proxy-protocol=v{backend.proxy_protocol}"),
        (not backend.verify, ":verify=off"),
        (backend.verify_name != "", f":verify-name={name}"),
    )
    scheme = "https://" if backend.tls else ""
    return f"{scheme}{backend.address}" + "".join(text for said, text in options if said)
