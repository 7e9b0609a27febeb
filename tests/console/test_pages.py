"""Each page of the console in a browser: what it shows, and that everybody can use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from company import DIFFERENCES, DISABLED, LINUS, Company
from gateway import Relay
from windows import NARROW, Tab, violations

from host_processes import eventually
from scim_traffic import user_body

IMAGES = Path(__file__).resolve().parents[2] / "docs/images/console"

PAGES = [
    "overview",
    "people",
    "person",
    "groups",
    "group",
    "log",
    "drift",
    "quarantine",
    "deliveries",
    "mapping",
    "review",
]
WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll('main *')]
    .filter((each) => each.getBoundingClientRect().right > innerWidth)
    .map((each) => each.outerHTML.slice(0, 120))"""
"""Names the elements that reach out of the window, if it can be scrolled to them."""


def path_of(page: str, company: Company) -> str:
    """Return where a page is; of a person and of a group, somebody's."""
    if page == "person":
        return "people/" + company.people[LINUS]
    return "groups/" + company.groups["kong-payments"] if page == "group" else page


@pytest.fixture(scope="module", autouse=True)
def _something_to_decide(company: Company) -> None:
    company.differ()
    company.quarantine()
    company.give_up_deliveries()


def test_no_page_has_a_barrier(tab: Tab, company: Company) -> None:
    found = {}
    for name in PAGES:
        page = tab.open(path_of(name, company))
        assert page.get_by_role("alert").count() == 0
        found[name] = violations(page)
    assert {name: each for name, each in found.items() if each} == {}


def test_no_page_is_wider_than_the_window(tab: Tab, company: Company) -> None:
    wider = {}
    for name in PAGES:
        page = tab.open(path_of(name, company))
        for width in (NARROW["width"], 800, 3840):
            page.set_viewport_size({"width": width, "height": 900})
            wider[name, width] = page.evaluate(WIDER)
    assert {where: found for where, found in wider.items() if found} == {}


def test_the_keyboard_reaches_everything_on_a_phone_too(new_tab: Callable[..., Tab]) -> None:
    page = new_tab(viewport=NARROW).open("people")
    page.get_by_role("button", name="Menu").focus()
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Drift")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.textContent === 'Drift'")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert not link.is_visible()


def test_the_theme_is_that_of_the_system_until_one_is_chosen(new_tab: Callable[..., Tab]) -> None:
    page = new_tab(color_scheme="dark").open()
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.get_by_role("button", name="Use the light theme").click()
    page.reload()
    page.get_by_role("heading", level=1).wait_for()
    assert page.evaluate(theme) == "light"


def cells(page: Any, table: str) -> list[list[str]]:
    """Return the text of a table's rows."""
    rows = page.get_by_role("table", name=table, exact=True).locator("tbody tr").all()
    return [row.locator(".value").all_inner_texts() for row in rows]


class TestOverview:
    def test_shows_how_the_tenant_stands(self, tab: Tab, company: Company) -> None:
        people = company.get("/Users", count="1")["totalResults"]
        company.look()
        tab.open("groups")  # whose requests are not those of the provider
        page = tab.open()
        tiles = page.locator(".tile").all_inner_texts()
        assert tiles[0].split("\n") == ["People", str(people), "3 suspended"]
        assert tiles[2].split("\n") == ["Drift", str(DIFFERENCES), "Kong differs"]
        assert "needs a decision" in tiles[3]
        assert "were given up" in tiles[4]
        last = page.locator(".last").inner_text()
        assert "GET /Users" in last
        assert "with the token idp (Okta)" in last

    def test_has_its_charts_as_tables_too(self, tab: Tab) -> None:
        page = tab.open()
        page.get_by_text("As a table").first.click()
        assert page.locator("table.plain").first.locator("tbody tr").count() == 24

    def test_of_a_tenant_that_nobody_has_called(
        self, tab: Tab, company: Company, relay: Relay
    ) -> None:
        nothing = {"lastRequest": None, "drift": None, "people": 0, "groups": 0, "suspended": 0}
        overview = company.get("/Overview") | nothing
        relay.answers["/Overview"] = (200, overview)
        page = tab.open()
        assert "has not sent a request yet" in page.locator("main").inner_text()
        assert "not looked at yet" in page.locator("main").inner_text()


class TestPeople:
    def test_are_found_as_one_types(self, tab: Tab) -> None:
        page = tab.open("people")
        page.get_by_role("searchbox").press_sequentially("linus", delay=20)
        page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 4")
        assert all("linus" in row[0] for row in cells(page, "People"))
        page.get_by_role("searchbox").fill("nobody at all")
        page.get_by_text("Nobody matches").wait_for()

    def test_come_a_page_at_a_time(self, tab: Tab) -> None:
        page = tab.open("people")
        first = cells(page, "People")
        assert len(first) == 50
        page.get_by_role("button", name="Next").click()
        page.get_by_text("Page 2").wait_for()
        tab.settle()
        assert cells(page, "People")[0] not in first
        page.get_by_role("button", name="Previous").click()
        page.get_by_text("Page 1").wait_for()
        tab.settle()
        assert cells(page, "People") == first

    def test_are_found_behind_a_part_of_the_search_without_anybody(
        self, tab: Tab, company: Company, relay: Relay
    ) -> None:
        # The gateway stops after so many names, which takes a tenant with many.
        found = company.get("/People", search="linus.byrne")
        parts = {"": {"people": [], "next": "more"}, "more": found}
        relay.answers["/People"] = lambda query: (200, parts[query.get("cursor", "")])
        page = tab.open("people")
        assert [row[0] for row in cells(page, "People")] == [LINUS]

    def test_none_yet(self, tab: Tab, relay: Relay) -> None:
        relay.answers["/People"] = (200, {"people": [], "next": None})
        assert "There is nobody yet" in tab.open("people").locator("main").inner_text()


class TestPerson:
    def test_has_the_reason_for_each_group(self, tab: Tab, company: Company) -> None:
        page = tab.open("people/" + company.people[LINUS])
        reasons = {row[0]: row[1:] for row in cells(page, "ACL groups")}
        (way, rule), state = reasons["platform"][0].split("\n"), reasons["platform"][1]
        assert way == "Engineering in kong-platform"
        assert rule.startswith("groups.pattern ")
        assert state == "in Kong"
        assert [row[0] for row in cells(page, "Credentials")] == ["API key"]

    def test_has_a_timeline_from_the_audit_trail(self, tab: Tab, company: Company) -> None:
        disabled = company.people[DISABLED[1]]
        page = tab.open(f"people/{disabled}")
        events = page.locator(".timeline li").all_inner_texts()
        assert events[0].startswith("deactivate")
        assert "api-users" in events[0]
        assert events[-1].startswith("create")
        assert "suspended: Kong refuses every request" in page.locator("main").inner_text()
        assert {row[2] for row in cells(page, "ACL groups")} == {"not given"}

    def test_shows_the_raw_resource(self, tab: Tab, company: Company) -> None:
        page = tab.open("people/" + company.people[LINUS])
        page.get_by_text("SCIM resource as JSON").click()
        assert f'"userName": "{LINUS}"' in page.locator("pre").inner_text()


class TestGroups:
    def test_show_what_each_becomes(self, tab: Tab) -> None:
        page = tab.open("groups")
        page.get_by_text("payments", exact=True).wait_for()
        becomes = {row[0]: row[1] for row in cells(page, "Groups")}
        assert becomes["kong-payments"] == "payments"
        page.get_by_role("searchbox").fill("engin")
        page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")

    def test_one_shows_its_members_what_is_in_it_and_what_it_opens(
        self, tab: Tab, company: Company
    ) -> None:
        page = tab.open("groups/" + company.groups["kong-platform"])
        assert len(cells(page, "Members")) == 40
        assert {row[2] for row in cells(page, "Members")} == {"through another group"}
        assert page.locator(".chips").inner_text() == "Engineering"
        page = tab.open("groups/" + company.groups["kong-payments"])
        assert cells(page, "What it opens") == [["payments", "payments-v1"]]


class TestProviderLog:
    def test_has_the_sentence_of_a_failure_and_its_body_where_that_is_kept(
        self, tab: Tab, company: Company
    ) -> None:
        scim = company.gateway.scim
        taken, missing = scim.post("/Users", json=user_body(LINUS)), scim.get("/Groups/none")
        assert (taken.status_code, missing.status_code) == (409, 404)

        def is_logged() -> bool:
            failed = company.get("/Requests", failed="true", count="2")["requests"]
            return {each["status"] for each in failed} == {409, 404}

        eventually(is_logged, "both requests in the log")
        page = tab.open("log")
        page.get_by_role("button", name="Failed").click()
        row = page.get_by_role("row").filter(has_text=taken.json()["detail"]).first
        row.get_by_text("Details").click()
        assert LINUS in row.locator("pre").inner_text()
        row = page.get_by_role("row").filter(has_text="/Groups/none").first
        row.get_by_text("Details").click()
        assert missing.json()["detail"] in row.inner_text()
        assert "The body was not kept" in row.inner_text()

    def test_nothing_yet(self, tab: Tab, relay: Relay) -> None:
        relay.answers["/Requests"] = (200, {"requests": [], "next": None})
        assert "There are no requests" in tab.open("log").locator("main").inner_text()


CHANGES = (0, 0, 0, 1, 0, 2, 5, 14, 38, 52, 47, 31, 26, 44, 58, 49, 33, 21, 9, 4, 2, 1, 0, 0)
"""Of each hour of the day on the pictures: a tenant of the tests has those of one hour."""


def test_pictures_of_the_documentation_are_written_when_that_is_asked_for(
    new_tab: Callable[..., Tab], company: Company, relay: Relay, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--write-screenshots"):
        pytest.skip("only with --write-screenshots")
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with the extra bench")
    tab = new_tab(viewport={"width": 1280, "height": 800}, color_scheme="light")
    IMAGES.mkdir(parents=True, exist_ok=True)
    company.look()
    overview = company.get("/Overview")
    for hour, changes in zip(overview["day"], CHANGES, strict=True):
        hour |= {"changes": changes, "requests": 3 * changes, "failed": changes // 13}
    relay.answers["/Overview"] = (200, overview)
    for name in PAGES:
        page = tab.open(path_of(name, company))
        if name == "deliveries":
            page.get_by_role("button", name="Waiting").click()
            tab.settle()
        written = IMAGES / f"{name}.png"
        page.screenshot(path=written)
        # A palette is enough for these pages, and takes a third of the bytes.
        with image.open(written) as picture:
            picture.convert("RGB").quantize(200, dither=0).save(written, optimize=True)
