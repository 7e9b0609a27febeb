"""A change that commits between two statements of one reading step is noticed, or is harmless.

PostgreSQL reads each statement of a step at a moment of its own: the bridge opens no transaction
for reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from directory_support import (
    GROUPS,
    USERS,
    RecordingEffects,
    create_group,
    create_user,
    group,
    groups_of,
    members_of,
    new_scope,
    storage_on,
    user,
)
from scim2_models import NotFoundException

from kong_scim.bridge import Dialect, Sql, Step, StepResult
from kong_scim.directory.database import Database, Scope
from kong_scim.directory.ports import Conflict
from without_kong import Storage

STATEMENTS = range(1, 4)
"""After which statement of the first reading step the other change commits."""


class Overtaken:
    """A database whose first reading step is interrupted after some statements."""

    def __init__(self, db: Database, after: int, meanwhile: Callable[[], Any]) -> None:
        self._db = db
        self._after = after
        self._meanwhile: Callable[[], Any] | None = meanwhile

    @property
    def dialect(self) -> Dialect:
        return self._db.dialect

    def query(
        self, statements: Sequence[Sql], *, consumers: Sequence[str] = ()
    ) -> list[list[dict[str, Any]]]:
        del consumers
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is None:
            return self._db.query(statements)
        first = self._db.query(statements[: self._after])
        meanwhile()
        return first + self._db.query(statements[self._after :])

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        return self._db.commit(steps)


@pytest.fixture
def scope() -> Scope:
    return new_scope()


@pytest.fixture
def others(database: Database, scope: Scope) -> Storage:
    return storage_on(database, scope)


@pytest.fixture
def consumer_sync() -> RecordingEffects:
    return RecordingEffects()


@pytest.fixture
def overtaken(
    database: Database, scope: Scope, consumer_sync: RecordingEffects
) -> Callable[[int, Callable[[], Any]], Storage]:
    return lambda after, meanwhile: storage_on(
        Overtaken(database, after, meanwhile), scope, consumer_sync
    )


def told(consumer_sync: RecordingEffects) -> list[str]:
    """Return the names of the groups that the last change said its one user ends up in."""
    (change,) = consumer_sync.last().users
    assert change.after is not None
    return [each.display_name for each in change.after.groups]


@pytest.mark.parametrize("after", STATEMENTS)
def test_a_member_joins_a_group_under_the_name_it_was_given_meanwhile(
    others: Storage, overtaken: Any, consumer_sync: RecordingEffects, after: int
) -> None:
    ann, admins = create_user(others, "ann"), create_group(others, "old")
    rename = lambda: others.patch_members(GROUPS, admins, patch=lambda _: group("new"))  # noqa: E731
    overtaken(after, rename).patch_members(GROUPS, admins, add=[ann])
    assert told(consumer_sync) == ["new"]
    assert groups_of(others, ann) == {"new": "direct"}


@pytest.mark.parametrize("after", STATEMENTS)
def test_a_member_joins_the_groups_its_group_was_put_into_meanwhile(
    others: Storage, overtaken: Any, consumer_sync: RecordingEffects, after: int
) -> None:
    ann = create_user(others, "ann")
    inner, outer = create_group(others, "inner"), create_group(others, "outer")
    nest = lambda: others.patch_members(GROUPS, outer, add=[inner])  # noqa: E731
    overtaken(after, nest).patch_members(GROUPS, inner, add=[ann])
    assert told(consumer_sync) == ["inner", "outer"]


@pytest.mark.parametrize("after", STATEMENTS)
def test_nobody_joins_a_group_that_was_deleted_meanwhile(
    others: Storage, overtaken: Any, after: int
) -> None:
    ann, admins = create_user(others, "ann"), create_group(others, "admins")
    storage = overtaken(after, lambda: others.delete(GROUPS, admins))
    with pytest.raises(NotFoundException):
        storage.patch_members(GROUPS, admins, add=[ann])
    assert groups_of(others, ann) == {}


@pytest.mark.parametrize("after", STATEMENTS)
def test_a_group_that_is_deleted_takes_along_who_joined_meanwhile(
    others: Storage, overtaken: Any, consumer_sync: RecordingEffects, after: int
) -> None:
    ann, admins = create_user(others, "ann"), create_group(others, "admins")
    storage = overtaken(after, lambda: others.patch_members(GROUPS, admins, add=[ann]))
    try:
        storage.delete(GROUPS, admins)
    except Conflict:  # without If-Match, the handler runs it again
        storage.delete(GROUPS, admins)
    assert told(consumer_sync) == []
    assert groups_of(others, ann) == {}


@pytest.mark.parametrize("after", [1])
def test_a_user_is_replaced_with_the_groups_it_came_into_meanwhile(
    others: Storage, overtaken: Any, consumer_sync: RecordingEffects, after: int
) -> None:
    ann, admins = create_user(others, "ann"), create_group(others, "admins")
    storage = overtaken(after, lambda: others.patch_members(GROUPS, admins, add=[ann]))
    with pytest.raises(Conflict):
        storage.update(USERS, user(id=ann, userName="ann", title="Boss"))
    storage.update(USERS, user(id=ann, userName="ann", title="Boss"))
    assert told(consumer_sync) == ["admins"]
    assert members_of(others, admins) == {ann}


def test_a_group_with_an_empty_name_is_a_group_like_any_other(others: Storage) -> None:
    ann = create_user(others, "ann")
    create_group(others, "", ann)
    create_group(others, "admins", ann)
    assert groups_of(others, ann) == {"": "direct", "admins": "direct"}
