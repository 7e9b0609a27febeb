"""Makes an event of each change, and writes it in the commit of that change.

The document of an event (column ``doc`` of ``scim_outbox``) is JSON, with what is not empty of:

``operation``
    ``create``, ``replace``, ``patch`` or ``delete``: what the client asked for. Of a credential
    that an administrator gave to a DB-less Kong or took away, ``credential-add`` or
    ``credential-remove``; which kind it is, the column ``written`` says. Of a ``Quarantine``,
    ``begin``, ``approve``, ``reject`` or ``lift``.
``actions``
    What it came to: ``activate``, ``deactivate``, ``member-add``, ``member-remove``,
    ``roles-change``; ``credentials-revoke`` is said by the column ``written``.
``attributes``
    Names of changed attributes, those of extensions qualified by their URN.
``values``
    ``[{"attribute", "value"}]`` of the new values, as text, where the configuration names them.
``actor``, ``address``, ``requestId``
    Whose token, from where, and Kong's own id of the request.
``joined``, ``left``
    Ids of members that a group got and lost.
``users``
    ``[{"value", "consumer", "added", "removed", "suspended"}]``: the users whose consumers were
    written, with the access groups they got and lost there.
``detail``
    A sentence on what happened, of a ``Quarantine``.
``dryRun``
    True where nothing of it was written, with the versions and counts that would have been.

No name of a person is in it unless the configuration asks for values: an audit trail cannot forget,
and people have a right to be forgotten.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, select

from kong_scim.bridge import MEMBERSHIPS, EntityCounts, LastEventTag, Param, Step
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.kinds import KONG_SCHEMA
from kong_scim.directory.ports import Access, Entry
from kong_scim.directory.statements import Statement, insert_into, insert_where, parameters
from kong_scim.directory.tables import outbox, resources
from kong_scim.directory.values import instant, utc_now

NOTHING_WRITTEN = "{}"
"""The value of :class:`~kong_scim.bridge.EntityCounts` where no entity was."""

_ROLES = frozenset({"roles", "entitlements"})

_NANOSECONDS = 1_000_000
"""Of a millisecond."""


def uuid7(now: Callable[[], int] = time.time_ns) -> str:
    """Return a new id of an event: a UUID of version 7 (RFC 9562 §5.7).

    The 12 bits after the milliseconds are their fraction (RFC 9562 §6.2, method 3), so that ids of
    one process sort by a quarter of a microsecond; the other 62 are random.

    :param now: Nanoseconds since 1970.
    """
    milliseconds, rest = divmod(now(), _NANOSECONDS)
    fraction = rest * 4096 // _NANOSECONDS
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


@dataclass(frozen=True)
class Origin:
    """The request that a change comes from.

    :param actor: The name of its token.
    :param address: Of the client, as Kong judges it.
    :param request_id: Kong's own, as in its access log.
    """

    actor: str
    address: str
    request_id: str


class EventOutbox:
    """Writes one event for each change into the tenant's outbox.

    A write that leaves a resource as it is is an event too where it wrote something in Kong (it
    repaired a consumer, or revoked a credential that somebody gave meanwhile), and only there.

    :param values: Names of the attributes whose new values an event tells; of others, the name.
    :param dry_run: Whether the events are of changes that are taken back.
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
        """Return the steps that write the event of a change, and its id to the consumers."""
        row = self._row(entry.change.resource_type, entry.change.resource_id, self._document(entry))
        row |= {
            "version_before": entry.version_before,
            "version_after": entry.version_after,
            "written": EntityCounts(),
        }
        if entry.counted:
            statement = _INSERT_TAKEN_BACK if self._dry_run else _INSERT_COUNTED
        elif entry.version_before == entry.version_after:
            statement, row = _INSERT_IF_WRITTEN, {**row, "counted": EntityCounts()}
        else:
            statement = INSERT_EVENT
        written = self._database.bind(statement, **row)
        if self._dry_run or not entry.outcome.steps:
            return [written]
        return [LastEventTag(str(row["id"])), written]

    def notice(
        self, resource_type: str, resource_id: str, operation: str, **said: Any
    ) -> dict[str, Param]:
        """Return the row of an event that is no change of a resource, for :data:`INSERT_EVENT`.

        :param said: What else its document has.
        """
        document = {"operation": operation, **said, **self._of_request()}
        return self._row(resource_type, resource_id, document)

    def of_credential(self, user: str, op: Literal["upsert", "delete"]) -> Sequence[Step]:
        """Return the steps that write the event of a credential of a user, with its commit."""
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
            "doc": json.dumps(document, separators=(",", ":"), ensure_ascii=False),
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
    """Return how many credentials were deleted, by kind, from what the bridge counted.

    A deleted consumer takes its credentials along; what else hangs on it is named here.
    """
    others = {"consumers", "plugins", "consumer_group_consumers", *MEMBERSHIPS}
    found: dict[str, int] = dict(written.get("revoke", {}))
    for dao, count in written.get("delete", {}).items():
        if dao not in others:
            found[dao] = found.get(dao, 0) + count
    return dict(sorted(found.items()))


def _changed(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    """Yield the names of attributes that differ with their new values; of a deletion, none."""
    if after is None:
        return
    held, wanted = dict(_flat(before or {})), dict(_flat(after))
    for name in {**held, **wanted}:
        if held.get(name) != wanted.get(name):
            yield name, wanted.get(name)


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
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_ROW = parameters(*(column.name for column in outbox.c if column.name != "position"))

INSERT_EVENT = Statement(insert_into(outbox).values(_ROW))
"""Writes the row of an event, such as :meth:`EventOutbox.notice` returns it."""

_VERSION = (
    select(resources.c.version).where(resources.c.id == bindparam("resource_id")).scalar_subquery()
)
"""The version that the resource has got in this very commit."""

_INSERT_COUNTED = Statement(
    insert_into(outbox).values({**_ROW, "version_before": _VERSION - 1, "version_after": _VERSION})
)

_INSERT_TAKEN_BACK = Statement(
    insert_into(outbox).values({**_ROW, "version_before": _VERSION, "version_after": _VERSION + 1})
)
"""Of a change that was taken back: with the version that the resource would have got."""

_INSERT_IF_WRITTEN = Statement(
    insert_where(outbox, bindparam("counted", type_=outbox.c.written.type) != NOTHING_WRITTEN)
)
"""Inserts only where the entity steps of the commit wrote anything."""
