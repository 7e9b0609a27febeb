"""The dispatcher sends deliveries, and nothing keeps one target from what another one gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from deliveries_support import NOON, World
from joserfc import jwk

from kong_scim.bridge import Sql, bridge_error
from kong_scim.counts import counts_of
from kong_scim.directory.database import Database
from kong_scim.events.webhooks.dispatcher import Dispatcher
from kong_scim.events.webhooks.formats import Issuer, Secrets, WebhookTarget
from kong_scim.events.webhooks.http import Answer, Sender


class _Scripted(Sender):
    """Answers by URL, without a network; some hang until they are let go."""

    def __init__(self, answers: Mapping[str, Answer | threading.Event]) -> None:
        super().__init__(timeout=1)
        self.answers = answers
        self.sent: list[str] = []

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.sent.append(url)
        answer = self.answers[url]
        if isinstance(answer, threading.Event):
            answer.wait(30)
            return Answer(error="late")
        return answer


class _Raising(Sender):
    """Fails in a way that nobody foresaw."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        raise ZeroDivisionError(url)


class TestWhatKeepsNoOtherFromItsTarget:
    """Each target, delivery, answer, stored row, clock and key fails by itself."""

    def settled(
        self, world: World, dispatcher: Dispatcher, secrets: Secrets, ticks: int = 6
    ) -> None:
        for _ in range(ticks):
            dispatcher.run(world.deliveries, secrets)

    @pytest.mark.parametrize("doc", ["{", "null", "[1]", "[" * 5000])
    def test_an_event_that_cannot_be_read_is_given_up_and_the_others_arrive(
        self, database: Database, doc: str
    ) -> None:
        world = World(database, "hr")
        for _ in range(3):
            world.person(changes=1)
        (rows,) = world.db.query([Sql("SELECT event_id FROM scim_deliveries ORDER BY number")])
        change = "UPDATE scim_resources SET doc = $1 WHERE id = $2"
        world.db.commit([Sql(change, (doc, rows[0]["event_id"]))])
        dispatcher = _dispatcher(_Scripted({"h": Answer(200)}), WebhookTarget("hr", "h"))
        self.settled(world, dispatcher, Secrets({"hr": "s"}))
        assert world.states() == ["dead", *["delivered"] * 5]
        (shown,) = world.deliveries.page(state="dead", after=0, limit=10)
        assert shown["attempts"][0]["error"] == "the stored event cannot be read"

    @pytest.mark.parametrize("target", ["set", "json"])
    def test_an_event_that_nothing_can_be_made_of_keeps_no_other(
        self, database: Database, target: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(database, "hr")
        for _ in range(6):
            world.person()
        (rows,) = world.db.query([Sql("SELECT event_id FROM scim_deliveries ORDER BY number")])
        for row in rows[:5]:
            change = "UPDATE scim_resources SET doc = $1 WHERE id = $2"
            world.db.commit([Sql(change, ('{"resourceType": "User"}', row["event_id"]))])
        issuer = Issuer(jwk.ECKey.generate_key("P-256").as_pem(private=True).decode(), "x")
        dispatcher = _dispatcher(_Scripted({"h": Answer(202)}), WebhookTarget("hr", "h", target))
        self.settled(world, dispatcher, Secrets({"hr": "s"}, issuer))
        assert world.states() == [*["pending"] * 5, "delivered"]
        assert "a defect, KeyError at" in caplog.text

    @pytest.mark.parametrize("created", ["", "zzz", "2026-01-01", "9999-12-31T23:59:59-23:59"])
    def test_a_date_that_is_none_ends_nothing(self, database: Database, created: str) -> None:
        world = World(database, "hr", "siem")
        world.person()
        world.db.commit([Sql("UPDATE scim_deliveries SET created = $1", (created,))])
        sender = _Scripted({"h": Answer(500), "s": Answer(200)})
        dispatcher = _dispatcher(sender, WebhookTarget("hr", "h"), WebhookTarget("siem", "s"))
        self.settled(world, dispatcher, Secrets({"hr": "s", "siem": "s"}))
        assert world.states()[1] == "delivered"
        assert len(sender.sent) == 2

    def test_a_way_to_fail_that_nobody_foresaw_is_an_attempt_and_said_once(
        self, database: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        world = World(database, "hr")
        for _ in range(3):
            world.person()
        counts_of("default").take()
        dispatcher = _dispatcher(_Raising(timeout=1), WebhookTarget("hr", "https://u:s3cret@h"))
        self.settled(world, dispatcher, Secrets({"hr": "s"}))
        assert world.states() == ["pending"] * 3
        assert caplog.text.count("a defect, ZeroDivisionError at") == 1
        assert "s3cret" not in caplog.text
        assert counts_of("default").take()["failures", "deliveries", "hr"] == 3

    def test_what_the_database_does_not_take_of_an_answer_is_left_out_of_it(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World(database, "hr")
        for _ in range(2):
            world.person()
        record = world.deliveries.record

        def picky(done: Any) -> None:
            if any("bad" in each.answer.text for each in done):
                raise bridge_error("BAD_REQUEST", "invalid byte sequence")
            record(done)

        monkeypatch.setattr(world.deliveries, "record", picky)
        dispatcher = _dispatcher(
            _Scripted({"h": Answer(200, text="bad")}), WebhookTarget("hr", "h")
        )
        self.settled(world, dispatcher, Secrets({"hr": "s"}))
        assert world.states() == ["delivered"] * 2

    @pytest.mark.parametrize("year", [1, 9999])
    def test_a_clock_that_is_far_off_ends_nothing_and_holds_nothing_up_once_it_is_right(
        self, database: Database, year: int
    ) -> None:
        world = World(database, "hr")
        world.person()
        sender = _Scripted({"h": Answer(500, retry_after=86400)})
        now = [datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)]
        clock = [0.0]
        dispatcher = Dispatcher(
            [WebhookTarget("hr", "h")],
            sender,
            timedelta(days=365 * 9000),
            clock=lambda: clock[0],
            now=lambda: now[0],
        )
        secrets = Secrets({"hr": "s"})
        self.settled(world, dispatcher, secrets)
        now[0], sender.answers = NOON, {"h": Answer(200)}
        for _ in range(3):
            clock[0] += 100_000
            dispatcher.run(world.deliveries, secrets)
        assert world.states() == ["delivered"]


def _dispatcher(sender: Sender, *targets: WebhookTarget) -> Dispatcher:
    return Dispatcher(targets, sender, timedelta(days=1), now=lambda: NOON)


class TestTheCourier:
    @pytest.fixture
    def hanging(self) -> Iterator[threading.Event]:
        event = threading.Event()
        yield event
        event.set()

    def test_a_target_that_hangs_delays_no_other(
        self, database: Database, hanging: threading.Event
    ) -> None:
        world = World(database, "dead", "good")
        for _ in range(12):
            world.person()
        sender = _Scripted({"d": hanging, "g": Answer(200)})
        dispatcher = Dispatcher(
            [WebhookTarget("dead", "d"), WebhookTarget("good", "g")],
            sender,
            timedelta(days=1),
            now=lambda: NOON,
        )
        secrets = Secrets({"dead": "s", "good": "s"})
        for _ in range(20):
            dispatcher.run(world.deliveries, secrets)
            if world.states().count("delivered") == 12:
                break
        assert world.states().count("delivered") == 12
        assert sender.sent.count("d") == 4

    def test_a_tick_says_whether_something_is_under_way_at_its_end(
        self, database: Database, hanging: threading.Event
    ) -> None:
        world = World(database, "hr")
        sender = _Scripted({"h": Answer(200)})
        dispatcher = Dispatcher(
            [WebhookTarget("hr", "h")], sender, timedelta(days=1), now=lambda: NOON
        )
        secrets = Secrets({"hr": "s"})
        world.person(changes=3)
        assert not dispatcher.run(world.deliveries, secrets)
        assert world.states() == ["delivered"] * 4
        sender.answers = {"h": hanging}
        world.person()
        assert dispatcher.run(world.deliveries, secrets)

    def test_a_dead_target_rests_after_some_failures(self, database: Database) -> None:
        world = World(database, "dead")
        for _ in range(50):
            world.person()
        clock = [0.0]
        sender = _Scripted({"d": Answer(500)})
        dispatcher = Dispatcher(
            [WebhookTarget("dead", "d")],
            sender,
            timedelta(days=1),
            clock=lambda: clock[0],
            now=lambda: NOON,
        )
        secrets = Secrets({"dead": "s"})
        for _ in range(10):
            dispatcher.run(world.deliveries, secrets)
            clock[0] += 0.05
        tried = len(sender.sent)
        assert tried < 12
        clock[0] += 100
        dispatcher.run(world.deliveries, secrets)
        assert len(sender.sent) == tried + 1

    def test_a_target_without_a_secret_is_not_sent_what_nobody_can_check(
        self, database: Database
    ) -> None:
        world = World(database, "hr")
        world.person()
        sender = _Scripted({})
        dispatcher = Dispatcher(
            [WebhookTarget("hr", "h")], sender, timedelta(days=1), now=lambda: NOON
        )
        dispatcher.run(world.deliveries, Secrets())
        assert sender.sent == []
        (shown,) = world.deliveries.page(state="pending", after=0, limit=10)
        assert "secret" in shown["attempts"][0]["error"]
