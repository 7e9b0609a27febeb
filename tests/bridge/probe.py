"""Drives ``kong.scim.*`` of a real Kong through the test-only plugin scim-probe."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from kong_scim.bridge import BRIDGE_VERSION, Bridge

HERE = Path(__file__).resolve().parent
"""What the probe plugin needs on Kong's Lua path."""

PROBE = {"fn": "query", "text": json.dumps({"bridge_version": BRIDGE_VERSION})}


class Probe:
    """A client of one Kong.

    :param proxy_url: Where its routes are; ``/probe`` has the plugin scim-probe.
    :param admin_url: Its Admin API.
    """

    def __init__(self, proxy_url: str, admin_url: str) -> None:
        self.proxy = httpx.Client(base_url=proxy_url, timeout=30)
        self.admin = httpx.Client(base_url=admin_url, timeout=30)
        self.parts: list[str] = []
        self.bridge = Bridge(
            SimpleNamespace(
                scim=SimpleNamespace(
                    begin=lambda text: self.text("begin", text),
                    body=lambda text: self.text("body", text),
                    wake=lambda text: self.text("wake", text),
                    query=lambda text: self.text("query", text),
                    drift=lambda text: self.text("drift", text),
                    commit=lambda text: self.text("commit", text),
                    request_tick=lambda text: self.text("request_tick", text),
                    report=lambda text: self.text("report", text),
                    part=self._part,
                )
            )
        )

    def _part(self, text: str) -> str:
        """Keep a part of an argument, since each call is a request of its own."""
        self.parts.append(text)
        return '{"ok":{}}'

    def text(self, function: str, text: Any) -> str:
        """Call a function of the bridge with any JSON value; answers its text, from a 200."""
        if self.parts:
            text = "".join([*self.parts, text])
            self.parts.clear()
        answer = self.proxy.post("/probe", json={"fn": function, "text": text})
        assert answer.status_code == 200, (answer.status_code, answer.text)
        assert answer.headers["x-connections-after"] == "nilnil"
        return answer.text

    def call(self, function: str, **argument: Any) -> dict[str, Any]:
        """Call a function of the bridge; answers its decoded envelope."""
        text = self.text(function, json.dumps({"bridge_version": BRIDGE_VERSION} | argument))
        envelope: dict[str, Any] = json.loads(text)
        return envelope

    def of_each_worker(self, count: int = 2) -> list[httpx.Client]:
        """One client per worker of Kong: a connection stays with the worker that accepted it."""
        found: dict[str, httpx.Client] = {}
        deadline = time.monotonic() + 20
        while len(found) < count:
            assert time.monotonic() < deadline, f"only workers {list(found)} answer"
            client = httpx.Client(base_url=self.proxy.base_url, timeout=30)
            worker = client.post("/probe", json=PROBE).headers["x-worker"]
            if worker in found:
                client.close()
            else:
                found[worker] = client
        return list(found.values())

    def post(self, path: str, **entity: Any) -> dict[str, Any]:
        """Create an entity over the Admin API."""
        answer = self.admin.post(path, json=entity)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def get(self, path: str) -> dict[str, Any] | None:
        """Read an entity over the Admin API, or None."""
        answer = self.admin.get(path)
        return answer.json() if answer.status_code == 200 else None


def eventually(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
