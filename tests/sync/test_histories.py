"""Random histories of an identity provider and an administrator who works against it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from scim2_models import UniquenessException
from sync_support import Directory, KongModel, config, person

from effort import examples
from kong_scim.sync.plan import is_reserved

NAMES = st.sampled_from(["alice", "bob", "carol", "dave"])
GROUPS = st.sets(st.sampled_from(["Sales", "Support", "kong-admin"]))
USERS = st.integers(0, 3)


class Histories(RuleBasedStateMachine):
    """Users come, change and go; an administrator gives, takes and deletes in between.

    ``settled`` holds the users that were written, by themselves or through a group, since the
    administrator last touched their consumer: theirs must be exactly what SCIM wants.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kong = KongModel()
        self.directory = Directory(config(groups={"pattern": "kong-(.*)"}, adopt="link"), self.kong)
        self.settled: set[str] = set()
        self.given: dict[str, set[str]] = {}
        self.tagged: dict[str, set[str]] = {}

    def pick(self, number: int) -> str | None:
        ids = list(self.directory.users)
        return ids[number % len(ids)] if ids else None

    def consumer_of(self, user: str) -> str | None:
        return self.directory.record(user).get("consumerId")

    # -- the identity provider --------------------------------------------

    @rule(name=NAMES, active=st.booleans(), groups=GROUPS)
    def create(self, name: str, active: bool, groups: set[str]) -> None:
        user = person(name, active=active)
        with suppress(UniquenessException):
            self.directory.put(user, *groups)
            self.settled.add(user.id)

    @rule(
        number=USERS,
        values=st.fixed_dictionaries(
            {}, optional={"userName": NAMES, "active": st.booleans(), "externalId": NAMES}
        ),
    )
    def change(self, number: int, values: dict[str, object]) -> None:
        if user := self.pick(number):
            with suppress(UniquenessException):
                self.directory.change(user, **values)
                self.settled.add(user)
            self.forget_what_was_deleted()

    @rule(members=st.dictionaries(USERS, GROUPS, max_size=4))
    def regroup(self, members: dict[int, set[str]]) -> None:
        chosen = {user: list(names) for n, names in members.items() if (user := self.pick(n))}
        with suppress(UniquenessException):  # a consumer was removed and its name given away
            self.directory.regroup(chosen)
            self.settle(chosen)
        self.forget_what_was_deleted()

    def forget_what_was_deleted(self) -> None:
        self.given = {c: given for c, given in self.given.items() if c in self.kong.consumers}
        self.tagged = {c: given for c, given in self.tagged.items() if c in self.kong.consumers}

    def settle(self, chosen: dict[str, list[str]]) -> None:
        for user in chosen:
            if self.directory.users[user].is_active:
                self.settled.add(user)

    @rule(number=USERS)
    def delete(self, number: int) -> None:
        if user := self.pick(number):
            consumer = self.consumer_of(user)
            self.directory.delete(user)
            self.settled.discard(user)
            assert consumer not in self.kong.consumers

    @rule(on_deactivate=st.sampled_from(["revoke", "suspend", "delete"]))
    def reconfigure(self, on_deactivate: str) -> None:
        self.directory.config = self.directory.config.model_copy(
            update={"on_deactivate": on_deactivate}
        )
        self.settled.clear()

    # -- the administrator ------------------------------------------------

    @rule(name=NAMES)
    def add_consumer(self, name: str) -> None:
        if not self.kong.query(usernames=[name]).consumers:
            self.kong.give_key(self.kong.add_consumer(name))

    @rule(number=USERS, key=st.booleans(), tag=st.sampled_from(["gold", "eu"]), group=NAMES)
    def give(self, number: int, key: bool, tag: str, group: str) -> None:
        user = self.pick(number)
        consumer = self.consumer_of(user) if user else None
        if user is None or consumer not in self.kong.consumers:
            return
        self.kong.give_group(consumer, group)
        self.given.setdefault(consumer, set()).add(group)
        tags = self.kong.consumers[consumer].setdefault("tags", [])
        tags.extend({tag} - set(tags))
        self.tagged.setdefault(consumer, set()).add(tag)
        if key:
            self.kong.give_key(consumer)
            self.settled.discard(user)

    @rule(number=USERS, whole=st.booleans())
    def take(self, number: int, whole: bool) -> None:
        user = self.pick(number)
        consumer = self.consumer_of(user) if user else None
        if user is None or consumer not in self.kong.consumers:
            return
        self.settled.discard(user)
        if whole:
            del self.kong.consumers[consumer]
            self.kong.credentials = {
                key: owner for key, owner in self.kong.credentials.items() if owner != consumer
            }
            self.forget_what_was_deleted()
        else:
            self.kong.consumers[consumer]["tags"] = list(self.tagged.get(consumer, ()))
        self.kong.acls = {
            id_: acl
            for id_, acl in self.kong.acls.items()
            if acl["consumer"]["id"] != consumer or (not whole and not acl["tags"])
        }

    # -- what holds at every moment ---------------------------------------

    @invariant()
    def what_is_written_is_what_is_there(self) -> None:
        for user in self.settled:
            state = self.directory.users[user]
            active = state.is_active
            record = self.directory.record(user)
            consumer = self.kong.read(record.get("consumerId", ""))
            if not active and self.directory.config.on_deactivate == "delete":
                assert consumer is None
                continue
            assert consumer is not None
            assert consumer.username == state.doc["userName"] == record["username"]
            assert consumer.custom_id == state.doc.get("externalId")
            wanted = {ref.display_name.removeprefix("kong-") for ref in state.groups if active}
            assert set(record.get("accessGroups", ())) == wanted
            assert {acl.group for acl in consumer.acls} == wanted | self.given.get(
                consumer.id, set()
            )
            assert ("scim:suspended" in consumer.tags) == (not active)

    @invariant()
    def somebody_who_was_disabled_has_no_key(self) -> None:
        if self.directory.config.on_deactivate != "revoke":
            return
        for user in self.settled:
            if not self.directory.users[user].is_active:
                assert self.kong.keys(self.consumer_of(user) or "") == 0

    @invariant()
    def what_an_administrator_gave_stays(self) -> None:
        for consumer, groups in self.given.items():
            if consumer in self.kong.consumers:
                assert groups <= self.kong.groups(consumer)
                assert self.tagged[consumer] <= set(self.kong.consumer(consumer).tags)

    @invariant()
    def no_consumer_is_two_users(self) -> None:
        consumers = [self.consumer_of(user) for user in self.directory.users]
        held = [consumer for consumer in consumers if consumer]
        assert len(held) == len(set(held))

    @invariant()
    def what_is_nobodys_is_untouched(self) -> None:
        held = {self.consumer_of(user) for user in self.directory.users}
        for id_ in self.kong.consumers.keys() - held:
            assert not any(map(is_reserved, self.kong.consumer(id_).tags))
            assert self.kong.keys(id_) == 1


@pytest.mark.hypothesis
def test_kong_holds_what_scim_wants_whatever_happens_in_between():
    run_state_machine_as_test(
        Histories,
        settings=settings(max_examples=examples(30), stateful_step_count=25, deadline=None),
    )
