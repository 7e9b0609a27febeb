"""Searches that cannot be get a SCIM error that helps; odd characters are characters."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
import pytest

from scim_traffic import get, new_user, refused, unique

pytestmark = pytest.mark.usefixtures("nothing_is_written")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "   ",
        "\t",
        'userName eq "' + "x" * 10_000 + '"',
        " and ".join(['userName eq "x"'] * 300),
        "(" * 200 + 'userName eq "x"' + ")" * 200,
        "not (" * 200 + 'userName eq "x"' + ")" * 200,
        "emails[" * 200 + 'value eq "x"' + "]" * 200,
        "(" * 5000,
        "[" * 5000,
        "userName",
        "userName eq",
        'userName xx "a"',
        'userName eq "a',
        "userName eq 'a'",
        'userName eq "a" or',
        'eq "a"',
        'shoeSize eq "45"',
        'name.shoeSize eq "45"',
        'userName eq "a\\u0000b"',
        'userName eq "\\ud800"',
        'active gt "true"',
        'meta.created gt "yesterday"',
        'emails[type eq "work"',
        "userName eq 99999999999999999999999999999999999999",
        'password eq "a" and',
    ],
    ids=lambda expression: repr(expression[:32]),
)
def test_a_filter_that_cannot_be_is_invalid_filter(scim: httpx.Client, expression: str) -> None:
    """Both where it is in the URL and where it is in a body; an empty one would find everybody."""
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}
    responses = [scim.post("/Users/.search", json={**body, "filter": expression})]
    if len(quote(expression)) < 6000:  # what is longer is no line that Nginx reads (8 KiB)
        responses.append(scim.get("/Users", params={"filter": expression}))
    for response in responses:
        refused(response, 400, "invalidFilter")


@pytest.mark.parametrize(
    "value",
    [
        "'; DROP TABLE scim_users; --",
        '" or userName pr or userName eq "',
        "%",
        "_",
        "\\",
        "a' OR '1'='1",
        "$1",
        "${jndi:ldap://x}",
        "]] os.execute('x') --[[",
        "\\x00",
        "🦍",
        "' UNION SELECT * FROM consumers --",
    ],
)
def test_metacharacters_are_characters(scim: httpx.Client, value: str) -> None:
    name = unique(value)
    user = new_user(scim, name, title="made by a test", displayName=value)
    assert user["userName"] == name
    assert user["displayName"] == value
    for operator in ("eq", "sw", "co", "ew"):
        expression = f"userName {operator} {json.dumps(name)}"
        found = get(scim, "/Users", filter=expression)
        assert [each["id"] for each in found["Resources"]] == [user["id"]]
    nobody = get(scim, "/Users", filter=f"nickName eq {json.dumps(value)}")
    assert nobody["totalResults"] == 0


@pytest.mark.parametrize(
    ("params", "scim_type"),
    [
        ({"count": "abc"}, "invalidValue"),
        ({"count": "1.5"}, "invalidValue"),
        ({"startIndex": "x"}, "invalidValue"),
        ({"sortBy": "shoeSize"}, "invalidPath"),
        ({"sortBy": "name"}, "invalidPath"),
        ({"sortBy": "x" * 5000}, "invalidPath"),
        ({"sortBy": "userName", "sortOrder": "sideways"}, "invalidValue"),
        ({"attributes": "a" + ",a" * 1000}, "invalidValue"),
        ({"excludedAttributes": "a" + ",a" * 1000}, "invalidValue"),
        ({"attributes": "userName", "excludedAttributes": "emails"}, "invalidValue"),
        ({"cursor": "forged"}, "invalidCursor"),
        ({"cursor": "AQ" + "A" * 80}, "invalidCursor"),
        ({"cursor": "!"}, "invalidCursor"),
        ({"attributes": "a\0b"}, "invalidValue"),
    ],
    ids=lambda value: repr(value)[:32],
)
def test_a_search_with_a_wrong_parameter_is_refused(
    scim: httpx.Client, params: dict[str, str], scim_type: str
) -> None:
    refused(scim.get("/Users", params=params), 400, scim_type)


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"count": "-1"}, 0),
        ({"count": "0"}, 0),
        ({"startIndex": "9" * 40}, 0),
        ({"startIndex": "2147483648"}, 0),
        ({"startIndex": "-5", "count": "1"}, 1),
        ({"startIndex": "0", "count": "1"}, 1),
        ({"sortBy": "", "attributes": "", "excludedAttributes": "", "count": "1"}, 1),
    ],
)
def test_numbers_out_of_range_are_clamped(
    scim: httpx.Client, params: dict[str, str], count: int
) -> None:
    """RFC 7644 §3.4.2.4: a startIndex below 1 is 1, a negative count is 0."""
    page = get(scim, "/Users", **params)
    assert page["itemsPerPage"] == len(page["Resources"]) == count
    assert page["totalResults"] >= 1


@pytest.mark.parametrize(
    "query", ["filter=%ff%fe", "count=%c0%af", "&".join(f"a{n}=1" for n in range(200))]
)
def test_a_query_that_cannot_be_decoded_is_400(scim: httpx.Client, query: str) -> None:
    refused(scim.get(f"/Users?{query}"), 400, "invalidSyntax")
