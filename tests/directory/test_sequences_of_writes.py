"""Whatever is written in whatever order, a simple model in memory says what must be shown.

A version changes when the representation does, with one exception: a rename of a member does not
make a new version of every group it is in, although ``members.display`` shows the new name there. A
replacement (PUT) is a new version even where it says nothing new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from databases import PostgresDatabase
from directory_support import GROUPS, USERS, group, new_scope, storage_on, user
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scim2_models import InvalidValueException, Resource, UniquenessException
from stored_rows import assert_rows_agree, memberships

from effort import examples
from kong_scim.directory.database import Database
from kong_scim.directory.sqlite import SqliteDatabase

_NAMES = ["ann", "Ann", "bob", "İ", "a'b"]

thorough = settings(
    max_examples=examples(40),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
brief = settings(thorough, max_examples=examples(4))


@dataclass
class World:
    """Users by id with their names, and groups with their names and members."""

    users: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, set[str]]] = field(default_factory=dict)

    def parents(self, member: str) -> set[str]:
        return {each for each, (_, members) in self.groups.items() if member in members}

    def above(self, member: str) -> set[str]:
        found: set[str] = set()
        level = self.parents(member)
        while level:
            found |= level
            level = {up for each in level for up in self.parents(each)} - found
        return found

    def name(self, resource_id: str) -> str:
        return self.users.get(resource_id) or self.groups[resource_id][0]

    def shown(self, resource_id: str) -> dict[str, Any]:
        if resource_id in self.users:
            direct = self.parents(resource_id)
            groups = sorted((self.name(each), each) for each in self.above(resource_id))
            return {
                "userName": self.users[resource_id],
                "groups": [
                    (each, name, "direct" if each in direct else "indirect")
                    for name, each in groups
                ],
            }
        name, members = self.groups[resource_id]
        return {
            "displayName": name,
            "members": [
                (each, self.name(each), "User" if each in self.users else "Group")
                for each in sorted(members)
            ],
        }


def shown(resource: Resource[Any]) -> dict[str, Any]:
    found: Any = resource
    if hasattr(resource, "user_name"):
        groups = [(each.value, each.display, each.type) for each in found.groups or ()]
        return {"userName": found.user_name, "groups": groups}
    members = [(each.value, each.display, each.type) for each in found.members or ()]
    return {"displayName": found.display_name, "members": members}


def without_displays(representation: dict[str, Any]) -> dict[str, Any]:
    members = [(each, type_) for each, _, type_ in representation.get("members", ())]
    return {**representation, "members": members}


class Run:
    """A storage and the model of it, written to side by side."""

    def __init__(self, db: Database, data: st.DataObject) -> None:
        self.db, self.data, self.scope = db, data, new_scope()
        self.storage = storage_on(db, self.scope)
        self.world = World()
        self.before: dict[str, tuple[dict[str, Any], str]] = {}

    def step(self) -> None:
        world, draw = self.world, self.data.draw
        steps = [self.create_user, self.create_group]
        if world.users:
            steps += [self.rename_user, self.delete_user]
        if world.groups:
            steps += [self.rename_group, self.delete_group, self.put_group]
            steps += [self.patch_group] * 3
        replaced = draw(st.sampled_from(steps))()
        self.check(replaced)

    def a(self, ids: Any) -> str:
        return self.data.draw(st.sampled_from(list(ids)))

    def some(self) -> set[str]:
        everybody = [*self.world.users, *self.world.groups]
        return set(
            self.data.draw(st.lists(st.sampled_from(everybody), max_size=3)) if everybody else ()
        )

    def taken(self, name: str, but: str | None = None) -> bool:
        return any(
            held.lower() == name.lower() for each, held in self.world.users.items() if each != but
        )

    def create_user(self) -> None:
        name = self.data.draw(st.sampled_from(_NAMES))
        if self.taken(name):
            with pytest.raises(UniquenessException):
                self.storage.create(USERS, user(userName=name))
            return
        created = self.storage.create(USERS, user(userName=name))
        self.world.users[str(created.id)] = name

    def rename_user(self) -> str:
        chosen, name = self.a(self.world.users), self.data.draw(st.sampled_from(_NAMES))
        new = user(id=chosen, userName=name)
        if self.taken(name, but=chosen):
            with pytest.raises(UniquenessException):
                self.storage.update(USERS, new)
            return ""
        self.storage.update(USERS, new)
        self.world.users[chosen] = name
        return chosen

    def delete_user(self) -> None:
        chosen = self.a(self.world.users)
        self.storage.delete(USERS, chosen)
        del self.world.users[chosen]
        for _, members in self.world.groups.values():
            members.discard(chosen)

    def create_group(self) -> None:
        name, members = self.data.draw(st.sampled_from(_NAMES)), self.some()
        created = self.storage.create(GROUPS, group(name, *members))
        self.world.groups[str(created.id)] = (name, members)
        assert shown(created) == self.world.shown(str(created.id))

    def rename_group(self) -> None:
        chosen, name = self.a(self.world.groups), self.data.draw(st.sampled_from(_NAMES))

        def rename(resource: Any) -> Any:
            if resource.display_name == name:
                return None
            resource.display_name = name
            return resource

        self.storage.patch_members(GROUPS, chosen, patch=rename)
        self.world.groups[chosen] = (name, self.world.groups[chosen][1])

    def delete_group(self) -> None:
        chosen = self.a(self.world.groups)
        self.storage.delete(GROUPS, chosen)
        del self.world.groups[chosen]
        for _, members in self.world.groups.values():
            members.discard(chosen)

    def put_group(self) -> str:
        chosen, members = self.a(self.world.groups), self.some()
        name = self.data.draw(st.sampled_from(_NAMES))
        new = group(name, *members, id=chosen)
        if chosen in members:
            with pytest.raises(InvalidValueException, match="in itself"):
                self.storage.update(GROUPS, new)
            return ""
        updated = self.storage.update(GROUPS, new)
        self.world.groups[chosen] = (name, members)
        assert shown(updated) == self.world.shown(chosen)
        return chosen

    def patch_group(self) -> None:
        chosen, add, remove = self.a(self.world.groups), self.some(), self.some()
        add -= remove
        name, members = self.world.groups[chosen]
        if chosen in add:
            with pytest.raises(InvalidValueException, match="in itself"):
                self.storage.patch_members(GROUPS, chosen, add=add, remove=remove)
            return
        self.storage.patch_members(GROUPS, chosen, add=add, remove=remove)
        self.world.groups[chosen] = (name, (members | add) - remove)

    def check(self, replaced: str | None) -> None:
        after = {}
        for type_, ids in ((USERS, self.world.users), (GROUPS, self.world.groups)):
            for each in ids:
                resource = self.storage.get(type_, each)
                assert shown(resource) == self.world.shown(each)
                assert resource.meta is not None
                after[each] = (shown(resource), str(resource.meta.version))
        for each, (representation, version) in after.items():
            if each not in self.before or each == replaced:
                continue
            was, old_version = self.before[each]
            if without_displays(was) != without_displays(representation):
                assert version != old_version, each
            else:
                assert version == old_version, each
        self.before = after
        assert memberships(self.db, self.scope) == {
            (each, member, "User" if member in self.world.users else "Group")
            for each, (_, members) in self.world.groups.items()
            for member in members
        }
        assert_rows_agree(self.db, self.scope)


@thorough
@given(data=st.data())
def test_every_sequence_of_writes_shows_what_the_model_says_on_sqlite(
    shared_sqlite: SqliteDatabase, data: st.DataObject
) -> None:
    run = Run(shared_sqlite, data)
    for _ in range(15):
        run.step()


@brief
@given(data=st.data())
def test_every_sequence_of_writes_shows_what_the_model_says_on_postgres(
    postgres_database: PostgresDatabase, data: st.DataObject
) -> None:
    run = Run(postgres_database, data)
    for _ in range(8):
        run.step()
