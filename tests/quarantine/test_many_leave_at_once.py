"""However many ask at once, on whichever node: exactly as many go as may."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from quarantine_support import crowd, standing

from hosts import Gateway, scim_client
from outbox import events
from scim_traffic import patch

CLIENTS = 64

pytestmark = pytest.mark.timeout(300)
DEACTIVATE = {"op": "replace", "value": {"active": False}}


def test_of_64_at_once_50_go(gateway_with: Callable[..., Gateway]) -> None:
    gateway = gateway_with(quarantine={"users": 50, "share": 100})
    people = crowd(gateway, CLIENTS)
    nodes = itertools.cycle(httpx.URL(node).port for node in gateway.host.proxy_urls)
    bases = [str(httpx.URL(gateway.scim_base).copy_with(port=next(nodes))) for _ in people]
    start = events(gateway)[-1]["sequence"]

    def leave(number: int) -> int:
        with scim_client(bases[number], gateway.token) as scim:
            path = f"/Users/{people[number]}"
            while True:
                answer = scim.delete(path) if number % 2 else patch(scim, path, DEACTIVATE)
                if answer.status_code != 503:  # the gateway is busy, and says so
                    return 200 if answer.is_success else answer.status_code

    with ThreadPoolExecutor(CLIENTS) as threads:
        statuses = Counter(threads.map(leave, range(CLIENTS)))
    assert statuses == {200: 50, 409: CLIENTS - 50}
    found = standing(gateway)
    assert (found["removedTotal"], found["heldTotal"]) == (50, CLIENTS - 50)
    left = gateway.scim.get("/Users", params={"filter": "active eq true", "count": 0}).json()
    assert left["totalResults"] == CLIENTS - 50
    began = [each for each in events(gateway) if each["operation"] == "begin"]
    assert len([each for each in began if each["sequence"] > start]) == 1
