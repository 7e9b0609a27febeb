"""What costs too much is refused before it starts, or stopped; nothing of it is written."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hosts import Gateway, eventually
from scim_traffic import BULK, answered, get, new_user, patch, refused, user_body


def search(gateway: Gateway, wanted: str) -> Any:
    return gateway.scim.post(
        "/Users/.search",
        json={
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
            "filter": wanted,
        },
    )


def terms(term: str, count: int, word: str = " or ") -> str:
    return word.join(term.format(n) for n in range(count))


@pytest.mark.parametrize(
    "wanted",
    [
        terms('userName co "z{}"', 41),
        terms('emails.value ew "z{}"', 41, " and "),
        terms('emails.value sw "z{}"', 41),
        terms('groups.display co "z{}"', 9),
        terms('groups.display eq "z{}"', 9),
        terms('not (emails.value eq "z{}")', 41),
        terms('emails[value co "z{0}" and type co "y{0}"]', 21),
        "emails[" + terms('value co "z{}"', 41) + "]",
        terms('userName gt "z{}"', 41),
    ],
    ids=lambda text: text[:24],
)
def test_a_filter_of_many_conditions_that_no_index_answers_is_too_many(
    gateway: Gateway, wanted: str
) -> None:
    sentence = refused(search(gateway, wanted), 400, "tooMany")
    assert "conditions that no index answers" in sentence
    assert "use fewer of co, sw, ew" in sentence


def test_as_many_that_an_index_answers_and_some_others_are_searched(gateway: Gateway) -> None:
    new_user(gateway.scim, "z7")
    for wanted in [
        terms('userName eq "z{}"', 60),
        terms('userName co "z{}"', 10),
        terms('groups.value eq "z{}"', 20) + ' or userName eq "z7"',
        terms('emails[value eq "z{}"]', 20) + ' or userName eq "z7"',
    ]:
        assert answered(search(gateway, wanted), 200)["totalResults"] == 1


def test_a_patch_of_many_operations_on_many_entries_is_done_once_each(gateway: Gateway) -> None:
    emails = [{"value": f"x{n}@a.example", "type": "work"} for n in range(300)]
    user = new_user(gateway.scim, emails=emails)
    operations = [
        {"op": "replace", "path": f'emails[value eq "x{n}@a.example"].type', "value": "home"}
        for n in range(0, 300, 2)
    ]
    answered(patch(gateway.scim, f"/Users/{user['id']}", *operations), 200)
    found = get(gateway.scim, f"/Users/{user['id']}")["emails"]
    assert [each["type"] for each in found] == ["home", "work"] * 150


def test_a_patch_that_looks_at_too_many_entries_is_refused_and_changes_nothing(
    gateway: Gateway,
) -> None:
    emails = [{"value": f"x{n}@a.example", "type": "work"} for n in range(300)]
    user = new_user(gateway.scim, emails=emails)
    operations = [
        {"op": "replace", "path": f'emails[value co "x{n}@"].type', "value": "home"}
        for n in range(100)
    ]
    answer = patch(gateway.scim, f"/Users/{user['id']}", *operations)
    detail = refused(answer, 413)
    assert int(re.findall(r"looks at (\d+) entries", detail)[0]) >= 100 * 300
    assert get(gateway.scim, f"/Users/{user['id']}") == user


def test_the_patches_of_a_bulk_request_count_together(
    gateway_with: Callable[..., Gateway],
) -> None:
    gateway = gateway_with(max_operations=10)
    user = new_user(gateway.scim)
    one = {"op": "replace", "path": "title", "value": "x"}

    def bulk(count: int) -> Any:
        data = {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [one] * count,
        }
        operation = {"method": "PATCH", "path": f"/Users/{user['id']}", "data": data}
        body = {"schemas": [BULK], "Operations": [operation] * 6}
        return gateway.scim.post("/Bulk", json=body)

    assert "have 54 operations in all, the limit is 50" in refused(bulk(9), 413)
    answered(bulk(8), 200)


def test_a_request_that_computes_for_too_long_is_stopped_and_writes_nothing(
    gateway_with: Callable[..., Gateway],
) -> None:
    """Of a processor, and not of the clock: so much no machine does in a second."""
    gateway = gateway_with(limits={"cpu_seconds": 1, "failed_attempts": 0}, max_operations=10_000)
    user = new_user(gateway.scim)
    operations = [
        {"op": "replace", "path": "NAME.givenName", "value": str(n)} for n in range(8_000)
    ]
    answer = patch(gateway.scim, f"/Users/{user['id']}", *operations)
    assert "more than 1 s of a processor" in refused(answer, 413)
    assert get(gateway.scim, f"/Users/{user['id']}") == user


def test_a_revocation_waits_for_none_of_the_same_token(gateway: Gateway) -> None:
    """All workers of the token are taken, and more of its requests wait for them."""
    user = new_user(gateway.scim)
    key = gateway.give_key(user["id"])
    with ThreadPoolExecutor(64) as threads, contextlib.ExitStack() as stack:
        creations = [
            threads.submit(gateway.scim.post, "/Users", json=user_body()) for _ in range(200)
        ]
        stack.callback(lambda: [answered(each.result(), 201) for each in creations])
        eventually(lambda: sum(each.done() for each in creations) >= 10, "the first of them")
        operation = {"op": "replace", "path": "active", "value": False}
        answered(patch(gateway.scim, f"/Users/{user['id']}", operation), 200)
        assert gateway.call(key, "/keyed").status_code in (401, 403)
        assert not all(each.done() for each in creations)
