"""What the storage promises beyond scim2-server's contract, by example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from directory_support import (
    ACME,
    GROUPS,
    KONG,
    USERS,
    create_group,
    create_user,
    found,
    group,
    groups_of,
    members_of,
    names,
    new_scope,
    provider_of,
    storage_on,
    user,
)
from scim2_models import (
    InvalidValueException,
    NotFoundException,
    PreconditionFailedException,
    UniquenessException,
)

from kong_scim.directory.costs import MOST
from kong_scim.directory.database import Database, Scope
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.protocol.resources import EnterpriseUser, Group, User
from without_kong import Storage

LONG = "ä" * 10_000


@pytest.fixture
def storage(database: Database) -> Storage:
    return storage_on(database)


class TestScopes:
    @pytest.fixture(params=[("workspace", "other"), ("other", "tenant"), ("Workspace", "tenant")])
    def pair(self, database: Database, request: pytest.FixtureRequest) -> tuple[Storage, Storage]:
        ours = storage_on(database, Scope("workspace", "tenant"))
        return ours, storage_on(database, Scope(*request.param))

    def test_the_same_user_name_is_free_in_each(self, pair: tuple[Storage, Storage]) -> None:
        for storage in pair:
            create_user(storage, "ann", **{ACME: {"badge": "7"}})
        for storage in pair:
            assert names(storage, 'userName eq "ann"') == {"ann"}
            with pytest.raises(UniquenessException):
                create_user(storage, "ANN")

    def test_nothing_of_another_is_read_found_or_written(
        self, pair: tuple[Storage, Storage]
    ) -> None:
        ours, theirs = pair
        ann = create_user(ours, "ann")
        admins = create_group(ours, "admins", ann)
        before = ours.get(USERS, ann), ours.get(GROUPS, admins)
        for type_, resource_id in ((USERS, ann), (GROUPS, admins)):
            with pytest.raises(NotFoundException):
                theirs.get(type_, resource_id)
            with pytest.raises(NotFoundException):
                theirs.delete(type_, resource_id)
            assert found(theirs, f'id eq "{resource_id}"', [USERS, GROUPS]) == []
        with pytest.raises(NotFoundException):
            theirs.update(USERS, user(id=ann, userName="mine"))
        with pytest.raises(NotFoundException):
            theirs.update(GROUPS, group("mine", id=admins))
        with pytest.raises(NotFoundException):
            theirs.patch_members(GROUPS, admins, remove=[ann])
        assert found(theirs, "id pr", [USERS, GROUPS]) == []
        assert found(theirs, f'members.value eq "{ann}"', [GROUPS]) == []
        assert (ours.get(USERS, ann), ours.get(GROUPS, admins)) == before

    def test_a_member_of_another_is_unknown(self, pair: tuple[Storage, Storage]) -> None:
        ours, theirs = pair
        ann, admins = create_user(ours, "ann"), create_group(ours, "admins")
        mine = create_group(theirs, "mine")
        for each in (ann, admins):
            with pytest.raises(InvalidValueException, match="no user or group with the id"):
                theirs.patch_members(GROUPS, mine, add=[each])
            with pytest.raises(InvalidValueException, match="no user or group with the id"):
                theirs.update(GROUPS, group("mine", each, id=mine))
            with pytest.raises(InvalidValueException, match="no user or group with the id"):
                create_group(theirs, "new", each)
            theirs.patch_members(GROUPS, mine, remove=[each])
        assert members_of(theirs, mine) == set()
        assert groups_of(ours, ann) == {}


class TestMembers:
    def test_nested_groups_are_flattened_and_marked_indirect(self, storage: Storage) -> None:
        ann = create_user(storage, "ann")
        inner = create_group(storage, "inner", ann)
        middle = create_group(storage, "middle", inner)
        create_group(storage, "outer", middle, ann)
        assert groups_of(storage, ann) == {
            "inner": "direct",
            "middle": "indirect",
            "outer": "direct",
        }
        storage.delete(GROUPS, middle)
        assert groups_of(storage, ann) == {"inner": "direct", "outer": "direct"}

    def test_fifty_groups_within_one_another(self, storage: Storage) -> None:
        ann = create_user(storage, "ann")
        below = create_group(storage, "g0", ann)
        for number in range(1, 50):
            below = create_group(storage, f"g{number}", below)
        assert groups_of(storage, ann) == {
            "g0": "direct",
            **{f"g{number}": "indirect" for number in range(1, 50)},
        }
        assert names(storage, 'groups.display eq "g49"') == {"ann"}

    def test_groups_in_a_circle_are_kept_and_flattened_once(self, storage: Storage) -> None:
        ann, ben = create_user(storage, "ann"), create_user(storage, "ben")
        inner = create_group(storage, "inner", ann)
        middle = create_group(storage, "middle", inner)
        outer = create_group(storage, "outer", middle, ben)
        storage.patch_members(GROUPS, inner, add=[outer])
        assert members_of(storage, inner) == {ann, outer}
        assert groups_of(storage, ann) == {
            "inner": "direct",
            "middle": "indirect",
            "outer": "indirect",
        }
        assert groups_of(storage, ben) == {
            "inner": "indirect",
            "middle": "indirect",
            "outer": "direct",
        }
        assert names(storage, 'groups.display eq "middle"') == {"ann", "ben"}
        storage.update(GROUPS, group("renamed", inner, id=middle))
        assert groups_of(storage, ben) == {
            "inner": "indirect",
            "renamed": "indirect",
            "outer": "direct",
        }
        storage.patch_members(GROUPS, outer, remove=[middle])
        assert groups_of(storage, ann) == {"inner": "direct", "renamed": "indirect"}
        assert groups_of(storage, ben) == {
            "inner": "indirect",
            "renamed": "indirect",
            "outer": "direct",
        }
        storage.update(GROUPS, group("inner", id=inner))
        assert groups_of(storage, ben) == {"outer": "direct"}
        storage.delete(GROUPS, outer)
        assert groups_of(storage, ben) == {}

    def test_a_group_is_no_member_of_itself(self, storage: Storage) -> None:
        admins = create_group(storage, "admins")
        with pytest.raises(InvalidValueException, match="'admins' in 'admins'"):
            storage.patch_members(GROUPS, admins, add=[admins])
        assert members_of(storage, admins) == set()

    def test_unknown_members_are_named_and_nothing_is_written(self, storage: Storage) -> None:
        ann, admins = create_user(storage, "ann"), create_group(storage, "admins")
        with pytest.raises(InvalidValueException, match=r"nobody-0.*and 2 more"):
            storage.patch_members(GROUPS, admins, add=[ann, *(f"nobody-{n}" for n in range(7))])
        assert members_of(storage, admins) == set()
        with pytest.raises(InvalidValueException, match="no user or group"):
            create_group(storage, "new", "nobody")
        assert found(storage, 'displayName eq "new"', [GROUPS]) == []

    def test_adding_again_and_removing_nobody_changes_nothing(self, storage: Storage) -> None:
        ann, bob = create_user(storage, "ann"), create_user(storage, "bob")
        admins = create_group(storage, "admins", ann)
        before = storage.get(GROUPS, admins), storage.get(USERS, ann)
        storage.patch_members(GROUPS, admins, add=[ann, ann], remove=[bob, "nobody"])
        assert (storage.get(GROUPS, admins), storage.get(USERS, ann)) == before

    def test_a_rename_shows_everywhere(self, storage: Storage) -> None:
        ann = create_user(storage, "ann")
        inner = create_group(storage, "inner", ann)
        outer = create_group(storage, "outer", inner)
        storage.update(GROUPS, group("INNER", ann, id=inner))
        storage.update(USERS, user(id=ann, userName="ann", displayName="Ann A."))
        assert groups_of(storage, ann) == {"INNER": "direct", "outer": "indirect"}
        shown: Any = storage.get(GROUPS, inner)
        assert [each.display for each in shown.members] == ["Ann A."]
        shown = storage.get(GROUPS, outer)
        assert [each.display for each in shown.members] == ["INNER"]
        assert names(storage, 'groups.display eq "inner"') == {"ann"}
        assert found(storage, 'members.display eq "ANN A."', [GROUPS])[0].id == inner

    def test_a_patch_at_an_older_version_is_refused(self, storage: Storage) -> None:
        ann, admins = create_user(storage, "ann"), create_group(storage, "admins")
        storage.patch_members(GROUPS, admins, add=[ann], expected_version='W/"1"')
        with pytest.raises(PreconditionFailedException):
            storage.patch_members(GROUPS, admins, remove=[ann], expected_version='W/"1"')
        assert members_of(storage, admins) == {ann}

    def test_a_thousand_members_at_once(self, sqlite_database: SqliteDatabase) -> None:
        storage = storage_on(sqlite_database)
        users = [create_user(storage, f"user{number}") for number in range(1_200)]
        everyone = create_group(storage, "everyone", *users[:700])
        storage.update(GROUPS, group("everyone", *users[200:], id=everyone))
        assert members_of(storage, everyone) == set(users[200:])
        storage.delete(GROUPS, everyone)
        assert groups_of(storage, users[600]) == {}


class TestValues:
    def test_a_password_is_never_stored(self, tmp_path: Path) -> None:
        path = tmp_path / "scim.db"
        database = SqliteDatabase(path)
        storage = storage_on(database)
        ann = create_user(storage, "ann", password="correct-horse-battery")
        storage.update(USERS, user(id=ann, userName="ann", password="staple-correct-horse"))
        assert storage.get(USERS, ann).password is None  # type: ignore[attr-defined]
        assert names(storage, 'password eq "correct-horse-battery"') == set()
        database.close()
        files = b"".join(each.read_bytes() for each in tmp_path.iterdir())
        assert b"ann" in files
        assert b"horse" not in files

    def test_long_values_are_kept_compared_and_unique(self, storage: Storage) -> None:
        ann = create_user(storage, LONG + "a", title=LONG)
        create_user(storage, LONG + "b")
        with pytest.raises(UniquenessException, match="userName"):
            create_user(storage, LONG.upper() + "A")
        assert storage.get(USERS, ann).user_name == LONG + "a"  # type: ignore[attr-defined]
        assert names(storage, f'userName eq "{LONG}A"') == {LONG + "a"}
        assert names(storage, f'userName sw "{LONG}"') == {LONG + "a", LONG + "b"}
        assert names(storage, 'userName ew "äa"') == {LONG + "a"}
        assert names(storage, f'userName gt "{LONG}a"') == {LONG + "b"}
        assert names(storage, f'title co "{LONG[:9_000]}"') == {LONG + "a"}

    def test_the_last_code_point_is_a_character_like_others(self, storage: Storage) -> None:
        held = {"a", "a\U0010ffff", "a\U0010ffffb", "a\U0010ffff\U0010ffff", "b"}
        for name in held:
            create_user(storage, name)
        assert names(storage, 'userName sw "a"') == held - {"b"}
        assert names(storage, 'userName sw "a\U0010ffff"') == held - {"a", "b"}

    @pytest.mark.parametrize("text", ["a\0b", "\ud800"], ids=["nul", "surrogate"])
    def test_what_no_database_holds_is_refused(self, storage: Storage, text: str) -> None:
        with pytest.raises(InvalidValueException, match="NUL character or an unpaired surrogate"):
            create_user(storage, "ann", title=text)
        assert names(storage, "userName pr") == set()

    @pytest.mark.parametrize("attribute", ["userName", "badge"])
    def test_a_unique_value_is_free_after_a_change_and_a_deletion(
        self, storage: Storage, attribute: str
    ) -> None:
        def with_value(value: str, **more: Any) -> Any:
            if attribute == "userName":
                return user(userName=value, **more)
            return user(userName=f"user-{value}-{more}", **{ACME: {"badge": value}}, **more)

        first = storage.create(USERS, with_value("one"))
        with pytest.raises(UniquenessException, match=attribute):
            storage.create(USERS, with_value("ONE", externalId="x"))
        storage.update(USERS, with_value("two", id=first.id))
        second = storage.create(USERS, with_value("one", externalId="x"))
        with pytest.raises(UniquenessException, match=attribute):
            storage.update(USERS, with_value("Two", id=second.id))
        storage.delete(USERS, str(first.id))
        storage.update(USERS, with_value("Two", id=second.id))

    def test_a_change_of_case_keeps_the_own_unique_value(self, storage: Storage) -> None:
        ann = create_user(storage, "ann")
        storage.update(USERS, user(id=ann, userName="ANN"))
        assert names(storage, 'userName eq "ann"') == {"ANN"}

    def test_an_extension_from_a_schema_is_stored_and_filterable(self, storage: Storage) -> None:
        held = {"level": 3, "hired": "2020-01-01T01:00:00+01:00", "projects": [{"value": "Moon"}]}
        ann = create_user(storage, "ann", **{ACME: held})
        create_user(storage, "bob", **{ACME: {"level": 30}})
        shown = storage.get(USERS, ann).model_dump()[ACME]
        assert (shown["level"], shown["projects"]) == (3, [{"value": "Moon"}])
        assert names(storage, f"{ACME}:level lt 10") == {"ann"}
        assert names(storage, f'{ACME}:hired eq "2020-01-01T00:00:00Z"') == {"ann"}
        assert names(storage, f'{ACME}:projects[value eq "moon"]') == {"ann"}

    def test_an_extension_that_is_no_longer_served_stays_readable(self, database: Database) -> None:
        scope = new_scope()
        ann = create_user(storage_on(database, scope), "ann", **{ACME: {"code": "x"}})
        later = provider_of(User[EnterpriseUser], Group)
        users = later.resource_types[0]
        storage = storage_on(database, scope, provider=later)
        shown: Any = storage.get(users, ann)
        assert shown.user_name == "ann"
        admins = str(storage.create(later.resource_types[1], group("admins", ann)).id)
        storage.delete(later.resource_types[1], admins)
        with_it = storage_on(database, scope).get(USERS, ann).model_dump()
        assert with_it[ACME] == {"code": "x"}

    def test_the_gateways_record_cannot_be_written_by_a_client(self, storage: Storage) -> None:
        ann = create_user(storage, "ann", **{KONG: {"consumerId": "mine", "suspended": False}})
        assert KONG not in storage.get(USERS, ann).model_dump()
        storage.update(USERS, user(id=ann, userName="ann", **{KONG: {"consumerId": "mine"}}))
        shown = storage.get(USERS, ann).model_dump()
        assert KONG not in shown
        assert KONG not in shown["schemas"]

    @pytest.mark.parametrize(
        "expression",
        [
            "not (" * 31 + 'userName eq "bob"' + ")" * 31,
            " or ".join(f'emails[value eq "{n}"]' for n in range(255)) + ' or userName eq "ann"',
            " or ".join(f'emails[value eq "{n}" or type pr]' for n in range(MOST))
            + ' or userName eq "ann"',
            " and ".join(f'userName ne "{n}"' for n in range(MOST)),
        ],
        ids=["nested", "equalities", "disjunction", "conjunction"],
    )
    def test_the_largest_filters_that_are_let_through_run(
        self, storage: Storage, expression: str
    ) -> None:
        create_user(storage, "ann")
        assert names(storage, expression) == {"ann"}
