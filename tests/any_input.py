"""Any input at all: strategies of what a client might send, and what every answer must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
from hypothesis import strategies as st

from scim_traffic import CORE_GROUP, CORE_USER, ENTERPRISE, KONG

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
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            *("filter", "sortBy", "sortOrder", "startIndex", "count", "cursor"),
            *("attributes", "excludedAttributes", "STARTINDEX"),
        ]
    ),
    SCALARS | WORDS,
    max_size=4,
)
BULK_OPERATIONS = st.lists(
    st.dictionaries(
        st.sampled_from(["method", "path", "bulkId", "data", "version"]),
        st.sampled_from(["POST", "PATCH", "DELETE", "/Users", "/Users/bulkId:a", "/Groups", "a"])
        | VALUES,
        max_size=5,
    ),
    max_size=4,
)
RESOURCES = st.dictionaries(NAMES | TEXT, VALUES, max_size=6)


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


def encoded(query: Mapping[str, Any]) -> str:
    """Return a query string, also of what is no text."""
    return "&".join(
        f"{name}={quote_from_bytes(str(value).encode('utf-8', 'surrogatepass'), safe='')}"
        for name, value in query.items()
    )
