"""What access a person had at a moment, by its events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kong_scim.review.history import Access, Change, access_at

GROUPS = ["a", "b", "c"]


def change(at: int, **fields: Any) -> Change:
    sets = {name: frozenset(fields.pop(name, ())) for name in ("added", "removed", "own")}
    return Change(f"e{at}", f"{at:03}", consumer="c", **sets, **{"suspended": False, **fields})


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Change], list[Access | None]]:
    """Return changes as SCIM makes them, and the access after each; the first is its creation."""
    changes, states = [change(0, own=["create"])], [Access("c")]
    for at in range(1, draw(st.integers(1, 8))):
        groups, suspended = states[-1].groups, states[-1].suspended
        kind = draw(st.sampled_from(["groups", "suspend", "end"]))
        if kind == "groups" and states[-1].consumer and not suspended:
            wanted = frozenset(draw(st.sets(st.sampled_from(GROUPS))))
            changes.append(change(at, added=wanted - groups, removed=groups - wanted))
            states.append(Access("c", wanted))
        elif kind == "end" and states[-1].consumer:
            changes.append(change(at, removed=groups, suspended=None, own=["deactivate"]))
            states.append(Access(None, suspended=True))
        elif suspended:
            wanted = frozenset(draw(st.sets(st.sampled_from(GROUPS))))
            changes.append(change(at, added=wanted, own=["activate"]))
            states.append(Access("c", wanted))
        else:
            changes.append(change(at, removed=groups, suspended=True, own=["deactivate"]))
            states.append(Access("c", suspended=True))
    return changes, list(states)


@given(histories(), st.data())
def test_each_earlier_state_is_found_from_the_last_one_also_if_old_events_were_dropped(
    history: tuple[list[Change], list[Access]], data: st.DataObject
) -> None:
    changes, states = history
    at = data.draw(st.integers(0, len(changes) - 1))
    kept = changes[data.draw(st.integers(0, at)) :]
    found = access_at(f"{at:03}", kept, states[-1])
    assert found is not None
    assert replace(found, since={}, admitted=None) == states[at]
    for group, event in found.since.items():
        assert group in event.added
        later = [each for each in kept if event.occurred < each.occurred <= f"{at:03}"]
        assert all(group not in each.removed for each in later)


def test_nobody_is_there_before_its_creation() -> None:
    assert access_at("001", [change(2, own=["create"])], Access("c")) is None


def test_a_person_was_let_in_by_the_event_that_made_or_activated_its_consumer() -> None:
    made = change(1, own=["create"])
    back = change(5, own=["activate"])
    changes = [made, change(2), change(3, suspended=True, own=["deactivate"]), back, change(6)]
    admitted = {
        at: found.admitted
        for at in (2, 4, 7)
        if (found := access_at(f"{at:03}", changes, Access("c"))) is not None
    }
    assert admitted == {2: made, 4: None, 7: back}


def test_a_credential_that_was_lost_later_was_there_unless_it_came_later_too() -> None:
    lost = change(5, own=["deactivate"], suspended=True, credentials={"keyauth_credentials": 1})
    came = change(4, own=["credential-add"], credentials={"keyauth_credentials": -1})
    now = Access("c", suspended=True)
    found = access_at("003", [lost], now)
    assert found is not None
    assert found.lost == {"keyauth_credentials": "005"}
    found = access_at("003", [came, lost], now)
    assert found is not None
    assert found.lost == {}
