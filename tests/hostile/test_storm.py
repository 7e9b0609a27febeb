"""A slice of ``make fuzz``: hostile requests, over the front door of a sandbox."""

from __future__ import annotations

import pytest
from storm import Storm, hold

from hosts import running_gateway

pytestmark = pytest.mark.long


@pytest.mark.timeout(300)
def test_a_minute_of_hostile_requests_breaks_nothing() -> None:
    """No 5xx, no hang, nothing held on to, nothing written that was refused, a good one after it.

    Of memory a minute's requests show a large leak only, because the caches do not fill in it:
    small ones are for ``make fuzz``.
    """
    with running_gateway("sandbox") as gateway:
        hold(Storm(gateway, seed=5, count=100_000, seconds=60).rage(), whole=False)
