"""A slice of ``make fuzz``: hostile requests, over the front door of a sandbox."""

from __future__ import annotations

import pytest
from storm import Storm, hold

from hosts import running_gateway


@pytest.mark.timeout(300)
def test_a_minute_of_hostile_requests_breaks_nothing() -> None:
    """No 5xx, no hang, no growth, nothing written that was refused, and a good request after it."""
    with running_gateway("sandbox") as gateway:
        hold(Storm(gateway, seed=5, count=100_000, seconds=60).rage())
