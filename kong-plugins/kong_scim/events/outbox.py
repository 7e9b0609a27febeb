"""Makes an event of each change, and writes it in the commit of that change.

The document of an event (column ``doc`` of ``scim_outbox``) is JSON. It has these members, without
those that would be empty:

``operation``
    The client's request: ``create``, ``replace``, ``patch`` or ``delete``. If an administrator of a
    DB-less Kong added or removed a credential, ``credential-add`` or ``credential-remove``, and the
    column ``written`` has its kind. If nothing but Kong's consumer was mended, ``reconcile``. For a
    ``Quarantine``, ``begin``, ``approve``, ``reject`` or ``lift``. For ``Drift``, ``found`` or
    ``mended``.
``actions``
    What the change amounted to: ``activate``, ``deactivate``, ``member-add``, ``member-remove``,
    ``roles-change``. ``credentials-revoke`` is derived from the column ``written``.
``attributes``
    Names of changed attributes, those of extensions qualified by their URN.
``values``
    ``[{"attribute", "value"}]``: the new values, as text, of the attributes that the configuration
    names.
``actor``, ``address``, ``requestId``
    The name of the token, the address of the client, and Kong's id of the request.
``joined``, ``left``
    Ids of members that a group got and lost.
``users``
    ``[{"value", "consumer", "added", "removed", "suspended"}]``: the users whose consumers were
    written, with the access groups that they got and lost.
``detail``
    A sentence on what happened, for a ``Quarantine`` and for ``Drift``.
``dryRun``
    True if nothing was written. Versions and counts are those that would have been.

No person's name is in it unless the configuration asks for values: nothing can be removed from an
audit trail, and people have a right to erasure.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, select

from kong_scim import cpu
from kong_scim.bridge import MEMBERSHIPS, SUBJECTS, EntityCounts, LastEventTag, Param, Step
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.event_tables import outbox
from kong_scim.directory.kinds import KONG_SCHEMA
from kong_scim.directory.ports import Access, Entry
from kong_scim.directory.statements import Statement, insert_into, insert_where, parameters
from kong_scim.directory.tables import resources
from kong_scim.directory.values import instant, utc_now
from kong_scim.json_text import to_text

NOTHING_WRITTEN = "{}"
"""The value of :class:`~kong_scim.bridge.EntityCounts` if no entity was written."""

_ROLES = frozenset({"roles", "entitlements"})

_NANOSECONDS = 1_000_000
"""Nanoseconds of a millisecond."""


def uuid7(now: Callable[[], int] = time.time_ns) -> str:
    """Return an id for a new event: a UUID of version 7 (RFC 9562 §5.7).

    The 12 bits after the milliseconds are the fraction of a millisecond (RFC 9562 §6.2, method 3),
    so ids of one process are in order to a quarter of a microsecond. The other 62 bits are random.

    :param now: Returns nanoseconds since 1970.
    """
    milliseconds, rest = divmod(now(), _NANOSECONDS)
    fraction = rest * 4096 // _NANOSECONDS
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


@dataclass(frozen=True)
class Origin:
    """The request that a change comes from.

    :param actor: The name of the request's token.
    :param address: The client's address as Kong determines it.
    :param request_id: Kong's id of the request, as in its access log.
    """

    actor: str
    address: str
    request_id: str


class EventOutbox:
    """Writes one event for each change into the tenant's outbox.

    A write that does not change its resource makes an event only if it wrote something in Kong: it
    repaired a consumer, or revoked a credential that somebody gave in the meantime.

    :param values: Names of the attributes whose new values an event has. Of others it has the name.
    :param dry_run: Whether the changes are rolled back, as in a dry run.
    """

    def __init__(
        self,
        database: TenantDatabase,
        origin: Origin,
        *,
        values: Collection[str] = (),
        dry_run: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._origin = origin
        self._dry_run = dry_run
        self._values = frozenset(name.casefold() for name in values)
        self._clock = clock

    def of(self, entry: Entry) -> Sequence[Step]:
        """Return the steps that write a change's event, and its id into the consumers' tags."""
        row = self._row(entry.change.resource_type, entry.change.resource_id, self._document(entry))
        row |= {
            "version_before": entry.version_before,
            "version_after": entry.version_after,
            "written": EntityCounts(),
        }
        if entry.counted:
            statement = _INSERT_DRY_RUN if self._dry_run else _INSERT_COUNTED
        elif entry.version_before == entry.version_after:
            statement, row = _INSERT_IF_WRITTEN, {**row, "counted": EntityCounts()}
        else:
            statement = INSERT_EVENT
        written = self._database.bind(statement, **row)
        if self._dry_run or not entry.outcome.steps:
            return [written]
        return [LastEventTag(str(row["id"])), written]

    def notice(
        self, resource_type: str, resource_id: str, operation: str, **members: Any
    ) -> dict[str, Param]:
        """Return the row of an event that is no change of a resource, for :data:`INSERT_EVENT`.

        :param members: Further members of the event's document.
        """
        document = {"operation": operation, **members, **self._of_request()}
        return self._row(resource_type, resource_id, document)

    def of_credential(self, user: str, op: Literal["upsert", "delete"]) -> Sequence[Step]:
        """Return the steps that write the event of a user's credential, in the same commit."""
        operation = "credential-add" if op == "upsert" else "credential-remove"
        row = self.notice("User", user, operation)
        row |= {"written": EntityCounts(), "counted": EntityCounts()}
        written = self._database.bind(_INSERT_IF_WRITTEN, **row)
        return [LastEventTag(str(row["id"])), written]

    def _row(
        self, resource_type: str, resource_id: str, document: Mapping[str, Any]
    ) -> dict[str, Param]:
        return {
            "id": uuid7(),
            "resource_type": resource_type,
            "resource_id": resource_id,
            "version_before": None,
            "version_after": None,
            "created": instant(self._clock()),
            "doc": to_text(document),
            "written": NOTHING_WRITTEN,
        }

    def _of_request(self) -> dict[str, str]:
        origin = self._origin
        members = {
            "actor": origin.actor,
            "address": origin.address,
            "requestId": origin.request_id,
        }
        return {name: value for name, value in members.items() if value}

    def _document(self, entry: Entry) -> dict[str, Any]:
        changed = dict(_changed(entry.before, entry.after))
        attributes = sorted(changed)
        if entry.joined or (entry.left and entry.after is not None):
            attributes.append("members")
        document = {
            "operation": entry.change.operation,
            "actions": list(_actions(entry, attributes)),
            "attributes": attributes,
            "values": [
                {"attribute": name, "value": _text(changed[name])}
                for name in sorted(changed)
                if name.casefold() in self._values
            ],
            **self._of_request(),
            "joined": sorted(entry.joined),
            "left": sorted(entry.left),
            "users": [
                _access(user, access) for user, access in sorted(entry.outcome.accesses.items())
            ],
            "dryRun": self._dry_run,
        }
        return {name: value for name, value in document.items() if value}


def revoked(written: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return how many credentials were deleted, by kind.

    :param written: The bridge's counts of entities, by operation and DAO.
    """
    # A deleted consumer's credentials are deleted with it. These DAOs are no credentials:
    no_credentials = {"consumers", "plugins", "consumer_groups", SUBJECTS, *MEMBERSHIPS}
    found: dict[str, int] = dict(written.get("revoke", {}))
    for dao, count in written.get("delete", {}).items():
        if dao not in no_credentials:
            found[dao] = found.get(dao, 0) + count
    return dict(sorted(found.items()))


def _changed(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    """Yield the name and new value of each attribute that differs; for a deletion, nothing."""
    if after is None:
        return
    old, new = dict(_flat(before or {})), dict(_flat(after))
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield name, new.get(name)


def _flat(doc: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in doc.items():
        if name == "schemas" or name.casefold() == KONG_SCHEMA.casefold():
            continue
        if name.casefold().startswith("urn:") and isinstance(value, Mapping):
            yield from ((f"{name}:{attribute}", each) for attribute, each in value.items())
        else:
            yield name, value


def _actions(entry: Entry, attributes: Collection[str]) -> Iterator[str]:
    if entry.before is not None and entry.after is not None:
        was, is_now = (doc.get("active") is True for doc in (entry.before, entry.after))
        if was != is_now:
            yield "activate" if is_now else "deactivate"
    if entry.joined:
        yield "member-add"
    if entry.left:
        yield "member-remove"
    if _ROLES.intersection(attributes):
        yield "roles-change"


def _access(user: str, access: Access) -> dict[str, Any]:
    cpu.give_way()
    shown: dict[str, Any] = {"value": user, "consumer": access.consumer}
    if access.added:
        shown["added"] = list(access.added)
    if access.removed:
        shown["removed"] = list(access.removed)
    if access.suspended is not None:
        shown["suspended"] = access.suspended
    return shown


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return to_text(value)


_ROW = parameters(*(column.name for column in outbox.c if column.name != "position"))

INSERT_EVENT = Statement(insert_into(outbox).values(_ROW))
"""Writes the row of an event, as :meth:`EventOutbox.notice` returns it."""

_VERSION = (
    select(resources.c.version).where(resources.c.id == bindparam("resource_id")).scalar_subquery()
)
"""The version of the resource after the earlier steps of the commit."""

_INSERT_COUNTED = Statement(
    insert_into(outbox).values({**_ROW, "version_before": _VERSION - 1, "version_after": _VERSION})
)

_INSERT_DRY_RUN = Statement(
    insert_into(outbox).values({**_ROW, "version_before": _VERSION, "version_after": _VERSION + 1})
)
"""Writes the event of a dry run, with the version that the resource would have got."""

_INSERT_IF_WRITTEN = Statement(
    insert_where(outbox, bindparam("counted", type_=outbox.c.written.type) != NOTHING_WRITTEN)
)
"""Writes an event only if the entity steps of the commit wrote anything."""
