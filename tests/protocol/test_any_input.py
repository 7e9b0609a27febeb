"""Whatever is sent, the answer is SCIM and never a 5xx; what is accepted is valid (properties)."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from any_input import (
    BULK_OPERATIONS,
    FILTERS,
    NAMES,
    OPERATIONS,
    QUERIES,
    RESOURCES,
    SCALARS,
    VALUES,
    encoded,
    sent,
    well_answered,
)
from effort import examples
from in_process import CONFIG, client
from kong_scim.app import Plugin
from kong_scim.config.plugin import parse
from kong_scim.protocol.attributes import schemas_of
from kong_scim.protocol.leniency.bodies import canonical
from kong_scim.protocol.resources import provider
from scim_traffic import new_group, new_user
from spellings import canonical_user, hold_the_same, respelled
from without_kong import serve_from_memory

USERS = provider(parse(CONFIG)).model_for_endpoint("/Users")

SETTINGS = settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def scim() -> Any:
    with pytest.MonkeyPatch.context() as patcher:
        serve_from_memory(patcher)
        yield client(Plugin(CONFIG))


@pytest.fixture(scope="module")
def targets(scim: httpx.Client) -> list[str]:
    user = new_user(scim, "property", emails=[{"value": "a@example.com", "type": "work"}])
    group = new_group(scim, user["id"], name="property")
    return [f"/Users/{user['id']}", f"/Groups/{group['id']}"]


@SETTINGS
@given(body=RESOURCES, method=st.sampled_from(["POST", "PUT"]))
def test_any_resource(scim: httpx.Client, targets: list[str], body: Any, method: str) -> None:
    for path in ("/Users", "/Groups") if method == "POST" else targets:
        well_answered(sent(scim, method, path, body))


@SETTINGS
@given(operations=st.lists(OPERATIONS, max_size=4))
def test_any_patch(scim: httpx.Client, targets: list[str], operations: Any) -> None:
    for path in targets:
        well_answered(sent(scim, "PATCH", path, {"Operations": operations}))


@SETTINGS
@given(value=VALUES, path=NAMES, op=st.sampled_from(["add", "replace", "remove"]))
def test_any_value_at_any_path(
    scim: httpx.Client, targets: list[str], value: Any, path: str, op: str
) -> None:
    for target in targets:
        operation = {"op": op, "path": path, "value": value}
        well_answered(sent(scim, "PATCH", target, {"Operations": [operation]}))


@SETTINGS
@given(expression=FILTERS)
def test_any_filter(scim: httpx.Client, targets: list[str], expression: str) -> None:
    well_answered(scim.get(f"/Users?{encoded({'filter': expression})}"))
    well_answered(sent(scim, "POST", "/.search", {"filter": expression}))
    operation = {"op": "replace", "path": f"emails[{expression}].value", "value": "x"}
    well_answered(sent(scim, "PATCH", targets[0], {"Operations": [operation]}))


@SETTINGS
@given(query=QUERIES)
def test_any_search(scim: httpx.Client, query: dict[str, Any]) -> None:
    well_answered(scim.get(f"/Users?{encoded(query)}"))
    well_answered(sent(scim, "POST", "/Users/.search", query))


@SETTINGS
@given(operations=BULK_OPERATIONS, stop=SCALARS)
def test_any_bulk(scim: httpx.Client, operations: Any, stop: Any) -> None:
    body = {"Operations": operations, "failOnErrors": stop}
    response = sent(scim, "POST", "/Bulk", body)
    well_answered(response)
    if response.status_code == 200:
        for result in response.json().get("Operations", []):
            assert int(result["status"]) < 500 or result["status"] == "501", result


@SETTINGS
@given(content=st.binary(max_size=60))
def test_any_bytes(scim: httpx.Client, targets: list[str], content: bytes) -> None:
    for method, path in (("POST", "/Users"), ("PATCH", targets[1]), ("POST", "/Bulk")):
        well_answered(sent(scim, method, path, content))


@SETTINGS
@given(
    segments=st.lists(st.binary(max_size=12), max_size=4),
    method=st.sampled_from(["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]),
)
def test_any_path(scim: httpx.Client, segments: list[bytes], method: str) -> None:
    path = "/Users/" + "/".join(quote(segment, safe="") for segment in segments)
    response = scim.request(method, path)
    assert response.status_code < 500


@settings(SETTINGS, max_examples=examples(8))
@given(chance=st.randoms(use_true_random=False))
def test_a_payload_and_each_of_its_spellings_are_stored_and_answered_alike(
    scim: httpx.Client, chance: random.Random
) -> None:
    hold_the_same(scim, chance)


@SETTINGS
@given(seed=st.integers(0, 2**32))
def test_a_canonical_payload_is_read_as_it_is(seed: int) -> None:
    tables = schemas_of(USERS)
    payload = canonical_user(random.Random(seed))
    assert canonical(tables, payload, tables.urn) == (payload, [])
    assert canonical(tables, payload, tables.urn)[0] is payload
    read, selected = canonical(tables, respelled(random.Random(seed), payload), tables.urn)
    again, _ = canonical(tables, read, tables.urn)
    assert selected or again is read
