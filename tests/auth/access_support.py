"""A plugin whose directory says whether anything reached it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from scim2_server.memory import InMemoryStorage

from in_process import client
from kong_scim.app import Plugin
from kong_scim.tenant import Provisioning


class Directory(InMemoryStorage):
    """A directory in memory.

    :ivar reached: What was asked of it.
    """

    supports_cursors = True

    def __init__(self) -> None:
        super().__init__()
        self.reached: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in {"create", "get", "search", "update", "delete"}:
            self.reached.append(name)
        return super().__getattribute__(name)


def plugin_with(monkeypatch: pytest.MonkeyPatch, **config: Any) -> tuple[Plugin, Directory]:
    """Return an instance of the plugin with its directory."""
    directory = Directory()
    monkeypatch.setattr(Provisioning, "storage", lambda *_, **__: directory)
    return Plugin(config), directory


def challenge(response: httpx.Response) -> str:
    """Return what a refusal asks for, which it must say."""
    found: str = response.headers["WWW-Authenticate"]
    assert found.startswith("Bearer")
    return found


__all__ = ["Directory", "challenge", "client", "plugin_with"]
