"""What an administrator does on the console, and what the gateway is asked for then."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from company import Company
from gateway import StandIn
from windows import Tab, violations

from host_processes import eventually


def dialog(page: Any) -> Any:
    return page.get_by_role("dialog")


def who_and_where(line: dict[str, Any]) -> tuple[str, str]:
    return line["userName"], line["route"]


class TestDrift:
    def test_of_everybody_is_mended_after_a_look_at_what_would_be_done(
        self, tab: Tab, gateway_of_console: StandIn
    ) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Mend all").click()
        dialog(page).get_by_text("Nothing has been changed yet").wait_for()
        assert dialog(page).locator("tbody tr").count() == 6
        assert all(body["dryRun"] for body in gateway_of_console.sent("POST", "/Drift"))
        assert violations(page) == []
        dialog(page).get_by_role("button", name="Mend 6").click()
        dialog(page).get_by_text("6 mended, 0 held by the quarantine, 0 failed").wait_for()
        # Two people are done by one answer, and the page asks for the rest.
        sent = [body for body in gateway_of_console.sent("POST", "/Drift") if not body["dryRun"]]
        assert [body.get("cursor") for body in sent] == [None, "2", "4"]
        assert {body["user"] for body in sent} == {None}
        dialog(page).get_by_role("button", name="Close").click()
        page.get_by_text("Kong agrees with the identity provider").wait_for()

    def test_of_one_person_is_mended_alone(self, tab: Tab, gateway_of_console: StandIn) -> None:
        page = tab.open("drift")
        first = gateway_of_console.differences[0]
        page.get_by_role("button", name=f"Mend {first['userName']}").click()
        dialog(page).get_by_role("button", name="Mend 1").click()
        dialog(page).get_by_text("1 mended").wait_for()
        dialog(page).get_by_role("button", name="Close").click()
        page.get_by_text("5 differences").wait_for()
        assert {body["user"] for body in gateway_of_console.sent("POST", "/Drift")} == {
            first["user"]
        }

    def test_is_left_as_it_is_when_the_look_was_enough(
        self, tab: Tab, gateway_of_console: StandIn
    ) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Mend all").click()
        dialog(page).get_by_text("Nothing has been changed yet").wait_for()
        page.keyboard.press("Escape")
        dialog(page).wait_for(state="detached")
        assert all(body["dryRun"] for body in gateway_of_console.sent("POST", "/Drift"))

    def test_is_shown_by_kind(self, tab: Tab) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Group is missing").click()
        page.get_by_text("1 difference", exact=True).wait_for()
        assert page.locator("tbody tr").count() == 1

    def test_says_what_failed_while_it_was_mended(
        self, tab: Tab, gateway_of_console: StandIn
    ) -> None:
        page = tab.open("drift")
        page.get_by_role("button", name="Mend all").click()
        button = dialog(page).get_by_role("button", name="Mend 6")
        button.wait_for()
        busy = {"detail": "Another pass over everybody is under way: try again in a minute"}
        gateway_of_console.answers["/Drift"] = (409, busy)
        button.click()
        dialog(page).get_by_text("Another pass over everybody is under way").wait_for()


class TestQuarantine:
    @pytest.fixture(autouse=True)
    def _as_it_was(self, company: Company) -> Iterator[None]:
        yield
        company.gateway.decide("lift")

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
        self, tab: Tab, company: Company, gateway_of_console: StandIn
    ) -> None:
        stale = company.gateway.scim.get("/Quarantine").json() | {"state": "quarantined"}
        gateway_of_console.answers["/Quarantine"] = (200, stale)
        page = tab.open("quarantine")
        company.gateway.decide("lift")
        del gateway_of_console.answers["/Quarantine"]
        page.get_by_role("button", name="Reject").click()
        dialog(page).get_by_role("button", name="Reject").click()
        dialog(page).get_by_text("there is nothing to reject").wait_for()


class TestDeliveries:
    def test_that_were_given_up_are_sent_again(self, tab: Tab, gateway_of_console: StandIn) -> None:
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
        sent = gateway_of_console.sent("POST", "/Events/deliveries/replay")
        assert list(sent[0]) == ["ids"]
        assert sent[1] == {"failed": True}


class TestMappingPreview:
    def test_shows_what_each_group_would_become_and_who_gains_or_loses(
        self, tab: Tab, gateway_of_console: StandIn
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
            sent = gateway_of_console.sent("POST", "/Drift/preview")
            return bool(sent) and sent[-1]["config"] == {"groups": typed}

        eventually(asked, "a preview of what was typed")

    def test_says_what_is_wrong_with_what_is_typed(
        self, tab: Tab, gateway_of_console: StandIn
    ) -> None:
        page = tab.open("mapping")
        page.get_by_label("Map", exact=True).fill("Engineering")
        page.get_by_text("The map needs a line such as").wait_for()
        page.get_by_label("Map", exact=True).fill("")
        sentence = "groups.pattern: unterminated subpattern at position 5"
        gateway_of_console.answers["/Mapping"] = (400, {"detail": sentence})
        page.get_by_label("Pattern").fill("kong-(")
        page.get_by_text(sentence).wait_for()


class TestAccessReview:
    def test_is_filtered_by_the_gateway(self, tab: Tab, gateway_of_console: StandIn) -> None:
        page = tab.open("review")
        page.get_by_label("ACL group").fill("payments")
        page.get_by_label("As of").fill("2026-09-30")
        page.get_by_text("30 lines about 30 people").wait_for()
        wanted = {"group": "payments", "at": "2026-09-30", "count": "50"}

        def asked() -> bool:
            queries = [query for _, path, query, _ in gateway_of_console.calls if "Rev" in path]
            return queries[-1] == wanted

        eventually(asked, "a review with these filters")
        assert "openid-connect decides" in page.get_by_label("Not judged").inner_text()

    @pytest.mark.parametrize("form", ["CSV", "JSON"])
    def test_is_downloaded_as_a_whole(
        self, tab: Tab, gateway_of_console: StandIn, tmp_path: Path, form: str
    ) -> None:
        user = next(each for each in gateway_of_console.people if "linus.byrne" in each["userName"])
        user["userName"] = "=1+1" + user["userName"]
        page = tab.open("review")
        with page.expect_download() as begun:
            page.get_by_role("button", name=form).click()
        path = tmp_path / "report"
        begun.value.save_as(path)
        assert len([path for _, path, *_ in gateway_of_console.calls if "Review" in path]) > 3
        gateway_of_console.most = 10_000
        lines = gateway_of_console.get_accessreview({"count": "10000"}, None)["entries"]
        if form == "JSON":
            report = json.loads(path.read_text())
            assert [who_and_where(each) for each in report["entries"]] == [
                who_and_where(each) for each in lines
            ]
            assert report["lines"] == len(lines)
            assert "next" not in report
            return
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert len(rows) == len(lines) + 1  # and what is not judged
        assert "not judged" in rows[-1]["credentials"]
        # A spreadsheet would compute a cell that begins with an equals sign.
        assert {row["userName"][0] for row in rows if "1+1" in row["userName"]} == {"'"}
