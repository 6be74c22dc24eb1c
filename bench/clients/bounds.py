"""What the clients share: where they connect, and that none of them outlives its time."""

from __future__ import annotations

import argparse
import math
import signal

# The longest time that a client may be asked to run, and how much later than asked the kernel ends it at the latest. Seconds.
MOST_SECONDS = 300
TO_SPARE = 20


def client_parser() -> argparse.ArgumentParser:
    """Make a parser that knows ``--port`` and ``--seconds``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    return parser


def end_in_time(seconds: float) -> None:
    """Have the kernel end this process soon after ``seconds``, whatever it hangs in then.

    :raises ValueError: for more than :data:`MOST_SECONDS`.
    """
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"{seconds} seconds were asked for; allowed is more than 0 and at most {MOST_SECONDS}")
    signal.alarm(math.ceil(seconds) + TO_SPARE)
