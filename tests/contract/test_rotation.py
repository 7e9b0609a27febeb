"""Rotation under load: no valid token is ever refused, and an old one not for longer than said."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from hosts import running_gateway, scim_client

REQUESTS = 10_000
SENDERS = 4
GRACE = 1.0
"""Seconds after which a token that was taken out of its file must be refused (the promise)."""


def replace(path: Path, *tokens: str) -> None:
    new = path.with_suffix(".new")
    new.write_text("\n".join(tokens) + "\n")
    os.replace(new, path)


@pytest.mark.timeout(300)
def test_ten_thousand_requests_see_two_rotations_of_a_file_and_one_of_the_configuration(
    tmp_path: Path,
) -> None:
    path = tmp_path / "token"
    replace(path, "first")
    vaulted = {"name": "idp", "value": "{vault://env/scim-token-a}"}
    tokens = [vaulted, {"name": "file", "file": str(path)}]
    with running_gateway("sandbox-off", tokens=tokens) as gateway:
        current, statuses, lock = ["first"], Counter[int](), threading.Lock()

        def send() -> None:
            with scim_client(gateway.scim_base, "") as client:
                while True:
                    with lock:
                        if sum(statuses.values()) >= REQUESTS:
                            return
                    headers = {"Authorization": f"Bearer {current[0]}"}
                    status = client.get("/ServiceProviderConfig", headers=headers).status_code
                    with lock:
                        statuses[status] += 1

        def reached(share: float) -> None:
            while sum(statuses.values()) < REQUESTS * share:
                time.sleep(0.01)

        def is_refused(token: str) -> bool:
            headers = {"Authorization": f"Bearer {token}"}
            return httpx.get(f"{gateway.scim_base}/Schemas", headers=headers).status_code == 401

        def rotate(old: str, new: str) -> None:
            replace(path, old, new)
            current[0] = new
            time.sleep(GRACE)  # requests with the old one that are on their way
            replace(path, new)
            removed = time.monotonic()
            while not is_refused(old):
                assert time.monotonic() - removed < GRACE, "the old token still counts"

        threads = [threading.Thread(target=send) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        reached(0.1)
        rotate("first", "second")
        reached(0.4)
        [plugin] = [p for p in gateway.content["routes"][0]["plugins"] if p["name"] == "scim"]
        plugin["config"]["tokens"].append({"name": "extra", "value": "of the configuration"})
        gateway.declare()
        current[0] = "of the configuration"
        reached(0.6)
        current[0] = "second"
        time.sleep(GRACE)
        plugin["config"]["tokens"].pop()
        gateway.declare()
        assert is_refused("of the configuration")
        rotate("second", "third")
        for thread in threads:
            thread.join()
    assert set(statuses) == {200}, statuses
