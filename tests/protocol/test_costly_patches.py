"""A PATCH costs what it says, and not that times what there is; and means the same as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scim2_models import Meta, PatchOp, PayloadTooLargeException, Resource, SCIMException
from scim2_server.conditions import Conditions

from effort import examples
from kong_scim.config.plugin import parse
from kong_scim.protocol import patching
from kong_scim.protocol.resources import provider
from kong_scim.protocol.service import KongScimService
from scim_traffic import CORE_USER, ENTERPRISE, PATCH

CONFIG = parse({"tokens": [{"name": "idp", "value": "secret"}]})
PROVIDER = provider(CONFIG)
SERVICE = KongScimService(PROVIDER, tenant="t", max_operations=1000)
USERS = SERVICE.get_resource_type("User")
JSON = "application/json"


@pytest.fixture(autouse=True, scope="module")
def _policy() -> Iterator[None]:
    with PROVIDER:  # as the handler serves each request
        yield


def user(**attributes: Any) -> Resource[Any]:
    body = {"schemas": [CORE_USER], "userName": "alice", **attributes}
    made = SERVICE.read_creation(USERS, json.dumps(body).encode(), JSON)
    made.id, made.meta = "1", Meta(resource_type="User", version='W/"1"')
    return made


def patch_of(*operations: dict[str, Any]) -> PatchOp[Any]:
    body = {"schemas": [PATCH], "Operations": operations}
    return SERVICE.read_patch(USERS, json.dumps(body).encode(), JSON)


def shown(resource: Resource[Any]) -> dict[str, Any]:
    return resource.model_dump()


# -- The meaning -------------------------------------------------------------------

VALUES = st.sampled_from(["a@x", "A@X", "b@x", "c@x", "d@x"])
TYPES = st.sampled_from(["work", "home", "Work", "other"])
EMAIL = st.fixed_dictionaries({"value": VALUES}, optional={"type": TYPES, "display": VALUES})
COMPARISON = st.one_of(
    VALUES.map(lambda value: f'value eq "{value}"'),
    TYPES.map(lambda value: f'type eq "{value}"'),
    VALUES.map(lambda value: f'display eq "{value}"'),
    st.sampled_from(['value co "x"', "primary eq true", "display pr", 'not (type eq "home")']),
    st.sampled_from(["display eq null", 'type sw "w"']),
)
FILTER = st.lists(COMPARISON, min_size=1, max_size=3).flatmap(
    lambda terms: st.sampled_from([" and ", " or "]).map(lambda word: word.join(terms))
)
PATHS = FILTER.flatmap(
    lambda text: st.sampled_from(
        [f"emails[{text}]", f"emails[{text}].type", f"emails[{text}].display"]
    )
)


def operation(path: str) -> st.SearchStrategy[dict[str, Any]]:
    values: st.SearchStrategy[Any] = TYPES if path.rpartition("]")[2] else EMAIL
    op = st.sampled_from(["add", "replace"])
    return st.one_of(
        st.fixed_dictionaries({"op": op, "path": st.just(path), "value": values}),
        st.just({"op": "remove", "path": path}),
    )


OPERATIONS = st.one_of(
    PATHS.flatmap(operation),
    st.lists(EMAIL, max_size=3).map(lambda v: {"op": "add", "path": "emails", "value": v}),
    st.lists(VALUES, min_size=1, max_size=2).map(
        lambda v: {"op": "remove", "path": "emails", "value": [{"value": each} for each in v]}
    ),
    EMAIL.map(lambda email: {"op": "add", "path": "emails", "value": [{**email, "primary": True}]}),
    COMPARISON.map(
        lambda text: {"op": "replace", "path": f"emails[{text}].primary", "value": True}
    ),
    VALUES.map(lambda v: {"op": "replace", "path": "name.givenName", "value": v}),
    VALUES.map(lambda v: {"op": "replace", "path": f"{ENTERPRISE}:department", "value": v}),
    st.sampled_from(
        [
            {"op": "remove", "path": "emails"},
            {"op": "remove", "path": f"{ENTERPRISE}:department"},
            {"op": "replace", "path": "title", "value": "x"},
        ]
    ),
)


@settings(deadline=None, max_examples=examples(25))
@given(
    st.lists(EMAIL, max_size=5, unique_by=lambda each: each["value"].lower()),
    st.lists(OPERATIONS, min_size=1, max_size=6),
)
def test_it_does_what_scim2_models_does(
    emails: list[dict[str, Any]], operations: list[dict[str, Any]]
) -> None:
    try:
        patch = patch_of(*operations)
    except SCIMException:
        return
    theirs, ours = user(emails=emails), user(emails=emails)
    try:
        expected: Any = patch.patch(theirs)
    except SCIMException as error:
        with pytest.raises(type(error)):
            patching.apply(patch_of(*operations), ours)
        return
    assert patching.apply(patch_of(*operations), ours) == expected
    assert shown(ours) == shown(theirs)


# -- The cost ----------------------------------------------------------------------


def many(count: int) -> Resource[Any]:
    return user(emails=[{"value": f"x{n}", "type": "work"} for n in range(count)])


def test_as_many_operations_as_there_are_entries_are_no_more_than_that_many_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the cost is counted, before anything is done."""
    monkeypatch.setattr(patching, "MAX_COST", 300)
    operations = [
        {"op": "replace", "path": f'emails[value eq "X{n}"].type', "value": "home"}
        for n in range(300)
    ]
    resource = many(300)
    assert SERVICE.apply_patch(resource, patch_of(*operations), Conditions()) is resource
    assert {each["type"] for each in shown(resource)["emails"]} == {"home"}


def test_operations_on_what_has_one_value_cost_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patching, "MAX_COST", 0)
    operations = [
        {"op": "replace", "path": "title", "value": "x"},
        {"op": "replace", "path": "name", "value": {"givenName": "x", "familyName": "y"}},
        {"op": "add", "path": f"{ENTERPRISE}:manager", "value": {"value": "1"}},
    ]
    resource = many(100)
    assert SERVICE.apply_patch(resource, patch_of(*operations * 50), Conditions()) is resource


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "replace", "path": f'emails[value co "x{n}"].type', "value": "h"}
         for n in range(9)],
        [{"op": "replace", "path": 'emails[type eq "work"].display', "value": "h"}] * 9,
        [{"op": "add", "path": "emails", "value": [{"value": f"y{n}"}]} for n in range(9)],
        [{"op": "replace", "path": f'emails[value eq "x{n}"].primary', "value": n == 1}
         for n in range(9)],
        [{"op": "remove", "path": "emails[" + " or ".join(['display co "z"'] * 9) + "]"}],
        [{"op": "remove", "path": "emails",
          "value": [{"type": "work"}] * 9}],
    ],
    ids=["parts", "all alike", "additions", "primary", "one long filter", "values"],
)  # fmt: skip
def test_operations_times_entries_are_refused_before_they_start(
    operations: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patching, "MAX_COST", 800)
    resource = many(100)
    before = shown(resource)
    with pytest.raises(PayloadTooLargeException, match=r"looks at 9\d\d entries .*send several"):
        SERVICE.apply_patch(resource, patch_of(*operations), Conditions())
    assert shown(resource) == before
