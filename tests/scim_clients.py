"""Clients of a SCIM endpoint, and what tests do to a whole tenant with one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import httpx

from scim_traffic import BULK

_BULK = 100
"""The operations of one bulk request."""

_FEW = 2
"""So many resources are deleted one by one, rather than by a bulk request."""


_AWAY = (
    "plugin server does not answer",
    "not connected to its control plane",
    "no configuration of its control plane",
)


def served(answer: httpx.Response) -> bool:
    """Whether the plugin itself gave an answer, if only to say what is wrong with it."""
    scim = answer.headers.get("content-type", "").startswith("application/scim+json")
    guarded = "No API key found" in answer.text  # key-auth, in front of the plugin
    return guarded or (scim and not any(each in answer.text for each in _AWAY))


def scim_client(base: str, token: str, *, nodes: Sequence[str] = ()) -> httpx.Client:
    """Return a client of a SCIM endpoint.

    :param nodes: Where requests go in turn, as behind a load balancer; else they go to the base.
    """
    # Nobody speaks TLS here, and httpx takes 30 ms to read the certificates of all authorities.
    return httpx.Client(
        base_url=base,
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
        verify=False,
        transport=_InTurn(nodes) if nodes else None,
    )


class _InTurn(httpx.HTTPTransport):
    def __init__(self, nodes: Sequence[str]) -> None:
        super().__init__(trust_env=False, verify=False)
        self._nodes = itertools.cycle(httpx.URL(node) for node in nodes)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # The Host header stays: it names the gateway, and not one of its nodes.
        request.url = request.url.copy_with(port=next(self._nodes).port)
        return super().handle_request(request)


def delete_everything(client: httpx.Client) -> None:
    """Delete all groups and then all users of a tenant."""
    found = everything(client)
    paths = [f"/Groups/{each}" for each in found["Group"]]
    paths += [f"/Users/{each}" for each in found["User"]]
    if len(paths) <= _FEW:
        for path in paths:
            client.delete(path).raise_for_status()
        return
    for start in range(0, len(paths), _BULK):
        operations = [{"method": "DELETE", "path": path} for path in paths[start : start + _BULK]]
        answer = client.post("/Bulk", json={"schemas": [BULK], "Operations": operations})
        results = answer.raise_for_status().json()["Operations"]
        assert {each["status"] for each in results} == {"204"}, answer.text


def everything(client: httpx.Client) -> dict[str, list[str]]:
    """Return the ids of all users and groups of a tenant, by their resource types."""
    found: dict[str, list[str]] = {"Group": [], "User": []}
    seen = 0
    while True:
        query: dict[str, Any] = {"startIndex": seen + 1, "attributes": "meta.resourceType"}
        answer = client.get("/", params=query).raise_for_status().json()
        resources = answer.get("Resources", [])
        for each in resources:
            found[each["meta"]["resourceType"]].append(each["id"])
        seen += len(resources)
        if seen >= answer["totalResults"] or not resources:
            return found
