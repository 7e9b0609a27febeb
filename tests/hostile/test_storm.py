"""A slice of ``make fuzz``: hostile requests, over the front door of a sandbox."""

from __future__ import annotations

import pytest
from storm import Storm, hold

from hosts import running_gateway


@pytest.mark.timeout(300)
def test_a_minute_of_hostile_requests_breaks_nothing() -> None:
    """No 5xx, no hang, nothing written that was refused, and a good request after it.

    Memory counts in ``make fuzz`` alone: a minute's requests do not fill the caches yet.
    """
    with running_gateway("sandbox") as gateway:
        hold(Storm(gateway, seed=5, count=100_000, seconds=60).rage(), memory=False)
