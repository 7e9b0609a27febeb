"""The providers' own collections, in their order, on a fresh tenant of the default configuration.

None may end in quarantine: a person whom a test creates and deletes is no disaster.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from hosts import Gateway
from scim_traffic import (
    CORE_GROUP,
    CORE_USER,
    ENTERPRISE,
    ERROR,
    LIST,
    answered,
    get,
    members_of,
    patch,
    refused,
    unique,
)

SCIM2 = Path(sys.executable).with_name("scim2")
NOBODY = "010101001010101011001010101011"


@pytest.fixture
def tenant(gateway_with: Callable[..., Gateway]) -> Gateway:
    """A fresh tenant of the default configuration: the other tests' have no quarantine."""
    return gateway_with(quarantine={})


@pytest.fixture
def scim(tenant: Gateway) -> httpx.Client:
    return tenant.scim


def not_in_quarantine(gateway: Gateway) -> None:
    """Hold that the next leaver may go."""
    user = created(gateway.scim, "/Users", schemas=[CORE_USER], userName=unique("after"))
    assert gateway.scim.delete(f"/Users/{user['id']}").status_code == 204


def created(scim: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    return answered(scim.post(path, json=body), 201)


def person(name: str, /, **more: Any) -> dict[str, Any]:
    """Return a user with what each of the collections sends."""
    given, family = f"Given {name}", "Employee"
    return {
        "schemas": [CORE_USER],
        "userName": name,
        "name": {"givenName": given, "familyName": family, "formatted": f"{given} {family}"},
        "emails": [{"primary": True, "value": f"{name}@example.com", "type": "work"}],
        "displayName": f"{given} {family}",
        "active": True,
        **more,
    }


def test_scim2_test_ends_without_quarantine(tenant: Gateway) -> None:
    environment = {
        **os.environ,
        "SCIM_CLI_URL": tenant.scim_base,
        "SCIM_CLI_HEADERS": f"Authorization: Bearer {tenant.token}",
    }
    ran = subprocess.run(
        [str(SCIM2), "test"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    failed = [x for x in ran.stdout.splitlines() if x.startswith(("ERROR", "CRITICAL"))]
    assert failed == [], ran.stdout
    not_in_quarantine(tenant)


def test_the_spec_test_of_okta(tenant: Gateway, scim: httpx.Client) -> None:
    """https://developer.okta.com/standards/SCIM/SCIMFiles/Okta-SCIM-20-SPEC-Test.json"""
    created(scim, "/Users", **person("already@example.com"))

    page = get(scim, "/Users", count="1", startIndex="1")
    assert page["schemas"] == [LIST]
    assert [type(page[each]) for each in ("itemsPerPage", "startIndex", "totalResults")] == [
        int
    ] * 3
    first = page["Resources"][0]
    for shown in (first, get(scim, f"/Users/{first['id']}")):
        assert shown["id"] == first["id"]
        assert shown["name"]["familyName"]
        assert shown["name"]["givenName"]
        assert shown["userName"]
        assert shown["active"] is True
        assert shown["emails"][0]["value"]

    none = get(scim, "/Users", filter='userName eq "abcdefgh@example.com"')
    assert (none["schemas"], none["totalResults"]) == ([LIST], 0)
    refused(scim.get(f"/Users/{NOBODY}"), 404)

    name = unique("Runscope300") + "@example.com"
    assert get(scim, "/Users", filter=f'userName eq "{name}"')["totalResults"] == 0
    body = person(name)
    user = created(scim, "/Users", **body)
    assert CORE_USER in user["schemas"]
    for attribute in ("active", "name", "userName"):
        assert user[attribute] == body[attribute]
    assert user["emails"][0]["value"] == body["emails"][0]["value"]
    shown = get(scim, f"/Users/{user['id']}")
    assert (shown["userName"], shown["name"]) == (name, body["name"])
    assert scim.post("/Users", json=body).status_code == 409
    assert get(scim, "/Users", filter=f'userName eq "{name.upper()}"')["totalResults"] == 1

    groups = get(scim, "/Groups")
    assert isinstance(groups["totalResults"], int)
    assert isinstance(groups["Resources"], list)
    error = scim.get(f"/Users/{NOBODY}").json()
    assert (error["status"], error["schemas"]) == ("404", [ERROR])
    not_in_quarantine(tenant)


def test_the_crud_test_of_okta(tenant: Gateway, scim: httpx.Client) -> None:
    """https://developer.okta.com/standards/SCIM/SCIMFiles/Okta-SCIM-20-CRUD-Test.json

    Its requests go to Okta; these are what Okta sends then.
    """
    name = unique("crud") + "@example.com"
    for _ in range(12):  # it is run again and again while an integration is set up
        found = get(scim, "/Users", filter=f'userName eq "{name}"', startIndex="1", count="100")
        assert found["totalResults"] == 0
        body = person(name, externalId=unique("00u"), locale="en-US", groups=[], password="s3cret")
        user = created(scim, "/Users", **body)
        path = f"/Users/{user['id']}"

        sent = get(scim, path)
        sent["name"]["givenName"] = "Changed"
        assert answered(scim.put(path, json=sent), 200)["name"]["givenName"] == "Changed"
        assert get(scim, path)["name"]["givenName"] == "Changed"

        for active in (False, True, False):
            operation = {"op": "replace", "value": {"active": active}}
            assert answered(patch(scim, path, operation), 200)["active"] is active
            assert get(scim, path)["active"] is active
        assert scim.delete(path).status_code == 204
    not_in_quarantine(tenant)


def test_the_collection_of_entra(tenant: Gateway, scim: httpx.Client) -> None:
    """https://github.com/AzureAD/SCIMReferenceCode, PostmanCollection.json

    What differs: a PATCH of a user is answered 200 with the user, and a member must exist.
    """
    for path in ("/Users", "/Groups", "/ResourceTypes", "/ServiceProviderConfig", "/Schemas"):
        answered(scim.get(path), 200)
    _users_of_entra(scim)
    _groups_of_entra(scim)
    _complex_attributes_of_entra(scim)
    _garbage_of_entra(scim)
    assert get(scim, "/Users", attributes="userName")["Resources"] == []
    assert get(scim, "/Groups")["Resources"] == []
    not_in_quarantine(tenant)


def _entra(name: str, /, **more: Any) -> dict[str, Any]:
    emails = [
        {"Primary": True, "type": "work", "value": f"{name}@example.com"},
        {"Primary": False, "type": "home", "value": f"{name}@home.example"},
    ]
    return person(name, **{"emails": emails, "externalId": unique("x"), **more})


def _users_of_entra(scim: httpx.Client) -> None:
    one = created(scim, "/Users", **_entra("UserName123"))
    extended = {"Department": "bob", "Manager": {"Value": "SuzzyQ"}}
    schemas = [ENTERPRISE, CORE_USER]
    two = created(
        scim, "/Users", **_entra("UserName222", **{ENTERPRISE: extended}, schemas=schemas)
    )
    assert two[ENTERPRISE] == {"department": "bob", "manager": {"value": "SuzzyQ"}}
    for user in (one, two):
        assert get(scim, f"/Users/{user['id']}")["id"] == user["id"]
    listed = get(scim, "/Users", attributes="userName,emails")["Resources"]
    assert one["id"] in [each["id"] for each in listed]
    found = get(scim, "/Users/", filter=f'DisplayName eq "{one["displayName"]}"')
    assert [each["id"] for each in found["Resources"]] == [one["id"]]
    operation = {"op": "replace", "path": "userName", "value": "ryan3"}
    answered(patch(scim, f"/Users/{one['id']}", operation), 200)
    assert get(scim, f"/Users/{one['id']}")["userName"] == "ryan3"
    body = _entra("UserNameReplace2", id=two["id"], name={"formatted": "NewName"}, schemas=schemas)
    answered(scim.put(f"/Users/{two['id']}", json=body), 200)
    assert get(scim, f"/Users/{two['id']}")["name"]["formatted"] == "NewName"
    for user in (one, two):
        assert scim.delete(f"/Users/{user['id']}").status_code == 204


def _groups_of_entra(scim: httpx.Client) -> None:
    def group(name: str, *members: str) -> str:
        body = {
            "externalId": unique("x"),
            "schemas": [CORE_GROUP],
            "displayName": name,
            "members": [{"value": each, "display": "VP"} for each in members],
        }
        return str(created(scim, "/Groups", **body)["id"])

    first = group("Group1DisplayName")
    three, four = (created(scim, "/Users", **_entra(name))["id"] for name in ("u333", "u444"))
    second = group("GroupDisplayName2", three)
    assert get(scim, "/Groups")["totalResults"] == 2
    third = group("GroupDisplayName3")
    members = [{"value": three, "display": "VP"}, {"value": four, "display": "SenorVP"}]
    body = {"schemas": [CORE_GROUP], "id": third, "displayName": "putName", "members": members}
    answered(scim.put(f"/Groups/{third}", json=body), 200)
    assert members_of(scim, third) == {three, four}
    add = {"name": "addMember", "op": "add", "path": "members"}
    add |= {"value": [{"displayName": "new User", "value": four}]}
    remove = {"op": "remove", "path": f'members[value eq "{four}"]'}
    for operation, left in (
        (add, {four}),
        (remove, set()),
        (add, {four}),
        ({"op": "remove", "path": "members"}, set()),
    ):
        assert patch(scim, f"/Groups/{first}", operation).status_code == 204
        assert members_of(scim, first) == left
    for path in (
        f"/Users/{three}",
        f"/Users/{four}",
        *(f"/Groups/{x}" for x in (first, second, third)),
    ):
        assert scim.delete(path).status_code == 204


def _complex_attributes_of_entra(scim: httpx.Client) -> None:
    users = [
        created(scim, "/Users", **_entra(name))["id"] for name in ("UserName111", "UserName222")
    ]
    for attribute in ('emails[type eq "work"]', 'emails[value eq "UserName111@example.com"]'):
        response = scim.get("/Users", params={"attributes": attribute})
        answered(response, 200)
        assert "UserName111@example.com" in response.text
    for each in users:
        assert scim.delete(f"/Users/{each}").status_code == 204


def _garbage_of_entra(scim: httpx.Client) -> None:
    garbage = {
        "addresses": [
            {"country": "Bermuda", "type": "work", "primary": False, "formatted": "a\nb"},
            {"country": None, "type": "other", "primary": False, "formatted": "c"},
        ],
        "meta": {"created": "2019-09-18T18:15:26.5788954+00:00", "resourceType": "User"},
        "phoneNumbers": [{"type": "work", "value": ""}],
        "roles": [],
        "title": "Site engineer",
    }
    names = ("OMalley", "emp1", "emp2", "emp3")
    ids = [
        created(
            scim, "/Users", **_entra(name, **garbage, active="True" if name == "emp1" else True)
        )["id"]
        for name in names
    ]
    assert get(scim, "/Users")["totalResults"] == len(names)
    nameless = {key: value for key, value in _entra("x", **garbage).items() if key != "userName"}
    refused(scim.post("/Users", json=nameless), 400, "invalidValue")
    refused(scim.post("/Users", content='{"acve": tre,'), 400, "invalidSyntax")
    for _ in range(2):
        refused(scim.post("/Users", json=_entra("emp3")), 409, "uniqueness")
    first = f"/Users/{ids[0]}"
    wrong = {**nameless, "userame": "OMalley", "active": False}
    refused(scim.put(first, json=wrong), 400, "invalidValue")
    misspelled = _entra("OMalley", active=False, adreses=garbage["addresses"])
    assert "addresses" not in answered(scim.put(first, json=misspelled), 200)
    ids.append(created(scim, "/Users", **_entra("ent", **{ENTERPRISE: {"Department": "d"}}))["id"])
    for path, value in (("userName", "newusername"), ("active", False)):
        answered(patch(scim, first, {"op": "Replace", "path": path, "value": value}), 200)
    shown = get(scim, first)
    assert (shown["userName"], shown["active"]) == ("newusername", False)
    body = _entra("OMalley", active=False, **garbage)
    assert answered(scim.put(first, json=body), 200)["addresses"][0]["country"] == "Bermuda"
    page = get(scim, "/Users", startIndex="1", count="2")
    assert (page["totalResults"], page["itemsPerPage"]) == (5, 2)
    query = 'name.FamilyName eq "Employee" and (emails.Value co "home.ex" or emails.Value co "@")'
    assert get(scim, "/Users", filter=query)["totalResults"] == 5
    assert get(scim, "/Users", filter='userName sw "O"')["totalResults"] == 1
    recent = 'meta.Created gt "2015-10-10T14:38:21.8617979-07:00"'
    assert get(scim, "/Users", filter=recent)["totalResults"] == 5

    group = created(scim, "/Groups", schemas=[CORE_GROUP], displayName="Group 1")["id"]
    operation = {"op": "add", "path": "members", "value": ids[1]}
    body = {"id": group, "Operations": [operation], "schemas": []}
    assert scim.patch(f"/Groups/{group}", json=body).status_code == 204
    assert members_of(scim, group) == {ids[1]}
    assert "members" not in get(scim, f"/Groups/{group}", excludedAttributes="members")
    body = {"id": group, "displayName": "Tiffany Ortiz", "schemas": [CORE_GROUP]}
    assert answered(scim.put(f"/Groups/{group}", json=body), 200)["displayName"] == "Tiffany Ortiz"
    for path in (*(f"/Users/{each}" for each in ids), f"/Groups/{group}"):
        assert scim.delete(path).status_code == 204
