"""Any history of departures, losses, decisions and hours: the net agrees with a simple count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from effort import examples
from kong_scim.bridge import Sql
from kong_scim.config.plugin import QuarantineConfig as Rules
from kong_scim.config.plugin import parse
from kong_scim.directory.database import Scope, TenantDatabase
from kong_scim.directory.directory import Directory
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import Access, Change, Outcome
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.events.outbox import EventOutbox, Origin
from kong_scim.protocol.resources import provider
from kong_scim.quarantine.decisions import NothingToRejectException, QuarantineDecisions
from kong_scim.quarantine.guard import Deprovisionings, QuarantineException, QuarantineGuard
from without_kong import Storage

PROVIDER = provider(parse({"tokens": [{"name": "idp", "value": "secret"}]}))
USER = next(each for each in PROVIDER.resource_types if each.name == "User")
MODEL: Any = PROVIDER.model_for(USER)
SCOPE = Scope("w", "t")
GROUP = next(each for each in PROVIDER.resource_types if each.name == "Group")
GROUP_MODEL: Any = PROVIDER.model_for(GROUP)
WINDOW = timedelta(minutes=60)


class GroupsOpen:
    """Effects in which each group is an ACL group of its name, and Kong is not there."""

    def of(self, change: Change) -> Outcome:
        lost, records, accesses = 0, {}, {}
        for user in change.users:
            if user.after is None:
                continue
            active = user.after.is_active
            after = {group.display_name for group in user.after.groups} if active else set()
            was = user.before is not None and user.before.is_active
            before = (
                {group.display_name for group in user.before.groups}
                if user.before and was
                else set()
            )
            lost += len(before - after) if active else 0
            records[user.id] = {"suspended": not active, "accessGroups": sorted(after)}
            accesses[user.id] = Access(user.id)
        return Outcome(records=records, accesses=accesses, lost=lost)


class Histories(RuleBasedStateMachine):
    """The model: for each user when it came, woke and left, what was lost, and a state."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.rules = Rules(users=4, share=40, at_least=1, window=60, memberships=4)
        self.db = SqliteDatabase(":memory:")
        database = TenantDatabase(self.db, SCOPE)
        outbox = EventOutbox(database, Origin("idp", "::1", "r"), clock=lambda: self.now)
        deprovisionings = Deprovisionings(database, "User", self.rules, clock=lambda: self.now)
        self.quarantine = QuarantineDecisions(deprovisionings, outbox)
        self.storage = Storage(
            Directory(
                database,
                Kinds(PROVIDER),
                GroupsOpen(),
                outbox=outbox,
                guard=QuarantineGuard(deprovisionings, outbox),
                clock=lambda: self.now,
            )
        )
        self.users: dict[str, bool] = {}
        self.left: dict[str, datetime] = {}
        self.came: dict[str, datetime] = {}
        self.woke: dict[str, datetime] = {}
        self.groups: dict[str, set[str]] = {}
        self.lost: list[tuple[datetime, int]] = []
        self.insists_on_losses = False
        self.made = 0
        self.state = "open"
        self.until = self.now - WINDOW
        self.began = 0
        for number in range(6):
            self.arrive(number)
        self.now += 2 * WINDOW

    def teardown(self) -> None:
        self.db.close()

    # -- The model --------------------------------------------------------

    def counted(self, but: str | None = None) -> set[str]:
        since = max(self.now - WINDOW, self.until)
        return {user for user, at in self.left.items() if at > since and user != but}

    def there(self) -> set[str]:
        """Who was active when the window began, or at a decision since, and has not left since."""
        start = self.now - WINDOW
        since = max(start, self.until)
        changed = {
            user for moments in (self.left, self.woke) for user, at in moments.items() if at > since
        }
        return {
            user
            for user, is_active in self.users.items()
            if is_active and self.came[user] <= start and user not in changed
        }

    def is_new(self, user: str) -> bool:
        return self.came[user] > self.now - WINDOW

    def may_leave(self, user: str) -> bool:
        if self.until > self.now:
            return self.state == "approved"
        if self.is_new(user):
            return True
        self.forget()
        counted = self.counted(user)
        return len(counted) < self.rules.allowed(len(self.there()) + len(counted))

    def leaves(self, user: str, leave: Any) -> bool:
        if self.may_leave(user):
            leave()
            if not self.is_new(user):
                self.left[user] = self.now
            return True
        with pytest.raises(QuarantineException):
            leave()
        self.refused()
        return False

    def refused(self) -> None:
        if self.until <= self.now:
            self.state, self.until = "quarantined", datetime.max.replace(tzinfo=UTC)
            self.insists_on_losses = False
            self.began += 1
        elif self.state == "rejected":
            self.until = self.now + WINDOW

    def forget(self) -> None:
        """Forget losses that do not count any more, as each write and each decision does."""
        if self.until <= self.now:
            since = max(self.now - WINDOW, self.until)
            self.lost = [(at, count) for at, count in self.lost if at > since]

    def taken(self) -> int:
        since = self.now - WINDOW
        if self.until <= self.now:  # in a quarantine counting goes on
            since = max(since, self.until)
        return sum(count for at, count in self.lost if at > since)

    def loses(self, count: int, lose: Any) -> bool:
        """Take memberships of people who stay away, if so many may be."""
        if count:
            self.forget()
        in_force = self.until > self.now
        passes = self.taken() + count <= 4 and not (in_force and self.insists_on_losses)
        if count == 0 or (in_force and self.state == "approved") or passes:
            lose()
            self.lost += [(self.now, count)] if count else []
            return True
        with pytest.raises(QuarantineException):
            lose()
        self.refused()
        self.insists_on_losses = True
        return False

    def set_active(self, user: str, active: bool) -> None:
        current = self.storage.get(USER, user)
        current.active = active  # type: ignore[attr-defined]
        self.storage.update(USER, current)

    # -- What happens -----------------------------------------------------

    @rule(number=st.integers(0, 10**9))
    def arrive(self, number: int) -> None:
        self.made += 1
        name = f"{number}-{self.made}"
        made = self.storage.create(USER, MODEL(user_name=name, active=True))
        self.users[str(made.id)] = True
        self.came[str(made.id)] = self.now

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(list(self.users)))
        if self.leaves(user, lambda: self.storage.delete(USER, user)):
            del self.users[user]
            for members in self.groups.values():
                members.discard(user)

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def deactivate(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(list(self.users)))
        if self.users[user]:
            self.users[user] = not self.leaves(user, lambda: self.set_active(user, False))
        else:
            self.set_active(user, False)

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def activate(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(list(self.users)))
        self.set_active(user, True)
        if not self.users[user]:
            self.woke[user] = self.now
        self.users[user] = True

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def group(self, data: st.DataObject) -> None:
        everybody = st.sampled_from(list(self.users))
        members = set(data.draw(st.lists(everybody, unique=True, min_size=1)))
        self.made += 1  # no two groups have one name: they would be one ACL group
        made = self.storage.create(
            GROUP,
            GROUP_MODEL(
                display_name=f"group {self.made}",
                members=[{"value": each} for each in sorted(members)],
            ),
        )
        self.groups[str(made.id)] = members

    def those_who_stay(self, members: set[str]) -> int:
        return sum(self.users[each] for each in members)

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def empty(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(list(self.groups)))
        # In the order in which they came: their ids are others in each run.
        members = [user for user in self.users if user in self.groups[group]]
        gone = set(data.draw(st.lists(st.sampled_from([*members, "nobody"]), unique=True)))
        gone &= self.groups[group]
        lose = lambda: self.storage.patch_members(GROUP, group, remove=sorted(gone))  # noqa: E731
        if self.loses(self.those_who_stay(gone), lose):
            self.groups[group] -= gone

    @precondition(lambda self: self.groups)
    @rule(data=st.data())
    def delete_group(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(list(self.groups)))
        count = self.those_who_stay(self.groups[group])
        if self.loses(count, lambda: self.storage.delete(GROUP, group)):
            del self.groups[group]

    @precondition(lambda self: self.groups)
    @rule(data=st.data(), name=st.integers(0, 10**9))
    def rename(self, data: st.DataObject, name: int) -> None:
        group = data.draw(st.sampled_from(list(self.groups)))
        current = self.storage.get(GROUP, group)
        current.display_name = f"renamed {name} {self.now} {group}"  # type: ignore[attr-defined]
        count = self.those_who_stay(self.groups[group])
        self.loses(count, lambda: self.storage.update(GROUP, current))

    @rule(minutes=st.sampled_from([1, 20, 61, 300]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(minutes=st.sampled_from([None, 5]))
    def approve(self, minutes: int | None) -> None:
        self.forget()
        self.quarantine.decide("approve", "admin", minutes)
        self.state = "approved"
        self.until = self.now + (timedelta(minutes=minutes) if minutes else WINDOW)

    @rule()
    def reject(self) -> None:
        if self.until > self.now:
            self.forget()
            self.quarantine.decide("reject", "admin")
            self.state, self.until = "rejected", self.now + WINDOW
        else:
            with pytest.raises(NothingToRejectException):
                self.quarantine.decide("reject", "admin")

    @rule()
    def lift(self) -> None:
        self.forget()
        self.quarantine.decide("lift", "admin")
        self.state, self.until = "open", self.now

    # -- What always holds ------------------------------------------------

    def exists(self, user: str) -> bool:
        found = self.db.query([Sql("SELECT 1 FROM scim_resources WHERE id = $1", (user,))])
        return bool(found[0])

    @invariant()
    def it_stands_as_the_model_says(self) -> None:
        shown = self.quarantine.show()
        in_force = self.until > self.now
        assert shown["state"] == (self.state if in_force else "open")
        if not in_force:
            assert shown["gone"] == len(self.counted())
            assert shown["users"] == len(self.counted()) + len(self.there())
            assert shown["membershipsTaken"] == self.taken()
        told = 'SELECT count(*) AS n FROM scim_outbox WHERE doc LIKE \'%"operation":"begin"%\''
        assert self.db.query([Sql(told)])[0][0]["n"] == self.began
        active = {user for user, is_active in self.users.items() if is_active}
        found = {user for user in self.users if self.storage.get(USER, user).active is not False}  # type: ignore[attr-defined]
        assert found == active


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=examples(12), stateful_step_count=30, deadline=None)
