"""A directory on its own: nothing in Kong follows from a change, and nobody is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scim2_models import ScimProvider

from kong_scim.bridge import Step
from kong_scim.directory.database import Database, Scope, TenantDatabase
from kong_scim.directory.ports import Change, Entry, Outcome
from kong_scim.directory.storage import SqlStorage


class NoConsumerSync:
    def of(self, change: Change) -> Outcome:
        del change
        return Outcome()


class NoOutbox:
    def of(self, entry: Entry) -> Sequence[Step]:
        del entry
        return ()


def storage_of(
    db: Database,
    scope: Scope,
    provider: ScimProvider,
    consumer_sync: Any = None,
    **more: Any,
) -> SqlStorage:
    """Return a storage whose changes entail what a test says, or nothing."""
    database = TenantDatabase(db, scope)
    return SqlStorage(database, provider, consumer_sync or NoConsumerSync(), NoOutbox(), **more)
