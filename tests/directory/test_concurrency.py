"""Many at once: nothing is lost, and whoever is overtaken is told so or tries again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread
from time import sleep
from typing import Any

import pytest
from directory_support import (
    GROUPS,
    USERS,
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
from scim2_models import InvalidValueException, NotFoundException, UniquenessException
from stored_rows import assert_rows_agree, memberships

from kong_scim import cpu
from kong_scim.directory.database import Database, Scope
from kong_scim.directory.ports import Conflict
from without_kong import Storage

MANY = 32
ROUNDS = 8


@pytest.fixture
def scope() -> Scope:
    return new_scope()


@pytest.fixture
def storage(database: Database, scope: Scope) -> Storage:
    return storage_on(database, scope)


def test_who_reads_waits_for_no_large_group_to_be_planned(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [create_user(storage, f"user-{number}") for number in range(20)]
    monkeypatch.setattr(cpu, "TURN", 0)
    ended: list[str] = []

    def read() -> None:
        with cpu.allowed(20):
            ended.append("reader")

    with cpu.allowed(20):
        reader = Thread(target=read)
        reader.start()
        while not cpu._slots.wanted:
            sleep(0.001)
        create_group(storage, "large", *members)
        ended.append("group")
    reader.join(20)
    assert ended == ["reader", "group"]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Start all calls at the same moment; return what each answered, or the error it raised."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def retried(call: Callable[[], Any]) -> Callable[[], Any]:
    """Run a call again after each conflict, as the handler does without If-Match."""

    def run() -> Any:
        for _ in range(50):
            try:
                return call()
            except Conflict:
                continue
        raise AssertionError("a conflict without end")

    return run


def errors(results: Sequence[Any]) -> list[str]:
    return [repr(each) for each in results if isinstance(each, Exception)]


def test_many_members_added_to_one_group_are_all_in_it(
    storage: Storage, database: Database, scope: Scope
) -> None:
    users = [create_user(storage, f"user{number}") for number in range(MANY)]
    admins = create_group(storage, "admins")
    results = at_once(
        *(lambda each=each: storage.patch_members(GROUPS, admins, add=[each]) for each in users)
    )
    assert errors(results) == []
    assert members_of(storage, admins) == set(users)
    assert len({each.meta.version for each in results}) == MANY
    assert all(groups_of(storage, each) == {"admins": "direct"} for each in users)
    assert_rows_agree(database, scope)


def test_one_user_added_to_many_groups_is_in_all(storage: Storage) -> None:
    ann = create_user(storage, "ann")
    groups = [create_group(storage, f"group{number}") for number in range(MANY)]
    results = at_once(
        *(lambda each=each: storage.patch_members(GROUPS, each, add=[ann]) for each in groups)
    )
    assert errors(results) == []
    assert len(groups_of(storage, ann)) == MANY


def test_members_that_come_and_go_at_once_end_as_told(storage: Storage) -> None:
    users = [create_user(storage, f"user{number}") for number in range(16)]
    admins = create_group(storage, "admins", *users[:8])
    results = at_once(
        *(
            lambda each=each: storage.patch_members(GROUPS, admins, remove=[each])
            for each in users[:8]
        ),
        *(
            lambda each=each: storage.patch_members(GROUPS, admins, add=[each])
            for each in users[8:]
        ),
    )
    assert errors(results) == []
    assert members_of(storage, admins) == set(users[8:])


def test_of_two_users_of_one_name_exactly_one_is_created(storage: Storage) -> None:
    for number in range(ROUNDS):
        name = f"ann{number}"
        results = at_once(*[lambda name=name: create_user(storage, name)] * 4)
        refused = [each for each in results if isinstance(each, UniquenessException)]
        assert len(refused) == 3, results
        assert names(storage, f'userName eq "{name}"') == {name}


def test_of_two_users_renamed_to_one_name_exactly_one_gets_it(storage: Storage) -> None:
    ann, bob = create_user(storage, "ann"), create_user(storage, "bob")
    results = at_once(
        *(
            lambda each=each: storage.update(USERS, user(id=each, userName="cyd"))
            for each in (ann, bob)
        )
    )
    assert [type(each) for each in results if isinstance(each, Exception)] == [UniquenessException]
    assert len(found(storage, 'userName eq "cyd"')) == 1


def test_two_users_that_swap_their_names_end_in_a_refusal_and_no_deadlock(
    storage: Storage, database: Database, scope: Scope
) -> None:
    ann, bob = create_user(storage, "ann"), create_user(storage, "bob")
    results = at_once(
        retried(lambda: storage.update(USERS, user(id=ann, userName="bob"))),
        retried(lambda: storage.update(USERS, user(id=bob, userName="ann"))),
    )
    refused = [each for each in results if isinstance(each, Exception)]
    assert all(isinstance(each, UniquenessException) for each in refused), refused
    assert_rows_agree(database, scope)


def test_a_member_added_during_a_rename_shows_the_new_name(
    storage: Storage, database: Database, scope: Scope
) -> None:
    admins = create_group(storage, "admins")

    def rename(name: str) -> Any:
        def patch(resource: Any) -> Any:
            resource.display_name = name
            return resource

        return storage.patch_members(GROUPS, admins, patch=patch)

    for number in range(ROUNDS):
        ann = create_user(storage, f"ann{number}")
        results = at_once(
            lambda number=number: rename(f"name{number}"),
            lambda ann=ann: storage.patch_members(GROUPS, admins, add=[ann]),
        )
        assert errors(results) == []
        assert groups_of(storage, ann) == {f"name{number}": "direct"}
    assert_rows_agree(database, scope)


def test_a_user_deleted_while_it_is_added_is_in_no_group(
    storage: Storage, database: Database, scope: Scope
) -> None:
    admins = create_group(storage, "admins")
    for number in range(ROUNDS):
        ann = create_user(storage, f"ann{number}")
        deleted, added = at_once(
            retried(lambda ann=ann: storage.delete(USERS, ann)),
            lambda ann=ann: storage.patch_members(GROUPS, admins, add=[ann]),
        )
        assert deleted is None
        assert not isinstance(added, Exception) or isinstance(added, InvalidValueException), added
        assert members_of(storage, admins) == set()
    assert memberships(database, scope) == set()


def test_a_group_deleted_while_a_member_is_added_leaves_nothing(
    storage: Storage, database: Database, scope: Scope
) -> None:
    ann = create_user(storage, "ann")
    for _ in range(ROUNDS):
        admins = create_group(storage, "admins")
        deleted, added = at_once(
            retried(lambda admins=admins: storage.delete(GROUPS, admins)),
            lambda admins=admins: storage.patch_members(GROUPS, admins, add=[ann]),
        )
        assert deleted is None
        assert not isinstance(added, Exception) or isinstance(added, NotFoundException), added
        assert groups_of(storage, ann) == {}
    assert memberships(database, scope) == set()


def test_groups_put_into_each_other_at_once_have_all_their_people(storage: Storage) -> None:
    for _ in range(ROUNDS):
        people = [create_user(storage, f"person{number}") for number in range(3)]
        ring = [
            create_group(storage, name, person)
            for name, person in zip(("one", "two", "three"), people, strict=True)
        ]
        results = at_once(
            *(
                retried(
                    lambda above=above, below=below: storage.patch_members(
                        GROUPS, above, add=[below]
                    )
                )
                for above, below in zip(ring, [*ring[1:], ring[0]], strict=True)
            )
        )
        assert errors(results) == []
        assert [set(groups_of(storage, person)) for person in people] == [
            {"one", "two", "three"}
        ] * 3
        for person, each in zip(people, ring, strict=True):
            storage.delete(GROUPS, each)
            storage.delete(USERS, person)


def test_a_member_of_a_group_that_is_nested_at_once_is_in_both(storage: Storage) -> None:
    for number in range(ROUNDS):
        ann = create_user(storage, f"ann{number}")
        inner, outer = create_group(storage, "inner"), create_group(storage, "outer")
        results = at_once(
            lambda inner=inner, ann=ann: storage.patch_members(GROUPS, inner, add=[ann]),
            lambda outer=outer, inner=inner: storage.patch_members(GROUPS, outer, add=[inner]),
        )
        assert errors(results) == []
        assert groups_of(storage, ann) == {"inner": "direct", "outer": "indirect"}


def test_replacements_at_once_end_as_one_of_them_and_conflicts_are_told(
    storage: Storage, database: Database, scope: Scope
) -> None:
    users = [create_user(storage, f"user{number}") for number in range(4)]
    admins = create_group(storage, "admins")
    results = at_once(
        *(
            lambda each=each, n=n: storage.update(GROUPS, group(f"name{n}", each, id=admins))
            for n, each in enumerate(users)
        )
    )
    assert all(isinstance(each, Conflict) for each in results if isinstance(each, Exception))
    assert any(not isinstance(each, Exception) for each in results)
    (member,) = members_of(storage, admins)
    assert groups_of(storage, member) == {f"name{users.index(member)}": "direct"}
    assert_rows_agree(database, scope)


def test_a_crowd_of_all_kinds_of_writes_leaves_rows_that_agree(
    storage: Storage, database: Database, scope: Scope
) -> None:
    users = [create_user(storage, f"user{number}") for number in range(8)]
    groups = [create_group(storage, f"group{number}") for number in range(3)]
    calls = []
    for number, each in enumerate(users):
        target, other = groups[number % 3], groups[(number + 1) % 3]
        calls += [
            lambda t=target, e=each: storage.patch_members(GROUPS, t, add=[e]),
            lambda t=other, e=each: storage.patch_members(GROUPS, t, add=[e]),
            retried(lambda e=each, n=number: storage.update(USERS, user(id=e, userName=f"new{n}"))),
        ]
    calls.append(retried(lambda: storage.update(GROUPS, group("zebra", *users, id=groups[0]))))
    calls.append(lambda: storage.patch_members(GROUPS, groups[1], add=[groups[2]]))
    assert errors(at_once(*calls)) == []
    assert_rows_agree(database, scope)
    for each in users:
        shown = groups_of(storage, each)
        assert shown.get("zebra", "direct") == "direct"
        assert ("group2" not in shown) or ("group1" in shown)
