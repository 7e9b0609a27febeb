"""After any input at all, a host holds what it answered for and nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agreement import Tables, disagreements
from any_input import (
    BULK_OPERATIONS,
    FILTERS,
    OPERATIONS,
    QUERIES,
    RESOURCES,
    encoded,
    sent,
    well_answered,
)
from effort import examples
from hosts import Gateway
from scim_traffic import new_group, new_user

SETTINGS = settings(
    max_examples=examples(20),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class Storm:
    """Sends anything, and keeps account of what must be there because it was answered so."""

    def __init__(self, scim: httpx.Client) -> None:
        user = new_user(scim, "storm", emails=[{"value": "a@example.com", "type": "work"}])
        group = new_group(scim, user["id"], name="storm")
        self.scim = scim
        self.targets = [f"/Users/{user['id']}", f"/Groups/{group['id']}"]
        self.there = {user["id"], group["id"]}

    def send(self, method: str, path: str, body: Any) -> None:
        answer = sent(self.scim, method, path, body)
        well_answered(answer)
        if path == "/Bulk" and answer.status_code == 200:
            for done in answer.json().get("Operations", []):
                assert int(done["status"]) < 500 or done["status"] == "501", done
                self._account(done.get("method"), int(done["status"]), done.get("location"))
        elif path != "/Bulk":
            self._account(method, answer.status_code, answer.headers.get("location"))

    def _account(self, method: str | None, status: int, location: str | None) -> None:
        resource_id = (location or "").rpartition("/")[2]
        if method == "POST" and status == 201:
            self.there.add(resource_id)
        elif method == "DELETE" and status == 204:
            self.there.discard(resource_id)


def rage(storm: Storm) -> None:
    @SETTINGS
    @given(body=RESOURCES)
    def any_resource(body: Any) -> None:
        for path in ("/Users", "/Groups"):
            storm.send("POST", path, body)
        for path in storm.targets:
            storm.send("PUT", path, body)

    @SETTINGS
    @given(operations=st.lists(OPERATIONS, max_size=4))
    def any_patch(operations: Any) -> None:
        for path in storm.targets:
            storm.send("PATCH", path, {"Operations": operations})

    @SETTINGS
    @given(operations=BULK_OPERATIONS)
    def any_bulk(operations: Any) -> None:
        storm.send("POST", "/Bulk", {"Operations": operations})

    @SETTINGS
    @given(query=QUERIES, expression=FILTERS)
    def any_search(query: Any, expression: str) -> None:
        well_answered(storm.scim.get(f"/Users?{encoded({**query, 'filter': expression})}"))
        well_answered(sent(storm.scim, "POST", "/.search", query))

    @SETTINGS
    @given(content=st.binary(max_size=60))
    def any_bytes(content: bytes) -> None:
        storm.send("POST", "/Users", content)
        storm.send("PATCH", storm.targets[1], content)

    for each in (any_resource, any_patch, any_bulk, any_search, any_bytes):
        each()


@pytest.mark.hypothesis
@pytest.mark.timeout(300)
def test_after_any_input_there_is_what_was_answered_for_and_nothing_else(
    gateway: Gateway,
) -> None:
    storm = Storm(gateway.scim)

    rage(storm)

    stored = {row["id"] for row in Tables.of(gateway).rows["scim_resources"]}
    assert stored == storm.there
    assert disagreements(gateway) == []
    gateway.clear()
    assert all(rows == [] for rows in Tables.of(gateway).rows.values())
    assert gateway.consumers() == []
