from __future__ import annotations

import httpx
import pytest

from hosts import Gateway


@pytest.fixture(scope="module")
def scim(shared_gateway: Gateway) -> httpx.Client:
    """The SCIM endpoints of a gateway, each node in turn, with the provider's token.

    It is cleared once for each file, whose tests use names that no other test uses.
    """
    shared_gateway.clear()
    return shared_gateway.any_scim
