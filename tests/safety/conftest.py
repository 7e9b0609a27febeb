"""Gateways with a safety net, and with a dry run beside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hosts import Gateway, running_gateway


@pytest.fixture
def fresh_net(host_name: str) -> Iterator[Gateway]:
    """A gateway of the test's own that lets three users go. Slow on Kong."""
    with running_gateway(host_name, quarantine={"users": 3}) as gateway:
        gateway.decide("lift")  # what waiting for a DB-less gateway deleted does not count
        yield gateway
