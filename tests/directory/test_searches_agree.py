"""Searches in SQL find what scim2-models finds among the resources that are shown."""

from __future__ import annotations

import json
from typing import Any

from databases import PostgresDatabase
from directory_support import (
    ACME,
    ENTERPRISE,
    GROUPS,
    TEAM,
    USERS,
    create_group,
    create_user,
    group,
    new_scope,
    request,
    storage_on,
    user,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scim2_models import Resource, SearchRequest
from strategies import OPERATORS, SORTABLE, bodies, filters, teams, texts

from effort import examples
from kong_scim.directory.database import Database
from kong_scim.directory.sqlite import SqliteDatabase
from without_kong import Storage

_FILTERS = 12

thorough = settings(
    max_examples=examples(12),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
brief = settings(thorough, max_examples=examples(4))


def populated(db: Database, data: st.DataObject) -> tuple[Storage, list[Resource[Any]]]:
    """Store some random users, and groups nested in one another; return them as they are shown."""
    storage = storage_on(db, new_scope())
    users = []
    for index, body in enumerate(data.draw(st.lists(bodies, min_size=1, max_size=5))):
        name = f"{data.draw(texts)}{index}"
        users.append(str(storage.create(USERS, user(**body, userName=name)).id))
    groups: list[str] = []
    for body in data.draw(st.lists(teams, max_size=3)):
        members = data.draw(st.lists(st.sampled_from([*users, *groups]), unique=True, max_size=4))
        new = group(data.draw(texts.filter(bool)), *members, **body)
        groups.append(str(storage.create(GROUPS, new).id))
    shown = [storage.get(USERS, each) for each in users]
    return storage, shown + [storage.get(GROUPS, each) for each in groups]


def agree_on_filters(db: Database, data: st.DataObject) -> None:
    storage, everything = populated(db, data)
    ids = [str(each.id) for each in everything]
    for _ in range(_FILTERS):
        expression = data.draw(filters(ids))
        for types in ([USERS], [GROUPS], [USERS, GROUPS]):
            agree(storage, everything, types, expression)


def agree(
    storage: Storage, everything: list[Resource[Any]], types: list[Any], expression: str
) -> None:
    try:
        search = request(types, filter=expression)
    except ValidationError:
        return  # the server refuses it, such as an attribute of the other type
    assert search.filter is not None
    shown = [each for each in everything if of_types(each, types)]
    expected = [each.id for each in shown if search.filter.match(each)]
    page = storage.search(types, search)
    assert [each.id for each in page.resources] == expected, expression
    assert page.total == len(expected)


def of_types(resource: Resource[Any], types: list[Any]) -> bool:
    assert resource.meta is not None
    return resource.meta.resource_type in {each.name for each in types}


def agree_on_every_operator(db: Database, one_in: int) -> None:
    """Compare every attribute in every way with what it holds, and with what is like it.

    :param one_in: Of how many such comparisons one is made, since there are thousands.
    """
    storage = storage_on(db)
    work = {"value": "Ann@x.org", "type": "work", "primary": True}
    acme = {
        "code": "Ab",
        "level": 3,
        "weight": 2.5,
        "remote": True,
        "hired": "2020-01-01T02:00:00+02:00",
        "blob": "YWJj",
        "site": "https://example.com/A",
        "tags": ["Red", "blue"],
        "scores": [3, -1],
        "desk": {"floor": 2, "room": "É"},
        "projects": [{"value": "Moon", "share": 0.5, "labels": ["x"]}, {"value": "Mars"}],
    }
    ann = create_user(
        storage,
        "Ann",
        externalId="X1",
        displayName="Ann A.",
        title="Boss",
        active=True,
        profileUrl="https://example.com/A",
        name={"familyName": "İ"},
        emails=[work, {"type": "home", "display": "D"}],
        photos=[{"value": "https://example.com/P", "type": "photo"}],
        x509Certificates=[{"value": "YWJj", "display": "C"}],
        roles=[{"value": "r", "display": "R"}],
        **{ENTERPRISE: {"employeeNumber": "7", "manager": {"value": "M1"}}, ACME: acme},
    )
    bob = create_user(storage, "bob", title="", emails=[{"value": "b@x.org"}])
    inner = create_group(storage, "Inner", ann, bob)
    outer = storage.create(GROUPS, group("outer", inner, **{TEAM: {"costs": 3, "lead": "Ann"}}))
    everything = [storage.get(USERS, each) for each in (ann, bob)]
    everything += [storage.get(GROUPS, str(each)) for each in (inner, outer.id)]
    expressions = []
    for name, operators in OPERATORS.items():
        bare, end = name.removesuffix("]"), "]" if name.endswith("]") else ""
        for value in (*operands(bare.replace("[", "."), everything), None):
            for operator in operators:
                expressions.append(f"{bare} {operator} {json.dumps(value)}{end}")
    for expression in expressions[::one_in]:
        agree(storage, everything, [USERS, GROUPS], expression)


def operands(path: str, everything: list[Resource[Any]]) -> list[Any]:
    """Return the values that are held somewhere under a path, in JSON form, and some like them."""
    urn = next(
        (urn for urn in (ACME, ENTERPRISE, TEAM) if path.lower().startswith(urn.lower())), ""
    )
    values: list[Any] = [each.model_dump(mode="json") for each in everything]
    for part in [urn, *path[len(urn) :].lstrip(":").split(".")]:
        if part and any(isinstance(value, dict) for value in values):
            values = [
                value[key]
                for value in values
                if isinstance(value, dict)
                for key in value
                if key.lower() == part.lower()
            ]
            values = [
                one for each in values for one in (each if isinstance(each, list) else [each])
            ]
    held = [each.get("value") if isinstance(each, dict) else each for each in values]
    like = [
        change
        for text in held
        if isinstance(text, str)
        for change in (text.swapcase(), text[:2], text[-2:])
    ]
    return list(dict.fromkeys([*held, *like]))


def agree_on_orders(db: Database, data: st.DataObject) -> None:
    storage, everything = populated(db, data)
    for sort_by in data.draw(st.lists(st.sampled_from(SORTABLE), min_size=3, max_size=3)):
        order = data.draw(st.sampled_from(["ascending", "descending"]))
        for types in ([USERS], [GROUPS], [USERS, GROUPS]):
            try:
                search = request(types, sort_by=sort_by, sort_order=order, cursor="")
            except ValidationError:
                continue
            shown = [each for each in everything if of_types(each, types)]
            expected = [search.sort_value(each) for each in search.sort(shown)]
            whole = storage.search(types, search.model_copy(update={"cursor": None}))
            assert [search.sort_value(each) for each in whole.resources] == expected, sort_by
            there, back = walk(storage, types, search), walk(storage, types, search, back=True)
            assert there == back == [each.id for each in whole.resources], sort_by


def walk(
    storage: Storage, types: list[Any], search: SearchRequest[Any], *, back: bool = False
) -> list[str | None]:
    """Return the ids of all pages of two, from the first to the last, or the other way."""
    small = search.model_copy(update={"count": 2})
    page = storage.search(types, small)
    seen = [[each.id for each in page.resources]]
    pages = [page]
    while page.next is not None:
        page = storage.search(types, small, position=page.next)
        seen.append([each.id for each in page.resources])
        pages.append(page)
    if not back:
        assert pages[0].previous is None
        return [each for ids in seen for each in ids]
    seen = [seen[-1]]
    while page.previous is not None:
        page = storage.search(types, small, position=page.previous)
        seen.insert(0, [each.id for each in page.resources])
    return [each for ids in seen for each in ids]


class TestOnSqlite:
    def test_every_operator_of_every_attribute_finds_what_matches(
        self, sqlite_database: SqliteDatabase
    ) -> None:
        agree_on_every_operator(sqlite_database, one_in=8)

    @thorough
    @given(data=st.data())
    def test_filters_find_what_matches(
        self, shared_sqlite: SqliteDatabase, data: st.DataObject
    ) -> None:
        agree_on_filters(shared_sqlite, data)

    @thorough
    @given(data=st.data())
    def test_orders_and_cursors_are_those_of_the_shown_values(
        self, shared_sqlite: SqliteDatabase, data: st.DataObject
    ) -> None:
        agree_on_orders(shared_sqlite, data)


class TestOnPostgres:
    def test_every_operator_of_every_attribute_finds_what_matches(
        self, postgres_database: PostgresDatabase
    ) -> None:
        agree_on_every_operator(postgres_database, one_in=17)

    @brief
    @given(data=st.data())
    def test_filters_find_what_matches(
        self, postgres_database: PostgresDatabase, data: st.DataObject
    ) -> None:
        agree_on_filters(postgres_database, data)

    @brief
    @given(data=st.data())
    def test_orders_and_cursors_are_those_of_the_shown_values(
        self, postgres_database: PostgresDatabase, data: st.DataObject
    ) -> None:
        agree_on_orders(postgres_database, data)
