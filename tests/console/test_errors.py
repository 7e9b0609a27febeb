"""What the console says when something is not there, not allowed, or gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from company import Company
from gateway import Relay
from windows import RunningConsole, Tab, violations

PAGES = {
    "overview": "/Overview",
    "people": "/People",
    "groups": "/Groups",
    "log": "/Requests",
    "drift": "/Drift",
    "quarantine": "/Quarantine",
    "deliveries": "/Events/deliveries",
    "mapping": "/Mapping",
    "review": "/AccessReview",
}


def alert(tab: Tab, where: str) -> str:
    text: str = tab.open(where).get_by_role("alert").first.inner_text()
    return text


def test_a_gateway_of_an_older_release_lacks_pages_and_not_the_console(
    tab: Tab, relay: Relay
) -> None:
    for path in PAGES.values():
        detail = f"There is no SCIM endpoint at {path[1:]}: /ResourceTypes lists them"
        relay.answers[path] = (404, {"status": "404", "detail": detail})
    found = {where: alert(tab, where) for where in PAGES}
    assert {
        where: text
        for where, text in found.items()
        if f"does not serve {PAGES[where]}. Its plugin server is of an older release" not in text
    } == {}
    assert violations(tab.page) == []


def test_a_token_that_has_expired_and_one_that_lost_its_scope(tab: Tab, relay: Relay) -> None:
    relay.answers["/People"] = (401, {"detail": "The token is not valid any more"})
    text = alert(tab, "people")
    assert "The gateway does not accept the token" in text
    assert "start it again with a token that is valid" in text
    relay.answers["/Drift"] = (403, {"detail": "This needs the scope scim:admin"})
    text = alert(tab, "drift")
    assert "This needs the scope scim:admin" in text
    assert "needs a token with the scope scim:admin" in text


def test_an_action_after_the_token_lost_its_scope_says_so_and_changes_nothing(
    tab: Tab, company: Company, relay: Relay
) -> None:
    page = tab.open("quarantine")
    before = company.gateway.scim.get("/Quarantine").json()
    page.get_by_role("button", name="Approve").click()
    refused = {"detail": "This needs the scope scim:admin"}
    relay.answers["/Quarantine"] = (403, refused)
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    page.get_by_role("dialog").get_by_text("This needs the scope scim:admin").wait_for()
    assert company.gateway.scim.get("/Quarantine").json() == before


def test_what_failed_is_tried_again_at_the_press_of_a_button(tab: Tab, relay: Relay) -> None:
    relay.answers["/People"] = (503, {"detail": "The database does not answer"})
    assert "The database does not answer" in alert(tab, "people")
    relay.answers.clear()
    tab.page.get_by_role("button", name="Try again").click()
    tab.page.get_by_role("table", name="People").wait_for()


def test_a_url_that_is_no_scim_route(tab: Tab, relay: Relay) -> None:
    relay.answers["/People"] = (404, "<h1>Not found</h1>")
    text = alert(tab, "people")
    assert "answered 404 without JSON: is this the URL of a SCIM route?" in text


class TestAConsoleOfItsOwn:
    @pytest.fixture
    def console(self) -> Iterator[RunningConsole]:
        console = RunningConsole("http://127.0.0.1:9/scim/v2")
        yield console
        console.stop()

    def test_whose_gateway_is_away_says_so_and_then_that_it_was_stopped(
        self, new_tab: Callable[..., Tab], console: RunningConsole
    ) -> None:
        tab = new_tab(console=console)
        text = alert(tab, "people")
        assert "The gateway at http://127.0.0.1:9/scim/v2 cannot be reached" in text
        console.stop()
        assert "The console was stopped" in alert(tab, "groups")


def test_a_link_opens_the_console_once(tab: Tab, shared_console: RunningConsole) -> None:
    link = shared_console.link()
    secret = link.partition("#secret=")[2]
    origin = {"Origin": shared_console.origin}
    begun = httpx.post(f"{shared_console.origin}/session", json={"secret": secret}, headers=origin)
    assert begun.status_code == 200
    tab.page.goto(link)
    tab.page.get_by_text("This link is not valid, or was used before").wait_for()
    assert violations(tab.page) == []
    assert secret not in tab.page.url


def test_a_session_lasts_through_a_reload_and_another_tab_has_it_too(tab: Tab) -> None:
    page = tab.open("people")
    page.reload()
    page.get_by_role("table", name="People").wait_for()
    with page.context.expect_page() as opened:
        page.evaluate("open('/#/groups', '_blank', 'noopener')")
    opened.value.get_by_role("heading", level=1, name="Groups").wait_for()
