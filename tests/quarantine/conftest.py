"""Gateways with a deprovisioning guard, and with a dry run beside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from quarantine_support import Rehearsal

from declared import scim_plugin
from host_processes import TOKENS
from hosts import Gateway, running_gateway, scim_client


@pytest.fixture
def fresh_net(host_name: str) -> Iterator[Gateway]:
    """A gateway of the test's own that lets three users go. Slow on Kong."""
    with running_gateway(host_name, quarantine={"users": 3}) as gateway:
        gateway.decide("lift")  # what waiting for a DB-less gateway deleted does not count
        yield gateway


@pytest.fixture(scope="session")
def shared_rehearsal(host_name: str) -> Iterator[Rehearsal]:
    net = {"quarantine": {"users": 3}}
    plugin = scim_plugin("a", "scim-token-a", dry_run=True, **net)
    route = {"name": "dry", "paths": ["/dry/scim/v2"], "plugins": [plugin]}
    with (
        running_gateway(host_name, beside={"routes": [route]}, **net) as gateway,
        scim_client(f"{gateway.proxy_url}/dry/scim/v2", TOKENS["scim-token-a"]) as dry,
    ):
        yield Rehearsal(gateway, dry)


@pytest.fixture
def rehearsal(shared_rehearsal: Rehearsal) -> Rehearsal:
    """The same, without resources."""
    shared_rehearsal.real.clear()
    return shared_rehearsal
