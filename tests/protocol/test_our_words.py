"""Whatever is wrong with a message or a parameter, the sentence is one of this service."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from scim_traffic import BULK, PATCH, SEARCH, new_group, new_user, user_body

WRONG: list[Any] = [5, 1.5, True, "", "a b", "x" * 300, [], {}, [5], [[]], [{}], [None], {"a": [1]}]

THEIRS = re.compile(
    r"pydantic|scim2|sqlalchemy|sqlite|JSONDecode|Expecting|Traceback|<class|Input should"
    r"|should be a|validation error|Value error|Field |Unable to|Expected |[a-z]_[a-z]"
    r"|\b(NoneType|dict|str|int)\b|invalid syntax|malformed|not valid for"
    r"|cannot be applied|Exception"
)

MESSAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "search": (
        "POST",
        "/Users/.search",
        {
            "schemas": [SEARCH],
            "filter": "userName pr",
            "attributes": ["userName"],
            "excludedAttributes": ["title"],
            "sortBy": "userName",
            "sortOrder": "ascending",
            "startIndex": 1,
            "count": 1,
            "cursor": "",
        },
    ),
    "poll": (
        "POST",
        "/Events/poll",
        {"ack": [], "setErrs": {}, "maxEvents": 0, "returnImmediately": True},
    ),
    "replay": ("POST", "/Events/deliveries/replay", {"ids": [1], "failed": True}),
    "quarantine": ("POST", "/Quarantine", {"decision": "approve", "minutes": 1}),
    "drift": ("POST", "/Drift", {"dryRun": True, "user": "absent", "cursor": "forged"}),
    "preview": ("POST", "/Drift/preview", {"config": {}, "count": 1, "cursor": "forged"}),
}


def in_our_words(response: httpx.Response) -> int:
    """Return the status of an answer, whose details must be ours."""
    body = response.json() if response.content else {}
    details = [body.get("detail")] if response.status_code >= 400 else []
    if response.status_code == 200 and "Operations" in body:
        answers = [each.get("response") or {} for each in body["Operations"]]
        details = [each["detail"] for each in answers if "detail" in each]
    assert response.status_code != 500, response.text
    for detail in details:
        assert isinstance(detail, str)
        assert len(detail) > 15
        assert not THEIRS.search(re.sub(r"'[^']*'|\"[^\"]*\"|events\.\w+", "", detail)), detail
    return response.status_code


@pytest.mark.parametrize("message", sorted(MESSAGES))
def test_each_wrong_value_in_a_message_is_refused_in_our_words(
    scim: httpx.Client, message: str
) -> None:
    method, path, body = MESSAGES[message]
    statuses = []
    for name in body:
        for value in WRONG:
            # a poll that waits for nothing takes seconds
            always = {"schemas", "returnImmediately"} & set(body)
            sent = {**{each: body[each] for each in always}, name: value}
            statuses.append(in_our_words(scim.request(method, path, json=sent)))
    assert statuses.count(400) + statuses.count(404) > len(statuses) // 3


def test_each_wrong_value_in_a_patch_is_refused_in_our_words(scim: httpx.Client) -> None:
    user = new_user(scim)
    operation = {"op": "add", "path": "title", "value": "x"}
    bodies = [{"Operations": value} for value in WRONG]
    bodies += [{"schemas": value, "Operations": [operation]} for value in WRONG]
    for name in operation:
        bodies += [{"Operations": [{**operation, name: value}]} for value in WRONG]
    bodies += [
        {"Operations": [{"op": op, "path": path, "value": "x"}]}
        for op in ("add", "replace", "remove")
        for path in (
            *("emails[", "emails[]", "name[x eq 1]", "title.x", "emails.x", "emails[x pr]", "a b"),
            *("emails[primary gt true]", "emails[value eq 5]", "emails[type co 5]", "id", "meta"),
            *('emails[value eq "none"].display', "emails[not (value pr)]", "urn:x:y", "groups"),
            *("urn:ietf:params:scim:schemas:core:2.0:User", "x509Certificates[value gt 1]"),
        )
    ]
    for body in bodies:
        response = scim.patch(f"/Users/{user['id']}", json={"schemas": [PATCH], **body})
        in_our_words(response)


def test_each_wrong_value_in_a_bulk_request_is_refused_in_our_words(scim: httpx.Client) -> None:
    operation = {"method": "POST", "path": "/Users", "bulkId": "a", "data": user_body(title=5)}
    operation["version"] = 'W/"1"'
    bodies = [{"Operations": value} for value in WRONG]
    bodies += [{"schemas": value, "Operations": [operation]} for value in WRONG]
    bodies += [{"failOnErrors": value, "Operations": [operation]} for value in WRONG]
    for name in operation:
        bodies += [{"Operations": [{**operation, name: value}]} for value in WRONG]
        bodies.append({"Operations": [{k: v for k, v in operation.items() if k != name}]})
    bodies += [
        {"Operations": [{**operation, "method": method, "path": path}]}
        for method in ("POST", "PUT", "PATCH", "DELETE", "GET")
        for path in ("/Users", "/Users/absent", "/Nothing", "/Bulk", "/Me", "/Users/.search", "")
    ]
    for reference in ("bulkId:none", "bulkId:a"):
        data = user_body(title=reference)
        bodies.append({"Operations": [{**operation, "data": data}, {**operation, "data": data}]})
    for body in bodies:
        in_our_words(scim.post("/Bulk", json={"schemas": [BULK], **body}))


@pytest.mark.parametrize(
    "path", ["/Users", "/Users/{id}", "/Groups", "/Events/deliveries", "/Drift"]
)
def test_each_wrong_parameter_is_refused_in_our_words(scim: httpx.Client, path: str) -> None:
    group = new_group(scim)
    for name in (
        *("filter", "attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex"),
        *("count", "cursor", "state", "after", "kind", "user"),
    ):
        for value in (
            *("", " ", "5", "a b", "]", "[", '"', "emails[", "a,,b", "x" * 300, "é", "1e5", "name"),
            *("name eq 5", 'shoe eq "x"', "active gt true", "title eq 5", "meta.created co 1"),
            *("x509Certificates", "password", "userName pr and", "name[x pr]", 'emails[x eq "a"]'),
        ):
            in_our_words(scim.get(path.format(id=group["id"]), params={name: value}))


def test_what_is_not_there_or_not_so_is_said_in_our_words(scim: httpx.Client) -> None:
    user = new_user(scim)
    path = f"/Users/{user['id']}"
    stale = {"If-Match": 'W/"99"'}
    for response in (
        scim.get("/Nothing"),
        scim.get("/Users/absent"),
        scim.get("/Schemas/absent"),
        scim.get("/ResourceTypes/absent"),
        scim.get("/Schemas", params={"filter": "id pr"}),
        scim.put("/Users", json={}),
        scim.post("/Users", content="x", headers={"Content-Type": "text/plain"}),
        scim.post("/Users", content="{", headers={"Content-Type": "application/json"}),
        scim.post("/Users", json=user_body(user["userName"])),
        scim.put(path, json=user_body(), headers=stale),
        scim.patch(path, json={"schemas": [PATCH], "Operations": [{"op": "add"}]}, headers=stale),
        scim.delete(path, headers=stale),
        scim.get("/Me"),
        scim.get("/Users", params={"cursor": "forged"}),
    ):
        assert in_our_words(response) >= 400
