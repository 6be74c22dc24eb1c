"""The options about workers: how their values are written, and what is wrong with them."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from .config.model import Configuration
from .errors import ConfigurationError

__all__ = ["worker_problems"]


def worker_problems(options: MutableMapping[str, Any]) -> list[str]:
    """Everything that is wrong with them, a line each. What is right is put into the options as it is meant."""
    problems = []
    for option, kind in (("workers", int), ("worker-heartbeat", float)):
        name, text = option.replace("-", "_"), options[option]
        try:
            options[option] = getattr(Configuration(**{name: _read(text, kind)}), name)
        except ConfigurationError as error:
            _, _, allowed = str(error).partition("; ")
            problems.append(f"--{option}: {text!r} was given; {allowed}")
    return problems


def _read(text: str, kind: type[float]) -> Any:
    """As a number, if it is one."""
    try:
        return kind(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text
