"""What an administrator does on the console, and what the gateway is asked for then."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from company import DIFFERENCES, LINUS, RENAMED, Company
from gateway import Relay
from windows import Tab, violations

from host_processes import eventually
from kong_scim.cli.main import main
from kong_scim.endpoints.drift import MENDED
from scim_traffic import patched_user


def dialog(page: Any) -> Any:
    return page.get_by_role("dialog")


def who_and_where(line: dict[str, Any]) -> tuple[str, str]:
    return line["userName"], line["route"]


class TestDrift:
    @pytest.fixture(autouse=True)
    def _as_if_somebody_had_changed_kong(self, company: Company) -> None:
        company.differ()

    def test_of_everybody_is_mended_after_a_look_at_what_would_be_done(
        self, tab: Tab, company: Company, relay: Relay
    ) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Mend all").click()
        dialog(page).get_by_text("Nothing has been changed yet").wait_for()
        assert dialog(page).locator("tbody tr").count() == DIFFERENCES
        assert all(body["dryRun"] for body in relay.sent("POST", "/Drift"))
        assert company.get("/Drift")["total"] == DIFFERENCES
        assert violations(page) == []
        dialog(page).get_by_role("button", name=f"Mend {DIFFERENCES}").click()
        done = f"{DIFFERENCES} mended, 0 held by the quarantine, 0 failed"
        dialog(page).get_by_text(done).wait_for()
        dialog(page).get_by_role("button", name="Close").click()
        page.get_by_text("Kong agrees with the identity provider").wait_for()
        assert company.get("/Drift")["total"] == 0

    def test_of_more_people_than_one_request_mends_is_mended_by_several(
        self, tab: Tab, company: Company, relay: Relay
    ) -> None:
        company.lift()
        for person in list(company.people.values())[8 : MENDED + 10]:
            path = f"/consumers/{person}/acls/api-users"
            company.gateway.admin.delete(path).raise_for_status()
        page = tab.open("drift")
        page.get_by_role("button", name="Mend all").click()
        dialog(page).get_by_role("button", name=f"Mend {MENDED + 2}").click()
        dialog(page).get_by_text(f"{MENDED + 2} mended").wait_for()
        sent = [body for body in relay.sent("POST", "/Drift") if not body["dryRun"]]
        assert len(sent) > 1
        assert all(each["cursor"] for each in sent[1:])
        assert company.get("/Drift")["total"] == 0

    def test_of_one_person_is_mended_alone(self, tab: Tab, company: Company, relay: Relay) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name=f"Mend {RENAMED}").click()
        dialog(page).get_by_role("button", name="Mend 1").click()
        dialog(page).get_by_text("1 mended").wait_for()
        dialog(page).get_by_role("button", name="Close").click()
        page.get_by_text(f"{DIFFERENCES - 1} differences").wait_for()
        user = company.people[RENAMED]
        assert {body["user"] for body in relay.sent("POST", "/Drift")} == {user}
        consumer = company.gateway.consumer(user)
        assert consumer is not None
        assert consumer["username"] == RENAMED

    def test_is_left_as_it_is_when_the_look_was_enough(self, tab: Tab, company: Company) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Mend all").click()
        dialog(page).get_by_text("Nothing has been changed yet").wait_for()
        page.keyboard.press("Escape")
        dialog(page).wait_for(state="detached")
        assert company.get("/Drift")["total"] == DIFFERENCES

    def test_is_shown_by_kind(self, tab: Tab) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Group is missing").click()
        page.get_by_text("1 difference", exact=True).wait_for()
        assert page.locator("tbody tr").count() == 1

    def test_says_what_failed_while_it_was_mended(self, tab: Tab, relay: Relay) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Mend all").click()
        button = dialog(page).get_by_role("button", name=f"Mend {DIFFERENCES}")
        button.wait_for()
        busy = {"detail": "Another pass over everybody is under way: try again in a minute"}
        relay.answers["/Drift"] = (409, busy)
        button.click()
        dialog(page).get_by_text("Another pass over everybody is under way").wait_for()


class TestQuarantine:
    @pytest.fixture(autouse=True)
    def _of_too_many_removals(self, company: Company) -> None:
        company.quarantine()

    def test_is_approved_for_a_while_and_then_lifted(self, tab: Tab, company: Company) -> None:
        page = tab.open("quarantine")
        assert page.get_by_text("Nobody is deactivated or deleted until you").count() == 1
        page.get_by_role("button", name="Approve").click()
        assert "people are held back now" in dialog(page).inner_text()
        dialog(page).get_by_role("combobox").select_option("15")
        assert "For 15 minutes every removal goes through" in dialog(page).inner_text()
        assert violations(page) == []
        dialog(page).get_by_role("button", name="Approve").click()
        page.get_by_text("Everything goes through until").wait_for()
        assert company.gateway.scim.get("/Quarantine").json()["state"] == "approved"
        page.get_by_role("button", name="Lift").click()
        dialog(page).get_by_role("button", name="Lift").click()
        page.get_by_text("Nothing is held back.").wait_for()

    def test_that_is_over_by_now_cannot_be_rejected(
        self, tab: Tab, company: Company, relay: Relay
    ) -> None:
        stale = company.gateway.scim.get("/Quarantine").json() | {"state": "quarantined"}
        relay.answers["/Quarantine"] = (200, stale)
        page = tab.open("quarantine")
        company.gateway.decide("lift")
        del relay.answers["/Quarantine"]
        page.get_by_role("button", name="Reject").click()
        dialog(page).get_by_role("button", name="Reject").click()
        dialog(page).get_by_text("there is nothing to reject").wait_for()


class TestDeliveries:
    def test_that_were_given_up_are_sent_again(
        self, tab: Tab, company: Company, relay: Relay
    ) -> None:
        company.give_up_deliveries()
        page = tab.open("deliveries")
        page.get_by_role("button", name="Given up", exact=True).click()
        row = page.locator("tbody tr").filter(has_text="given up").first
        row.locator("summary").click()
        assert "status 503" in row.inner_text()
        row.get_by_role("button", name="again").click()
        dialog(page).get_by_role("button", name="Send again").click()
        page.get_by_text("1 delivery will be sent again").wait_for()
        page.get_by_role("button", name="Send again all").click()
        dialog(page).get_by_role("button", name="Send again").click()
        page.get_by_text("No delivery is in this state").wait_for()
        sent = relay.sent("POST", "/Events/deliveries/replay")
        assert list(sent[0]) == ["ids"]
        assert sent[1] == {"failed": True}


class TestMappingPreview:
    def test_shows_what_each_group_would_become_and_who_gains_or_loses(
        self, tab: Tab, relay: Relay
    ) -> None:
        page = tab.open("mapping")
        page.get_by_label("Prefix").fill("hr:")
        page.get_by_text("hr:payments").wait_for()
        page.get_by_label("Map", exact=True).fill("Engineering = eng\nFinance = money")
        page.get_by_label("Pattern").fill("kong-(.+)")
        page.get_by_role("button", name="Who gains or loses").click()
        page.get_by_text("+hr:api-users").first.wait_for()
        typed = {
            "pattern": "kong-(.+)",
            "prefix": "hr:",
            "map": {"Engineering": "eng", "Finance": "money"},
        }

        def asked() -> bool:
            sent = relay.sent("POST", "/Drift/preview")
            return bool(sent) and sent[-1]["groups"] == typed

        eventually(asked, "a preview of what was typed")

    def test_says_what_is_wrong_with_what_is_typed(self, tab: Tab) -> None:
        page = tab.open("mapping")
        page.get_by_label("Map", exact=True).fill("Engineering")
        page.get_by_text("The map needs a line such as").wait_for()
        page.get_by_label("Map", exact=True).fill("")
        page.get_by_label("Pattern").fill("kong-(")
        page.get_by_text("unterminated subpattern at position 5").wait_for()
        page.get_by_role("button", name="Who gains or loses").click()
        page.get_by_text("unterminated subpattern at position 5").wait_for()


class TestAccessReview:
    def test_is_filtered_by_the_gateway(self, tab: Tab, company: Company, relay: Relay) -> None:
        company.lift()  # a review is about what Kong has
        today = datetime.now(UTC).date().isoformat()
        page = tab.open("review")
        page.get_by_label("ACL group").fill("payments")
        page.get_by_label("As of").fill(today)
        page.get_by_text("30 lines, ").wait_for()
        wanted = {"group": "payments", "at": today, "count": "50"}

        def asked() -> bool:
            queries = [query for _, path, query, _ in relay.calls if path == "/AccessReview"]
            return queries[-1] == wanted

        eventually(asked, "a review with these filters")
        assert "portal-v1" in page.get_by_label("Not judged").inner_text()
        page.get_by_label("ACL group").fill("paymentz")
        page.get_by_text("No acl plugin of Kong names the group").wait_for()

    @pytest.fixture
    def _formula(self, company: Company) -> Iterator[None]:
        """Somebody whose name a spreadsheet would compute."""
        linus = company.people[LINUS]
        for name in ("=1+1", LINUS):
            operation = {"op": "replace", "path": "userName", "value": name}
            patched_user(company.gateway.scim, linus, operation)
            if name != LINUS:
                yield

    @pytest.mark.usefixtures("_formula")
    @pytest.mark.parametrize("form", ["CSV", "JSON"])
    def test_is_downloaded_as_a_whole(
        self, tab: Tab, company: Company, relay: Relay, tmp_path: Path, form: str
    ) -> None:
        relay.most["/AccessReview"] = 100
        page = tab.open("review")
        relay.calls.clear()
        with page.expect_download() as begun:
            page.get_by_role("button", name=form).click()
        path = tmp_path / "report"
        begun.value.save_as(path)
        assert len([path for _, path, *_ in relay.calls if path == "/AccessReview"]) > 1
        report = company.get("/AccessReview")
        if form == "JSON":
            saved = json.loads(path.read_text())
            assert saved["entries"] == report["entries"]
            assert (saved["lines"], saved["people"]) == (report["lines"], report["people"])
            checked = CliRunner().invoke(main, ["access-review", "verify", str(path)])
            assert checked.output.startswith("ok: ")
            return
        rows = list(csv.DictReader(path.read_text().splitlines()))
        not_judged = [row for row in rows if "judged" in row["credentials"]]
        assert len(not_judged) == len(report["notJudged"])
        assert [who_and_where(row) for row in rows[: report["lines"]]] == [
            # A spreadsheet would compute a cell that begins with an equals sign.
            ("'=1+1" if name == "=1+1" else name, route)
            for name, route in map(who_and_where, report["entries"])
        ]
