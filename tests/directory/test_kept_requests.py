"""The table of the provider log: bounded in memory and on disk, counted by the hour."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from directory_support import new_scope

from kong_scim.bridge import DatabaseDownError, Step, StepResult
from kong_scim.config.requests import RequestsConfig
from kong_scim.directory.database import Database, TenantDatabase
from kong_scim.directory.values import instant
from kong_scim.provider_log import log as provider_log
from kong_scim.provider_log.log import BETWEEN_DROPS, ProviderLog, by_hour, page, write_waiting
from kong_scim.provider_log.senders import provider_of
from kong_scim.provider_log.waiting import (
    MOST,
    MOST_BODIES,
    MOST_STRANGERS,
    Entry,
    Taken,
    take_all,
    waiting_of,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENTRY = Entry(0, "GET", "/Users", 200, 5, "okta", "Okta")


class Log:
    """The provider log of one tenant, on a clock of the test's."""

    def __init__(self, database: Database, keep_days: int = 7) -> None:
        self.database = TenantDatabase(database, new_scope())
        self.now, self.seconds = NOW, 0.0
        self.waiting = waiting_of(self.database.scope.tenant)
        self.log = ProviderLog(
            RequestsConfig(keep_days=keep_days), clock=lambda: self.seconds, now=lambda: self.now
        )

    def add(self, at: datetime, **fields: Any) -> None:
        nanoseconds = int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000
        self.waiting.add(replace(ENTRY, at=nanoseconds, **fields))

    def tick(self) -> None:
        self.seconds += BETWEEN_DROPS
        self.log.run(self.database)

    def paths(self, **which: Any) -> list[str]:
        rows = page(self.database, **{"failed": False, "before": None, "limit": 10, **which})
        return [row["path"] for row in rows]


@pytest.fixture
def requests(database: Database) -> Iterator[Log]:
    log = Log(database)
    yield log
    take_all(log.database.scope.tenant)


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        ("2026-05-31T23:59:59.999999+00:00", "2026-05-31T23"),
        ("2026-06-01T00:00:00.000000+00:00", "2026-06-01T00"),
        ("2026-06-01T00:59:59.999999+00:00", "2026-06-01T00"),
        ("2026-06-01T01:00:00.000000+00:00", "2026-06-01T01"),
    ],
)
def test_a_request_counts_in_the_hour_in_which_it_was_answered(
    requests: Log, at: str, hour: str
) -> None:
    requests.add(datetime.fromisoformat(at), status=500)
    requests.tick()

    assert by_hour(requests.database, "2026-05-31") == {hour: (1, 1)}
    (row,) = page(requests.database, failed=True, before=None, limit=2)
    assert row["at"] == f"{at[:23]}Z"


def test_an_hour_adds_up_whoever_writes_it(requests: Log) -> None:
    for status in (200, 404, 503):
        requests.add(NOW, status=status)
        requests.tick()

    assert by_hour(requests.database, "2026") == {"2026-06-01T12": (3, 2)}
    assert by_hour(requests.database, "2026-06-01T13") == {}


def test_requests_are_dropped_after_their_days_and_not_before(requests: Log) -> None:
    requests.add(NOW, path="/old")
    requests.add(NOW + timedelta(seconds=2), path="/young")
    requests.now = NOW + timedelta(days=7)
    requests.tick()
    assert requests.paths() == ["/young", "/old"]

    requests.now += timedelta(seconds=1)
    requests.tick()
    assert requests.paths() == ["/young"]

    requests.now += timedelta(days=1)
    requests.tick()
    assert requests.paths() == []
    assert by_hour(requests.database, "") == {}


def test_of_too_many_requests_the_oldest_are_dropped(
    requests: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_log, "MOST_ROWS", 2)
    for name in "abcd":
        requests.add(NOW, path=name)
    requests.tick()

    assert requests.paths() == ["d", "c"]
    assert by_hour(requests.database, "") == {"2026-06-01T12": (4, 0)}


def test_what_another_tenant_keeps_is_not_dropped(requests: Log, database: Database) -> None:
    other = Log(database)
    other.add(NOW)
    other.tick()
    requests.now += timedelta(days=30)
    requests.tick()

    assert other.paths() == ["/Users"]


def test_a_log_that_is_turned_off_drops_what_it_had(requests: Log) -> None:
    requests.add(NOW)
    requests.tick()
    off = ProviderLog(RequestsConfig(keep_days=0), now=lambda: NOW + timedelta(hours=1))

    off.run(requests.database)

    assert requests.paths() == []


class Down:
    """A database that does not answer after some commits."""

    def __init__(self, database: Database, after: int) -> None:
        self.dialect = database.dialect
        self.query, self._database, self._left = database.query, database, after

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        if not self._left:
            raise DatabaseDownError("away")
        self._left -= 1
        return self._database.commit(steps)


@pytest.mark.parametrize("after", range(4))
def test_what_cannot_be_written_is_written_later_and_each_request_once(
    requests: Log, database: Database, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_log, "BATCH", 2)
    for name in "abcde":
        requests.add(NOW, path=name)
    with pytest.raises(DatabaseDownError):
        write_waiting(TenantDatabase(Down(database, after), requests.database.scope))
    requests.add(NOW, path="f")

    requests.tick()

    assert requests.paths() == ["f", "e", "d", "c", "b", "a"]
    assert by_hour(requests.database, "") == {"2026-06-01T12": (6, 0)}


class Slow:
    """A database whose commits begin, and wait until they may go on."""

    def __init__(self, database: Database) -> None:
        self.dialect = database.dialect
        self.query, self._database = database.query, database
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        self.begun.set()
        assert self.may_go_on.wait(20)
        return self._database.commit(steps)


def test_a_reader_waits_for_what_the_tick_is_writing_and_the_tick_for_no_reader(
    requests: Log, database: Database
) -> None:
    requests.add(NOW, path="taken")
    slow = Slow(database)
    scope = requests.database.scope
    with ThreadPoolExecutor(2) as threads:
        writing = threads.submit(write_waiting, TenantDatabase(slow, scope))
        assert slow.begun.wait(20)
        requests.tick()
        assert requests.paths() == []
        reading = threads.submit(write_waiting, requests.database, patience=20)
        slow.may_go_on.set()
        reading.result(20)
        assert requests.paths() == ["taken"]
        writing.result(20)


def test_what_waits_in_memory_is_bounded_and_all_of_it_is_counted(requests: Log) -> None:
    for _ in range(MOST_STRANGERS + 5):
        requests.add(NOW, token="", status=401)
    for _ in range(MOST):
        requests.add(NOW, status=400, body="x" * (MOST_BODIES // 4))

    taken = requests.waiting.take()

    assert len(taken.entries) == MOST
    assert taken.left_out == MOST_STRANGERS + 5
    assert sum(taken.requests.values()) == MOST + MOST_STRANGERS + 5
    assert sum(len(entry.body) for entry in taken.entries) <= MOST_BODIES
    assert Taken.unpacked(taken.packed()) == taken

    requests.add(NOW)
    requests.waiting.put_back(taken)
    again = requests.waiting.take()
    assert (len(again.entries), again.left_out) == (MOST, MOST_STRANGERS + 6)


@pytest.mark.parametrize(
    ("user_agent", "query", "provider"),
    [
        ("Okta SCIM Client 1.0.0", "", "Okta"),
        ("", "aadOptscim062020&filter=x", "Entra ID"),
        ("Microsoft Azure AD SCIM provisioning 1.2.3", "", "Entra ID"),
        ("OneLogin", "", "OneLogin"),
        ("curl/8.5.0", "", "curl"),
        ("", "", ""),
        ("\u0000<script>", "", ""),
        ("x" * 5000, "", "x" * 40),
    ],
)
def test_a_provider_is_known_by_what_it_says_of_itself(
    user_agent: str, query: str, provider: str
) -> None:
    assert provider_of(user_agent, query) == provider


def test_dates_are_those_of_the_directory() -> None:
    assert provider_log.moment(instant(NOW)) == "2026-06-01T12:00:00.000Z"
