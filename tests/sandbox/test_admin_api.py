"""The Admin API and the guards answer as a real Kong did, in a recording of Kong 3.9.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

RECORDING = Path(__file__).with_name("recorded_admin_api.json")

# Made by the declarative file here, or beyond what the sandbox does.
NOT_HERE = ("/services", "/routes", "/consumers/c3c81979-5059-4603-8ff1-dc674cb3f82f")

# Different at each time.
LIVE = {"id", "created_at", "updated_at", "request_id", "offset"}


def exchanges() -> Iterator[dict[str, Any]]:
    for exchange in json.loads(RECORDING.read_text())["exchanges"]:
        path, method = exchange["request"]["path"], exchange["request"]["method"]
        if method == "PATCH" or (method != "GET" and path.startswith(NOT_HERE[:2])):
            continue
        yield exchange


def comparable(value: Any, key: str = "") -> Any:
    """Leave out what is different at each time, and keep that it is there."""
    if isinstance(value, dict):
        return {name: comparable(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [comparable(item, key) for item in value]
    if key in LIVE and value is not None:
        return type(value).__name__
    if key == "next" and value is not None:
        return value.partition("?")[0]
    if key == "key" and isinstance(value, str) and len(value) == 32:
        return "a key made by the gateway"
    return value


class TestTheRecording:
    """One history, in its order: each exchange stands on those before."""

    def test_is_answered_alike(self, proxy: httpx.Client, admin: httpx.Client) -> None:
        real = {
            "c3c81979-5059-4603-8ff1-dc674cb3f82f": "",
            "3e87b313-7dd8-42c1-9fce-84c638da62af": "",
        }
        known = list(real)
        differences = []
        for exchange in exchanges():
            request, note = exchange["request"], exchange["note"]
            path = request["path"]
            for recorded in known:
                path = path.replace(recorded, real[recorded] or recorded)
            on_proxy = (note or "").startswith("proxy")
            answer = (proxy if on_proxy else admin).request(
                request["method"],
                path,
                headers=request["headers"],
                json=None if request["body"] is None else request["body"],
            )
            body = answer.json() if answer.content else None
            if note == "create a consumer":
                real[known[0]] = body["id"]
            if note == "give a key":
                real[known[1]] = body["id"]
            differences += _differences(exchange, answer, body, real)
        assert differences == []


def _differences(
    exchange: dict[str, Any], answer: httpx.Response, body: Any, real: dict[str, str]
) -> list[tuple[str, object, object]]:
    expected = exchange["body"]
    text = json.dumps(expected)
    for recorded, live in real.items():
        text = text.replace(recorded, live or recorded)
    expected = json.loads(text)
    note = exchange["note"]
    if note == "first page":  # of another database
        expected, body = set(expected) | set(expected["data"][0]), set(body) | set(body["data"][0])
    if note == "list keys":  # in the order of random ids
        for listed in (expected, body):
            listed["data"].sort(key=lambda row: len(row["key"]))
    if note == "proxy: valid key and group":
        seen, expected = body["headers"], expected["upstream saw headers"]
        same = ["x-consumer-id", "x-consumer-username", "x-credential-identifier"]
        same += ["x-consumer-groups", "x-forwarded-path", "x-forwarded-prefix", "x-real-ip"]
        body, expected = ({name: each.get(name) for name in same} for each in (seen, expected))
    pairs = [
        ("status", exchange["status"], answer.status_code),
        ("type", exchange["content_type"], answer.headers.get("content-type")),
        ("challenge", exchange["www_authenticate"], answer.headers.get("www-authenticate")),
        ("body", comparable(expected), comparable(body)),
    ]
    return [(f"{note}: {what}", was, now) for what, was, now in pairs if was != now]


@pytest.fixture(scope="module")
def names(admin: httpx.Client) -> set[str]:
    names = {f"page-{number}" for number in range(7)}
    for number, name in enumerate(sorted(names)):
        tags = ["paged", "even" if number % 2 == 0 else "odd"]
        admin.post("/consumers", json={"username": name, "tags": tags}).raise_for_status()
    return names


class TestPages:
    def test_following_next_shows_everybody_once(
        self, admin: httpx.Client, names: set[str]
    ) -> None:
        seen: list[str] = []
        page = "/consumers?size=2&tags=paged"
        while page:
            body = admin.get(page).raise_for_status().json()
            assert len(body["data"]) <= 2
            assert body["next"] is None or body["offset"] in body["next"]
            seen += [row["username"] for row in body["data"]]
            page = body["next"]
        assert sorted(seen) == sorted(names)

    def test_tags_with_a_comma_are_all_wanted_and_with_a_slash_one_of_them(
        self, admin: httpx.Client, names: set[str]
    ) -> None:
        assert len(admin.get("/consumers?tags=paged,even").json()["data"]) == 4
        assert len(admin.get("/consumers?tags=even/odd").json()["data"]) == len(names)

    @pytest.mark.parametrize("query", ["size=0", "size=x", "size=1001", "offset=@@", "offset=e30"])
    def test_a_wrong_page_is_refused(self, admin: httpx.Client, query: str) -> None:
        answer = admin.get(f"/consumers?{query}")
        assert answer.status_code == 400
        assert answer.json()["code"] in (7, 9)


def test_a_consumer_is_changed_in_the_fields_that_are_given(admin: httpx.Client) -> None:
    made = admin.post("/consumers", json={"username": "before", "custom_id": "7"}).json()
    path = f"/consumers/{made['id']}"
    changed = admin.patch(path, json={"username": "after", "tags": ["mine"]})
    assert changed.status_code == 200
    found = admin.get(path).json()
    assert (found["username"], found["custom_id"], found["tags"]) == ("after", "7", ["mine"])
    assert admin.patch("/consumers/nobody", json={}).status_code == 404
    assert admin.patch(path, json={"username": ""}).status_code == 400
    assert admin.delete(path).status_code == 204


class TestWhatItRefuses:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PUT", "/consumers/declared"),
            ("PATCH", "/consumers/declared/acls"),
            ("DELETE", "/consumers"),
            ("PUT", "/consumers/declared/acls"),
            ("POST", "/status"),
        ],
    )
    def test_other_changes_are_405_with_a_reason(
        self, admin: httpx.Client, method: str, path: str
    ) -> None:
        answer = admin.request(method, path, json={})
        assert answer.status_code == 405
        assert "no Kong" in answer.json()["message"]
        assert "GET" in answer.headers["allow"]

    @pytest.mark.parametrize(
        "path", ["/upstreams", "/consumers/declared/jwt", "/consumers/a/b/c/d"]
    )
    def test_other_entities_are_404(self, admin: httpx.Client, path: str) -> None:
        answer = admin.get(path)
        assert (answer.status_code, answer.json()) == (404, {"message": "Not found"})

    @pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff"])
    def test_what_is_no_json_object_is_400(self, admin: httpx.Client, body: bytes) -> None:
        assert admin.post("/consumers", content=body).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/consumers/%00",
        "/consumers/a%00b/acls",
        "/consumers/nobody/key-auth/%00",
        "/consumers?custom_id=%00",
        "/consumers?tags=a%00",
        "/consumers?offset=%00",
        "/consumers?%00=1",
    ],
)
def test_a_nul_is_400(admin: httpx.Client, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [b'{"username": "a\\u0000"}', b'{"a\\u0000": 1}', b'{"tags": ["\\u0000"]}', b'"\\u0000"'],
)
def test_a_nul_in_a_body_is_400(admin: httpx.Client, body: bytes) -> None:
    answer = admin.post("/consumers", content=body)
    assert answer.status_code == 400, answer.text


def test_a_form_is_as_good_as_json(admin: httpx.Client) -> None:
    """`curl -d username=...`, as Kong's documentation has it."""
    made = admin.post("/consumers", data={"username": "by-form", "tags[]": ["a", "b"]})
    assert made.status_code == 201
    assert made.json()["tags"] == ["a", "b"]
    admin.delete("/consumers/by-form").raise_for_status()


def test_the_consumers_of_the_file_are_there(admin: httpx.Client) -> None:
    assert admin.get("/consumers/declared").json()["tags"] == ["from-the-file"]
    groups = {row["group"] for row in admin.get("/consumers/declared/acls").json()["data"]}
    assert groups == {"devs", "ops"}


def test_every_answer_says_that_it_is_no_kong(admin: httpx.Client, proxy: httpx.Client) -> None:
    assert "no Kong" in admin.get("/").json()["tagline"]
    for client in (admin, proxy):
        assert client.get("/nosuch").headers["server"].startswith("kong-scim-sandbox/")


def test_a_client_that_sends_its_body_slowly_holds_up_nobody(admin: httpx.Client) -> None:
    answered: list[int] = []

    def slowly() -> Iterator[bytes]:
        yield b'{"username":'
        # The gateway has the beginning of this request before it answers another one.
        answered.append(admin.post("/consumers", json={"username": "fast"}).status_code)
        yield b'"slow"}'

    with httpx.Client(base_url=admin.base_url) as other:
        headers = {"Content-Type": "application/json"}
        answered.append(other.post("/consumers", content=slowly(), headers=headers).status_code)
    assert answered == [201, 201]
