"""Keeps when a tenant's tokens were last used, and warns of those that expire soon.

No request writes for it. The tick of each node stores the uses that its plugin server has seen: the
first use of a token with the next tick, later ones at most once in :data:`BETWEEN_WRITES`. A token
that expires soon has one event in the trail, however many nodes there are, and another one after
its expiry is changed:

``operation``
    ``expiry-warning``, of the resource type ``Token`` and the token's name as its id.
``values``
    ``[{"attribute": "expires", "value": "2027-01-31T00:00:00Z"}]``.
``actor``
    :data:`ACTOR`.
"""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import Insert

from kong_scim.bridge import BridgeError, RowCountError
from kong_scim.directory.administration_tables import callers
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Statement, insert_into, parameters
from kong_scim.directory.values import instant, utc_now
from kong_scim.events.outbox import INSERT_EVENT, EventOutbox, Origin

log = logging.getLogger(__name__)

TOKEN = "Token"  # noqa: S105
EXPIRY_WARNING = "expiry-warning"
ACTOR = "kong-scim"

WARNING = timedelta(days=14)
"""The time before its expiry from which a token gets its warning."""

BETWEEN_WRITES = 60.0
"""Seconds between two writes of last uses. A crash loses the uses of at most this time."""


@dataclass(frozen=True)
class Expiring:
    """A token that will expire.

    :param expires: The date of the expiry as the configuration has it.
    :param at: The same moment in seconds since 1970.
    """

    name: str
    expires: str
    at: float


class Callers:
    """Warns of tokens that expire, and stores when tokens were last used.

    :param clock: Returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        expiring: list[Expiring],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._expiring = {each.name: each for each in expiring}
        self._clock = clock
        self._now = now
        self._next_write = 0.0
        self._written: dict[str, datetime] = {}

    def run(self, database: TenantDatabase, used: Callable[[], Mapping[str, datetime]]) -> None:
        """Warn of tokens that expire soon, and store last uses if that is due.

        :param used: Returns when this server last accepted each credential, by its name.
        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        failure: BridgeError | None = None
        for token in list(self._expiring.values()):
            left = timedelta(seconds=token.at - self._now().timestamp())
            if left >= WARNING:
                continue
            try:
                if left > timedelta(0):
                    self._warn(database, token, left)
                del self._expiring[token.name]
            except BridgeError as error:  # the other tokens still get their warnings
                failure = error
        uses = used()
        is_due = self._clock() >= self._next_write or not uses.keys() <= self._written.keys()
        if is_due and self._write(database, uses):
            self._next_write = self._clock() + BETWEEN_WRITES
        if failure is not None:
            raise failure

    def _warn(self, database: TenantDatabase, token: Expiring, left: timedelta) -> None:
        expiry = {"values": [{"attribute": "expires", "value": token.expires}]}
        outbox = EventOutbox(database, Origin(ACTOR, "", ""), clock=self._now)
        event = outbox.notice(TOKEN, token.name, EXPIRY_WARNING, **expiry)
        warned = database.bind(_WARNED, name=token.name, warned=token.expires)
        try:
            database.commit([warned, database.bind(INSERT_EVENT, **event)])
        except RowCountError:
            return  # another node has warned, or this one before a restart
        log.warning(
            "tenant %s: token %s expires at %s, in %d days: make the next one",
            *(database.scope.tenant, token.name, token.expires, left.days),
        )

    def _write(self, database: TenantDatabase, used: Mapping[str, datetime]) -> bool:
        newer = {name: at for name, at in used.items() if self._written.get(name) != at}
        if newer:
            database.commit(
                [
                    database.bind(_USED, name=name, last_used=instant(at))
                    for name, at in newer.items()
                ]
            )
            self._written = dict(used)
        return bool(newer)


def last_uses(
    database: TenantDatabase, used: Mapping[str, datetime] | None = None
) -> dict[str, str]:
    """Return when each credential was last used at any node, by its name, as ISO dates.

    :param used: The uses that this server has seen, which may be newer than the stored ones.
    """
    found = {row["name"]: row["last_used"] for row in database.rows(_ALL) if row["last_used"]}
    for name, at in (used or {}).items():
        found[name] = max(found.get(name, ""), instant(at))
    return found


_ALL = Statement(select(callers.c.name, callers.c.last_used).where(in_scope(callers)))


def _upsert(column: str, condition: Callable[[Any, Any], Any]) -> Insert:
    """Return an insert that, if the row exists, updates this column under a condition."""
    row = {"last_used": "", "warned": "", **parameters("workspace", "tenant", "name", column)}
    statement = insert_into(callers).values(row)
    new = statement.excluded[column]
    return statement.on_conflict_do_update(
        index_elements=["workspace", "tenant", "name"],
        set_={column: new},
        where=condition(callers.c[column], new),
    )


_USED = Statement(_upsert("last_used", operator.lt))

_WARNED = Statement(_upsert("warned", operator.ne), rows=1, label="warned")
"""Notes that a token was warned of. It writes no row, so the commit fails, if that is noted."""
