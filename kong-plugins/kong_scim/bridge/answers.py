"""Reads the answers of scim-bridge: the JSON texts that the functions of ``kong.scim.*`` return."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from kong_scim.bridge.errors import BridgeUnavailableError, bridge_error
from kong_scim.bridge.messages import (
    ACLS,
    Acl,
    AdminRequest,
    Consumer,
    Host,
    KongCaller,
    Opening,
    Request,
)
from kong_scim.bridge.steps import Delete, Upsert

BRIDGE_VERSION = 7
"""The version of the wire format. Both sides send their version and refuse any other."""


def result_of(text: Any) -> dict[str, Any]:
    """Return the result in an answer of the bridge, or raise its error."""
    if isinstance(text, tuple):  # kong-pdk's own server returns (value, error)
        text = text[0]
    if isinstance(text, bytes):
        text = text.decode()
    if not isinstance(text, str):
        raise BridgeUnavailableError(
            "scim-bridge does not answer on this Kong: add it to `plugins` in kong.conf "
            "(KONG_PLUGINS=bundled,scim,scim-bridge) and restart"
        )
    answer: dict[str, Any] = json.loads(text)
    error = answer.get("error")
    if error is not None and error.get("name") == "BRIDGE_VERSION":
        raise BridgeUnavailableError(error["message"])
    if error is not None:
        raise bridge_error(
            error.get("name") or "INTERNAL",
            error.get("message") or "the bridge gave no message",
            code=error.get("code") or 0,
            step=error.get("step"),
            label=error.get("label"),
            fields=error.get("fields") or {},
        )
    result: dict[str, Any] = answer["ok"]
    if result.get("bridge_version", BRIDGE_VERSION) != BRIDGE_VERSION:
        raise BridgeUnavailableError(
            f"scim-bridge speaks version {result['bridge_version']!r} of the wire and this "
            f"plugin server version {BRIDGE_VERSION}: install both from one release"
        )
    return result


def host_of(fields: Mapping[str, Any]) -> Host:
    named = dict(fields)
    if "targets" in named:
        named["targets"] = tuple(named["targets"] or ())
    return Host(**named)


def opening_of(answer: Mapping[str, Any]) -> Opening:
    request, authenticated = answer["request"], answer.get("caller")
    return Opening(
        host=host_of(answer["host"]),
        request=Request(
            method=request["method"],
            path=request["path"],
            query=request["query"],
            headers=dict(request["headers"] or {}),
            body=base64.b64decode(request["body"]),
            body_size=request["body_size"],
            body_too_large=request["body_too_large"],
            https=request["https"],
            base_url=request["base_url"],
            client_ip=request["client_ip"],
            request_id=request["request_id"],
        ),
        secrets=dict(answer["secrets"] or {}),
        caller=authenticated
        and KongCaller(
            name=authenticated["name"],
            groups=tuple(authenticated["groups"] or ()),
            anonymous=authenticated["anonymous"],
        ),
        guarded=answer.get("guarded") is True,
    )


def admin_request_of(fields: Mapping[str, Any] | None) -> AdminRequest | None:
    if fields is None:
        return None
    step = fields["step"]
    return AdminRequest(
        step=Upsert(**step) if step["op"] == "upsert" else Delete(**step),
        user=fields["user"],
        address=fields["address"],
        request_id=fields["request_id"],
    )


def consumer_of(entity: Mapping[str, Any]) -> Consumer:
    found = dict(entity.get("memberships") or {})
    memberships = {dao: memberships_of(rows) for dao, rows in found.items()}
    return Consumer(
        id=entity["id"],
        username=entity.get("username"),
        custom_id=entity.get("custom_id"),
        tags=tuple(entity.get("tags") or ()),
        acls=memberships.pop(ACLS, ()),
        declared=entity.get("declared") is True,
        memberships=memberships,
    )


def memberships_of(rows: Any) -> tuple[Acl, ...]:
    return tuple(
        Acl(id=row["id"], group=row["group"], tags=tuple(row.get("tags") or ()))
        for row in rows or []
    )
