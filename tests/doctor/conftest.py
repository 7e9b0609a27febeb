"""The gateways at which the doctor looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from doctor_support import TOKENS, empty_provider_log

from hosts import Gateway
from variants import variant


@pytest.fixture(scope="module")
def host(_gateways: Callable[[str], Gateway]) -> Gateway:
    """The sandbox of all tests: a fault is the same on each host."""
    return _gateways("sandbox")


@pytest.fixture
def kong_with_postgres(_gateways: Callable[[str], Gateway]) -> Gateway:
    return _gateways("kong-postgres")


@pytest.fixture(scope="module")
def good(host: Gateway) -> Iterator[Gateway]:
    """A gateway as one should set it up."""
    with variant(host, tokens=TOKENS) as gateway:
        gateway.scim.get("/Users").raise_for_status()
        empty_provider_log(gateway)
        yield gateway
