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
    patch,
    refused,
    unique,
    user_body,
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


@pytest.mark.every_host
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


@pytest.mark.every_host
@pytest.mark.parametrize("order", ["ascending", "descending", "Descending"])
@pytest.mark.parametrize("sort_by", ["userName", "displayName", "name.familyName", "emails"])
def test_sorting(scim: httpx.Client, crowd: list[dict[str, Any]], sort_by: str, order: str) -> None:
    query = {"filter": f'title eq "{crowd[0]["title"]}"', "sortBy": sort_by, "sortOrder": order}
    wanted = ids(crowd)
    if order != "ascending":
        wanted.reverse()
    assert ids(get(scim, "/Users", **query)["Resources"]) == wanted


def test_users_are_sorted_by_their_locations(
    scim: httpx.Client, crowd: list[dict[str, Any]]
) -> None:
    query = {"filter": f'title eq "{crowd[0]["title"]}"', "sortBy": "meta.location"}
    found = get(scim, "/Users", **query)["Resources"]
    locations = [each["meta"]["location"] for each in found]
    assert locations == sorted(locations)
    refused(scim.get("/", params={"sortBy": "meta.location"}), 400, "invalidPath")


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


@pytest.mark.every_host
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


@pytest.mark.every_host
def test_later_pages_say_how_many_there_were_at_the_first(
    scim: httpx.Client, crowd: list[dict[str, Any]]
) -> None:
    """So a page costs the same however many there are."""
    title = crowd[0]["title"]
    query = {"filter": f'title eq "{title}"', "count": "2"}
    page = get(scim, "/Users", cursor="", **query)
    new_user(scim, title=title)
    later = get(scim, "/Users", cursor=page["nextCursor"], **query)
    assert later["totalResults"] == page["totalResults"] == len(crowd)


@pytest.mark.every_host
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


def written(scim: httpx.Client, method: str, query: str) -> dict[str, Any]:
    """Return the answer to a write of a user with two e-mails, asked for some of its attributes."""
    emails = [{"value": "w@x.org", "type": "work"}, {"value": "h@x.org", "type": "home"}]
    body = user_body(title="T", displayName="D", emails=emails)
    if method == "POST":
        return answered(scim.post(f"/Users?{query}", json=body), 201)
    user = answered(scim.post("/Users", json=body), 201)
    path = f"/Users/{user['id']}?{query}"
    if method == "PUT":
        return answered(scim.put(path, json={**body, "title": "U"}), 200)
    return answered(patch(scim, path, {"op": "replace", "path": "title", "value": "U"}), 200)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_the_answer_to_each_write_has_the_attributes_asked_for(
    scim: httpx.Client, method: str
) -> None:
    """RFC 7644 §3.9."""
    assert set(written(scim, method, "attributes=title")) == {"schemas", "id", "title"}
    spaced = written(scim, method, "attributes=title,%20displayName%20,,")
    assert set(spaced) == {"schemas", "id", "title", "displayName"}
    without = written(scim, method, "excludedAttributes=title,%20emails")
    assert {"userName", "displayName", "meta"} <= set(without)
    assert not {"title", "emails"} & set(without)
    work = written(scim, method, "attributes=title,emails[type%20eq%20%22work%22]")
    assert work["emails"] == [{"value": "w@x.org", "type": "work"}]
    assert set(work) == {"schemas", "id", "title", "emails"}
    value = written(scim, method, "attributes=emails[type+eq+%22work%22].value")
    assert value["emails"] == [{"value": "w@x.org"}]
    home = written(scim, method, "excludedAttributes=emails[type+eq+%22work%22]")
    assert home["emails"] == [{"value": "h@x.org", "type": "home"}]
    assert home["title"] in ("T", "U")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("query", "scim_type"),
    [
        ("attributes=a&excludedAttributes=b", "invalidValue"),
        ("attributes=emails[", "invalidPath"),
        ("attributes=emails[shoe+eq+1]", "invalidFilter"),
        ("attributes=name[familyName+pr]", "invalidFilter"),
        ("excludedAttributes=title+pr", "invalidPath"),
    ],
)
def test_a_write_whose_answer_cannot_be_shaped_is_refused_and_nothing_is_written(
    scim: httpx.Client, method: str, query: str, scim_type: str
) -> None:
    user = new_user(scim, title="T")
    name = unique("u")
    if method == "POST":
        answer = scim.post(f"/Users?{query}", json=user_body(name))
    elif method == "PUT":
        answer = scim.put(f"/Users/{user['id']}?{query}", json={**user, "title": "U"})
    else:
        operation = {"op": "replace", "path": "title", "value": "U"}
        answer = patch(scim, f"/Users/{user['id']}?{query}", operation)
    refused(answer, 400, scim_type)
    assert get(scim, f"/Users/{user['id']}")["title"] == "T"
    assert get(scim, "/Users", filter=f'userName eq "{name}"')["totalResults"] == 0


def test_a_value_filter_chooses_what_a_search_returns(scim: httpx.Client) -> None:
    """As Entra's own collection of requests asks for it."""
    emails = [{"value": "w,x@x.org", "type": "work"}, {"value": "h@x.org", "type": "home"}]
    user = new_user(scim, emails=emails)
    query = {"filter": f'userName eq "{user["userName"]}"'}
    for names, shown in (
        ('userName, emails[type eq "work"]', emails[:1]),
        ('EMAILS[value eq "w,x@x.org" and not (type eq "home")]', emails[:1]),
        ('emails[type eq "work"],emails[type eq "home"]', emails),
        ('emails[type eq "work"],emails', emails),
        ('emails[type eq "other"],userName', None),
    ):
        (found,) = get(scim, "/Users", attributes=names, **query)["Resources"]
        assert found.get("emails") == shown
        body = {"schemas": [SEARCH], "attributes": [names], **query}
        (again,) = answered(scim.post("/Users/.search", json=body), 200)["Resources"]
        assert again == found
        assert get(scim, f"/Users/{user['id']}", attributes=names) == found
    assert get(scim, f"/Users/{user['id']}")["emails"] == emails
    group = new_group(scim, user["id"])
    wanted = f'members[$ref eq "{user["meta"]["location"]}"]'
    (member,) = get(scim, f"/Groups/{group['id']}", attributes=wanted)["members"]
    assert member["value"] == user["id"]
    others = get(scim, f"/Groups/{group['id']}", excludedAttributes=wanted)
    assert "members" not in others


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('manager eq "m-1"', True),
        ('manager co "-1"', True),
        ('not (manager eq "m-1")', False),
        ('manager ne "m-1"', False),
        (f'{ENTERPRISE}:manager sw "m"', True),
        ('department eq "DA"', True),
        ('emails eq "a@example.com"', True),
        ('emails ne "a@example.com"', False),
    ],
)
def test_a_comparison_with_a_complex_attribute_means_its_value(
    scim: httpx.Client, crowd: list[dict[str, Any]], expression: str, found: bool
) -> None:
    page = get(scim, "/Users", filter=f'id eq "{crowd[0]["id"]}" and ({expression})')
    assert bool(page["totalResults"]) == found


@pytest.mark.parametrize(
    "expression",
    [
        'name eq "x"',
        'addresses co "x"',
        'meta eq "User"',
        'manager[value eq "m-1"]',
        "title co 5",
        "title eq 5",
        "title eq true",
        'active eq "maybe"',
        'meta.created co "2020"',
        'meta.created sw "2020-01-01T00:00:00Z"',
        "emails.primary gt true",
        'password co "a"',
        "groups.$ref eq 5",
        "meta.location eq true",
    ],
)
def test_a_comparison_that_can_find_nothing_is_refused(scim: httpx.Client, expression: str) -> None:
    refused(scim.get("/Users", params={"filter": expression}), 400, "invalidFilter")
