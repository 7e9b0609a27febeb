"""The provider log: the SCIM requests of the last days, in a table of bounded length.

Beside the requests there are their numbers by hour, which count also those that were not kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    bindparam,
    delete,
    literal_column,
    select,
)

from kong_scim import cpu
from kong_scim.bridge import Dialect
from kong_scim.config.requests import RequestsConfig
from kong_scim.directory.administration_tables import request_hours, requests
from kong_scim.directory.database import Row, TenantDatabase
from kong_scim.directory.queries import chunks, in_scope
from kong_scim.directory.statements import Statement, insert_into, json_rows, rows_of_json
from kong_scim.directory.values import instant, utc_now
from kong_scim.provider_log.waiting import Taken, Waiting, take_all, waiting_of

log = logging.getLogger(__name__)

MOST_ROWS = 200_000
"""Requests that are kept of one tenant at most; the oldest are dropped first."""

BATCH = 1000
"""Rows that are written, or dropped, in one commit at most."""

ROUNDS = 20
"""Batches that are dropped in one tick at most, so that it ends."""

PATIENCE = 5.0
"""Seconds that a reader of the log waits while the tick writes the newest requests. The tick itself
never waits, because requests may wait for it."""

BETWEEN_DROPS = 600.0
"""Seconds between two deletions of old requests, which may be kept longer by this time."""

OWN = "kong-scim"
"""The provider of requests that the command line and the console send: their User-Agent."""


def write_waiting(database: TenantDatabase, *, patience: float = 0) -> None:
    """Write what waits in this plugin server into the log.

    :param patience: For how many seconds to wait while another thread writes what it took, so that
        it is there afterwards. Without any, this is left to that thread.
    :raises ~kong_scim.bridge.BridgeError: When the database does not answer. What was not written
        waits again.
    """
    waiting = waiting_of(database.scope.tenant)
    with cpu.waiting():
        is_alone = waiting.writing.acquire(timeout=patience)
    if is_alone:
        try:
            _take_and_write(database, waiting)
        finally:
            waiting.writing.release()


def _take_and_write(database: TenantDatabase, waiting: Waiting) -> None:
    tenant = database.scope.tenant
    taken = take_all(tenant)
    if not taken:
        return
    try:
        _write(database, taken)
    except BaseException:
        waiting.put_back(taken)
        raise
    if taken.left_out:
        log.warning(
            "tenant %s: %d requests are counted and not kept in the provider log, because too many "
            "came within a second",
            *(tenant, taken.left_out),
        )


def _write(database: TenantDatabase, taken: Taken) -> None:
    """Write entries in batches, and take each from what waits as soon as it is stored."""
    hours = [
        (_hour(hour), count, taken.failed[hour]) for hour, count in sorted(taken.requests.items())
    ]
    database.commit([database.bind(_COUNT, rows=json_rows(hours))])
    taken.requests.clear()
    taken.failed.clear()
    for batch in list(chunks(taken.entries, BATCH)):
        rows = [
            (
                instant(_datetime(entry.at)),
                entry.method,
                entry.path,
                entry.status,
                entry.milliseconds,
                entry.token,
                entry.provider,
                entry.error,
                entry.body,
            )
            for entry in batch
        ]
        database.commit([database.bind(_INSERT, rows=json_rows(rows))])
        del taken.entries[: len(batch)]


def page(
    database: TenantDatabase, *, failed: bool, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """Return requests in JSON form, the newest first.

    :param failed: Whether only those that failed.
    :param before: The id of the last request of the page before; None for the first page.
    """
    statement = _FAILED if failed else _PAGE
    rows = database.rows(statement, before=2**53 - 1 if before is None else before, limit=limit)
    return [_shown(row) for row in rows]


def last(database: TenantDatabase) -> dict[str, Any] | None:
    """Return the last request that was not sent by a tool of this project, or None."""
    for row in database.rows(_LAST, own=OWN):
        shown = _shown(row)
        return {name: shown[name] for name in _SHOWN_OF_LAST}
    return None


_SHOWN_OF_LAST = ("at", "method", "path", "status", "token", "provider")


def _shown(row: Row) -> dict[str, Any]:
    return {
        "id": int(row["number"]),
        "at": moment(row["at"]),
        "method": row["method"],
        "path": row["path"],
        "status": int(row["status"]),
        "milliseconds": int(row["milliseconds"]),
        "token": row["token"] or None,
        "provider": row["provider"] or None,
        "error": row["error"] or None,
        "body": row["body"] or None,
    }


def by_hour(database: TenantDatabase, first: str) -> dict[str, tuple[int, int]]:
    """Return the numbers of requests, and of those that failed, by their hour.

    :param first: The first hour, in the form of :func:`hour_of`.
    """
    return {
        row["hour"]: (int(row["requests"]), int(row["failed"]))
        for row in database.rows(_HOURS, first=first)
    }


def hour_of(at: datetime) -> str:
    """Return the hour of a moment, as it is stored: the beginning of its date."""
    return instant(at)[:13]


def moment(stored: str) -> str:
    """Return a stored date as JSON shows it."""
    return f"{stored[:23]}Z"


def _datetime(nanoseconds: int) -> datetime:
    """Return a date, cut to its microsecond and not rounded into the next hour."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def _hour(number: int) -> str:
    return hour_of(datetime.fromtimestamp(number * 3600, UTC))


class ProviderLog:
    """Writes the provider log of a tenant with each tick, and drops what is too old.

    :param clock: Returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        config: RequestsConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._keep = timedelta(days=config.keep_days)
        self._clock = clock
        self._now = now
        self._next_drop = 0.0

    def run(self, database: TenantDatabase) -> None:
        """Write what waits, and drop old requests if that is due.

        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        if self._keep:
            write_waiting(database)
        if self._clock() < self._next_drop:
            return
        oldest = instant(self._now() - self._keep)
        (beyond,) = database.query([database.bind(_BEYOND, most=MOST_ROWS)])
        last = int(beyond[0]["number"]) if beyond else 0
        for _ in range(ROUNDS):
            steps = [database.bind(_DROP, oldest=oldest, last=last, limit=BATCH)]
            (dropped,) = database.commit(steps)
            if dropped.rows < BATCH:
                database.commit([database.bind(_DROP_HOURS, oldest=oldest[:13])])
                self._next_drop = self._clock() + BETWEEN_DROPS
                return


_COLUMNS = ("at", "method", "path", "status", "milliseconds", "token", "provider", "error", "body")
_TYPES: Sequence[Any] = (Text, Text, Text, Integer, Integer, Text, Text, Text, Text)
_SCOPE: Sequence[Any] = (bindparam("workspace"), bindparam("tenant"))


_INSERT = Statement(
    lambda dialect: insert_into(requests).from_select(
        ["workspace", "tenant", *_COLUMNS], rows_of_json(dialect, *_SCOPE, *_TYPES)
    )
)


def _count(dialect: Dialect) -> Any:
    rows = rows_of_json(dialect, *_SCOPE, Text, BigInteger, BigInteger)
    counted = insert_into(request_hours).from_select(
        ["workspace", "tenant", "hour", "requests", "failed"], rows
    )
    return counted.on_conflict_do_update(
        index_elements=["workspace", "tenant", "hour"],
        set_={
            name: request_hours.c[name] + counted.excluded[name] for name in ("requests", "failed")
        },
    )


_COUNT = Statement(_count)

_NEWEST = (
    select(requests)
    .where(in_scope(requests), requests.c.number < bindparam("before"))
    .order_by(requests.c.number.desc())
    .limit(bindparam("limit"))
)
_PAGE = Statement(_NEWEST)
_FAILED = Statement(_NEWEST.where(requests.c.status >= literal_column("400")))

_LAST = Statement(
    select(requests)
    .where(in_scope(requests), requests.c.provider != bindparam("own"))
    .order_by(requests.c.number.desc())
    .limit(1)
)

_HOURS = Statement(
    select(request_hours.c.hour, request_hours.c.requests, request_hours.c.failed)
    .where(in_scope(request_hours), request_hours.c.hour >= bindparam("first"))
    .order_by(request_hours.c.hour)
)

_BEYOND = Statement(
    select(requests.c.number)
    .where(in_scope(requests))
    .order_by(requests.c.number.desc())
    .offset(bindparam("most"))
    .limit(1)
)
"""Selects the last of the requests that are too many."""

_OLDEST = (
    select(requests.c.number, requests.c.at)
    .where(in_scope(requests))
    .order_by(requests.c.number)
    .limit(bindparam("limit"))
    .subquery("oldest")
)
_DROP = Statement(
    delete(requests).where(
        requests.c.number.in_(
            select(_OLDEST.c.number).where(
                (_OLDEST.c.at < bindparam("oldest")) | (_OLDEST.c.number <= bindparam("last"))
            )
        )
    )
)

_DROP_HOURS = Statement(
    delete(request_hours).where(in_scope(request_hours), request_hours.c.hour < bindparam("oldest"))
)
