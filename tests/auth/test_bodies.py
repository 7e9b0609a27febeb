"""A body is fetched once its sender is authenticated, in pieces, and so many bytes at once."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from access_support import client, plugin_with

from in_process import Client
from kong_scim import admission as module
from kong_scim.bridge import Bridge, bridge_error
from kong_scim.bridge.client import PIECE
from kong_scim.worker_slots import ORDINARY, BodyMemory
from scim_traffic import answered, refused, user_body

TOKENS = [{"name": "t", "value": "right"}]
MIB = 1024 * 1024


def body_of(size: int) -> bytes:
    """Return a creation of that many bytes."""
    body = json.dumps(user_body("alice", title="")).encode()
    return body.replace(b'"title": ""', b'"title": "%s"' % (b"x" * (size - len(body))))


def steps(scim: Client) -> list[dict[str, Any]]:
    """Return what the last request asked of the bridge."""
    asked: list[dict[str, Any]] = scim.last.asked
    return asked


def post(scim: Client, body: bytes, **headers: str) -> httpx.Response:
    return scim.post(
        "/Users", content=body, headers={"Content-Type": "application/json", **headers}
    )


def test_a_small_body_comes_with_the_head_and_costs_no_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS)
    scim = client(plugin, token="right")
    answered(post(scim, body_of(8192)), 201)
    assert len(steps(scim)) == 1


@pytest.mark.parametrize("size", [8193, MIB, MIB + 1, 3 * MIB, 3 * MIB + 7])
def test_a_larger_one_is_fetched_in_pieces_and_is_whole(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, max_body_size=4 * MIB)
    scim = client(plugin, token="right")
    body = body_of(size)
    user = answered(post(scim, body), 201)
    assert user["title"] == json.loads(body)["title"]
    pieces = [each["length"] for each in steps(scim)[1:]]
    assert sum(pieces) == size
    assert max(pieces) <= PIECE


@pytest.mark.parametrize("token", ["guess", "", "right but of somebody else"])
def test_who_is_not_let_in_sends_a_body_to_nobody(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    plugin, directory = plugin_with(monkeypatch, tokens=TOKENS)
    scim = client(plugin, token=token)
    refused(post(scim, body_of(MIB)), 401)
    assert len(steps(scim)) == 1
    assert directory.reached == []


@pytest.mark.parametrize("limit", ["failed_attempts", "requests_per_minute"])
def test_who_sends_too_much_sends_a_body_to_nobody(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, limits={limit: 1})
    scim = client(plugin, token="guess" if limit == "failed_attempts" else "right")
    scim.get("/Users")
    refused(post(scim, body_of(MIB)), 429)
    assert len(steps(scim)) == 1


def test_where_kong_knows_nobody_a_body_goes_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, _ = plugin_with(monkeypatch, auth="kong", group_scopes={"idp": ["scim:users"]})
    scim = client(plugin)
    refused(post(scim, body_of(MIB)), 401)
    assert len(steps(scim)) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_a_body_that_says_nothing_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS)
    scim = client(plugin, token="right")
    scim.request(method, "/Users", content=body_of(MIB))
    assert len(steps(scim)) == 1


# -- How many at once ------------------------------------------------------


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> BodyMemory:
    """What a plugin server may hold of large bodies: 4 MiB."""
    own = BodyMemory(4 * MIB)
    monkeypatch.setattr(module, "MEMORY", own)
    return own


def test_a_body_that_does_not_fit_beside_others_is_503_until_they_are_answered(
    monkeypatch: pytest.MonkeyPatch, memory: BodyMemory
) -> None:
    plugin, directory = plugin_with(monkeypatch, tokens=TOKENS, max_body_size=4 * MIB)
    scim = client(plugin, token="right")
    with memory.hold(2 * MIB + 1):
        answer = post(scim, body_of(2 * MIB))
        assert "large bodies" in refused(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
        assert len(steps(scim)) == 1
        assert directory.reached == []
    answered(post(scim, body_of(2 * MIB)), 201)


def test_a_body_of_ordinary_size_never_waits_for_large_ones(
    monkeypatch: pytest.MonkeyPatch, memory: BodyMemory
) -> None:
    """A deactivation must not be refused for the sake of somebody's import."""
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS)
    with memory.hold(4 * MIB) as fits:
        assert fits
        answered(post(client(plugin, token="right"), body_of(ORDINARY)), 201)


def test_a_body_that_can_never_fit_is_413(
    monkeypatch: pytest.MonkeyPatch, memory: BodyMemory
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, max_body_size=64 * MIB)
    scim = client(plugin, token="right")
    assert str(4 * MIB) in refused(post(scim, body_of(4 * MIB + 1)), 413)
    assert len(steps(scim)) == 1


@pytest.mark.parametrize("body", [b"[" * 3 * MIB, body_of(3 * MIB)[:-1], b" " * 3 * MIB])
def test_whatever_becomes_of_a_body_its_place_is_free_again(
    monkeypatch: pytest.MonkeyPatch, memory: BodyMemory, body: bytes
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=TOKENS, max_body_size=4 * MIB)
    scim = client(plugin, token="right")
    for _ in range(3):
        refused(post(scim, body), 400, "invalidSyntax")
    answered(post(scim, body_of(4 * MIB)), 201)


def test_a_kong_that_has_less_of_a_body_than_it_said_ends_the_request(
    monkeypatch: pytest.MonkeyPatch, memory: BodyMemory
) -> None:
    def fail(_self: Bridge, _size: int) -> bytes:
        raise bridge_error("INTERNAL", "Kong has less of the body than it said")

    plugin, directory = plugin_with(monkeypatch, tokens=TOKENS, max_body_size=4 * MIB)
    with monkeypatch.context() as patched:
        patched.setattr(Bridge, "body", fail)
        refused(post(client(plugin, token="right"), body_of(3 * MIB)), 500)
    assert directory.reached == []
    answered(post(client(plugin, token="right"), body_of(4 * MIB)), 201)
