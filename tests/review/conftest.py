"""A gateway of its own with routes of every kind, on each host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from review_support import NOBODY, routes

from hosts import Gateway, running_gateway
from upstreams import echo_server


@pytest.fixture(scope="module")
def _varied(host_name: str) -> Iterator[Gateway]:
    with (
        echo_server() as upstream,
        running_gateway(
            host_name, beside={"services": routes(upstream), "consumers": [NOBODY]}
        ) as made,
    ):
        yield made


@pytest.fixture
def varied(_varied: Gateway) -> Gateway:
    """The gateway without people, and with its anonymous consumer."""
    _varied.clear()
    if _varied.consumer("nobody") is None:
        _varied.new_consumer(**NOBODY)
    return _varied
