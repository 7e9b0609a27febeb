"""How often the storage asks its database, and what it says when another write came first."""

from __future__ import annotations

from typing import Any

import pytest
from directory_support import (
    GROUPS,
    USERS,
    Recorder,
    RecordingEffects,
    create_group,
    create_user,
    found,
    names,
    new_scope,
    request,
    storage_on,
    user,
)

from kong_scim.bridge import BridgeError, Sql
from kong_scim.directory.database import Database
from kong_scim.directory.ports import Conflict, Outcome
from kong_scim.directory.sqlite import SqliteDatabase
from without_kong import Storage


class TestSteps:
    """How often the database is asked: each query and each commit is a step of the RPC."""

    @pytest.fixture
    def recorder(self, database: Database) -> Recorder:
        return Recorder(database)

    @pytest.fixture
    def storage(self, recorder: Recorder) -> Storage:
        return storage_on(recorder)

    def test_each_operation(self, recorder: Recorder, storage: Storage) -> None:
        ann, bob = create_user(storage, "ann"), create_user(storage, "bob")
        assert recorder.steps() == (0, 2)
        admins = create_group(storage, "admins")
        assert recorder.steps() == (0, 1)
        storage.patch_members(GROUPS, admins, add=[ann, bob])
        assert recorder.steps() == (1, 1)
        storage.get(USERS, ann)
        assert recorder.steps() == (1, 0)
        storage.get(GROUPS, admins)
        assert recorder.steps() == (1, 0)
        found(storage, 'userName eq "ann"')
        assert recorder.steps() == (1, 0)
        storage.search([USERS], request(count=0))
        assert recorder.steps() == (1, 0)
        storage.update(USERS, user(id=ann, userName="anna"))
        assert recorder.steps() == (1, 1)
        storage.delete(USERS, ann)
        assert recorder.steps() == (1, 1)

    def test_a_member_is_added_without_the_others_being_read(
        self, recorder: Recorder, storage: Storage
    ) -> None:
        users = [create_user(storage, f"user{number}") for number in range(60)]
        touched = []
        for size, newcomer in ((2, users[-1]), (50, users[-2])):
            group_id = create_group(storage, f"group of {size}", *users[:size])
            recorder.steps()
            storage.patch_members(GROUPS, group_id, add=[newcomer])
            (query,), (commit,) = recorder.queries, recorder.commits
            rows = sum(len(each) for each in recorder.query(query))
            given = " ".join(str(param) for step in (*query, *commit) for param in _params(step))
            assert newcomer in given
            assert not [each for each in users[:size] if each in given]
            touched.append((len(query), rows, len(commit)))
        # the newcomer's row and memberships: it is in one group by then
        assert touched[0][:1] + touched[0][2:] == touched[1][:1] + touched[1][2:]
        assert all(rows <= 4 for _, rows, _ in touched)


def _params(step: Any) -> tuple[Any, ...]:
    assert isinstance(step, Sql)
    return step.params


class TestConflicts:
    def test_a_write_that_was_overtaken_is_a_conflict(self, database: Database) -> None:
        scope = new_scope()
        ann = create_user(storage_on(database, scope), "ann")

        def overtake(_: Any) -> Outcome:
            storage_on(database, scope).update(USERS, user(id=ann, userName="first"))
            return Outcome()

        storage = storage_on(database, scope, RecordingEffects(overtake))
        with pytest.raises(Conflict):
            storage.update(USERS, user(id=ann, userName="second"))
        with pytest.raises(Conflict):
            storage.delete(USERS, ann)
        assert names(storage, "userName pr") == {"first"}

    def test_a_database_that_is_away_is_no_conflict(self, sqlite_database: SqliteDatabase) -> None:
        storage = storage_on(sqlite_database)
        sqlite_database.close()
        with pytest.raises(BridgeError, match="closed"):
            create_user(storage, "ann")
