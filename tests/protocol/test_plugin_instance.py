"""The plugin object: what it asks of the gateway, and what it answers for itself."""

from __future__ import annotations

import json
import logging
from typing import Any, ClassVar

import pytest

from in_process import CONFIG, TOKEN, Client, Kong, client
from kong_scim.app import Plugin
from kong_scim.bridge import bridge_error
from kong_scim.directory.directory import Directory
from kong_scim.directory.ports import Conflict
from kong_scim.pluginserver.event import KongGoneError
from scim_traffic import BULK, answered, new_user, patch, refused, user_body
from without_kong import serve_from_memory


class Failures:
    """The failures with which the directory answers the next changes."""

    def __init__(self) -> None:
        self.next: list[Exception] = []


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> Failures:
    failures = Failures()

    class Failing(Directory):
        def change(self, *args: Any, **options: Any) -> Any:
            if failures.next:
                raise failures.next.pop()
            return super().change(*args, **options)

    serve_from_memory(monkeypatch, Failing)
    return failures


@pytest.fixture
def scim(failures: Failures) -> Client:
    return client(Plugin(CONFIG))


def test_the_gateway_is_asked_for_the_request_the_limits_and_the_live_secrets(
    failures: Failures,
) -> None:
    config = {
        "tokens": [{"name": "a", "value": "stale", "$refs": {"value": "{vault://env/t}"}}],
        "max_body_size": 2048,
        "__key__": "plugins:scim",
        "route_id": "r",
    }
    scim = client(Plugin(config))
    refused(scim.get("/Users"), 401)
    (asked,) = scim.last.asked
    assert asked["max_body_size"] == 2048
    assert asked["require_https"] is True
    assert asked["secrets"] == ["{vault://env/t}"]


def test_plain_http_is_refused_before_the_token_is_looked_at(failures: Failures) -> None:
    scim = client(Plugin(CONFIG), https=False)
    assert "https" in refused(scim.get("/Users"), 403)
    assert "https" in refused(scim.get("/Users", headers={"Authorization": ""}), 403)
    open_scim = client(Plugin({**CONFIG, "require_https": False}), https=False)
    answered(open_scim.get("/Users"), 200)


def test_a_large_body_is_413_only_for_who_may_send_one(failures: Failures) -> None:
    scim = client(Plugin({**CONFIG, "max_body_size": 1024}))
    body = user_body(title="x" * 2000)
    refused(scim.post("/Users", json=body, headers={"Authorization": "Bearer x"}), 401)
    assert "1024" in refused(scim.post("/Users", json=body), 413)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "config.tokens"),
        ({"tokens": []}, "config.tokens"),
        ({**CONFIG, "tenant": "no/slash"}, "config.tenant"),
        ({**CONFIG, "base_url": "gw.example"}, "config.base_url"),
        ({**CONFIG, "groups": {"pattern": "("}}, "config.groups"),
        ({**CONFIG, "consumer": {"username": "usrName"}}, "config.consumer.username: 'usrName'"),
    ],
)
def test_a_wrong_configuration_is_logged_once_and_answered_with_503(
    config: dict[str, Any], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        scim = client(Plugin(config))
    (line,) = caplog.messages
    assert field in line
    assert refused(scim.get("/Users"), 503) == line
    assert scim.last.asked == []


def test_a_vault_that_has_no_value_at_the_start_may_have_one_by_the_next_request(
    failures: Failures,
) -> None:
    token = {"name": "idp", "value": "", "$refs": {"value": "{vault://env/t}"}}

    class Rotated(Kong):
        def __init__(self, request: dict[str, Any]) -> None:
            super().__init__(request, {"{vault://env/t}": TOKEN})

    plugin = Plugin({"tokens": [token]})
    refused(client(plugin).get("/Users"), 401)
    answered(client(plugin, kong=Rotated).get("/Users"), 200)


def test_a_wrong_configuration_shows_no_token(caplog: pytest.LogCaptureFixture) -> None:
    scim = client(Plugin({"tokens": [{"name": "not a name", "value": "s3cret"}]}))
    assert "s3cret" not in refused(scim.get("/Users"), 503) + caplog.text


def test_a_broken_schema_file_is_a_wrong_configuration(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.json").write_text("{")
    monkeypatch.setenv("KONG_SCIM_SCHEMAS", str(tmp_path))
    assert "broken.json" in refused(client(Plugin(CONFIG)).get("/Users"), 503)


def test_without_the_bridge_the_answer_says_what_to_enable(failures: Failures) -> None:
    class Unbridged(Kong):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.scim.begin = lambda _: None  # what Kong answers for a name it does not know

    scim = client(Plugin(CONFIG), kong=Unbridged)
    response = scim.get("/Users")
    assert "scim-bridge" in refused(response, 503)
    assert "Retry-After" not in response.headers


class DataPlane(Kong):
    """A node of a hybrid gateway, as scim-bridge describes it."""

    host: ClassVar = {"dialect": "sqlite", "database": "off", "channel": "off"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/Users"),
        ("GET", "/ServiceProviderConfig"),
        ("POST", "/Users"),
        ("PATCH", "/Groups/1"),
        ("POST", "/Bulk"),
        ("GET", "/Events"),
        ("GET", "/Events/chain"),
    ],
)
def test_on_a_data_plane_every_request_is_501_with_the_reason(method: str, path: str) -> None:
    """Also with a store at hand: Kong's side would be wiped by the next push."""
    tokens = [{**token, "scopes": ["scim:admin"]} for token in CONFIG["tokens"]]
    scim = client(Plugin({**CONFIG, "tokens": tokens}), kong=DataPlane)
    response = scim.request(method, path, json={})
    assert "This is a data plane" in refused(response, 501)
    assert "Retry-After" not in response.headers


def test_on_a_data_plane_a_stranger_is_told_nothing() -> None:
    scim = client(Plugin(CONFIG), kong=DataPlane)
    refused(scim.get("/Users", headers={"Authorization": "Bearer wrong"}), 401)


def test_a_kong_without_a_database_needs_a_place_for_what_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dbless(Kong):
        host: ClassVar = {"dialect": "sqlite", "database": "off", "channel": "here"}

    monkeypatch.delenv("KONG_SCIM_DATA", raising=False)
    response = client(Plugin(CONFIG), kong=Dbless).get("/Users")
    assert "--data DIR" in refused(response, 503)
    assert "Retry-After" not in response.headers


def test_the_stock_plugin_server_answers_in_pairs(failures: Failures) -> None:
    class LuaStyle(Kong):
        def _begin(self, text: str) -> Any:
            return super()._begin(text), None

    answered(client(Plugin(CONFIG), kong=LuaStyle).get("/Users"), 200)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (bridge_error("DATABASE", "connection refused"), (503, None, "5")),
        (bridge_error("PENDING", "secret of the store"), (503, None, "2")),
        (bridge_error("CONFLICT", "deadlock"), (503, None, "1")),
        (bridge_error("READ_ONLY", "use Kong with PostgreSQL"), (501, None, None)),
        (bridge_error("INTERNAL", "secret of the bridge"), (500, None, None)),
        (ValueError("secret of the code"), (500, None, None)),
    ],
)
def test_failures_of_the_gateway_are_scim_errors(
    scim: Client, failures: Failures, error: Exception, answer: tuple[int, str, str]
) -> None:
    status, scim_type, retry_after = answer
    user = new_user(scim)
    failures.next = [error]
    response = patch(scim, f"/Users/{user['id']}", {"op": "add", "path": "title", "value": "T"})
    detail = refused(response, status, scim_type)
    assert response.headers.get("Retry-After") == retry_after
    assert "secret" not in detail


def test_a_defect_is_logged_with_its_traceback(
    scim: Client, failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    user = new_user(scim)
    failures.next = [ValueError("for the operator")]
    patch(scim, f"/Users/{user['id']}", {"op": "add", "path": "title", "value": "T"})
    assert "for the operator" in caplog.text


def test_a_kong_that_dies_under_a_request_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    class Dying(Kong):
        host: ClassVar[dict[str, str]] = {**Kong.host, "database": "postgres"}

        def _never(self, text: str) -> str:
            raise KongGoneError("Kong closed the connection")

        def _exit(self, *_: Any) -> None:
            raise KongGoneError("Kong closed the connection")

    operations = [
        {"method": "POST", "path": "/Users", "bulkId": str(each), "data": user_body(f"user-{each}")}
        for each in range(3)
    ]
    scim = client(Plugin(CONFIG), kong=Dying)
    for path, body in (
        ("/Users", user_body("alice")),
        ("/Bulk", {"schemas": [BULK], "Operations": operations}),
    ):
        # It goes on to the plugin server, which has one line for it.
        with pytest.raises(KongGoneError):
            scim.post(path, json=body)
    assert caplog.records == []


def test_a_conflict_is_tried_again_from_the_first_read(scim: Client, failures: Failures) -> None:
    user = new_user(scim)
    failures.next = [Conflict(), Conflict(), Conflict()]
    operation = {"op": "add", "path": "title", "value": "T"}
    assert answered(patch(scim, f"/Users/{user['id']}", operation), 200)["title"] == "T"


def test_conflicts_without_end_are_503_and_nothing_is_written(
    scim: Client, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kong_scim.directory.retries.LONGEST_PAUSE", 0.001)
    user = new_user(scim)
    failures.next = [Conflict() for _ in range(100)]
    operation = {"op": "add", "path": "title", "value": "T"}
    response = patch(scim, f"/Users/{user['id']}", operation)
    refused(response, 503)
    assert response.headers["Retry-After"] == "1"
    assert failures.next


def test_a_conflict_in_a_bulk_operation_is_tried_again_alone(
    scim: Client, failures: Failures
) -> None:
    user = new_user(scim)
    failures.next = [Conflict(), Conflict()]
    path = f"/Users/{user['id']}"
    operation = {"method": "PUT", "path": path, "data": user_body(user["userName"], title="T")}
    answer = answered(scim.post("/Bulk", json={"Operations": [operation]}), 200)
    assert [each["status"] for each in answer["Operations"]] == ["200"]
    assert answered(scim.get(path), 200)["title"] == "T"


def test_the_configured_base_url_wins(failures: Failures) -> None:
    scim = client(Plugin({**CONFIG, "base_url": "https://public.example/scim/v2/"}))
    assert new_user(scim)["meta"]["location"].startswith("https://public.example/scim/v2/Users/")


def test_each_write_is_one_line_without_anything_about_people(scim: Client) -> None:
    user = new_user(scim, "alice@example.com", displayName="Alice")
    (line,) = scim.last.logged
    assert json.loads(line.removeprefix("scim ")) == {
        "operation": "POST",
        "resource": f"Users/{user['id']}",
        "status": 201,
        "token": "okta",
        "request_id": "r1",
    }
    scim.delete("/Users/alice@example.com")
    (line,) = scim.last.logged
    assert json.loads(line.removeprefix("scim "))["resource"] == "Users"
    assert TOKEN not in line
    scim.get(f"/Users/{user['id']}")
    assert scim.last.logged == []


@pytest.mark.parametrize("path", ["/Users/%00", "/Users/a%00b", "/Users/%ff", "/Users/%c0%af"])
def test_a_path_that_nginx_might_let_through_is_404(scim: Client, path: str) -> None:
    refused(scim.get(path), 404)


def test_no_cache_keeps_what_is_personal(scim: Client) -> None:
    user = new_user(scim)
    assert "private" in scim.get(f"/Users/{user['id']}").headers["Cache-Control"]


def test_an_answer_without_a_body_has_an_empty_text(scim: Client) -> None:
    """A nil among arguments is lost on the way to Lua (docs/kong.md#values-change-on-the-way)."""
    user = new_user(scim)
    scim.delete(f"/Users/{user['id']}")
    assert scim.last.exit is not None
    assert scim.last.exit[:2] == (204, "")
