"""What is known for a revocation before it is read, so that it waits behind nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kong_scim.protocol.revocations import MAX_BODY, is_revocation
from scim_traffic import BULK, CORE_USER, PATCH, user_body

OFF = {"op": "replace", "path": "active", "value": False}


def asked(method: str, path: str, payload: Any = None) -> bool:
    body = b"" if payload is None else json.dumps(payload).encode()
    return is_revocation(method, path, body)


def patched(*operations: Any) -> bool:
    return asked("PATCH", "/Users/1", {"schemas": [PATCH], "Operations": list(operations)})


@pytest.mark.parametrize("path", ["/Users/1", "/users/1", "/Groups/1/"])
def test_a_deletion_is_one(path: str) -> None:
    assert asked("DELETE", path)


@pytest.mark.parametrize(
    "operation",
    [
        OFF,
        {"op": "Replace", "path": "Active", "value": "False"},
        {"op": "replace", "value": {"active": False}},
        {"op": "replace", "value": {f"{CORE_USER}:active": "false"}},
        {"op": "Add", "path": "active", "value": [{"value": "False"}]},
        {"OP": "replace", "PATH": f"{CORE_USER}:active", "VALUE": False},
        {"op": "remove", "path": "active"},
        {"op": "replace", "value": {"active": None}},
    ],
)
def test_a_deactivation_is_one_as_providers_write_it(operation: dict[str, Any]) -> None:
    assert patched(operation)
    assert patched({"op": "replace", "path": "title", "value": "x"}, operation)


def test_a_replacement_by_somebody_inactive_is_one() -> None:
    assert asked("PUT", "/Users/1", user_body(active=False))
    assert not asked("PUT", "/Users/1", user_body(active=True))
    assert not asked("PUT", "/Groups/1", user_body(active=False))
    assert not asked("POST", "/Users", user_body(active=False))


def test_a_bulk_request_is_one_if_all_of_it_is() -> None:
    delete = {"method": "DELETE", "path": "/Users/1"}
    off = {"method": "patch", "path": "/Users/2", "data": {"Operations": [OFF]}}
    create = {"method": "POST", "path": "/Users", "bulkId": "1", "data": user_body()}
    for operations, expected in [([delete, off], True), ([delete, create], False), ([], False)]:
        assert asked("POST", "/Bulk", {"schemas": [BULK], "Operations": operations}) is expected


@pytest.mark.parametrize(
    "payload",
    [
        {"Operations": [OFF] * 17},
        {"Operations": [{"op": "replace", "path": "active", "value": True}]},
        {"Operations": [{"op": "replace", "path": "title", "value": "active"}]},
        {"Operations": {"active": False}},
        {"Operations": [OFF], "padding": "x" * MAX_BODY},
        ["active"],
    ],
)
def test_what_is_large_or_something_else_waits_its_turn(payload: Any) -> None:
    assert not asked("PATCH", "/Users/1", payload)


@pytest.mark.parametrize("body", [b"active", b"\xff active", b"[" * 9000 + b'"active"'])
def test_what_is_no_json_is_left_to_be_refused(body: bytes) -> None:
    assert not is_revocation("PATCH", "/Users/1", body)
