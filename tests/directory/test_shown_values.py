"""What is shown can be used: each value of an answer, in a filter and in the path of a PATCH."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest
from databases import PostgresDatabase
from directory_support import ACME, ENTERPRISE, Acme, KongUser, Team, provider_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scim2_models import Extension, Path, Schema, ScimFilter, ScimProvider
from scim2_server.utils import parametrize

from effort import examples, one_in
from kong_scim.config.plugin import parse
from kong_scim.directory.database import Database
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.protocol import references
from kong_scim.protocol.leniency.filters import lenient_filter
from kong_scim.protocol.resources import (
    POLICY,
    EnterpriseUser,
    Group,
    User,
    service_provider_config,
)
from without_http import BASE, Served

LINKS = "urn:example:scim:schemas:extension:links:2.0:User"
CORE = "urn:ietf:params:scim:schemas:core:2.0:"


def _reference(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "reference", "referenceTypes": ["User"], **more}


Links = Extension.from_schema(
    Schema(
        id=LINKS,
        name="Links",
        attributes=[
            _reference("buddy", multiValued=False),
            _reference("buddies", multiValued=True),
            {
                "name": "deputies",
                "type": "complex",
                "multiValued": True,
                "subAttributes": [
                    {"name": "value", "type": "string", "multiValued": False},
                    _reference("$ref", multiValued=False),
                ],
            },
        ],
    )
)
_BARE = provider_of(User[EnterpriseUser | KongUser | Acme | Links], Group[Team])
PROVIDER = ScimProvider(
    models=[User, Group, EnterpriseUser, KongUser, Acme, Links, Team],
    resource_types=_BARE.resource_types,
    config=service_provider_config(parse({"tokens": [{"name": "t", "value": "t"}]})),
    policy=POLICY,
)


class World:
    """Resources that hold a value in every attribute, and some that hold others."""

    def __init__(self, db: Database) -> None:
        self.served = served = Served(db, PROVIDER)
        self.boss = served.create("/Users", user("boss"))["id"]
        self.full = served.create("/Users", full_user(self.boss))["id"]
        served.create("/Users", full_user("Users/elsewhere", "other", "z"))
        self.inner = served.create("/Groups", group("Inner", self.full))["id"]
        self.outer = served.create("/Groups", group("Outer", self.inner, self.boss))["id"]
        served.create("/Groups", group("Empty"))

    def shown(self, endpoint: str, resource_id: str) -> dict[str, Any]:
        """Return a resource with everything that can be shown of it."""
        model = {"/Users": PROVIDER.resource_types[0], "/Groups": PROVIDER.resource_types[1]}
        declared = PROVIDER.model_for(model[endpoint])
        names = [str(path) for path in parametrize(Path, declared).iter_paths()]
        everything = ",".join([*names, "meta", "schemas"])
        status, body = self.served.send(
            "GET", f"{endpoint}/{resource_id}", query=f"attributes={everything}"
        )
        assert status == HTTPStatus.OK, body
        return body


def user(name: str, /, **attributes: Any) -> dict[str, Any]:
    return {"schemas": [f"{CORE}User"], "userName": name, **attributes}


def group(name: str, *members: str) -> dict[str, Any]:
    values = [{"value": each} for each in members]
    return {"schemas": [f"{CORE}Group"], "displayName": name, "members": values}


def full_user(manager: str, name: str = "Full", letter: str = "a") -> dict[str, Any]:
    """Return a user with every attribute that a client writes, whose values begin with a letter."""
    text = f"{letter}-Text"
    url = f"https://example.com/{letter}"
    entry = {"value": text, "display": f"{letter}D", "type": f"{letter}type", "primary": True}
    texts = ("emails", "phoneNumbers", "ims", "entitlements", "roles")
    types = {"emails": "work", "phoneNumbers": "work", "ims": "skype"}
    address = ("formatted", "streetAddress", "locality", "region", "postalCode", "country")
    reference = manager if "/" in manager else f"Users/{manager}"
    names = ("formatted", "familyName", "givenName", "middleName", "honorificPrefix")
    return user(
        name,
        externalId=text,
        displayName=text,
        nickName=text,
        title=text,
        userType=text,
        preferredLanguage=f"{letter}n",
        locale=f"{letter}n-US",
        timezone=f"{letter}tc",
        profileUrl=url,
        active=letter == "a",
        name={part: f"{text} {part}" for part in names},
        addresses=[{part: f"{text} {part}" for part in address} | {"type": "work"}],
        photos=[{**entry, "value": url, "type": "photo"}],
        x509Certificates=[{**entry, "value": "YWJj" if letter == "a" else "eHl6"}],
        **{each: [{**entry, "type": types.get(each, f"{letter}type")}] for each in texts},
        **{
            ENTERPRISE: {
                **dict.fromkeys(("employeeNumber", "costCenter", "division", "department"), text),
                "organization": text,
                "manager": {"value": manager, "$ref": reference},
            },
            ACME: {
                "badge": text,
                "code": text,
                "level": 3 if letter == "a" else 9,
                "weight": 2.5 if letter == "a" else 9.5,
                "remote": letter == "a",
                "hired": f"20{'2' if letter == 'a' else '3'}0-01-01T02:00:00+02:00",
                "blob": "YWJj" if letter == "a" else "eHl6",
                "site": url,
                "tags": [text, f"{letter}2"],
                "scores": [3 if letter == "a" else 9],
                "desk": {"floor": 2 if letter == "a" else 9, "room": text},
                "projects": [{"value": text, "share": 0.5 if letter == "a" else 0.75}],
            },
            LINKS: {
                "buddy": f"../{reference}",
                "buddies": [f"{BASE}/{reference}", f"https://else.example/{letter}"],
                "deputies": [{"value": text, "$ref": reference}],
            },
        },
    )


def leaves(shown: dict[str, Any]) -> Iterator[tuple[str, str | None, Any, int]]:
    """Yield the values of an answer: attribute, sub-attribute, value, and how many it has."""

    def within(prefix: str, held: dict[str, Any]) -> Iterator[tuple[str, str | None, Any, int]]:
        for name, value in held.items():
            if name.lower().startswith("urn:"):
                yield from within(f"{name}:", value)
                continue
            entries = value if isinstance(value, list) else [value]
            for entry in entries:
                if not isinstance(entry, dict):
                    yield f"{prefix}{name}", None, entry, len(entries)
                    continue
                for part, item in entry.items():
                    for one in item if isinstance(item, list) else [item]:
                        yield f"{prefix}{name}", part, one, len(entries)

    yield from within("", shown)


def forms(name: str, part: str | None, value: Any) -> list[Any]:
    """Return a shown value, and for a URL below the base URL its relative forms too."""
    refers = part == "$ref" or (name, part) == ("meta", "location") or name.startswith(LINKS)
    if not refers or not str(value).startswith(f"{BASE}/"):
        return [value]
    relative = value[len(BASE) + 1 :]
    return [value, relative, f"/{relative}", f"../{relative}", f"/scim/v2/{relative}"]


def comparisons(path: str, value: Any, *, alone: bool) -> Iterator[tuple[str, bool]]:
    """Yield filters on a path of a resource that holds a value, and whether they must find it."""
    literal = json.dumps(value)
    equal = f"{path} eq {literal}"
    yield f"{path} pr", True
    yield f"not ({path} pr)", False
    yield equal, True
    yield f"{path} ne {literal}", False
    yield f"not ({equal})", False
    yield f"{equal} and {path} pr", True
    yield f'displayName eq "nothing" or {equal}', True
    if isinstance(value, bool):
        return
    yield f"{path} ge {literal}", True
    yield f"{path} le {literal}", True
    if alone:
        yield f"{path} gt {literal}", False
        yield f"{path} lt {literal}", False
    if isinstance(value, str):
        yield f"{path} sw {literal}", True
        yield f"{path} sw {json.dumps(value[:7])}", True


def fragments(path: str, value: str) -> Iterator[tuple[str, bool]]:
    for text in (value, value[:-1], value[1:], value[2:-2], value[len(value) // 2 :]):
        yield f"{path} co {json.dumps(text)}", True
    for text in (value, value[1:], value[-3:]):
        yield f"{path} ew {json.dumps(text)}", True
    yield f"{path} co {json.dumps(value + '~')}", False
    yield f"{path} ew {json.dumps('~' + value)}", False


BINARY = {"x509Certificates.value", f"{ACME}:blob"}
"""What the RFC lets nobody order (RFC 7644 §3.4.2.2)."""


def each_shown_value_is_found(
    world: World, endpoint: str, resource_id: str, *, step: int = 1
) -> None:
    """Hold filters against what is shown; every ``step``-th of them."""
    refused, used, numbers = set(), set(), itertools.count()
    for name, part, value, count in leaves(world.shown(endpoint, resource_id)):
        path = name if part is None else f"{name}.{part}"
        is_list = count > 1 or path.partition(".")[0] in LISTS or name in LISTS
        for form in forms(name, part, value):
            cases = list(comparisons(path, form, alone=count == 1))
            if isinstance(form, str) and form == value and not isinstance(value, bool):
                cases += fragments(path, form)
            if is_list:
                inner = part or "value"
                cases.append((f"{name}[{inner} eq {json.dumps(form)}]", True))
                cases.append((f"not ({name}[{inner} eq {json.dumps(form)}])", False))
                cases.append((f"{name}[{inner} pr and {inner} ge {json.dumps(form)}]", True))
            for expression, expected in cases:
                if next(numbers) % step:
                    continue
                found = world.served.found(endpoint, expression)
                if found is None:
                    refused.add(path)
                else:
                    assert (resource_id in found) == expected, (expression, found)
                    used.add(path)
    assert len(used) > 10
    booleans = {path for path in refused if path.endswith((".primary", ":remote", "active"))}
    dates = {"meta.created", "meta.lastModified", f"{ACME}:hired"}
    assert refused <= BINARY | booleans | dates
    assert refused <= used or step > 1  # each can be compared in some way


LISTS = {
    *("emails", "phoneNumbers", "ims", "photos", "addresses", "entitlements", "roles"),
    *("x509Certificates", "groups", "members", "schemas"),
    *(
        f"{ACME}:tags",
        f"{ACME}:scores",
        f"{ACME}:projects",
        f"{LINKS}:buddies",
        f"{LINKS}:deputies",
    ),
}


@pytest.fixture(scope="module")
def sqlite_world() -> Iterator[World]:
    database = SqliteDatabase(":memory:")
    yield World(database)
    database.close()


class TestOnSqlite:
    def test_each_value_of_a_user_is_found_as_it_is_shown(self, sqlite_world: World) -> None:
        each_shown_value_is_found(sqlite_world, "/Users", sqlite_world.full, step=one_in(5))

    def test_each_value_of_a_group_is_found_as_it_is_shown(self, sqlite_world: World) -> None:
        for each in (sqlite_world.inner, sqlite_world.outer):
            each_shown_value_is_found(sqlite_world, "/Groups", each)


class TestOnPostgres:
    def test_each_value_is_found_as_it_is_shown(self, postgres_database: PostgresDatabase) -> None:
        # References are rewritten before there is SQL: what differs is found by a few of them.
        world = World(postgres_database)
        each_shown_value_is_found(world, "/Users", world.full, step=one_in(4))
        each_shown_value_is_found(world, "/Groups", world.outer, step=one_in(4))


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "eq": str.__eq__,
    "co": str.__contains__,
    "sw": str.startswith,
    "ew": str.endswith,
    "gt": str.__gt__,
    "ge": str.__ge__,
    "lt": str.__lt__,
    "le": str.__le__,
}

_urls = st.tuples(
    st.sampled_from([BASE, "https://gw.example/scim/v", "https://else.example"]),
    st.sampled_from(["/Users/", "/Groups/", "/", ""]),
    st.sampled_from(["", "1", "12", "2", "Users/1", "/"]),
).map("".join)
_parts = st.tuples(_urls, st.integers(0, 40), st.integers(1, 40)).map(
    lambda drawn: drawn[0][drawn[1] : drawn[1] + drawn[2]]
)


@settings(max_examples=examples(60), deadline=None, derandomize=True)
@given(
    users=st.lists(st.sampled_from(["1", "12", "2"]), unique=True, max_size=2),
    groups=st.lists(st.sampled_from(["1", "21"]), unique=True, max_size=1),
    operator=st.sampled_from(sorted(OPERATORS)),
    operand=_urls | _parts,
    negated=st.booleans(),
)
def test_a_filter_on_references_is_one_on_the_urls_that_are_shown(
    users: list[str], groups: list[str], operator: str, operand: str, *, negated: bool
) -> None:
    """Whatever is compared, what is found is what a comparison of the whole URLs finds."""
    assume(":" in operand or operator in ("co", "ew"))  # else it is a relative reference
    model: Any = PROVIDER.model_for_endpoint("/Groups")
    members = [{"value": each, "type": "User"} for each in users]
    members += [{"value": each, "type": "Group"} for each in groups]
    resource = model.model_validate({"displayName": "g", "members": members})
    urls = [f"{BASE}/{member['type']}s/{member['value']}" for member in members]
    expression = f"members.$ref {operator} {json.dumps(operand)}"
    with references.below(BASE):
        rewritten = lenient_filter([model], f"not ({expression})" if negated else expression)
    expected = any(OPERATORS[operator](url, operand) for url in urls) != negated
    assert parametrize(ScimFilter, model)(rewritten).match(resource) == expected, rewritten
