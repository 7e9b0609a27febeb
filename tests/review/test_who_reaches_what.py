"""The access review against the gateway itself: each person's key is tried on each route."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from review_support import NOT_JUDGED, command, review, routes

from hosts import Gateway, eventually
from outbox import events
from scim_traffic import new_group, new_user, patch, patched_user, refused

ROUTES = [each["name"] for service in routes("") for each in service["routes"]]


def now() -> str:
    return datetime.now(UTC).isoformat()


def tried(gateway: Gateway, keys: dict[str, str]) -> dict[tuple[str, str], int]:
    """Return what the gateway answers to each key on each route."""
    return {
        (person, route): gateway.call(key, f"/r/{route}").status_code
        for person, key in keys.items()
        for route in ROUTES
    }


def said(report: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Return the same as a review with its refused lines says."""
    return {
        (entry["userName"] or entry["user"], entry["route"]): entry["status"]
        for entry in report["entries"]
        if entry["route"] in ROUTES
    }


def judged(answers: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {key: status for key, status in answers.items() if key[1] not in NOT_JUDGED}


@pytest.mark.every_host
def test_the_review_says_what_each_key_gets_on_each_route_now_and_at_a_moment_before(
    varied: Gateway,
) -> None:
    people = ["ada", "bob", "cy", "dee", "eve", "fay"]
    ids = {name: new_user(varied.scim, name)["id"] for name in people}
    staff = new_group(varied.scim, ids["ada"], ids["bob"], name="staff")["id"]
    interns = new_group(varied.scim, ids["cy"], ids["bob"], name="interns")["id"]
    new_group(varied.scim, ids["ada"], ids["eve"], name="ops")
    keys = {name: varied.give_key(name) for name in people if name != "fay"} | {"fay": "none"}

    first = judged(tried(varied, keys))
    assert set(first.values()) == {200, 401, 403}
    report = review(varied, refused="true")
    assert judged(said(report)) == first
    assert report["people"] == len(people)
    then = now()

    def members(group: str, op: str, person: str) -> None:
        path = f'members[value eq "{ids[person]}"]' if op == "remove" else "members"
        value = {} if op == "remove" else {"value": [{"value": ids[person]}]}
        assert patch(varied.scim, f"/Groups/{group}", {"op": op, "path": path, **value}).is_success

    members(staff, "remove", "ada")
    members(staff, "add", "dee")
    members(interns, "remove", "cy")
    patched_user(varied.scim, ids["bob"], {"op": "replace", "value": {"active": False}})
    assert varied.scim.delete(f"/Users/{ids['eve']}").status_code == 204
    new_user(varied.scim, "guy")
    keys["guy"] = varied.give_key("guy")
    events(varied)

    second = judged(tried(varied, keys))
    assert second != first
    report = review(varied, refused="true")
    gone = {key: status for key, status in second.items() if key[0] == "eve"}
    assert set(gone.values()) == {401}
    assert judged(said(report)) == {key: second[key] for key in second if key not in gone}

    # The name of a deleted person is not in the trail, but its id is.
    names = {ids["eve"]: "eve"}
    report = review(varied, refused="true", at=then)
    before = {(names.get(key[0], key[0]), key[1]): status for key, status in said(report).items()}
    assert judged(before) == first
    assert report["people"] == len(people)

    paged = review(varied, refused="true", at=then, count="3")
    assert [paged[name] for name in ("entries", "people", "lines")] == [
        report[name] for name in ("entries", "people", "lines")
    ]


def test_what_cannot_be_judged_is_a_line_that_says_why(varied: Gateway) -> None:
    lines = review(varied)["notJudged"]
    reasons = {each["route"]: each["reason"] for each in lines if not each["partly"]}
    assert NOT_JUDGED | {"scim-a", "scim-b", "ldap", "strict-ldap"} <= set(reasons)
    assert "anybody reaches it" in reasons["open"]
    assert "401 to everybody" in reasons["acl-only"]
    assert "the consumer nobody" in reasons["anybody"]
    assert "ldap-auth decides by a rule of its own" in reasons["ldap"]


def test_a_line_says_by_which_group_since_when_and_by_whom(varied: Gateway) -> None:
    ada = new_user(varied.scim, "ada")["id"]
    group = new_group(varied.scim, ada, name="staff")["id"]
    varied.give_key("ada")
    (event,) = events(varied, group)
    (line,) = [each for each in review(varied, user="ada")["entries"] if each["by"] == "staff"][:1]
    assert line["user"] == ada
    assert datetime.fromisoformat(line["since"]) == datetime.fromisoformat(event["occurred"])
    assert line["grantedBy"] == {
        "event": event["id"],
        "actor": "idp",
        "request": event["requestId"],
    }
    (credential,) = line["credentials"]
    assert credential["kind"] == "keyauth_credentials"
    assert credential["created"].endswith("Z")
    assert "key" not in credential


def test_a_group_that_an_administrator_gave_is_shown_without_an_event(varied: Gateway) -> None:
    ada = new_user(varied.scim, "ada")
    if varied.host.dbless:
        return  # there, nobody but SCIM gives its consumers groups
    path = f"/consumers/{ada['id']}/acls"
    varied.admin.post(path, json={"group": "ops"}).raise_for_status()
    lines = [each for each in review(varied, user="ada")["entries"] if each["by"] == "ops"]
    assert [(each["route"], each["since"], each["grantedBy"]) for each in lines] == [
        ("staff-or-ops", None, None)
    ]


def test_the_last_use_comes_from_the_access_log(varied: Gateway) -> None:
    for name in ("ada", "bob"):
        new_user(varied.scim, name)
    key = varied.give_key("ada")
    assert varied.call(key, "/keyed").status_code == 200
    log = varied.access_log
    eventually(lambda: log.exists() and "keyed" in log.read_text(), "the record")
    shown = command(
        varied, "--service", "echo", "--format", "csv", "--access", str(varied.access_log)
    )
    assert shown.exit_code == 0, shown.output
    used = {
        (row["userName"], row["route"]): row["lastUsed"]
        for row in csv.DictReader(io.StringIO(shown.stdout))
        if row["line"] == "access"
    }
    age = datetime.now(UTC) - datetime.fromisoformat(used["ada", "keyed"])
    assert -2 < age.total_seconds() < 120
    assert used["bob", "keyed"] == ""


@pytest.mark.every_host
def test_credentials_of_each_kind_have_an_age_and_an_expiry_and_no_value(varied: Gateway) -> None:
    new_user(varied.scim, "ada")
    given = {"keyauth_credentials": {"key": "k3y-of-ada", "ttl": 3600}}
    if varied.name.startswith("kong"):  # the sandbox has no other kinds
        given |= {
            "jwt_secrets": {"key": "iss-of-ada", "secret": "s3cret-of-ada"},
        }
    if varied.name == "kong-postgres":  # scim-bridge takes no passwords
        given |= {"basicauth_credentials": {"username": "ada", "password": "s3cret-of-ada"}}
    paths = {"jwt_secrets": "jwt", "basicauth_credentials": "basic-auth"}
    for kind, body in given.items():
        path = varied.keys_path("ada").replace("key-auth", paths.get(kind, "key-auth"))
        varied.admin.post(path, json=body).raise_for_status()
    report = review(varied, user="ada", refused="true")
    found = {each["kind"]: each for each in report["entries"][0]["credentials"]}
    assert set(found) == set(given)
    for each in found.values():
        age = datetime.now(UTC) - datetime.fromisoformat(each["created"])
        assert -2 < age.total_seconds() < 120
        assert set(each) == {"kind", "id", "created", "expires"}
    left = datetime.fromisoformat(found["keyauth_credentials"]["expires"]) - datetime.now(UTC)
    assert 3400 < left.total_seconds() < 3602
    assert "s3cret" not in str(report)
    assert "k3y" not in str(report)


def test_all_pages_are_about_the_moment_of_the_first_one(varied: Gateway) -> None:
    ids = sorted(new_user(varied.scim, f"person-{index}")["id"] for index in range(6))
    group = new_group(varied.scim, *ids, name="ops")["id"]
    query = {"count": "1", "service": "mixed", "group": "ops"}
    page = varied.scim.get("/AccessReview", params=query).json()
    seen = [entry["user"] for entry in page["entries"]]
    assert seen == ids[:1]
    for gone in (ids[0], ids[2], ids[5]):
        assert varied.scim.delete(f"/Users/{gone}").status_code == 204
    patched_user(varied.scim, ids[3], {"op": "replace", "value": {"active": False}})
    assert varied.scim.delete(f"/Groups/{group}").status_code == 204
    new_user(varied.scim, "late")
    while page["next"]:
        query["cursor"] = page["next"]
        page = varied.scim.get("/AccessReview", params=query).json()
        seen += [entry["user"] for entry in page["entries"]]
        assert not any(entry["suspended"] for entry in page["entries"])
    assert seen == ids
    assert page["people"] == len(ids)


def test_a_report_ends_when_what_decides_changes_between_its_pages(varied: Gateway) -> None:
    if varied.host.dbless:
        return  # loading another configuration would take its people away for a moment
    for name in ("ada", "bob"):
        new_user(varied.scim, name)
    page = varied.scim.get("/AccessReview", params={"count": "1", "refused": "true"}).json()
    varied.admin.post("/consumers/nobody/acls", json={"group": "staff"}).raise_for_status()
    query = {"refused": "true", "cursor": page["next"]}
    assert "begin anew" in refused(varied.scim.get("/AccessReview", params=query), 409)
