"""Reads the people of a tenant as they were at a moment, and what Kong has of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scim2_models import InvalidValueException, SCIMException, TooManyException
from sqlalchemy import Select, and_, bindparam, select, tuple_

from kong_scim.bridge import Bridge, Credential, Dialect
from kong_scim.directory import queries
from kong_scim.directory.database import Row, TenantDatabase
from kong_scim.directory.kinds import Kind
from kong_scim.directory.queries import in_scope
from kong_scim.directory.related import InOrder
from kong_scim.directory.statements import Statement
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.tables import HEAD, resources, values
from kong_scim.directory.values import folded, instant
from kong_scim.events.hash_chain import START, Chain
from kong_scim.events.trail import Trail
from kong_scim.review.changes import ChangeReader
from kong_scim.review.configuration import AnonymousConsumer, KongConfiguration
from kong_scim.review.history import Access, access_at
from kong_scim.review.judgement import KINDS
from kong_scim.sync.gateway import Gateway
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.wanted import SUSPENDED

BATCH = 25
"""People that are read at once."""

MOST_DELETED = 5000
"""People that may be deleted while a report is read, and in the minute before."""

_SEALED_WITHIN = timedelta(minutes=1)
"""The time after which an event is taken to be in the trail."""

MOST_ENTITIES = 20_000
"""Routes, services and plugins of each kind that a review reads."""


Position = tuple[str, ...]
"""Where the next page begins: behind a deletion (``gone``, its time and event), or a ``user``."""

_BEHIND_ALL = "~"
"""It sorts behind each id and each time."""


def first(moment: str) -> Position:
    """Return the position before everybody of a moment."""
    return ("gone", moment, "")


class ChangedMeanwhileException(SCIMException):
    """Something changed between two pages of a report, so that they do not fit together (409)."""

    status = 409
    _default_detail = "The report does not fit together any more: begin anew"


@dataclass(frozen=True)
class TrailEnd:
    """How far the audit trail reaches back, and where it ended at a moment.

    :param begins: When the first record that is kept occurred; None without any.
    :param sequence: That of the last record up to the moment, 0 without one; ``hash`` is its hash.
    """

    begins: str | None
    sequence: int
    hash: str


@dataclass(frozen=True)
class PersonThen:
    """A person as it was at a moment.

    :param user_name: The name of now; None for a person that was deleted since.
    :param credentials: Those that Kong still has.
    """

    id: str
    user_name: str | None
    access: Access
    credentials: tuple[Credential, ...] = ()


class ReviewReader:
    """Reads what an access review judges.

    :param gateway: Where consumers are read.
    :param bridge: Where routes, services, plugins and credentials are read.
    """

    def __init__(
        self, database: TenantDatabase, gateway: Gateway, bridge: Bridge, users: Kind, events: Kind
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._bridge = bridge
        self._users = users
        self._events = events
        self._changes = ChangeReader(database)

    # -- Kong -------------------------------------------------------------

    def configuration(self) -> KongConfiguration:
        """Return the routes, services and plugins of the tenant's workspace.

        :raises ~scim2_models.TooManyException: There are more than :data:`MOST_ENTITIES`.
        """
        read = []
        for kind in ("services", "routes", "plugins"):
            rows = []
            for row in self._bridge.declared(kind):
                rows.append(row)
                if len(rows) > MOST_ENTITIES:
                    raise TooManyException(
                        detail=f"Kong has more than {MOST_ENTITIES} {kind}, which is more than an "
                        "access review reads"
                    )
            read.append(rows)
        return KongConfiguration.read(*read)

    def anonymous(self, configuration: KongConfiguration) -> dict[str, AnonymousConsumer]:
        """Return the consumers that plugins name as ``anonymous``, by that name or id."""
        names = sorted(
            {
                str(plugin.config["anonymous"])
                for plugin in configuration.plugins
                if plugin.name in KINDS and plugin.config.get("anonymous")
            }
        )
        if not names:
            return {}
        found: dict[str, AnonymousConsumer] = {}
        for consumer in self._gateway.query(consumer_ids=names, usernames=names).consumers:
            one = AnonymousConsumer(
                consumer.username or consumer.id, frozenset(acl.group for acl in consumer.acls)
            )
            found |= {name: one for name in (consumer.id, consumer.username) if name in names}
        return found

    # -- The trail --------------------------------------------------------

    def trail(self, moment: str | None) -> TrailEnd:
        """Return where the audit trail ended at a moment, or where it ends now for None."""
        database, kind = self._database, self._events.name
        oldest = database.rows(_FIRST, type=kind)
        begins = oldest[0]["created"] if oldest else None
        if moment is None:
            chain: Chain = Trail(database, self._events).chain()
            return TrailEnd(begins, chain.length, chain.hash)
        last = database.rows(_LAST, type=kind, moment=moment)
        if not last:
            return TrailEnd(begins, 0, START)
        event = json.loads(last[0]["doc"])
        return TrailEnd(begins, event["sequence"], event["hash"])

    # -- People -----------------------------------------------------------

    def named(self, name: str, moment: str) -> list[PersonThen]:
        """Return the person with a userName or an id, in a list; an empty one if it came later.

        :raises ~scim2_models.InvalidValueException: There is and was no such person.
        """
        head = folded(name)[:HEAD]
        database, kind = self._database, self._users.name
        by_name, by_id = database.query(
            [
                database.bind(_NAMED, type=kind, head=head),
                database.bind(queries.ONE, type=kind, id=name),
            ]
        )
        users = [StoredRow.read(row) for row in by_name or by_id]
        users = [each for each in users if each.id == name or _is_named(each, name)]
        found = self._then(users, moment) if users else self._gone_then([name], moment)
        if not users and not self._changes.of([name]).get(name):
            raise InvalidValueException(
                detail=f"There is no user {name!r}: give a userName, or the id of a deleted user"
            )
        return found

    def everybody(
        self, moment: str, read: str, position: Position
    ) -> Iterator[tuple[PersonThen, Position]]:
        """Yield everybody of a moment with the position behind: first who was deleted between it
        and the minute before the time of reading, and then the others in the order of their ids.

        Who is deleted while the report is read, from one position to the next, is not left out.

        :param read: When the first position was asked for, which is no earlier than the moment.
        :param position: Where to begin, :func:`first` for the first time.
        """
        kind, *place = position
        sealed = max(moment, instant(datetime.fromisoformat(read) - _SEALED_WITHIN))
        created, event = place if kind == "gone" else (sealed, "")
        while created < sealed:
            rows = self._deletions(created, event, sealed)
            people = {each.id: each for each in self._gone_then(_persons(rows), moment)}
            for row in rows:
                if row["person"] in people:
                    yield people[row["person"]], ("gone", row["created"], row["id"])
            created, event = (rows[-1]["created"], rows[-1]["id"]) if rows else (sealed, "")
        last = place[0] if kind == "user" else ""
        while True:
            found = self._database.rows(
                queries.AFTER, type=self._users.name, last=last, limit=BATCH
            )
            end = found[-1]["id"] if found else _BEHIND_ALL
            people_now = self._then([StoredRow.read(row) for row in found], moment)
            known = {each.id for each in people_now}
            gone = [each for each in self._gone_since(sealed) if last < each <= end]
            missed = self._gone_then([each for each in gone if each not in known], moment)
            for person in sorted([*people_now, *missed], key=lambda each: each.id):
                yield person, ("user", person.id)
            if not found:
                return
            last = end

    def _gone_since(self, moment: str) -> list[str]:
        """Return who was deleted after a moment, also by events that are not sealed yet."""
        # The outbox is read first: what is sealed meanwhile is found in the trail.
        waiting = self._changes.deletions_waiting(self._users.name)
        rows = self._deletions(moment, "", _BEHIND_ALL, MOST_DELETED)
        if len(rows) == MOST_DELETED:
            raise ChangedMeanwhileException(
                detail="Too many users were deleted in the last minute: ask again in a minute"
            )
        return list(dict.fromkeys([*_persons(rows), *waiting]))

    def _deletions(self, created: str, event: str, until: str, limit: int = BATCH) -> list[Row]:
        return self._database.rows(
            _DELETED,
            type=self._events.name,
            user=self._users.name,
            created=created,
            last=event,
            until=until,
            limit=limit,
        )

    def _then(self, users: Sequence[StoredRow], moment: str) -> list[PersonThen]:
        users = [user for user in users if user.created <= moment]
        if not users:
            return []
        ids = {user.id: KongUserRecord.stored(user.doc).consumer_id for user in users}
        # Kong is read before the events: undoing an event twice changes nothing.
        consumer_ids = [each for each in ids.values() if each is not None]
        consumers = {
            each.id: each for each in self._gateway.query(consumer_ids=consumer_ids).consumers
        }
        credentials = self._bridge.credentials(sorted(consumers))
        changes = self._changes.of(list(ids))
        people = []
        for user in users:
            consumer = consumers.get(ids[user.id] or "")
            now = Access(None, suspended=True)
            if consumer is not None:
                groups = frozenset(acl.group for acl in consumer.acls)
                now = Access(consumer.id, groups, SUSPENDED in consumer.tags)
            then = access_at(moment, changes.get(user.id, ()), now)
            if then is not None:
                held = tuple(
                    each
                    for each in credentials
                    if consumer is not None and each.consumer == consumer.id and _was(each, moment)
                )
                people.append(PersonThen(user.id, user.doc.get("userName"), then, held))
        return people

    def _gone_then(self, ids: Sequence[str], moment: str) -> list[PersonThen]:
        found = self._changes.of(ids)
        people = []
        for person in ids:
            changes = found.get(person, ())
            deleted = [each for each in changes if "delete" in each.own]
            if not deleted or deleted[-1].occurred <= moment:
                continue
            then = access_at(moment, changes, Access(None, suspended=True))
            if then is not None:
                people.append(PersonThen(person, None, then))
        return people


def _is_named(user: StoredRow, name: str) -> bool:
    return folded(str(user.doc.get("userName"))) == folded(name)


def _was(credential: Credential, moment: str) -> bool:
    """Tell whether a credential was there at a moment."""
    at = datetime.fromisoformat(moment).timestamp()
    # Kong keeps whole seconds.
    return (credential.created is None or int(credential.created) <= at) and (
        credential.expires is None or credential.expires > at
    )


def _persons(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["person"] for row in rows))


# -- Statements ---------------------------------------------------------------

_EVENT = and_(in_scope(), resources.c.type == bindparam("type"))

_FIRST = Statement(
    select(resources.c.created).where(_EVENT).order_by(resources.c.created, resources.c.id).limit(1)
)

_LAST = Statement(
    select(resources.c.doc)
    .where(_EVENT, resources.c.created <= bindparam("moment"))
    .order_by(resources.c.created.desc(), resources.c.id.desc())
    .limit(1)
)

_NAMED = Statement(
    select(*queries.ROW)
    .join(values, values.c.resource_id == resources.c.id)
    .where(
        queries.IN_SCOPE_BY_ID,
        resources.c.type == bindparam("type"),
        values.c.attr == "username",
        values.c.head == bindparam("head"),
    )
)


def _deleted(dialect: Dialect) -> Select[Any]:
    """Select the deletions of users after a place of the trail, in order."""
    joined: Any = resources
    said = {name: values.alias(name) for name in ("operation", "resourcetype", "resourceid")}
    for attr, table in said.items():
        tie = and_(table.c.resource_id == resources.c.id, table.c.attr == attr)
        joined = InOrder(joined, table, tie) if dialect == "sqlite" else joined.join(table, tie)
    place = tuple_(resources.c.created, resources.c.id)
    return (
        select(resources.c.id, resources.c.created, said["resourceid"].c.val.label("person"))
        .select_from(joined)
        .where(
            _EVENT,
            resources.c.created >= bindparam("created"),
            resources.c.created <= bindparam("until"),
            place > tuple_(bindparam("created"), bindparam("last")),
            said["operation"].c.val == "delete",
            said["resourcetype"].c.val == bindparam("user"),
        )
        .order_by(resources.c.created, resources.c.id)
        .limit(bindparam("limit"))
    )


_DELETED = Statement(_deleted)
