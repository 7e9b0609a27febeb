"""A small model of Kong, and of a directory that writes to it: doubles of what stands around the
projection, never of the projection itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from scim2_models import UniquenessException

from kong_scim.bridge import (
    Acl,
    BridgeError,
    Consumer,
    Delete,
    Revoke,
    Rows,
    Step,
    Upsert,
    bridge_error,
)
from kong_scim.config.plugin import PluginConfig, parse
from kong_scim.directory.database import Scope, TenantDatabase
from kong_scim.directory.documents import document, record_of, with_record
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import Change, GroupRef, Outcome, UserChange, UserState
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.directory.stored_row import Document, StoredRow
from kong_scim.protocol.resources import provider
from kong_scim.sync.consumers import KongConsumerSync
from kong_scim.sync.ownership import Ownership

NO_NAMES = TenantDatabase(SqliteDatabase(":memory:"), Scope("default", "okta"))
"""Where nobody holds a name in Kong yet."""


def config(**fields: Any) -> PluginConfig:
    return parse({"tokens": [{"name": "idp", "value": "secret"}], "tenant": "okta", **fields})


PERSON = Kinds(provider(config())).in_role("User")


def person(user_name: str = "alice", **values: Any) -> StoredRow:
    """Return a new user with these attributes, as the directory stores it."""
    resource = PERSON.model.model_validate({"active": True, "userName": user_name, **values})
    return stored(str(uuid4()), document(PERSON, resource))


def stored(id_: str, doc: Document) -> StoredRow:
    moment = "2026-01-01T00:00:00.000000+00:00"
    return StoredRow(id_, PERSON.name, 1, doc, moment, moment)


class KongModel:
    """Consumers, ACL groups and credentials with the rules Kong's schemas give them."""

    def __init__(self) -> None:
        self.consumers: dict[str, dict[str, Any]] = {}
        self.acls: dict[str, dict[str, Any]] = {}
        self.credentials: dict[str, str] = {}
        self.queries = 0

    def query(
        self,
        *,
        consumer_ids: Sequence[str] = (),
        usernames: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
    ) -> Rows:
        self.queries += 1
        found = [
            self.read(id_)
            for id_, row in self.consumers.items()
            if id_ in consumer_ids
            or row.get("username") in usernames
            or row.get("custom_id") in custom_ids
        ]
        return Rows(sql=[], consumers=[one for one in found if one])

    def apply(self, steps: Sequence[Step]) -> None:
        """All or nothing, as the bridge commits."""
        before = deepcopy((self.consumers, self.acls, self.credentials))
        try:
            for index, step in enumerate(steps):
                self._apply(step, index)
        except BridgeError:
            self.consumers, self.acls, self.credentials = before
            raise

    def _apply(self, step: Step, index: int) -> None:
        match step:
            case Upsert(dao="consumers", entity=entity):
                self._unique(entity, index)
                self.consumers[entity["id"]] = {
                    **self.consumers.get(entity["id"], {}),
                    **deepcopy(dict(entity)),
                }
            case Upsert(dao="acls", entity=entity, unless_present=unless_present):
                owner = entity["consumer"]["id"]
                if owner not in self.consumers:
                    raise bridge_error("foreign key violation", "no consumer", code=4, step=index)
                if entity["group"] in self.groups(owner):
                    assert unless_present
                    return
                self.acls[entity["id"]] = deepcopy(dict(entity))
            case Delete(dao="consumers", id=id_):
                self.consumers.pop(id_, None)
                self.acls = {k: v for k, v in self.acls.items() if v["consumer"]["id"] != id_}
                self.credentials = {k: v for k, v in self.credentials.items() if v != id_}
            case Delete(dao="acls", id=id_):
                self.acls.pop(id_, None)
            case Revoke(issued=True):
                pass  # to OAuth clients, of whom there are none here
            case Revoke(consumer=consumer):
                self.credentials = {k: v for k, v in self.credentials.items() if v != consumer}
            case _:
                raise AssertionError(step)

    def _unique(self, entity: Mapping[str, Any], index: int) -> None:
        for name in ("username", "custom_id"):
            value = entity.get(name)
            for id_, row in self.consumers.items():
                if value is not None and row.get(name) == value and id_ != entity["id"]:
                    raise bridge_error(
                        "unique constraint violation",
                        f"UNIQUE violation detected on '{{{name}=\"{value}\"}}'",
                        code=5,
                        step=index,
                        fields={name: value},
                    )

    # -- what an administrator does, and what one sees --------------------

    def read(self, id_: str) -> Consumer | None:
        row = self.consumers.get(id_)
        if row is None:
            return None
        return Consumer(
            id=id_,
            username=row.get("username"),
            custom_id=row.get("custom_id"),
            tags=tuple(row.get("tags") or ()),
            acls=tuple(
                Acl(acl["id"], acl["group"], tuple(acl.get("tags") or ()))
                for acl in self.acls.values()
                if acl["consumer"]["id"] == id_
            ),
        )

    def consumer(self, id_: str) -> Consumer:
        consumer = self.read(id_)
        assert consumer is not None, "there is no such consumer"
        return consumer

    def groups(self, id_: str) -> set[str]:
        return {acl["group"] for acl in self.acls.values() if acl["consumer"]["id"] == id_}

    def add_consumer(self, username: str, **fields: Any) -> str:
        id_ = str(uuid4())
        self.consumers[id_] = {"id": id_, "username": username, **fields}
        return id_

    def give_group(self, consumer: str, group: str, tags: Sequence[str] = ()) -> None:
        if consumer in self.consumers and group not in self.groups(consumer):
            id_ = str(uuid4())
            self.acls[id_] = {
                "id": id_,
                "consumer": {"id": consumer},
                "group": group,
                "tags": list(tags),
            }

    def give_key(self, consumer: str) -> None:
        if consumer in self.consumers:
            self.credentials[str(uuid4())] = consumer

    def keys(self, consumer: str) -> int:
        return list(self.credentials.values()).count(consumer)


@dataclass
class Directory:
    """Users and the groups they are in, whose every write is committed to a model of Kong."""

    config: PluginConfig
    kong: KongModel
    users: dict[str, UserState] = field(default_factory=dict)
    ticks: int = 0

    def clock(self) -> datetime:
        self.ticks += 1
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.ticks)

    def put(self, user: StoredRow, *groups: str) -> Outcome:
        """Create or replace a user, in these groups."""
        before = self.users.get(user.id)
        for other, state in self.users.items():
            if other != user.id and state.doc["userName"] == user.doc["userName"]:
                raise UniquenessException(detail="userName is unique among the users of a tenant")
        if before:
            user = _with_record(user, record_of(before.doc))
        refs = _refs(groups) if groups or before is None else before.groups
        return self._write(
            Change(
                "replace" if before else "create",
                "User",
                user.id,
                (UserChange(user.id, before, UserState(user, refs)),),
            )
        )

    def change(self, id_: str | None, **values: Any) -> Outcome:
        """Change attributes of a user."""
        assert id_
        return self.put(stored(id_, {**self.users[id_].doc, **values}))

    def regroup(
        self, members: Mapping[str, Sequence[str]], group_name: str | None = None
    ) -> Outcome:
        """Write a group, after which these users are in these groups."""
        changes = tuple(
            UserChange(id_, self.users[id_], UserState(self.users[id_].row, _refs(groups)))
            for id_, groups in members.items()
        )
        return self._write(Change("patch", "Group", str(uuid4()), changes, group_name=group_name))

    def delete(self, id_: str | None) -> Outcome:
        assert id_
        return self._write(Change("delete", "User", id_, (UserChange(id_, self.users[id_], None),)))

    def record(self, id_: str | None) -> dict[str, Any]:
        """The Kong extension as a client sees it."""
        assert id_
        return dict(record_of(self.users[id_].doc) or {})

    def _write(self, change: Change) -> Outcome:
        outcome = KongConsumerSync(
            self.config, self.kong, Ownership(self.config, NO_NAMES), clock=self.clock
        ).of(change)
        self.kong.apply(outcome.steps)
        for user in change.users:
            if user.after is None:
                del self.users[user.id]
                continue
            record = outcome.records.get(user.id, record_of(user.after.doc))
            self.users[user.id] = UserState(_with_record(user.after.row, record), user.after.groups)
        return outcome


def _with_record(row: StoredRow, record: Mapping[str, Any] | None) -> StoredRow:
    return replace(row, stored=with_record(PERSON, row.doc, record))


def _refs(names: Sequence[str]) -> tuple[GroupRef, ...]:
    return tuple(GroupRef(id=f"id of {name}", display_name=name) for name in sorted(set(names)))
