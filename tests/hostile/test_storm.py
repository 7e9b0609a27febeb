"""A slice of ``make fuzz``: hostile requests, over the front door of a sandbox."""

from __future__ import annotations

import pytest
from siege import Siege
from storm import Storm, hold

from hosts import Gateway, running_gateway

pytestmark = pytest.mark.long


@pytest.mark.timeout(300)
def test_hostile_requests_break_nothing() -> None:
    """No 5xx, no hang, nothing held on to, nothing written that was refused, a good one after it.

    So few requests show a large leak of memory only, because the caches do not fill in them:
    small ones are for ``make fuzz``.
    """
    with running_gateway("sandbox") as gateway:
        hold(Storm(gateway, seed=5, count=100_000, seconds=6).rage(), whole=False)


@pytest.mark.every_host
def test_whoever_leaves_is_refused_at_once_while_another_tenant_sends_what_costs_most(
    gateway: Gateway,
) -> None:
    """How soon is measured by ``make fuzz`` and ``make bench``, on a machine that is quiet."""
    report = Siege(gateway, people=6, others=100).lay(3)
    assert report.failures == []
    assert len(report.seconds) == 6
    answers = {(name, status) for name, status in report.attacks if status}
    assert {status for _, status in answers} <= {200, 201, 400, 413, 503}, report.text()
    assert ("search-groups", 400) in answers, report.text()
