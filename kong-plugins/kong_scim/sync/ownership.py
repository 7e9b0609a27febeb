"""Decides which tenant may give an ACL group, and which names look like another's.

What follows from a change is checked and written in its own commit, so that of two tenants that
give the same new name at the same moment one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

from scim2_models import UniquenessException
from sqlalchemy import ColumnElement, bindparam, delete, exists, literal, select

from kong_scim.bridge import Claim, Dialect, Param, Sql, Step
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.names import acl_groups, consumer_names
from kong_scim.directory.ports import REFUSED, Change, Database, Scope, UserState
from kong_scim.directory.statements import Prepared, insert_into, prepare
from kong_scim.spelling import fold
from kong_scim.sync.names import (
    acl_group,
    given_group,
    gives_scopes,
    refuse_reserved,
    role_groups,
    shown,
)
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.wanted import Wanted, names_of

Names: TypeAlias = Mapping[str, str]
"""Keys of names that a user holds, by kind: ``userName``, ``username`` and ``custom_id``."""


def taken_group(name: str) -> UniquenessException:
    """Return the refusal of an ACL group that somebody else gives (409), which does not say who."""
    return UniquenessException(detail=_somebody_elses(name))


class Ownership:
    """The names in Kong that a tenant must hold for a change of its directory.

    :param scope: None where there is no database: then names are looked at, and held nowhere.
    """

    def __init__(self, config: PluginConfig, scope: Scope | None, dialect: Dialect) -> None:
        self._config = config
        self._scope = scope
        self._dialect = dialect

    # -- ACL groups -------------------------------------------------------

    def of_group(self, change: Change) -> list[Step]:
        """Return what a group that is created or renamed claims; refuse one that it may not give.

        :raises ~scim2_models.InvalidValueException: For a name that cannot be an ACL group (400).
        :raises ~scim2_models.UniquenessException: For one that gives scopes of this endpoint (409).
        """
        display, mapping = str(change.group_name), self._config.groups
        name = acl_group(mapping, display)
        if name is None:
            return self._with_scope(_forget, {"group": change.resource_id})
        refuse_reserved(self._config, display)
        self._refuse_scopes(name)
        row = self.row(change.resource_id, name)
        steps = self._claim([name])
        steps += self._with_scope(hold_group, row)
        if steps and not mapping.allows(name):
            steps += self._with_scope(_others, row, _somebody_elses(name))
        steps += self._with_scope(_look_alikes, row, _looks_like_a_group(name))
        return steps

    def row(self, group_id: str, name: str) -> dict[str, Param]:
        """Return the row that says that a SCIM group gives an ACL group."""
        return {"group": group_id, "name": name, "key": digest(fold(name))}

    def gives(self, group_id: str, name: str | None) -> list[Step]:
        """Return the step that says, unchecked, that a group gives an ACL group, or none."""
        if name is None:
            return self._with_scope(_forget, {"group": group_id})
        return self._with_scope(hold_group, self.row(group_id, name))

    def is_given_by_others(self, db: Database, group_id: str, name: str) -> bool:
        """Tell whether another tenant gives an ACL group too, though this one may not."""
        if self._config.groups.allows(name):
            return False
        asked = self._with_scope(_others, self.row(group_id, name))
        return any(rows for rows in db.query([step for step in asked if isinstance(step, Sql)]))

    def of_user(self, before: UserState | None, after: UserState) -> list[Step]:
        """Return what the roles of a user claim that it did not have, and refuse what it joins.

        :raises ~scim2_models.InvalidValueException: For a name that ``unmatched`` refuses (400).
        :raises ~scim2_models.UniquenessException: For one that gives scopes of this endpoint (409).
        """
        if not after.is_active:
            return []
        config, held = self._config, before if before and before.is_active else None
        if config.groups.unmatched == "refuse" or config.auth == "kong":
            known = {group.id for group in held.groups} if held else set()
            for group in after.groups:
                joined = group.id not in known
                name = given_group(config.groups, group.display_name, strict=joined)
                if joined and name:
                    self._refuse_scopes(name)
        old = set(role_groups(config, held.user)) if held else set()
        new = sorted(set(role_groups(config, after.user, strict=not old)) - old)
        if not new:
            return []
        list(role_groups(config, after.user, strict=True))
        for name in new:
            self._refuse_scopes(name)
        steps = self._claim(new)
        for name in new if steps else ():
            if not config.groups.allows(name):
                row = self.row("", name)
                steps += self._with_scope(_others, row, _somebody_elses(name))
        return steps

    def _claim(self, names: Iterable[str]) -> list[Step]:
        """Return the step that holds names against everybody else; first of all, since it locks."""
        claimed = sorted(
            (fold(name), name) for name in names if not self._config.groups.allows(name)
        )
        if not claimed or self._scope is None:
            return []
        groups = tuple({"name": name, "key": key} for key, name in claimed)
        return [Claim(groups, self._config.tag())]

    def _refuse_scopes(self, name: str) -> None:
        if gives_scopes(self._config, name):
            raise UniquenessException(
                detail=f"The ACL group {shown(name)} gives scopes of this SCIM endpoint "
                "(`group_scopes`), so no provider may fill it. Rename the group, or have "
                "`groups.allow` of the configuration name it."
            )

    # -- Names of consumers -----------------------------------------------

    def held(self, before: UserState, stored: KongUserRecord) -> Names:
        """Return the names that a user holds."""
        named = names_of(self._config.consumer, before.user)[1]
        username = stored.username if stored.consumer_id else None
        return self._names(before, username, named if stored.consumer_id else None)

    def wanted(self, after: UserState, target: Wanted) -> Names:
        """Return the names that a user is to hold."""
        custom_id = target.custom_id if target.manages_custom_id else None
        return self._names(after, target.username, custom_id)

    def of_names(self, user: str, held: Names, wanted: Names, said: Sequence[str]) -> list[Step]:
        """Return the steps by which a user holds other names.

        :param said: The names as they are called and spelled, for the refusal.
        """
        new = {kind: key for kind, key in wanted.items() if held.get(kind) != key}
        gone = sorted(kind for kind, key in held.items() if wanted.get(kind) != key)
        steps: list[Step] = []
        if gone:
            steps += self._with_scope(_release, {"user": user}, kinds=tuple(gone))
        if new:
            rows: dict[str, Param] = {"user": user}
            for index, (kind, key) in enumerate(sorted(new.items())):
                rows |= {f"kind{index}": kind, f"key{index}": key}
            steps += self._with_scope(_hold_names, rows, _looks_like_a_name(said), count=len(new))
        return steps

    def keeps(self, user: str, held: Names) -> list[Step]:
        """Return the step by which a user holds the names it has, as far as nobody else does."""
        return [
            replace(step, rows=None, label=None)
            for step in self.of_names(user, {}, held, [])
            if isinstance(step, Sql)
        ]

    def _names(self, state: UserState, username: str | None, custom_id: str | None) -> Names:
        name = getattr(state.user, "user_name", None)
        tenant = self._scope.tenant if self._scope else ""
        found = {
            "userName": name and digest(f"{tenant}\0{fold(name)}"),
            "username": username and digest(fold(username)),
            "custom_id": custom_id and digest(fold(custom_id)),
        }
        return {kind: key for kind, key in found.items() if key}

    def _with_scope(
        self, statement: Any, params: Mapping[str, Param], refusal: str | None = None, **more: Any
    ) -> list[Step]:
        if self._scope is None:
            return []
        scope = {"workspace": self._scope.workspace, "tenant": self._scope.tenant}
        made: Sql = statement(self._dialect, **more).bind({**scope, **params})
        if refusal is not None:
            made = replace(made, label=f"{REFUSED}{refusal}")
        return [made]


def digest(text: str) -> str:
    """Return what stands for a text in an index, which may be too long for one itself."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _somebody_elses(name: str) -> str:
    return (
        f"The ACL group {shown(name)} is given by somebody else: an administrator, or another "
        "provider. Rename the group or the role, or have `groups.allow` of the configuration name "
        f"{shown(name)}, or give this provider names of its own with `groups.prefix`."
    )


def _looks_like_a_group(name: str) -> str:
    return (
        f"The ACL group {shown(name)} looks the same as one of another group, and is another one "
        "to Kong: choose one spelling for both."
    )


def _looks_like_a_name(said: Sequence[str]) -> str:
    return (
        f"Somebody has {' or '.join(said)} already, or a name that cannot be told from it (of "
        "another case or width, say): change one of the two."
    )


# -- Statements -----------------------------------------------------------


def _in_workspace(table: Any) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = table.c.workspace == bindparam("workspace")
    return condition


@lru_cache(maxsize=4)
def hold_group(dialect: Dialect) -> Prepared:
    """Return the statement that says that a SCIM group gives an ACL group."""
    row: dict[str, Any] = {
        "group_id": bindparam("group"),
        **{name: bindparam(name) for name in ("workspace", "tenant", "name", "key")},
    }
    statement = insert_into(dialect, acl_groups).values(row)
    new = {name: statement.excluded[name] for name in ("name", "key")}
    return prepare(statement.on_conflict_do_update(index_elements=["group_id"], set_=new), dialect)


@lru_cache(maxsize=4)
def _forget(dialect: Dialect) -> Prepared:
    return prepare(delete(acl_groups).where(acl_groups.c.group_id == bindparam("group")), dialect)


def _alike(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(
        select(literal(1)).where(
            _in_workspace(acl_groups), acl_groups.c.key == bindparam("key"), *conditions
        )
    )


@lru_cache(maxsize=4)
def _others(dialect: Dialect) -> Prepared:
    """Select a row where another tenant gives an ACL group, and none of this one's others does."""
    theirs = acl_groups.c.tenant != bindparam("tenant")
    ours = [
        acl_groups.c.tenant == bindparam("tenant"),
        acl_groups.c.name == bindparam("name"),
        acl_groups.c.group_id != bindparam("group"),
    ]
    statement = select(literal(1).label("one")).where(_alike(theirs), ~_alike(*ours))
    return prepare(statement, dialect, rows=0)


@lru_cache(maxsize=4)
def _look_alikes(dialect: Dialect) -> Prepared:
    """Select a row where another group of the tenant has a name that only looks the same."""
    ours = [
        acl_groups.c.tenant == bindparam("tenant"),
        acl_groups.c.name != bindparam("name"),
        acl_groups.c.group_id != bindparam("group"),
    ]
    statement = select(literal(1).label("one")).where(_alike(*ours))
    return prepare(statement, dialect, rows=0)


@lru_cache(maxsize=32)
def _release(dialect: Dialect, kinds: tuple[str, ...]) -> Prepared:
    statement = delete(consumer_names).where(
        consumer_names.c.resource_id == bindparam("user"),
        consumer_names.c.kind.in_([literal(kind) for kind in kinds]),
    )
    return prepare(statement, dialect)


@lru_cache(maxsize=16)
def _hold_names(dialect: Dialect, count: int) -> Prepared:
    table: list[dict[str, Any]] = [
        {
            "workspace": bindparam("workspace"),
            "kind": bindparam(f"kind{index}"),
            "key": bindparam(f"key{index}"),
            "resource_id": bindparam("user"),
        }
        for index in range(count)
    ]
    statement = insert_into(dialect, consumer_names).values(table)
    return prepare(statement.on_conflict_do_nothing(), dialect, rows=count)
