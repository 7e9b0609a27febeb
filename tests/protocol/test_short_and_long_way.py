"""Plain payloads and searches of a known shape are read in a short way. It leads where the long way
of all others leads, to the byte."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scim2_server.requests import ScimRequest

from effort import examples
from in_process import CONFIG
from kong_scim.auth.scopes import ADMIN, Identity
from kong_scim.bridge import Sql
from kong_scim.config.plugin import parse
from kong_scim.counts import counts_of
from kong_scim.directory.database import Scope, TenantDatabase
from kong_scim.directory.directory import Directory
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.events.outbox import EventOutbox, Origin
from kong_scim.protocol.answers import TextResponse
from kong_scim.protocol.handler import KongScimHandler
from kong_scim.protocol.plain import NotPlainError
from kong_scim.protocol.requests import decoded_query
from kong_scim.protocol.resources import provider
from kong_scim.protocol.service import KongScimService
from scim_traffic import CORE_GROUP, CORE_USER, PATCH
from spellings import canonical_user, respelled
from without_kong import NoConsumerSync

BASE = "https://gw.example/scim/v2"
PROVIDER = provider(parse(CONFIG))
SETTINGS = settings(max_examples=examples(40), deadline=None)


class World:
    """A directory whose clock and ids are the same in each world, and the service before it."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        ticks, ids = count(), count()
        start = datetime(2026, 1, 1, tzinfo=UTC)
        self.db = SqliteDatabase(":memory:")
        database = TenantDatabase(self.db, Scope("default", "t"))
        directory = Directory(
            database,
            Kinds(PROVIDER),
            NoConsumerSync(),
            EventOutbox(database, Origin("idp", "192.0.2.1", "r")),
            clock=lambda: start + timedelta(seconds=next(ticks)),
            new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
        )
        self.service = KongScimService(PROVIDER, tenant=tenant, max_operations=100)
        self._handler = KongScimHandler(self.service, directory)

    def send(self, method: str, path: str, body: Any = None, query: str = "") -> str:
        """Return the status and the body of an answer."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = ScimRequest(
            method=method,
            base_url=BASE,
            path=path,
            query=decoded_query(query),
            body=text,
            subject=Identity("test", frozenset({ADMIN})),
        )
        try:
            response = self._handler.handle(request)
        except Exception as exception:  # as the plugin does
            response = self.service.error_response(exception)
        shown = response.text if isinstance(response, TextResponse) else json.dumps(response.body)
        return f"{int(response.status)} {shown}"

    def rows(self) -> list[Any]:
        """Return every row of the directory, and of each event what does not change with time."""
        tables = ("scim_resources", "scim_values", "scim_unique", "scim_members")
        found = [sorted(map(repr, self._select(f"SELECT * FROM {each}"))) for each in tables]
        events = self._select("SELECT doc, resource_id, version_after FROM scim_outbox")
        return [*found, sorted(map(repr, events))]

    def long_ways(self) -> int:
        """Return how many requests took the long way since this was asked last."""
        return counts_of(self.tenant).take()["long_way",]

    def _select(self, text: str) -> list[dict[str, Any]]:
        return self.db.query([Sql(text)])[0]


def user(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [CORE_USER], "userName": "Ann@example.com", **attributes}


def one_of_each(payload: dict[str, Any]) -> dict[str, Any]:
    """Leave one entry in each list: the keys of a spelling say nothing of the order of entries."""
    return {name: each[:1] if isinstance(each, list) else each for name, each in payload.items()}


@SETTINGS
@given(chance=st.randoms(use_true_random=False), method=st.sampled_from(["POST", "PUT"]))
def test_a_plain_payload_and_its_spellings_leave_the_same_bytes(
    chance: random.Random, method: str
) -> None:
    meant = one_of_each(canonical_user(chance))
    worlds = {name: World(f"way-{name}") for name in ("plain", "spelled")}
    found = {}
    for name, world in worlds.items():
        path = "/Users"
        if method == "PUT":
            world.send("POST", "/Users", user({"active": False}))
            path = f"/Users/{'0' * 8}-0000-4000-8000-{'0' * 12}"
        world.long_ways()
        sent = meant if name == "plain" else respelled(chance, meant)
        found[name] = (world.send(method, path, user(sent)), world.rows())
    assert found["plain"] == found["spelled"]
    assert worlds["plain"].long_ways() == 0


PATCHES = (
    ([{"op": "replace", "value": {"active": True, "title": "T"}}],
     [{"op": "Replace", "value": {"Active": "True", f"{CORE_USER}:title": "T"}}]),
    ([{"op": "replace", "path": "displayName", "value": "Ann"}],
     [{"op": "REPLACE", "path": "DISPLAYNAME", "value": "Ann"}]),
    ([{"op": "add", "path": "name.givenName", "value": "Ann"}],
     [{"op": "add", "value": {"name.givenname": "Ann"}}]),
    ([{"op": "replace", "path": "active", "value": False}],
     [{"op": "replace", "path": "active", "value": [{"value": "false"}]}]),
)  # fmt: skip


@pytest.mark.parametrize(("plain", "spelled"), PATCHES)
def test_a_plain_patch_of_a_user_and_its_spelling_leave_the_same_bytes(
    plain: Any, spelled: Any
) -> None:
    found = []
    for name, operations in (("plain", plain), ("spelled", spelled)):
        world = World(f"patch-{name}")
        world.send("POST", "/Users", user({"name": {"familyName": "B"}, "title": "S"}))
        world.long_ways()
        path = f"/Users/00000000-0000-4000-8000-{0:012}"
        answer = world.send("PATCH", path, {"schemas": [PATCH], "Operations": operations})
        assert world.long_ways() == (0 if name == "plain" else 1)
        found.append((answer, world.rows()))
    assert found[0] == found[1]


def test_a_plain_patch_of_members_and_its_spelling_leave_the_same_bytes() -> None:
    ids = [f"00000000-0000-4000-8000-{index:012}" for index in range(3)]
    plain = [
        {"op": "add", "path": "members", "value": [{"value": ids[1]}]},
        {"op": "remove", "path": f'members[value eq "{ids[0]}"]'},
    ]
    spelled = [
        {"op": "Add", "path": "Members", "value": [{"value": ids[1], "$ref": None}]},
        {"op": "Remove", "path": "members", "value": {"value": ids[0]}},
    ]
    found = []
    for name, operations in (("plain", plain), ("spelled", spelled)):
        world = World(f"members-{name}")
        for number in range(2):
            world.send("POST", "/Users", user({"userName": f"user{number}", "active": True}))
        group = {"schemas": [CORE_GROUP], "displayName": "G", "members": [{"value": ids[0]}]}
        world.send("POST", "/Groups", group)
        world.long_ways()
        body = {"schemas": [PATCH], "Operations": operations}
        answer = world.send("PATCH", f"/Groups/{ids[2]}", body)
        assert world.long_ways() == (0 if name == "plain" else 1)
        found.append((answer, world.rows()))
    assert found[0] == found[1]


ODD = (
    b'{"schemas": ["%s"], "userName": "a", "userName": "b"}',
    b'{"schemas": ["%s"], "userName": "a", "title": null}',
    b'{"schemas": ["%s"], "userName": "a", "title": "\\u0001"}',
    b'{"schemas": ["%s"], "userName": "a", "title": "\\ud800"}',
    b'{"schemas": ["%s"], "userName": " "}',
    b'{"schemas": ["%s"], "userName": 7}',
    b'{"schemas": [], "userName": "a"}',
    b'{"schemas": ["%s"], "userName": "a", "ims": [{"primary": true}, {"primary": true}]}',
    b'{"schemas": ["%s"], "userName": "a", "emails": []}',
    b'{"schemas": ["%s"], "userName": "a", "id": "mine", "groups": [], "password": "p"}',
    b'{"schemas": ["%s"], "userName": "a", "x509Certificates": [{"value": "YQ=="}]}',
    b'{"schemas": ["%s"], "userName": "a", "profileUrl": "a b"}',
    b"[]",
    b"",
)


@pytest.mark.parametrize("body", ODD)
def test_whatever_is_odd_is_answered_as_by_the_long_way(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = body.replace(b"%s", CORE_USER.encode())
    short, long = World("odd-short"), World("odd-long")
    monkeypatch.setattr(long.service, "_plain", {name: _Never() for name in long.service._plain})
    assert short.send("POST", "/Users", body) == long.send("POST", "/Users", body)
    assert short.rows() == long.rows()


class _Never:
    """Reads no payload, so that each takes the long way."""

    def resource(self, *_: Any, **__: Any) -> Any:

        raise NotPlainError


NAMES = st.sampled_from(["ann", "ANN", "Ånn", "bob", "", "a" * 200, "x y", "(", "and"])
TERMS = st.sampled_from(
    [
        *("userName", "externalId", "id", "displayName", "emails.value", "name.familyName"),
        *('emails[type eq "work" and value', "active", "nothing", "meta.resourceType"),
    ]
)
MORE = st.sampled_from(
    [
        *("", "&count=1", "&startIndex=2", "&count=0", "&sortBy=userName", "&cursor="),
        *("&attributes=userName", "&excludedAttributes=emails"),
    ]
)


@pytest.fixture(scope="module")
def people() -> World:
    world = World("people")
    for number, name in enumerate(["ann", "Ånn", "bob", "a" * 200, "x y", "("]):
        world.send("POST", "/Users", user({
            "userName": f"{name}{number}" if number % 2 else name, "externalId": name,
            "displayName": name, "emails": [{"value": name, "type": "work"}],
            "name": {"familyName": name},
        }))  # fmt: skip
    return world


@settings(max_examples=examples(90), deadline=None)
@given(
    terms=st.lists(st.tuples(TERMS, NAMES), min_size=1, max_size=3),
    joint=st.sampled_from([" and ", " or "]),
    more=MORE,
)
def test_a_search_of_a_known_shape_finds_what_the_whole_filter_finds(
    people: World, terms: list[tuple[str, str]], joint: str, more: str
) -> None:
    expression = joint.join(
        f'{name} eq "{value}"' + ("]" if "[" in name else "") for name, value in terms
    )
    query = f"filter={expression.replace('+', '%2B')}{more}"
    known = people.service._shapes
    first, again = (
        people.send("GET", "/Users", query=query),
        people.send("GET", "/Users", query=query),
    )
    try:
        people.service._shapes = _NoShapes()  # type: ignore[assignment]
        whole = people.send("GET", "/Users", query=query)
    finally:
        people.service._shapes = known
    assert first == again == whole


class _NoShapes:
    def of(self, *_: Any) -> None:
        return None
