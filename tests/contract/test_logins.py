"""Who is suspended is refused however a login says who it is, and whenever it began."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from hosts import DBLESS, Gateway, eventually
from scim_traffic import answered, new_user, patch
from upstreams import PASSWORD

SUSPENDED = "This account is suspended"
REVOKED = "This login began before access was revoked: log in again"
CONNECTIONS = 8
"""Of their own, which meet both of two workers as good as surely."""


def set_active(gateway: Gateway, user: dict[str, Any], active: bool) -> None:
    value = {"op": "replace", "value": {"active": active}}
    answered(patch(gateway.scim, f"/Users/{user['id']}", value), 200)


# -- a login that brings no consumer ---------------------------------------


def log_in(gateway: Gateway, name: str, path: str = "/ldap") -> httpx.Response:
    """Log in at the company's directory."""
    gateway.host.settle()
    given = base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()
    url = f"{gateway.proxy_url}{path}"
    return httpx.get(url, verify=False, headers={"Authorization": f"ldap {given}"}, trust_env=False)


def statuses(gateway: Gateway, name: str, path: str = "/ldap") -> set[int]:
    return {log_in(gateway, name, path).status_code for _ in range(CONNECTIONS)}


def test_a_login_by_name_is_refused_while_the_person_is_suspended(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice")
    assert statuses(gateway, "alice") == {200}

    set_active(gateway, user, active=False)

    assert statuses(gateway, "alice") == {403}
    assert log_in(gateway, "alice").json()["message"] == SUSPENDED
    assert statuses(gateway, "bob") == {200}
    set_active(gateway, user, active=True)
    assert statuses(gateway, "alice") == {200}


def test_a_wrong_password_is_401_as_ever(gateway: Gateway) -> None:
    given = base64.b64encode(b"alice:wrong").decode()
    answer = gateway.api.get("/ldap", headers={"Authorization": f"ldap {given}"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "spelling",
    [
        "Alice",
        "ALICE",
        r"\61lice",
        r"al\69ce",
        r"a\lice",
        " alice ",
        "alice+cn=x",
        "alice,ou=people",
        "#0405616c696365",
        '"alice"',
    ],
)
def test_however_a_directory_may_be_told_a_name(gateway: Gateway, spelling: str) -> None:
    user = new_user(gateway.scim, "alice")
    set_active(gateway, user, active=False)
    assert log_in(gateway, spelling).status_code == 403


def test_a_name_that_is_stored_in_capitals_is_found_as_well(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "Alice@Example.com")
    set_active(gateway, user, active=False)
    assert log_in(gateway, "alice@example.com").status_code == 403


def test_a_login_by_the_custom_id_is_refused(gateway: Gateway) -> None:
    user = new_user(gateway.scim, "alice@example.com", externalId="E-4711")
    assert log_in(gateway, "e-4711").status_code == 200
    set_active(gateway, user, active=False)
    assert statuses(gateway, "e-4711") == {403}
    assert statuses(gateway, "E-4711") == {403}


def test_that_nobody_had_a_name_is_not_remembered_when_somebody_gets_it(gateway: Gateway) -> None:
    assert statuses(gateway, "newcomer") == {200}
    new_user(gateway.scim, "newcomer", active=False)
    assert statuses(gateway, "newcomer") == {403}

    user = new_user(gateway.scim, "before")
    assert statuses(gateway, "after") == {200}
    rename = {"op": "replace", "value": {"userName": "after", "active": False}}
    answered(patch(gateway.scim, f"/Users/{user['id']}", rename), 200)
    assert statuses(gateway, "after") == {403}
    assert statuses(gateway, "before") == {200}


def test_what_an_administrator_does_to_a_name_counts_as_well(gateway: Gateway) -> None:
    assert statuses(gateway, "robot") == {200}
    robot = gateway.new_consumer(username="robot", tags=["scim:suspended"])
    eventually(lambda: statuses(gateway, "robot") == {403}, "the consumer")
    if gateway.name not in DBLESS:
        gateway.admin.delete(f"/consumers/{robot['id']}").raise_for_status()
        eventually(lambda: statuses(gateway, "robot") == {200}, "no consumer")


def test_where_it_is_told_so_the_guard_refuses_names_that_nobody_has(gateway: Gateway) -> None:
    assert statuses(gateway, "stranger", "/strict-ldap") == {403}
    user = new_user(gateway.scim, "alice")
    assert statuses(gateway, "alice", "/strict-ldap") == {200}
    gateway.scim.delete(f"/Users/{user['id']}").raise_for_status()
    assert statuses(gateway, "alice", "/strict-ldap") == {403}


# -- sessions --------------------------------------------------------------


class Browser:
    """Keeps cookies, and begins with a key."""

    def __init__(self, gateway: Gateway, storage: str) -> None:
        self._path = f"/session-{storage}"
        self._host = gateway.host
        self._client = httpx.Client(base_url=gateway.proxy_url, verify=False, trust_env=False)
        self.storage = storage

    def come(self, key: str | None = None) -> httpx.Response:
        self._host.settle()
        headers = {"apikey": key} if key else {}
        return self._client.get(self._path, headers=headers)

    def whoami(self) -> str | None:
        """Whom the upstream sees by the cookie alone, or None where it is refused."""
        answer = self.come()
        if answer.status_code != 200:
            return None
        name: str = answer.json()["headers"]["x-consumer-username"]
        return name

    @property
    def cookie(self) -> str | None:
        return self._client.cookies.get(self.storage)

    def put(self, cookie: str) -> None:
        self._client.cookies.clear()
        self._client.cookies.set(self.storage, cookie, domain="127.0.0.1")


@pytest.fixture(params=["cookie", "kong"])
def browser(gateway: Gateway, request: pytest.FixtureRequest) -> Browser:
    if request.param == "kong" and gateway.name.startswith(("kong-dbless", "kong-hybrid")):
        pytest.skip("Kong keeps no sessions without a database")
    gateway.new_consumer(username="anonymous")
    return Browser(gateway, request.param)


def begin(gateway: Gateway, browser: Browser, name: str) -> str:
    """Log in with a new key, and return the cookie, once it does."""
    key = gateway.give_key(name)

    def is_known() -> bool:
        # On Kong a session is stored a moment after its answer.
        return browser.come(key).status_code == 200 and browser.whoami() == name

    eventually(is_known, "a session")
    assert browser.cookie
    return browser.cookie


def test_a_session_from_before_a_deactivation_never_works_again(
    gateway: Gateway, browser: Browser
) -> None:
    user = new_user(gateway.scim, "alice")
    cookie = begin(gateway, browser, "alice")

    set_active(gateway, user, active=False)
    refused = browser.come()
    assert (refused.status_code, refused.json()["message"]) == (403, SUSPENDED)

    set_active(gateway, user, active=True)
    browser.put(cookie)
    if browser.storage == "kong":  # what Kong kept of it is deleted, it is nobody's
        assert browser.whoami() == "anonymous"
    else:
        refused = browser.come()
        assert (refused.status_code, refused.json()["message"]) == (403, REVOKED)
        assert not browser.cookie
    assert begin(gateway, browser, "alice") != cookie


def test_nor_where_it_was_not_seen_in_between(gateway: Gateway, browser: Browser) -> None:
    user = new_user(gateway.scim, "alice")
    cookie = begin(gateway, browser, "alice")
    set_active(gateway, user, active=False)
    set_active(gateway, user, active=True)
    answered(
        patch(gateway.scim, f"/Users/{user['id']}", {"op": "add", "value": {"title": "T"}}), 200
    )

    assert browser.come().status_code == 403
    browser.put(cookie)
    assert browser.whoami() in (None, "anonymous")
    assert begin(gateway, browser, "alice") != cookie


def test_a_session_that_was_begun_while_the_person_was_suspended_works_never(
    gateway: Gateway, browser: Browser
) -> None:
    user = new_user(gateway.scim, "alice")
    set_active(gateway, user, active=False)
    key = gateway.give_key("alice")
    assert browser.come(key).status_code == 403
    assert not browser.cookie
    set_active(gateway, user, active=True)
    assert browser.whoami() in (None, "anonymous")


def test_a_consumer_that_is_made_again_has_none_of_its_sessions(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(on_deactivate="delete")
    gateway.new_consumer(username="anonymous")
    browser = Browser(gateway, "cookie")
    user = new_user(gateway.scim, "alice")
    cookie = begin(gateway, browser, "alice")
    set_active(gateway, user, active=False)
    assert gateway.consumer("alice") is None
    set_active(gateway, user, active=True)
    found = gateway.consumer("alice")
    assert found is not None
    assert found["id"] == user["id"]
    browser.put(cookie)
    assert browser.come().status_code == 403


def test_nor_has_one_that_somebody_deleted_by_hand(gateway: Gateway) -> None:
    if gateway.name in DBLESS:
        pytest.skip("nobody can delete a consumer there")
    gateway.new_consumer(username="anonymous")
    browser = Browser(gateway, "cookie")
    user = new_user(gateway.scim, "alice")
    cookie = begin(gateway, browser, "alice")
    gateway.admin.delete(f"/consumers/{user['id']}").raise_for_status()
    set_active(gateway, user, active=True)  # changes nothing, and repairs
    assert gateway.consumer("alice") is not None
    title = {"op": "add", "value": {"title": "T"}}
    answered(patch(gateway.scim, f"/Users/{user['id']}", title), 200)
    browser.put(cookie)
    assert browser.come().status_code == 403


# -- an administrator's key ------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        {"op": "replace", "value": {"active": False}},
        {"op": "add", "value": {"title": "T"}},
        {"op": "replace", "value": {"active": True}},
    ],
    ids=["one that changes nothing", "one that changes something", "a reactivation"],
)
def test_a_key_that_was_given_to_a_suspended_person_does_not_survive_a_write(
    gateway: Gateway, write: dict[str, Any]
) -> None:
    user = new_user(gateway.scim, "alice")
    set_active(gateway, user, active=False)
    key = gateway.give_key("alice")
    assert gateway.call(key, "/keyed").status_code == 403

    answered(patch(gateway.scim, f"/Users/{user['id']}", write), 200)

    assert gateway.call(key, "/keyed").status_code == 401
    set_active(gateway, user, active=True)
    assert gateway.call(key, "/keyed").status_code == 401
