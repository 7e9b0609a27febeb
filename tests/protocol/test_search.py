"""Searching, sorting, paging by index and by cursor, and what of a resource is returned."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from scim_traffic import (
    ENTERPRISE,
    KONG,
    SEARCH,
    answered,
    get,
    new_group,
    new_user,
    refused,
    unique,
)


@pytest.fixture
def crowd(scim: httpx.Client) -> list[dict[str, Any]]:
    """Five users who share a title, in the order of their names."""
    title = unique("crowd")
    return [
        new_user(
            scim,
            f"{letter}-{unique('u')}",
            title=title,
            displayName=letter.upper(),
            active=letter != "c",
            name={"familyName": f"F{letter}"},
            emails=[{"value": f"{letter}@example.com", "type": "work", "primary": True}],
            **{ENTERPRISE: {"department": f"D{letter}", "manager": {"value": "m-1"}}},
        )
        for letter in "abcde"
    ]


def ids(resources: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in resources]


@pytest.mark.parametrize(
    ("expression", "letters"),
    [
        ('displayName eq "A"', "a"),
        ('displayName ne "A"', "bcde"),
        ('displayName gt "C"', "de"),
        ('displayName le "B"', "ab"),
        ('name.familyName sw "fB"', "b"),
        ('emails co "C@EXAMPLE"', "c"),
        ('emails[type eq "work" and value sw "d@"]', "d"),
        ('emails[type eq "home"]', ""),
        ('emails[type eq "work"].value eq "e@example.com"', "e"),
        ("active eq false", "c"),
        ('active eq "False"', "c"),
        ("not (active eq true)", "c"),
        ("nickName pr", ""),
        ("name pr", "abcde"),
        (f'{ENTERPRISE}:department eq "DA"', "a"),
        (f'{ENTERPRISE}:manager.value eq "m-1"', "abcde"),
        ('(displayName eq "A" or displayName eq "B") and not (displayName eq "B")', "a"),
        ('DISPLAYNAME EQ "A" OR displayname Eq "B"', "ab"),
        ('meta.resourceType eq "User"', "abcde"),
        ('meta.created gt "2020-01-01T00:00:00Z"', "abcde"),
        ('emails.primary eq "True"', "abcde"),
    ],
)
def test_filters(
    scim: httpx.Client, crowd: list[dict[str, Any]], expression: str, letters: str
) -> None:
    found = get(scim, "/Users", filter=f'title eq "{crowd[0]["title"]}" and ({expression})')
    assert sorted(each["displayName"].lower() for each in found["Resources"]) == list(letters)
    assert found["totalResults"] == len(letters)


@pytest.mark.parametrize("order", ["ascending", "descending", "Descending"])
@pytest.mark.parametrize("sort_by", ["userName", "displayName", "name.familyName", "emails"])
def test_sorting(scim: httpx.Client, crowd: list[dict[str, Any]], sort_by: str, order: str) -> None:
    query = {"filter": f'title eq "{crowd[0]["title"]}"', "sortBy": sort_by, "sortOrder": order}
    wanted = ids(crowd)
    if order != "ascending":
        wanted.reverse()
    assert ids(get(scim, "/Users", **query)["Resources"]) == wanted


def test_a_search_by_post_answers_as_one_by_get(
    scim: httpx.Client, crowd: list[dict[str, Any]]
) -> None:
    body = {
        "schemas": [SEARCH],
        "filter": f'title eq "{crowd[0]["title"]}"',
        "sortBy": "userName",
        "attributes": ["displayName"],
        "startIndex": 2,
        "count": 2,
    }
    page = answered(scim.post("/Users/.search", json=body), 200)
    assert ids(page["Resources"]) == ids(crowd)[1:3]
    assert page["totalResults"] == 5
    assert set(page["Resources"][0]) == {"schemas", "id", "displayName"}


def test_a_search_at_the_root_finds_users_and_groups(scim: httpx.Client) -> None:
    name = unique("both")
    user = new_user(scim, displayName=name)
    group = new_group(scim, name=name)
    body = {"schemas": [SEARCH], "filter": f'displayName eq "{name}"'}
    for page in (
        answered(scim.post("/.search", json=body), 200),
        get(scim, "/", filter=body["filter"]),
    ):
        assert set(ids(page["Resources"])) == {user["id"], group["id"]}


def test_paging_by_cursor_sees_everybody_once(
    scim: httpx.Client, crowd: list[dict[str, Any]]
) -> None:
    """RFC 9865, forwards to the end and back to the beginning."""
    query = {"filter": f'title eq "{crowd[0]["title"]}"', "count": "2", "sortBy": "userName"}
    pages, cursor = [], ""
    while True:
        page = get(scim, "/Users", cursor=cursor, **query)
        pages.append(page)
        if "nextCursor" not in page:
            break
        cursor = page["nextCursor"]
    assert [ids(page["Resources"]) for page in pages] == [
        ids(crowd)[:2],
        ids(crowd)[2:4],
        ids(crowd)[4:],
    ]
    assert "previousCursor" not in pages[0]
    back = get(scim, "/Users", cursor=pages[2]["previousCursor"], **query)
    assert ids(back["Resources"]) == ids(crowd)[2:4]


def test_a_cursor_serves_its_own_query_only(
    scim: httpx.Client, crowd: list[dict[str, Any]]
) -> None:
    query = {"filter": f'title eq "{crowd[0]["title"]}"', "count": "2"}
    cursor = get(scim, "/Users", cursor="", **query)["nextCursor"]
    for other, scim_type in (
        ({**query, "filter": "userName pr"}, "invalidCursor"),
        ({**query, "count": "3"}, "invalidCount"),
        ({**query, "startIndex": "2"}, "invalidValue"),
    ):
        refused(scim.get("/Users", params={"cursor": cursor, **other}), 400, scim_type)


def test_a_page_is_never_larger_than_max_results(scim: httpx.Client) -> None:
    config = get(scim, "/ServiceProviderConfig")
    assert config["pagination"]["maxPageSize"] == config["filter"]["maxResults"]


def test_attributes_choose_what_is_returned(scim: httpx.Client) -> None:
    user = new_user(scim, displayName="D", title="T", name={"givenName": "G", "familyName": "F"})
    path = f"/Users/{user['id']}"
    assert set(get(scim, path, attributes="displayName")) == {"schemas", "id", "displayName"}
    assert get(scim, path, attributes="name.givenName")["name"] == {"givenName": "G"}
    both = get(scim, f"{path}?attributes=title&attributes=DISPLAYNAME")
    assert set(both) == {"schemas", "id", "displayName", "title"}
    without = get(scim, path, excludedAttributes="title,name")
    assert "title" not in without
    assert "name" not in without
    assert without["displayName"] == "D"
    assert "id" in get(scim, path, excludedAttributes="id")
    extension = get(scim, path, attributes=f"{KONG}:suspended")
    assert set(extension) <= {"schemas", "id", KONG}


def test_answers_to_writes_return_the_attributes_asked_for(scim: httpx.Client) -> None:
    user = new_user(scim, title="T")
    body = {**user, "title": "U"}
    answer = answered(scim.put(f"/Users/{user['id']}?attributes=title", json=body), 200)
    assert set(answer) == {"schemas", "id", "title"}
