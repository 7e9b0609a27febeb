"""Decides which tenant may give an ACL group, and which names look like another's.

Names are checked and claimed in the commit of the change. So if two tenants give the same new name
at the same moment, one is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

from scim2_models import UniquenessException
from sqlalchemy import ColumnElement, bindparam, delete, exists, literal, select
from sqlalchemy.dialects.postgresql import Insert

from kong_scim.bridge import Claim, Param, Sql, Step
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.ports import REFUSED, Change, UserState
from kong_scim.directory.statements import Statement, insert_into, is_one_of, parameters
from kong_scim.directory.tables import acl_groups, consumer_names
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
from kong_scim.sync.targets import daos
from kong_scim.sync.wanted import Wanted, names_of

Names: TypeAlias = Mapping[str, str]
"""The keys of a user's names, by kind: ``userName``, ``username`` and ``custom_id``."""


def taken_group(name: str) -> UniquenessException:
    """Return the refusal of an ACL group that somebody else gives (409). It does not say who."""
    return UniquenessException(detail=_given_by_others(name))


class Ownership:
    """Works out the claims of names in Kong that a change of a tenant's directory needs.

    :param database: The database that stores the claims.
    :ivar database: The same.
    """

    def __init__(self, config: PluginConfig, database: TenantDatabase) -> None:
        self._config = config
        self.database = self._database = database

    # -- ACL groups -------------------------------------------------------

    def of_group(self, change: Change) -> list[Step]:
        """Return the steps by which a created or renamed group claims its ACL group.

        :raises ~scim2_models.InvalidValueException: For a name that cannot be an ACL group (400).
        :raises ~scim2_models.UniquenessException: For an ACL group that gives scopes of this
            endpoint (409).
        """
        display, mapping = str(change.group_name), self._config.groups
        name = acl_group(mapping, display)
        if name is None:
            return [self._database.bind(_FORGET, group=change.resource_id)]
        refuse_reserved(self._config, display)
        self._refuse_scopes(name)
        row = _group_row(change.resource_id, name)
        steps = [*self._claim([name]), self._database.bind(_HOLD_GROUP, **row)]
        if not mapping.allows(name):
            steps.append(self._guard(_OTHERS, _given_by_others(name), row))
        steps.append(self._guard(_LOOK_ALIKES, _looks_like_a_group(name), row))
        return steps

    def gives(self, group_id: str, name: str | None) -> Step:
        """Return the step that stores, unchecked, the ACL group that a SCIM group gives.

        :param name: The ACL group, or None if it gives none.
        """
        if name is None:
            return self._database.bind(_FORGET, group=group_id)
        return self._database.bind(_HOLD_GROUP, **_group_row(group_id, name))

    def is_given_by_others(self, group_id: str, name: str) -> bool:
        """Tell whether another tenant gives an ACL group too that ``groups.allow`` does not name.

        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        if self._config.groups.allows(name):
            return False
        return bool(self._database.rows(_OTHERS, **_group_row(group_id, name)))

    def of_user(self, before: UserState | None, after: UserState) -> list[Step]:
        """Return the steps by which the new roles of a user claim their ACL groups.

        :raises ~scim2_models.InvalidValueException: For a new role or group of the user that
            ``unmatched`` refuses (400).
        :raises ~scim2_models.UniquenessException: For one that gives scopes of this endpoint (409).
        """
        if not after.is_active:
            return []
        config, previous = self._config, before if before and before.is_active else None
        if config.groups.unmatched == "refuse" or config.auth == "kong":
            known = {group.id for group in previous.groups} if previous else set()
            for group in after.groups:
                joined = group.id not in known
                name = given_group(config.groups, group.display_name, strict=joined)
                if joined and name:
                    self._refuse_scopes(name)
        old = set(role_groups(config, previous.doc)) if previous else set()
        new = sorted(set(role_groups(config, after.doc, strict=not old)) - old)
        if not new:
            return []
        list(role_groups(config, after.doc, strict=True))
        for name in new:
            self._refuse_scopes(name)
        steps = self._claim(new)
        for name in new:
            if not config.groups.allows(name):
                steps.append(self._guard(_OTHERS, _given_by_others(name), _group_row("", name)))
        return steps

    def _claim(self, names: Iterable[str]) -> list[Step]:
        """Return the step that claims ACL groups, if any needs it; it must be first, as it
        locks."""
        claimed = sorted(
            (fold(name), name) for name in names if not self._config.groups.allows(name)
        )
        if not claimed:
            return []
        choice = self._config.groups.targets
        groups = tuple(
            {"name": name, "key": key, "daos": daos(choice, name)} for key, name in claimed
        )
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
        """Return the names that a user has claimed."""
        named = names_of(self._config.consumer, before.row)[1]
        username = stored.username if stored.consumer_id else None
        return self._names(before, username, named if stored.consumer_id else None)

    def wanted(self, after: UserState, target: Wanted) -> Names:
        """Return the names that a user is to claim."""
        custom_id = target.custom_id if target.manages_custom_id else None
        return self._names(after, target.username, custom_id)

    def of_names(self, user: str, held: Names, wanted: Names, named: Sequence[str]) -> list[Sql]:
        """Return the steps by which a user claims its new names and releases the others.

        :param named: The new names with their attributes, for the refusal.
        """
        new = {kind: key for kind, key in wanted.items() if held.get(kind) != key}
        gone = sorted(kind for kind, key in held.items() if wanted.get(kind) != key)
        steps: list[Sql] = []
        if gone:
            steps.append(self._database.bind(_release(gone), user=user))
        if new:
            rows: dict[str, Param] = {"user": user}
            for index, (kind, key) in enumerate(sorted(new.items())):
                rows |= {f"kind{index}": kind, f"key{index}": key}
            steps.append(self._guard(_hold_names(len(new)), _looks_like_a_name(named), rows))
        return steps

    def keeps(self, user: str, held: Names) -> list[Step]:
        """Return the step by which a user claims the names it has, except those already claimed."""
        return [replace(step, rows=None, label=None) for step in self.of_names(user, {}, held, [])]

    def _names(self, state: UserState, username: str | None, custom_id: str | None) -> Names:
        name = state.doc.get("userName")
        tenant = self._database.scope.tenant
        found = {
            "userName": name and digest(f"{tenant}\0{fold(name)}"),
            "username": username and digest(fold(username)),
            "custom_id": custom_id and digest(fold(custom_id)),
        }
        return {kind: key for kind, key in found.items() if key}

    def _guard(self, statement: Statement, refusal: str, params: Mapping[str, Param]) -> Sql:
        """Bind a guard, and label it with the sentence that refuses the change if it fails."""
        return replace(self._database.bind(statement, **params), label=f"{REFUSED}{refusal}")


def _group_row(group_id: str, name: str) -> dict[str, Param]:
    """Return the parameters of a row that stores which ACL group a SCIM group gives."""
    return {"group": group_id, "name": name, "key": digest(fold(name))}


def digest(text: str) -> str:
    """Return the SHA-256 of a text, for an index, because the text may be too long for one."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _given_by_others(name: str) -> str:
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


def _looks_like_a_name(named: Sequence[str]) -> str:
    return (
        f"Somebody has {' or '.join(named)} already, or a name that cannot be told from it (of "
        "another case or width, say): change one of the two."
    )


# -- Statements -----------------------------------------------------------


def _hold_group() -> Insert:
    row = {"group_id": bindparam("group"), **parameters("workspace", "tenant", "name", "key")}
    insert = insert_into(acl_groups).values(row)
    new = {name: insert.excluded[name] for name in ("name", "key")}
    return insert.on_conflict_do_update(index_elements=["group_id"], set_=new)


_HOLD_GROUP = Statement(_hold_group())
"""Stores which ACL group a SCIM group gives."""

_FORGET = Statement(delete(acl_groups).where(acl_groups.c.group_id == bindparam("group")))


def _row_of_same_key(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(
        select(literal(1)).where(
            acl_groups.c.workspace == bindparam("workspace"),
            acl_groups.c.key == bindparam("key"),
            *conditions,
        )
    )


def _given_by_another_group(name: ColumnElement[bool]) -> ColumnElement[bool]:
    ours = acl_groups.c.tenant == bindparam("tenant")
    return _row_of_same_key(ours, name, acl_groups.c.group_id != bindparam("group"))


def _no_row(*conditions: ColumnElement[bool]) -> Statement:
    return Statement(select(literal(1).label("one")).where(*conditions), rows=0)


_OTHERS = _no_row(
    _row_of_same_key(acl_groups.c.tenant != bindparam("tenant")),
    ~_given_by_another_group(acl_groups.c.name == bindparam("name")),
)
"""Selects a row if another tenant gives an ACL group, and no other group of this tenant does."""

_LOOK_ALIKES = _no_row(_given_by_another_group(acl_groups.c.name != bindparam("name")))
"""Selects a row if another group of the tenant has another name that looks the same."""


def _release(kinds: Collection[str]) -> Statement:
    return Statement(
        delete(consumer_names).where(
            consumer_names.c.resource_id == bindparam("user"),
            is_one_of(consumer_names.c.kind, kinds),
        )
    )


@lru_cache(maxsize=16)
def _hold_names(count: int) -> Statement:
    table: list[dict[str, Any]] = [
        {
            "workspace": bindparam("workspace"),
            "kind": bindparam(f"kind{index}"),
            "key": bindparam(f"key{index}"),
            "resource_id": bindparam("user"),
        }
        for index in range(count)
    ]
    insert = insert_into(consumer_names).values(table)
    return Statement(insert.on_conflict_do_nothing(), rows=count)
