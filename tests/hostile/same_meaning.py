"""A part of ``make fuzz``: payloads in every spelling, held against the canonical one."""

from __future__ import annotations

import argparse
import random
import time

import pytest

from in_process import CONFIG, client
from kong_scim.app import Plugin
from spellings import hold_the_same
from without_kong import serve_from_memory


def main() -> None:
    """Compare until the time is over; the seed of what fails is printed."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    serve_from_memory(pytest.MonkeyPatch())
    scim = client(Plugin(CONFIG))
    end, rounds = time.monotonic() + options.seconds, 0
    while time.monotonic() < end:
        seed = options.seed + rounds
        try:
            hold_the_same(scim, random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None
        rounds += 1
    print(f"{rounds} payloads mean the same in 5 requests each (seed {options.seed})")


if __name__ == "__main__":
    main()
