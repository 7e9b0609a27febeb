from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.fixture
def scim(gateway: Any) -> httpx.Client:
    """The SCIM endpoints of a gateway, each node in turn, with the provider's token."""
    client: httpx.Client = gateway.any_scim
    return client
