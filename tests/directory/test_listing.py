"""A search by name examines few values at once, and its pages still have everybody once."""

from __future__ import annotations

import pytest
from directory_support import PROVIDER, create_user, new_scope, storage_on

from kong_scim.directory import listing
from kong_scim.directory.database import Database, Scope, TenantDatabase
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.listing import Place


def everybody(database: Database, scope: Scope, text: str, limit: int) -> list[str]:
    """Return the ids that the pages of a search list, each of which follows the one before."""
    kind, listed = Kinds(PROVIDER).in_role("User"), []
    place: Place | None = None
    for _ in range(200):
        rows, place = listing.by_name(TenantDatabase(database, scope), kind, text, place, limit)
        assert len(rows) <= limit
        listed += [row.id for row in rows]
        if place is None:
            return listed
        place = Place.of(place.cursor())
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize("windows", [(1,), (2, 3), (500, 2000)])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_everybody_is_listed_once_however_few_values_a_step_examines(
    database: Database, monkeypatch: pytest.MonkeyPatch, windows: tuple[int, ...], limit: int
) -> None:
    monkeypatch.setattr(listing, "WINDOWS", windows)
    mine, other = new_scope(), new_scope()
    storage, others = storage_on(database, mine), storage_on(database, other)
    twice = [{"value": "al@b.example"}, {"value": "al@a.example"}]
    by_user_name = [create_user(storage, f"al{n}", emails=twice, displayName="Al") for n in "123"]
    by_display = [create_user(storage, f"x{n}", displayName=f"Al {n}") for n in "12"]
    by_mail = [create_user(storage, f"y{n}", emails=twice) for n in "12"]
    for n in range(4):
        create_user(others, f"al{n}", displayName="Al", emails=twice)

    found = everybody(database, mine, "AL", limit)

    assert found[:3] == by_user_name
    assert found[3:5] == by_display
    assert sorted(found[5:]) == sorted(by_mail)
