from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hosts import Gateway
from scim_traffic import get, new_user


@pytest.fixture(scope="module")
def scim(shared_gateway: Gateway) -> httpx.Client:
    """The SCIM endpoints of a gateway, each node in turn, with the provider's token.

    It is cleared once for each file, whose tests use names that no other test uses.
    """
    shared_gateway.clear()
    return shared_gateway.any_scim


@pytest.fixture(scope="module")
def _witness(scim: httpx.Client) -> dict[str, Any]:
    """A user whom no request of a test may change."""
    return new_user(scim)


@pytest.fixture
def nothing_is_written(scim: httpx.Client, _witness: dict[str, Any]) -> Iterator[None]:
    """Hold that no request of a test left a trace, and that the next request is served."""

    def count() -> int:
        # The users that a test makes to have something to change carry this title.
        others = get(scim, "/Users", filter='not (title eq "made by a test")', count="0")
        total: int = others["totalResults"]
        return total

    before = count()
    yield
    assert get(scim, f"/Users/{_witness['id']}") == _witness
    assert count() == before
