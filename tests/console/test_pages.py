"""Each page of the console in a browser: what it shows, and that everybody can use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from company import Company
from conftest import NARROW, Tab
from gateway import StandIn

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


def path_of(page: str, company: Company) -> str:
    """Return where a page is; of a person and of a group, somebody's."""
    if page == "person":
        return "people/" + company.people["linus.byrne@example.com"]
    return "groups/" + company.groups["kong-payments"] if page == "group" else page


def violations(page: Any) -> list[str]:
    """Return what axe finds wrong with a page, with the element that is meant."""
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in Axe().run(page).response["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
class TestEveryPage:
    def test_is_for_everybody_in_light_and_in_dark(
        self, tab: Tab, company: Company, name: str
    ) -> None:
        page = tab.open(path_of(name, company))
        assert page.get_by_role("alert").count() == 0
        assert violations(page) == []
        page.get_by_role("button", name="Use the dark theme").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        tab.settle()
        assert violations(page) == []

    def test_fits_on_a_phone(
        self, new_tab: Callable[..., Tab], company: Company, name: str
    ) -> None:
        page = new_tab(viewport=NARROW).open(path_of(name, company))
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
