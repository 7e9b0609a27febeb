"""The log of what the provider sent, with the sentence of each error and nothing secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from endpoint_support import answered, refused

from hosts import Gateway
from scim_traffic import new_user, unique, user_body


def log(gateway: Gateway, **query: Any) -> list[dict[str, Any]]:
    """Return the requests of one page, the newest first."""
    found: list[dict[str, Any]] = answered(gateway.scim.get("/Requests", params=query))["requests"]
    return found


@pytest.fixture
def keeping(gateway_with: Callable[..., Gateway]) -> Gateway:
    """A gateway that keeps bodies of what failed."""
    return gateway_with(requests={"keep_bodies": True})


def test_each_request_is_there_with_its_caller_and_its_provider(gateway: Gateway) -> None:
    agent = {"User-Agent": "Okta SCIM Client 1.0.0"}
    user = gateway.scim.post("/Users", json=user_body(), headers=agent).json()
    gateway.scim.get(f"/Users/{user['id']}?attributes=userName", headers={"User-Agent": "curl/8"})

    of_users = (each for each in log(gateway) if each["path"].startswith("/Users"))
    read, created = next(of_users), next(of_users)

    assert created | {"id": 0, "at": "", "milliseconds": 0} == {
        "id": 0,
        "at": "",
        "milliseconds": 0,
        "method": "POST",
        "path": "/Users",
        "status": 201,
        "token": created["token"],
        "provider": "Okta",
        "error": None,
        "body": None,
    }
    assert created["token"]
    assert created["at"].endswith("Z")
    assert (read["path"], read["provider"]) == (f"/Users/{user['id']}", "curl")
    assert read["id"] > created["id"]


def test_a_request_that_failed_has_the_sentence_that_the_provider_got(gateway: Gateway) -> None:
    new_user(gateway.scim, "alice")
    taken = gateway.scim.post("/Users", json=user_body("alice"))
    gateway.scim.get("/Users")

    (failed,) = log(gateway, failed="true", count=1)

    assert (failed["status"], failed["error"]) == (409, taken.json()["detail"])


def test_who_was_not_let_in_is_there_without_a_name_and_without_the_token(
    gateway: Gateway,
) -> None:
    secret = unique("s3cret")
    answer = httpx.get(
        f"{gateway.scim_base}/Users/{secret}",
        headers={"Authorization": f"Bearer {secret}"},
        verify=False,
    )
    assert answer.status_code == 401

    page = gateway.scim.get("/Requests", params={"failed": "true"})

    newest = answered(page)["requests"][0]
    assert (newest["status"], newest["token"], newest["path"]) == (401, None, "/Users/***")
    assert secret not in page.text


def test_bodies_are_kept_only_where_that_is_configured_and_only_of_what_failed(
    gateway: Gateway, keeping: Gateway
) -> None:
    for each in (gateway, keeping):  # two routes of one tenant
        name = unique("kept")
        for _ in range(2):
            each.scim.post("/Users", json=user_body(name))

    failed, *others = [row["body"] for row in log(keeping, count=4)]
    assert others == [None] * 3
    assert f'"userName": "{name}"' in failed


@pytest.mark.parametrize(
    "content",
    [
        '{"userName": 5, "password": "S3CRET-1"}',
        '{"userName": 5, "x": [{"PassWord": {"value": "S3CRET-1"}}]}',
        '{"Operations": [{"op": "add", "path": "password", "value": "S3CRET-1"}, 5]}',
        '{"Operations": [{"VALUE": "S3CRET-1", "Path": "urn:x:Password"}]}',
        '{"password": "S3CRET-1", not JSON',
        '{"userName": "' + "x" * 70_000 + '", "password": "S3CRET-1"',
        '{"client_secret": "S3CRET-1"}',
    ],
)
def test_no_password_is_in_a_body_that_is_kept(keeping: Gateway, content: str) -> None:
    headers = {"Content-Type": "application/scim+json"}
    assert keeping.scim.post("/Users", content=content, headers=headers).status_code == 400

    page = keeping.scim.get("/Requests", params={"failed": "true", "count": 1})

    assert "S3CRET-1" not in page.text
    assert len(page.text) < 6000


def test_a_body_is_kept_only_at_its_beginning(keeping: Gateway) -> None:
    body = {**user_body(), "displayName": ["x" * 9000, "y"]}
    assert keeping.scim.post("/Users", json=body).status_code == 400

    (failed,) = log(keeping, failed="true", count=1)

    assert len(failed["body"]) == 4096


def test_what_is_no_scim_request_is_not_in_the_log(gateway: Gateway) -> None:
    gateway.scim.get("/ServiceProviderConfig")
    for path in ("/Requests", "/People", "/Overview", "/Events/chain", "/Quarantine"):
        gateway.scim.get(path).raise_for_status()

    assert log(gateway, count=1)[0]["path"] == "/ServiceProviderConfig"


def test_pages_have_each_request_once_while_new_ones_come(gateway: Gateway) -> None:
    marks = [unique("mark") for _ in range(5)]

    def sent() -> Iterator[str]:
        """Yield the marks that the pages have, and send another request between two pages."""
        before: dict[str, Any] = {}
        while True:
            page = answered(gateway.scim.get("/Requests", params={"count": 2, **before}))
            assert len(page["requests"]) <= 2
            for row in page["requests"]:
                if row["path"].removeprefix("/Users/") in marks:
                    yield row["path"].removeprefix("/Users/")
            if page["next"] is None:
                return
            gateway.scim.get(f"/Users/{marks[0]}")
            before = {"before": page["next"]}

    for mark in marks:
        gateway.scim.get(f"/Users/{mark}")

    found = [mark for mark, _ in zip(sent(), range(5), strict=False)]
    assert found == marks[::-1]


def test_another_tenant_does_not_see_it(gateway: Gateway) -> None:
    mark = unique("other")
    gateway.other_scim.get(f"/Users/{mark}")

    assert mark not in str(log(gateway))


def test_no_request_is_kept_where_the_log_is_off(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(tenant="unlogged", requests={"keep_days": 0})
    gateway.scim.get("/Users")

    assert log(gateway) == []


def test_a_path_that_no_database_can_store_does_not_stop_the_log(gateway: Gateway) -> None:
    for path in (
        "/Users/%00%ff",
        "/Users/" + "x" * 3000,
        "/Users/\ud800".encode("utf-8", "replace"),
    ):
        url = path if isinstance(path, str) else path.decode()
        gateway.scim.get(url)
    mark = unique("after")
    gateway.scim.get(f"/Users/{mark}")

    found = log(gateway, count=4)

    assert found[0]["path"] == f"/Users/{mark}"
    assert all(len(row["path"]) <= 200 for row in found)


@pytest.mark.parametrize(
    "query", [{"failed": "yes"}, {"count": "-1"}, {"before": "x"}, {"before": "9" * 20}]
)
def test_what_cannot_be_asked_is_refused(shared_gateway: Gateway, query: dict[str, str]) -> None:
    refused(shared_gateway.scim.get("/Requests", params=query), 400)


def test_only_an_admin_reads_the_log_and_the_overview(gateway_with: Callable[..., Gateway]) -> None:
    token = {"name": "idp", "value": "{vault://env/scim-token-a}", "scopes": ["scim:read"]}
    gateway = gateway_with(tokens=[token])

    for path in ("/Requests", "/Overview"):
        assert "scim:admin" in refused(gateway.scim.get(path), 403)
