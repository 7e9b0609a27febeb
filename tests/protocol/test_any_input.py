"""Whatever is sent, the answer is SCIM and never a 5xx; what is accepted is valid (properties)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_from_bytes

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import CONFIG, client
from scim2_server.memory import InMemoryStorage

import kong_scim.plugin
from kong_scim.plugin import Plugin
from scim_traffic import CORE_GROUP, CORE_USER, ENTERPRISE, KONG, new_group, new_user

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Storage(InMemoryStorage):
    supports_cursors = True


@pytest.fixture(scope="module")
def scim() -> Any:
    storage = Storage()
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(kong_scim.plugin, "storage_for", lambda *_: storage)
        yield client(Plugin(CONFIG))


@pytest.fixture(scope="module")
def targets(scim: httpx.Client) -> list[str]:
    user = new_user(scim, "property", emails=[{"value": "a@example.com", "type": "work"}])
    group = new_group(scim, user["id"], name="property")
    return [f"/Users/{user['id']}", f"/Groups/{group['id']}"]


NAMES = st.sampled_from(
    [
        "schemas",
        "id",
        "meta",
        "userName",
        "USERNAME",
        "active",
        "name",
        "name.givenName",
        "emails",
        'emails[type eq "work"].value',
        'emails[primary eq "True"]',
        "addresses",
        "groups",
        "members",
        'members[value eq "x"]',
        "displayName",
        "password",
        "externalId",
        "x509Certificates",
        "profileUrl",
        ENTERPRISE,
        f"{ENTERPRISE}:manager",
        f"{ENTERPRISE}:manager.value",
        KONG,
        f"{KONG}:suspended",
        CORE_USER,
        CORE_GROUP,
        "value",
        "type",
        "primary",
        "$ref",
        "",
    ]
)
TEXT = st.text(max_size=12) | NAMES
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.sampled_from(["True", "", "2024-01-01T00:00:00Z", "a@example.com", "bulkId:a"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXT, inner, max_size=4),
    max_leaves=12,
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "Replace", "REMOVE", "", "test"]) | SCALARS},
    optional={"path": NAMES | TEXT | SCALARS, "value": VALUES},
)
WORDS = st.sampled_from(
    [
        *("userName", "emails", "emails.value", "name.familyName", "active", "meta.created"),
        *("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr", "and", "or", "not"),
        *("(", ")", "[", "]", '"a"', '"True"', "true", "null", "12", "-1.5e3", "1e999", '"', "\\"),
        *(f"{ENTERPRISE}:department", f"{KONG}:suspended", '"\\u0000"', '"\\ud800"', "."),
    ]
)
FILTERS = st.lists(WORDS | st.text(max_size=5), max_size=12).map(" ".join) | st.text(max_size=40)


def well_answered(response: httpx.Response) -> None:
    assert response.status_code < 500 or response.status_code == 501, response.text
    if response.status_code >= 400:
        body = response.json()
        assert body["status"] == str(response.status_code)
        assert body["detail"]
        assert len(body["detail"]) <= 400
        if response.status_code == 400:
            assert body["scimType"]


def sent(scim: httpx.Client, method: str, path: str, body: Any) -> httpx.Response:
    content = json.dumps(body) if not isinstance(body, bytes) else body
    return scim.request(method, path, content=content, headers={"Content-Type": "application/json"})


@SETTINGS
@given(
    body=st.dictionaries(NAMES | TEXT, VALUES, max_size=6), method=st.sampled_from(["POST", "PUT"])
)
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
    encoded = quote_from_bytes(expression.encode("utf-8", "surrogatepass"), safe="")
    well_answered(scim.get(f"/Users?filter={encoded}"))
    well_answered(sent(scim, "POST", "/.search", {"filter": expression}))
    operation = {"op": "replace", "path": f"emails[{expression}].value", "value": "x"}
    well_answered(sent(scim, "PATCH", targets[0], {"Operations": [operation]}))


@SETTINGS
@given(
    query=st.dictionaries(
        st.sampled_from(
            [
                *("filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"),
                *("attributes", "excludedAttributes", "STARTINDEX"),
            ]
        ),
        SCALARS | WORDS,
        max_size=4,
    )
)
def test_any_search(scim: httpx.Client, query: dict[str, Any]) -> None:
    encoded = "&".join(
        f"{name}={quote_from_bytes(str(value).encode('utf-8', 'surrogatepass'))}"
        for name, value in query.items()
    )
    well_answered(scim.get(f"/Users?{encoded}"))
    well_answered(sent(scim, "POST", "/Users/.search", query))


@SETTINGS
@given(
    operations=st.lists(
        st.dictionaries(
            st.sampled_from(["method", "path", "bulkId", "data", "version"]),
            st.sampled_from(
                ["POST", "PATCH", "DELETE", "/Users", "/Users/bulkId:a", "/Groups", "a"]
            )
            | VALUES,
            max_size=5,
        ),
        max_size=4,
    ),
    stop=SCALARS,
)
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
