"""A tenant with deliveries, for the tests of them and of the dispatcher."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from directory_support import create_user, new_id, new_scope, user

from kong_scim.config.plugin import parse
from kong_scim.directory.database import Database, TenantDatabase
from kong_scim.directory.directory import Directory
from kong_scim.directory.kinds import Kinds
from kong_scim.events.outbox import EventOutbox, Origin
from kong_scim.events.trail import Trail
from kong_scim.events.webhooks.deliveries import Attempt, Deliveries
from kong_scim.events.webhooks.http import Answer
from kong_scim.protocol.resources import provider
from without_kong import NoConsumerSync, Storage

PROVIDER = provider(parse({"tokens": [{"name": "idp", "value": "secret"}]}))
USERS = PROVIDER.resource_types[0]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class World:
    """A tenant whose events go to targets."""

    def __init__(self, db: Database, *targets: str) -> None:
        self.db, self.scope = db, new_scope()
        database = TenantDatabase(db, self.scope)
        outbox = EventOutbox(database, Origin("idp", "192.0.2.7", "r"))
        self.storage = Storage(
            Directory(database, Kinds(PROVIDER), NoConsumerSync(), outbox, new_id=new_id)
        )
        self.deliveries = Deliveries(database)
        self.trail = Trail(
            database,
            Kinds(PROVIDER).of("Event"),
            lambda event: self.deliveries.steps(event, targets, NOON),
        )

    def person(self, changes: int = 0) -> str:
        made = create_user(self.storage, f"user-{new_id()}")
        for number in range(changes):
            self.storage.update(USERS, user(id=made, userName=f"{made}-{number}"))
        self.trail.seal()
        return made

    def claim(self, limit: int = 10, now: datetime = NOON, target: str = "hr") -> list[Any]:
        return self.deliveries.claim(target, limit, now, now + timedelta(seconds=30))

    def finish(self, delivery: Any, state: str = "delivered", due: datetime = NOON) -> None:
        answer = Answer(200 if state == "delivered" else 500)
        self.deliveries.record([Attempt(delivery.number, NOON, answer, state, due)])

    def states(self) -> list[str]:
        return [each["state"] for each in self.deliveries.page(state=None, after=0, limit=1000)]
