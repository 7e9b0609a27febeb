"""Whatever is written in whatever order: each change leaves one event, and nothing else does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from databases import PostgresDatabase
from directory_support import (
    GROUPS,
    PROVIDER,
    USERS,
    create_group,
    create_user,
    group,
    new_id,
    new_scope,
    user,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scim2_models import InvalidValueException, UniquenessException

from effort import examples
from kong_scim.bridge import BridgeError, Sql
from kong_scim.directory.database import Database, TenantDatabase
from kong_scim.directory.directory import Directory
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import Change, Conflict, Outcome
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.events.outbox import EventOutbox, Origin, uuid7
from without_kong import NoConsumerSync, Storage

ORIGIN = Origin("idp", "192.0.2.7", "request-1")
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

_NAMES = ["ann", "bob", "İ", "a'b"]

thorough = settings(
    max_examples=examples(30),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
brief = settings(thorough, max_examples=examples(4))


def read(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the outbox with its document in it."""
    return {**row, **json.loads(row["doc"]), "written": json.loads(row["written"])}


class Told:
    """A storage whose changes leave events, and a look at them."""

    def __init__(self, db: Database, *values: str, consumer_sync: Any = None) -> None:
        self.db, self.scope = db, new_scope()
        database = TenantDatabase(db, self.scope)
        outbox = EventOutbox(database, ORIGIN, values=values)
        self.storage = Storage(
            Directory(
                database, Kinds(PROVIDER), consumer_sync or NoConsumerSync(), outbox, new_id=new_id
            )
        )

    def events(self) -> list[dict[str, Any]]:
        text = "SELECT * FROM scim_outbox WHERE tenant = $1 ORDER BY position"
        return [read(row) for row in self.db.query([Sql(text, (self.scope.tenant,))])[0]]

    def last(self) -> dict[str, Any]:
        return self.events()[-1]


@pytest.fixture
def told(database: Database) -> Told:
    return Told(database)


class TestWhatAnEventSays:
    def test_a_user_comes_changes_and_goes(self, told: Told) -> None:
        ann = create_user(told.storage, "ann", active=True, roles=[{"value": "admin"}])
        told.storage.update(USERS, user(id=ann, userName="ann", active=False, title="Boss"))
        back = user(id=ann, userName="ann", active=True, title="Boss")
        told.storage.update(USERS, back, operation="patch")
        told.storage.delete(USERS, ann)
        created, replaced, patched, deleted = told.events()
        assert {each["resource_id"] for each in told.events()} == {ann}
        assert created["operation"] == "create"
        assert created["attributes"] == ["active", "roles", "userName"]
        assert created["actions"] == ["roles-change"]
        assert (created["version_before"], created["version_after"]) == (None, 1)
        assert replaced["operation"] == "replace"
        assert replaced["attributes"] == ["active", "roles", "title"]
        assert replaced["actions"] == ["deactivate", "roles-change"]
        assert (replaced["version_before"], replaced["version_after"]) == (1, 2)
        assert (patched["operation"], patched["actions"]) == ("patch", ["activate"])
        assert (deleted["operation"], "attributes" in deleted) == ("delete", False)
        assert (deleted["version_before"], deleted["version_after"]) == (3, None)

    def test_who_did_it_and_from_where(self, told: Told) -> None:
        create_user(told.storage, "ann")
        event = told.last()
        found = (event["actor"], event["address"], event["requestId"])
        assert found == ("idp", "192.0.2.7", "request-1")
        assert (event["workspace"], event["tenant"]) == (told.scope.workspace, told.scope.tenant)
        assert event["resource_type"] == "User"

    def test_members_that_come_and_go(self, told: Told) -> None:
        ann, bob = create_user(told.storage, "ann"), create_user(told.storage, "bob")
        staff = create_group(told.storage, "staff", ann)
        assert (told.last()["joined"], told.last()["actions"]) == ([ann], ["member-add"])
        told.storage.patch_members(GROUPS, staff, add=[bob], remove=[ann])
        event = told.last()
        assert (event["joined"], event["left"]) == ([bob], [ann])
        assert event["actions"] == ["member-add", "member-remove"]
        assert (event["operation"], event["attributes"]) == ("patch", ["members"])
        assert (event["version_before"], event["version_after"]) == (1, 2)
        told.storage.update(GROUPS, group("crew", ann, id=staff))
        assert told.last()["attributes"] == ["displayName", "members"]
        told.storage.delete(GROUPS, staff)
        assert (told.last()["operation"], told.last()["left"]) == ("delete", [ann])

    def test_the_version_is_the_one_of_this_change_where_many_add_members(self, told: Told) -> None:
        people = [create_user(told.storage, f"user-{number}") for number in range(3)]
        staff = create_group(told.storage, "staff")
        for person in people:
            told.storage.patch_members(GROUPS, staff, add=[person])
        versions = [(e["version_before"], e["version_after"]) for e in told.events()[-3:]]
        assert versions == [(1, 2), (2, 3), (3, 4)]

    def test_attributes_of_an_extension_are_named_with_it(self, told: Told) -> None:
        create_user(told.storage, "ann", **{ENTERPRISE: {"department": "Toys"}})
        assert told.last()["attributes"] == [f"{ENTERPRISE}:department", "userName"]

    def test_values_are_told_only_where_the_configuration_names_them(
        self, database: Database
    ) -> None:
        quiet, chatty = Told(database), Told(database, "USERNAME", f"{ENTERPRISE}:department")
        for told in (quiet, chatty):
            more = {"emails": [{"value": "ann@example.com"}]}
            ann = create_user(told.storage, "ann", **more, **{ENTERPRISE: {"department": "Toys"}})
            told.storage.update(USERS, user(id=ann, userName="anna", **more))
        assert not {"ann", "anna", "Toys", "ann@example.com"} & set(_texts(quiet.events()))
        first, second = chatty.events()
        assert first["values"] == [
            {"attribute": f"{ENTERPRISE}:department", "value": "Toys"},
            {"attribute": "userName", "value": "ann"},
        ]
        assert {"attribute": "userName", "value": "anna"} in second["values"]
        assert "ann@example.com" not in set(_texts(chatty.events()))


def test_ids_sort_by_the_time_they_were_made() -> None:
    start = 1_700_000_000_000_000_000
    moments = iter(range(start, start + 1_000_000, 999))
    ids = [uuid7(lambda: next(moments)) for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in ids} == {
        (7, uuid.RFC_4122)
    }


class TestWhatLeavesNoEvent:
    def test_a_change_that_is_refused(self, told: Told) -> None:
        ann = create_user(told.storage, "ann")
        before = told.events()
        with pytest.raises(UniquenessException):
            create_user(told.storage, "ANN")
        with pytest.raises(Conflict):
            told.storage.delete(USERS, ann, expected_version='W/"7"')
        with pytest.raises(InvalidValueException):
            create_group(told.storage, "staff", "nobody")
        assert told.events() == before

    def test_a_commit_that_is_rolled_back_after_the_event_was_written(
        self, database: Database
    ) -> None:
        told = Told(database)
        with pytest.raises(BridgeError):
            database.commit(
                [
                    Sql(
                        "INSERT INTO scim_outbox (id, workspace, tenant, resource_type, "
                        "resource_id, created, doc, written) "
                        "VALUES ('x', 'w', $1, 'User', 'x', 'x', '{}', '{}')",
                        (told.scope.tenant,),
                    ),
                    Sql("DELETE FROM scim_resources WHERE id = 'nobody'", rows=1),
                ]
            )
        assert told.events() == []

    def test_a_change_whose_effects_cannot_be_had(self, database: Database) -> None:
        told = Told(database, consumer_sync=_Failing())
        with pytest.raises(Conflict):
            create_user(told.storage, "ann")
        assert told.events() == []

    def test_a_patch_of_members_that_changes_nothing(self, told: Told) -> None:
        ann = create_user(told.storage, "ann")
        staff = create_group(told.storage, "staff", ann)
        count = len(told.events())
        told.storage.patch_members(GROUPS, staff, add=[ann], remove=["nobody"])
        told.storage.refresh(USERS, ann)
        assert len(told.events()) == count


class _Failing:
    """Effects whose step cannot be done."""

    def of(self, change: Change) -> Outcome:
        step = Sql("DELETE FROM scim_resources WHERE id = 'nobody'", rows=1)
        return Outcome(steps=(step,))  # type: ignore[arg-type]


class _Run:
    """Draws writes, and counts those that changed something."""

    def __init__(self, db: Database, data: st.DataObject) -> None:
        self.told, self.draw = Told(db), data.draw
        self.changes: list[tuple[str, str]] = []
        self.users: set[str] = set()
        self.groups: dict[str, set[str]] = {}

    def step(self) -> None:
        steps = [self.create_user, self.create_group]
        if self.users:
            steps += [self.rename_user, self.delete_user]
        if self.groups:
            steps += [self.regroup, self.regroup, self.delete_group]
        self.draw(st.sampled_from(steps))()
        seen = [(each["operation"], each["resource_id"]) for each in self.told.events()]
        assert seen == self.changes

    def a(self, ids: Any) -> str:
        return self.draw(st.sampled_from(sorted(ids)))

    def some(self) -> set[str]:
        return set(self.draw(st.lists(st.sampled_from(sorted(self.users) or ["-"]), max_size=3)))

    def create_user(self) -> None:
        try:
            made = create_user(self.told.storage, self.a(_NAMES))
        except UniquenessException:
            return
        self.users.add(made)
        self.changes.append(("create", made))

    def rename_user(self) -> None:
        chosen = self.a(self.users)
        operation: Any = self.draw(st.sampled_from(["replace", "patch"]))
        try:
            new = user(id=chosen, userName=self.a(_NAMES))
            self.told.storage.update(USERS, new, operation=operation)
        except UniquenessException:
            return
        self.changes.append((operation, chosen))

    def delete_user(self) -> None:
        chosen = self.a(self.users)
        self.told.storage.delete(USERS, chosen)
        self.users.discard(chosen)
        for members in self.groups.values():
            members.discard(chosen)
        self.changes.append(("delete", chosen))

    def create_group(self) -> None:
        members = self.some()
        try:
            made = create_group(self.told.storage, self.a(_NAMES), *members)
        except InvalidValueException:
            assert "-" in members
            return
        self.groups[made] = members
        self.changes.append(("create", made))

    def regroup(self) -> None:
        chosen, add, remove = self.a(self.groups), self.some() - {"-"}, self.some()
        add -= remove
        self.told.storage.patch_members(GROUPS, chosen, add=add, remove=remove)
        after = (self.groups[chosen] | add) - remove
        if after != self.groups[chosen]:
            self.changes.append(("patch", chosen))
        self.groups[chosen] = after

    def delete_group(self) -> None:
        chosen = self.a(self.groups)
        self.told.storage.delete(GROUPS, chosen)
        del self.groups[chosen]
        self.changes.append(("delete", chosen))


@thorough
@given(data=st.data())
def test_every_change_leaves_exactly_one_event_in_order_on_sqlite(
    shared_sqlite: SqliteDatabase, data: st.DataObject
) -> None:
    run = _Run(shared_sqlite, data)
    for _ in range(12):
        run.step()


@brief
@given(data=st.data())
def test_every_change_leaves_exactly_one_event_in_order_on_postgres(
    postgres_database: PostgresDatabase, data: st.DataObject
) -> None:
    run = _Run(postgres_database, data)
    for _ in range(8):
        run.step()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        if value[:1] == "{":
            yield from _texts(json.loads(value))
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _texts(each))
