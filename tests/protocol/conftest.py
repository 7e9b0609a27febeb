from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from scim_traffic import get, new_user


@pytest.fixture
def scim(gateway: Any) -> httpx.Client:
    """The SCIM endpoints of a gateway, each node in turn, with the provider's token."""
    client: httpx.Client = gateway.any_scim
    return client


@pytest.fixture
def nothing_is_written(scim: httpx.Client) -> Iterator[None]:
    """Hold that no request of a test left a trace, and that the next request is served."""
    user = new_user(scim)
    before = get(scim, "/Users", count="0")["totalResults"]
    yield
    assert get(scim, f"/Users/{user['id']}") == user
    # The users that a test makes to have something to change carry this title.
    made = get(scim, "/Users", filter='title eq "made by a test"', count="0")["totalResults"]
    assert get(scim, "/Users", count="0")["totalResults"] - made <= before
    assert scim.delete(f"/Users/{user['id']}").status_code == 204
