"""Who may read what happened is another question than who may provision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hosts import Gateway
from scim_traffic import refused

READS: list[tuple[str, str, Any]] = [
    ("GET", "/Events", None),
    ("GET", "/Events/chain", None),
    ("GET", "/Events/deliveries", None),
    ("POST", "/Events/poll", {"returnImmediately": True}),
]
REPLAY = ("POST", "/Events/deliveries/replay", {"failed": True})


def having(gateway_with: Callable[..., Gateway], *scopes: str) -> Gateway:
    token: dict[str, Any] = {"name": "idp", "value": "{vault://env/scim-token-a}"}
    return gateway_with(tokens=[{**token, **({"scopes": [*scopes]} if scopes else {})}])


@pytest.mark.parametrize(("method", "path", "body"), [*READS, REPLAY])
def test_a_token_that_provisions_reads_no_events(
    gateway_with: Callable[..., Gateway], method: str, path: str, body: Any
) -> None:
    gateway = having(gateway_with)  # without scopes: those of provisioning

    answer = gateway.scim.request(method, path, json=body)

    assert "needs the scope scim:" in refused(answer, 403)
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(("method", "path", "body"), READS)
def test_a_token_with_their_scope_reads_them(
    gateway_with: Callable[..., Gateway], method: str, path: str, body: Any
) -> None:
    gateway = having(gateway_with, "scim:read", "scim:users", "scim:groups", "scim:events")

    answer = gateway.scim.request(method, path, json=body)

    # Nothing is kept to be polled in this configuration: 404, and not 403.
    assert answer.status_code == (404 if path.endswith("poll") else 200), answer.text


def test_to_replay_deliveries_wants_the_admin(gateway_with: Callable[..., Gateway]) -> None:
    gateway = having(gateway_with, "scim:read", "scim:users", "scim:groups", "scim:events")
    method, path, body = REPLAY

    detail = refused(gateway.scim.request(method, path, json=body), 403)

    assert "scim:admin" in detail
