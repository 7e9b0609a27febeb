"""Any history of departures, decisions and hours: the net agrees with a simple count of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kong_scim.bridge import Sql
from kong_scim.config import Quarantine as Rules
from kong_scim.config import parse
from kong_scim.directory.ports import Scope
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.directory.storage import SqlStorage
from kong_scim.lifecycle.events import Origin, Outbox
from kong_scim.safety.net import Ledger, QuarantineException, SafetyNet
from kong_scim.safety.quarantine import NothingToRejectException, Quarantine
from kong_scim.scim.resources import provider

PROVIDER = provider(parse({"tokens": [{"name": "idp", "value": "secret"}]}))
USER = next(each for each in PROVIDER.resource_types if each.name == "User")
MODEL: Any = PROVIDER.model_for(USER)
SCOPE = Scope("w", "t")
WINDOW = timedelta(minutes=60)


class Histories(RuleBasedStateMachine):
    """The model: for each user when it left last, and a state with its end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.rules = Rules(users=4, share=40, at_least=1, window=60)
        self.db = SqliteDatabase(":memory:")
        outbox = Outbox("sqlite", SCOPE, Origin("idp", "::1", "r"), clock=lambda: self.now)
        ledger = Ledger(self.db, SCOPE, "User", self.rules, clock=lambda: self.now)
        self.quarantine = Quarantine(ledger, outbox)
        self.storage = SqlStorage(
            self.db,
            SCOPE,
            PROVIDER,
            journal=outbox,
            safety=SafetyNet(ledger, outbox),
            clock=lambda: self.now,
        )
        self.users: dict[str, bool] = {}
        self.left: dict[str, datetime] = {}
        self.deleted: set[str] = set()
        self.state = "open"
        self.until = self.now - WINDOW
        self.began = 0
        for number in range(6):
            self.arrive(number)

    def teardown(self) -> None:
        self.db.close()

    # -- The model --------------------------------------------------------

    def counted(self, but: str | None = None) -> set[str]:
        since = max(self.now - WINDOW, self.until)
        return {user for user, at in self.left.items() if at > since and user != but}

    def may_leave(self, user: str) -> bool:
        if self.until > self.now:
            return self.state == "approved"
        counted = self.counted(user)
        there = len(self.users) + len(counted & self.deleted)
        return len(counted) < self.rules.allowed(there)

    def leaves(self, user: str, leave: Any) -> None:
        if self.may_leave(user):
            leave()
            self.left[user] = self.now
            return
        with pytest.raises(QuarantineException):
            leave()
        if self.until <= self.now:
            self.state, self.until = "quarantined", datetime.max.replace(tzinfo=UTC)
            self.began += 1
        elif self.state == "rejected":
            self.until = self.now + WINDOW

    def set_active(self, user: str, active: bool) -> None:
        current = self.storage.get(USER, user)
        current.active = active  # type: ignore[attr-defined]
        self.storage.update(USER, current)

    # -- What happens -----------------------------------------------------

    @rule(number=st.integers(0, 10**9))
    def arrive(self, number: int) -> None:
        name = f"{number}-{len(self.users)}-{len(self.deleted)}"
        made = self.storage.create(USER, MODEL(user_name=name, active=True))
        self.users[str(made.id)] = True

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(sorted(self.users)))
        self.leaves(user, lambda: self.storage.delete(USER, user))
        if self.left.get(user) == self.now and not self.exists(user):
            del self.users[user]
            self.deleted.add(user)

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def deactivate(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(sorted(self.users)))
        if self.users[user]:
            passes = self.may_leave(user)
            self.leaves(user, lambda: self.set_active(user, False))
            self.users[user] = not passes
        else:
            self.set_active(user, False)

    @precondition(lambda self: self.users)
    @rule(data=st.data())
    def activate(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(sorted(self.users)))
        self.set_active(user, True)
        self.users[user] = True

    @rule(minutes=st.sampled_from([1, 20, 61, 300]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(minutes=st.sampled_from([None, 5]))
    def approve(self, minutes: int | None) -> None:
        self.quarantine.decide("approve", "admin", minutes)
        self.state = "approved"
        self.until = self.now + (timedelta(minutes=minutes) if minutes else WINDOW)

    @rule()
    def reject(self) -> None:
        if self.until > self.now:
            self.quarantine.decide("reject", "admin")
            self.state, self.until = "rejected", self.now + WINDOW
        else:
            with pytest.raises(NothingToRejectException):
                self.quarantine.decide("reject", "admin")

    @rule()
    def lift(self) -> None:
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
        told = 'SELECT count(*) AS n FROM scim_outbox WHERE doc LIKE \'%"operation":"begin"%\''
        assert self.db.query([Sql(told)])[0][0]["n"] == self.began
        active = {user for user, is_active in self.users.items() if is_active}
        found = {user for user in self.users if self.storage.get(USER, user).active is not False}  # type: ignore[attr-defined]
        assert found == active


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
