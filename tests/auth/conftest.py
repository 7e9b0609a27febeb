"""Each test of who may call has counters of its own."""

from __future__ import annotations

import pytest

import kong_scim.auth.authenticator
from kong_scim.auth.rate_limit import RateLimits


@pytest.fixture(autouse=True)
def rate_limits(monkeypatch: pytest.MonkeyPatch) -> RateLimits:
    """The counters, which are else those of the process."""
    fresh = RateLimits()
    init = kong_scim.auth.authenticator.Authenticator.__init__
    monkeypatch.setattr(init, "__defaults__", (fresh,))
    return fresh
