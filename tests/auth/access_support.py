"""A plugin whose directory says whether anything reached it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from in_process import client
from kong_scim.app import Plugin
from kong_scim.directory.directory import Directory
from without_kong import serve_from_memory


class Calls:
    """What was asked of a directory.

    :ivar reached: The names of the methods that were called.
    """

    def __init__(self) -> None:
        self.reached: list[str] = []


def plugin_with(monkeypatch: pytest.MonkeyPatch, **config: Any) -> tuple[Plugin, Calls]:
    """Return an instance of the plugin, and what is asked of its directory."""
    calls = Calls()

    class Watched(Directory):
        def __getattribute__(self, name: str) -> Any:
            if name in {"create", "get", "search", "change", "patch_group", "delete"}:
                calls.reached.append(name)
            return super().__getattribute__(name)

    serve_from_memory(monkeypatch, Watched)
    return Plugin(config), calls


def challenge(response: httpx.Response) -> str:
    """Return what a refusal asks for, which it must say."""
    found: str = response.headers["WWW-Authenticate"]
    assert found.startswith("Bearer")
    return found


__all__ = ["Calls", "challenge", "client", "plugin_with"]
