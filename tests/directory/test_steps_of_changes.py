"""What the directory tells its Effects, and that it writes what they answer in the same commit."""

from __future__ import annotations

import pytest
from directory_support import (
    GROUPS,
    KONG,
    USERS,
    Recorder,
    RecordingEffects,
    create_group,
    create_user,
    found,
    group,
    groups_of,
    members_of,
    names,
    new_scope,
    storage_on,
    user,
)
from scim2_models import UniquenessException

from kong_scim.bridge import Sql
from kong_scim.directory.database import Database
from kong_scim.directory.ports import Change, Conflict, Outcome, UserState
from without_kong import Storage


@pytest.fixture
def consumer_sync() -> RecordingEffects:
    return RecordingEffects()


@pytest.fixture
def storage(database: Database, consumer_sync: RecordingEffects) -> Storage:
    return storage_on(database, consumer_sync=consumer_sync)


def _groups(state: UserState | None) -> list[str] | None:
    """Return the names of a state's groups, those that are indirect in brackets."""
    if state is None:
        return None
    return [each.display_name if each.direct else f"({each.display_name})" for each in state.groups]


def told(change: Change) -> dict[str, tuple[list[str] | None, list[str] | None]]:
    """Return the groups before and after, by userName, of every user a change affects."""
    return {
        _user_name(each.after or each.before): (_groups(each.before), _groups(each.after))
        for each in change.users
    }


def _user_name(state: UserState | None) -> str:
    assert state is not None
    return str(state.doc["userName"])


class TestWhatIsTold:
    def test_a_user_that_comes_changes_and_goes(
        self, storage: Storage, consumer_sync: RecordingEffects
    ) -> None:
        ann = create_user(storage, "ann")
        change = consumer_sync.last()
        assert (change.operation, change.resource_type, change.resource_id) == (
            "create",
            "User",
            ann,
        )
        assert told(change) == {"ann": (None, [])}
        inner = create_group(storage, "inner", ann)
        create_group(storage, "outer", inner)
        storage.update(USERS, user(id=ann, userName="anna", active=False))
        change = consumer_sync.last()
        assert (change.operation, told(change)) == (
            "replace",
            {"anna": (["inner", "(outer)"], ["inner", "(outer)"])},
        )
        before, after = change.users[0].before, change.users[0].after
        assert (_user_name(before), _user_name(after)) == ("ann", "anna")
        storage.delete(USERS, ann)
        change = consumer_sync.last()
        assert (change.operation, told(change)) == (
            "delete",
            {"anna": (["inner", "(outer)"], None)},
        )

    def test_a_group_that_comes_is_renamed_and_goes(
        self, storage: Storage, consumer_sync: RecordingEffects
    ) -> None:
        ann, bob = create_user(storage, "ann"), create_user(storage, "bob")
        inner = create_group(storage, "inner", ann)
        change = consumer_sync.last()
        assert (change.operation, change.resource_type, change.group_name) == (
            "create",
            "Group",
            "inner",
        )
        assert told(change) == {"ann": ([], ["inner"])}
        outer = create_group(storage, "outer", inner, bob)
        assert told(consumer_sync.last()) == {
            "ann": (["inner"], ["inner", "(outer)"]),
            "bob": ([], ["outer"]),
        }
        storage.update(GROUPS, group("zebra", inner, bob, id=outer))
        assert consumer_sync.last().group_name == "zebra"
        assert told(consumer_sync.last()) == {
            "ann": (["inner", "(outer)"], ["inner", "(zebra)"]),
            "bob": (["outer"], ["zebra"]),
        }
        storage.delete(GROUPS, outer)
        assert told(consumer_sync.last()) == {
            "ann": (["inner", "(zebra)"], ["inner"]),
            "bob": (["zebra"], []),
        }

    def test_members_that_come_and_go(
        self, storage: Storage, consumer_sync: RecordingEffects
    ) -> None:
        ann, bob = create_user(storage, "ann"), create_user(storage, "bob")
        eve = create_user(storage, "eve")
        inner = create_group(storage, "inner", ann)
        outer = create_group(storage, "outer", eve)
        storage.patch_members(GROUPS, outer, add=[inner, bob])
        change = consumer_sync.last()
        assert (change.operation, change.group_name) == ("patch", None)
        assert told(change) == {
            "ann": (["inner"], ["inner", "(outer)"]),
            "bob": ([], ["outer"]),
        }
        storage.patch_members(GROUPS, inner, add=[bob])
        assert told(consumer_sync.last()) == {"bob": (["outer"], ["inner", "outer"])}
        storage.patch_members(GROUPS, outer, remove=[inner])
        assert told(consumer_sync.last()) == {
            "ann": (["inner", "(outer)"], ["inner"]),
            # through inner or not, bob is in outer
        }

    def test_a_group_that_says_nothing_new_of_anybody_affects_nobody(
        self, storage: Storage, consumer_sync: RecordingEffects
    ) -> None:
        ann = create_user(storage, "ann")
        admins = create_group(storage, "admins", ann)
        storage.update(GROUPS, group("admins", ann, id=admins, externalId="x"))
        change = consumer_sync.last()
        assert (change.resource_id, told(change), change.group_name) == (admins, {}, None)


class TestWhatIsWritten:
    def test_a_record_is_stored_shown_and_filterable(self, database: Database) -> None:
        def record(change: Change) -> Outcome:
            return Outcome(
                records={
                    each.id: {
                        "consumerId": f"consumer-{each.id}",
                        "accessGroups": [ref.display_name for ref in each.after.groups],
                        "suspended": False,
                        "lastChange": "2026-01-01T00:00:00Z",
                    }
                    for each in change.users
                    if each.after is not None
                }
            )

        storage = storage_on(database, consumer_sync=RecordingEffects(record))
        ann = create_user(storage, "ann")
        create_user(storage, "bob")
        version = storage.get(USERS, ann).meta.version  # type: ignore[union-attr]
        create_group(storage, "admins", ann)
        shown = storage.get(USERS, ann)
        assert shown.meta is not None
        assert shown.meta.version != version
        assert shown.model_dump()[KONG]["accessGroups"] == ["admins"]
        assert KONG in shown.model_dump()["schemas"]
        assert names(storage, f'{KONG}:accessGroups eq "admins"') == {"ann"}
        assert names(storage, f'{KONG}:consumerId eq "consumer-{ann}"') == {"ann"}
        assert names(storage, f"{KONG}:suspended eq false") == {"ann", "bob"}
        assert names(storage, f'{KONG}:lastChange lt "2026-06-01T00:00:00Z"') == {"ann", "bob"}

    def test_a_record_outlives_a_change_that_says_nothing_of_it(self, database: Database) -> None:
        once = RecordingEffects(
            lambda change: (
                Outcome(records={change.resource_id: {"consumerId": "c1"}})
                if change.operation == "create" and change.resource_type == "User"
                else Outcome()
            )
        )
        storage = storage_on(database, consumer_sync=once)
        ann = create_user(storage, "ann")
        storage.update(USERS, user(id=ann, userName="anna"))
        create_group(storage, "admins", ann)
        assert storage.get(USERS, ann).model_dump()[KONG] == {"consumerId": "c1"}

    def test_effects_that_raise_leave_nothing_written(self, database: Database) -> None:
        refusing = RecordingEffects()
        storage = storage_on(database, consumer_sync=refusing)
        ann, admins = create_user(storage, "ann"), create_group(storage, "admins")
        before = storage.get(USERS, ann), storage.get(GROUPS, admins)

        def refuse(change: Change) -> Outcome:
            raise UniquenessException(detail="the consumer is another's")

        refusing._answer = refuse
        attempts = (
            lambda: create_user(storage, "bob"),
            lambda: storage.update(USERS, user(id=ann, userName="anna")),
            lambda: storage.delete(USERS, ann),
            lambda: create_group(storage, "new", ann),
            lambda: storage.patch_members(GROUPS, admins, add=[ann]),
            lambda: storage.update(GROUPS, group("renamed", ann, id=admins)),
            lambda: storage.delete(GROUPS, admins),
        )
        for attempt in attempts:
            with pytest.raises(UniquenessException, match="another's"):
                attempt()
        assert (storage.get(USERS, ann), storage.get(GROUPS, admins)) == before
        assert len(found(storage, "id pr", [USERS, GROUPS])) == 2

    def test_steps_are_of_the_same_commit_and_come_last(self, database: Database) -> None:
        recorder = Recorder(database)
        step = Sql("SELECT 1 AS one")
        storage = storage_on(recorder, consumer_sync=RecordingEffects(lambda _: Outcome((step,))))
        ann = create_user(storage, "ann")
        admins = create_group(storage, "admins", ann)
        storage.patch_members(GROUPS, admins, remove=[ann])
        storage.update(USERS, user(id=ann, userName="anna"))
        storage.delete(GROUPS, admins)
        storage.delete(USERS, ann)
        assert [commit[-1] for commit in recorder.commits] == [step] * 6

    def test_a_step_that_fails_undoes_the_whole_change(self, database: Database) -> None:
        failing = Sql("DELETE FROM scim_resources WHERE id = 'nobody'", rows=1, label="kong")
        answer = [Outcome()]
        storage = storage_on(database, consumer_sync=RecordingEffects(lambda _: answer[0]))
        ann, admins = create_user(storage, "ann"), create_group(storage, "admins")
        answer[0] = Outcome((failing,))
        with pytest.raises(Conflict):
            create_user(storage, "bob")
        with pytest.raises(Conflict):
            storage.update(GROUPS, group("renamed", ann, id=admins))
        assert names(storage, "userName pr") == {"ann"}
        assert (members_of(storage, admins), groups_of(storage, ann)) == (set(), {})


class TestWhatIsOvertaken:
    """Records name a user's groups: whoever changes them meanwhile must be seen."""

    @staticmethod
    def record(change: Change) -> Outcome:
        return Outcome(
            records={
                each.id: {"accessGroups": [ref.display_name for ref in each.after.groups]}
                for each in change.users
                if each.after is not None
            }
        )

    @pytest.mark.parametrize("meanwhile", ["renamed", "nested", "outer renamed", "deleted"])
    def test_a_member_is_added_to_the_groups_as_they_are_at_the_commit(
        self, database: Database, meanwhile: str
    ) -> None:
        scope = new_scope()
        others = storage_on(database, scope, RecordingEffects(self.record))
        ann = create_user(others, "ann")
        inner, outer = create_group(others, "inner"), create_group(others, "outer")
        if meanwhile != "nested":
            others.patch_members(GROUPS, outer, add=[inner])
        changes = {
            "renamed": lambda: others.update(GROUPS, group("INNER", id=inner)),
            "nested": lambda: others.patch_members(GROUPS, outer, add=[inner]),
            "outer renamed": lambda: others.update(GROUPS, group("OUTER", inner, id=outer)),
            "deleted": lambda: others.delete(GROUPS, outer),
        }

        def overtaken_once(change: Change) -> Outcome:
            if meanwhile in changes:
                changes.pop(meanwhile)()
            return self.record(change)

        storage_on(database, scope, RecordingEffects(overtaken_once)).patch_members(
            GROUPS, inner, add=[ann]
        )
        shown = others.get(USERS, ann).model_dump()[KONG]["accessGroups"]
        assert shown == list(groups_of(others, ann))
        expected = {
            "renamed": {"INNER", "outer"},
            "nested": {"inner", "outer"},
            "outer renamed": {"inner", "OUTER"},
            "deleted": {"inner"},
        }
        assert set(shown) == expected[meanwhile]
