"""``hide_identity_headers``: no client tells an upstream who it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hosts import GROUP, Gateway, running_gateway
from scim_traffic import new_group, new_user

FORGED = [
    "X-Consumer-Username",
    "X_Consumer_Username",
    "x_consumer-username",
    "X-Consumer_Id",
    "X_CONSUMER_CUSTOM_ID",
    "X-Consumer-Groups",
    "X_Consumer_Groups",
    "X-Credential-Identifier",
    "X_Credential_Identifier",
    "X-Anonymous-Consumer",
    "X_Anonymous_Consumer",
    "X-Authenticated-Groups",
    "X-Authenticated-Userid",
    "X_Authenticated_Scope",
]

OPEN: dict[str, Any] = {"name": "open", "paths": ["/open"], "service": "echo"}
"""A route where nobody has to say who they are."""

LOCAL: dict[str, Any] = {
    "name": "local",
    "paths": ["/local"],
    "service": "echo",
    "plugins": [{"name": "scim-bridge", "config": {"hide_identity_headers": True}}],
}
"""A route with a scim-bridge of its own, which comes too late."""


@pytest.fixture(scope="module")
def hiding(host_name: str) -> Iterator[Gateway]:
    """A gateway that hides them."""
    bridge = {"hide_identity_headers": True}
    with running_gateway(host_name, bridge=bridge, beside={"routes": [OPEN]}) as gateway:
        yield gateway


def seen(gateway: Gateway, path: str, **headers: str) -> dict[str, str]:
    """Return the headers of an identity that the upstream saw, forged ones among them."""
    sent = dict.fromkeys(FORGED, "forged") | headers
    answer = gateway.api.get(path, headers=sent).raise_for_status()
    shown: dict[str, str] = answer.json()["headers"]
    words = ("consumer", "credential", "authenticated")
    return {name: value for name, value in shown.items() if any(each in name for each in words)}


def test_where_nobody_authenticates_no_spelling_of_them_passes(hiding: Gateway) -> None:
    assert seen(hiding, "/open") == {}


@pytest.mark.parametrize("path", ["/keyed", "/echo"])
def test_what_kong_says_of_the_caller_passes_and_nothing_else(hiding: Gateway, path: str) -> None:
    alice = new_user(hiding.scim, "alice", externalId="e-1")
    group = new_group(hiding.scim, alice["id"], name=GROUP)
    key = hiding.give_key("alice")
    shown = seen(hiding, path, apikey=key)
    shown.pop("x-credential-identifier")
    groups = {"x-consumer-groups": GROUP} if path == "/echo" else {}
    assert shown == {
        "x-consumer-id": alice["id"],
        "x-consumer-username": "alice",
        "x-consumer-custom-id": "e-1",
        **groups,
    }
    for resource in (f"/Groups/{group['id']}", f"/Users/{alice['id']}"):
        hiding.scim.delete(resource).raise_for_status()


def test_other_headers_pass(hiding: Gateway) -> None:
    sent = {"X-Consumers": "1", "Consumer-Id": "2", "X_Other": "3", "X-Anonymous-Consumers": "4"}
    answer = hiding.api.get("/open", headers=sent).raise_for_status()
    shown = answer.json()["headers"]
    assert {name: shown.get(name.lower()) for name in sent} == sent


@pytest.fixture(scope="module")
def chained(host_name: str) -> Iterator[Gateway]:
    """A gateway that is told nothing, with a route whose own scim-bridge is."""
    with running_gateway(host_name, beside={"routes": [OPEN, LOCAL]}) as gateway:
        yield gateway


def test_unless_it_is_told_so_a_gateway_passes_on_what_the_one_before_it_says(
    chained: Gateway,
) -> None:
    assert set(seen(chained, "/open").values()) == {"forged"}


def test_a_route_that_cannot_hide_them_by_itself_is_refused(chained: Gateway) -> None:
    answer = chained.api.get("/local", headers={"X-Consumer-Username": "forged"})
    assert answer.status_code == 503
    assert "global" in answer.json()["message"]
