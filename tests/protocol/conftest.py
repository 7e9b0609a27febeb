from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.fixture
def scim(gateway: Any) -> httpx.Client:
    """The SCIM endpoints of a gateway, with the provider's token."""
    client: httpx.Client = gateway.scim
    return client
