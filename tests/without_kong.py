"""A directory on its own: nothing in Kong follows from a change, and nobody is told of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest
from scim2_models import Resource, ResourceType, ScimProvider

from kong_scim.bridge import Step
from kong_scim.directory.database import Database, Scope, TenantDatabase
from kong_scim.directory.directory import Directory
from kong_scim.directory.documents import Content, Found, content
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.ports import Change, Entry, Operation, Outcome
from kong_scim.directory.retries import retried
from kong_scim.directory.sqlite import SqliteDatabase
from kong_scim.directory.storage import SqlStorage, version_is
from kong_scim.tenant import Provisioning


class NoConsumerSync:
    def of(self, change: Change) -> Outcome:
        del change
        return Outcome()


class NoOutbox:
    def of(self, entry: Entry) -> Sequence[Step]:
        del entry
        return ()


def directory_of(
    db: Database,
    scope: Scope,
    provider: ScimProvider,
    consumer_sync: Any = None,
    **more: Any,
) -> Directory:
    """Return a directory whose changes entail what a test says, or nothing."""
    database = TenantDatabase(db, scope)
    sync = consumer_sync or NoConsumerSync()
    return Directory(database, Kinds(provider), sync, NoOutbox(), **more)


def serve_from_memory(
    monkeypatch: pytest.MonkeyPatch, directory: type[Directory] = Directory
) -> None:
    """Make each plugin instance use one directory in memory, without a gateway."""
    database = TenantDatabase(SqliteDatabase(":memory:"), Scope("default", "okta"))

    def of(provisioning: Provisioning, *_: Any, **__: Any) -> Directory:
        return directory(database, provisioning.kinds, NoConsumerSync(), NoOutbox())

    monkeypatch.setattr(Provisioning, "directory", of)


class Storage(SqlStorage):
    """A storage of models that changes members of a group as a PATCH does."""

    def patch_members(
        self,
        resource_type: ResourceType,
        group_id: str,
        *,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        patch: Callable[[Resource[Any]], Resource[Any] | None] | None = None,
        expected_version: str | None = None,
    ) -> Resource[Any]:
        kind = self.directory.kinds.of(resource_type)

        def rewrite(found: Found) -> Content | None:
            new = patch(found.model()) if patch else None
            return None if new is None else content(kind, new)

        def attempt() -> Resource[Any]:
            return self.directory.patch_group(
                kind,
                group_id,
                add=add,
                remove=remove,
                rewrite=rewrite if patch else None,
                precondition=version_is(expected_version) if expected_version else None,
            ).model()

        return retried(attempt) if expected_version is None else attempt()

    def refresh(
        self, resource_type: ResourceType, resource_id: str, *, operation: Operation = "replace"
    ) -> Resource[Any] | None:
        """Write a user that does not change; return it if its Kong extension changed."""
        kind = self.directory.kinds.of(resource_type)
        before: list[str] = []
        found = self.directory.change(kind, resource_id, lambda _: None, operation, before.append)
        return None if found.row.etag == before[0] else found.model()


def storage_of(
    db: Database,
    scope: Scope,
    provider: ScimProvider,
    consumer_sync: Any = None,
    **more: Any,
) -> Storage:
    """Return the same as a storage of models."""
    return Storage(directory_of(db, scope, provider, consumer_sync, **more))
