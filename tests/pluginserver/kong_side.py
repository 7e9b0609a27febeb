"""Kong's side of the RPC, as ``kong/runloop/plugin_servers/rpc/mp_rpc.lua`` speaks it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import msgpack

EXITS = {"kong.response.exit", "kong.response.error"}


class RpcFailedError(Exception):
    """The server answered with an error."""


class ConnectionClosedError(Exception):
    """The server closed the connection."""


class Wire:
    """One connection."""

    def __init__(self, path: Path, timeout: float = 20) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self._unpacker = msgpack.Unpacker(
            strict_map_key=False, unicode_errors="surrogateescape", max_buffer_size=2**28
        )
        self._ids = count(1)

    def send(self, method: str, *arguments: Any) -> int:
        call_id = next(self._ids)
        self.send_raw(
            msgpack.packb([0, call_id, method, arguments], unicode_errors="surrogateescape")
        )
        return call_id

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> list[Any]:
        while True:
            for message in self._unpacker:
                return message
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionClosedError
            self._unpacker.feed(data)

    def call(self, method: str, *arguments: Any) -> Any:
        call_id = self.send(method, *arguments)
        kind, answered, error, result = self.receive()
        assert (kind, answered) == (1, call_id)  # mp_rpc.lua asserts the same
        if error is not None:
            raise RpcFailedError(error)
        return result

    def close(self) -> None:
        self.socket.close()


@dataclass
class Outcome:
    """How an event ended: ``ret``, or the arguments of the exit; and the PDK calls before it."""

    exit: list[Any] | None = None
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)


class KongSide:
    """Calls the server over a pool of connections, one call at a time on each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[Wire] = []

    def call(self, method: str, *arguments: Any) -> Any:
        wire = self._idle.pop() if self._idle else Wire(self.path)
        result = wire.call(method, *arguments)
        self._idle.append(wire)
        return result

    def start(self, order: str) -> int:
        config = json.dumps({"order": order, "__seq__": 1, "$refs": {}})
        return self.call("plugin.StartInstance", {"Name": "puppet", "Config": config})["Id"]

    def begin(self, instance: int, phase: str = "access") -> dict[str, Any]:
        return self.call("plugin.HandleEvent", {"InstanceId": instance, "EventName": phase})

    def step(self, event: int, value: Any = None, method: str = "plugin.Step") -> dict[str, Any]:
        # A table without a value where Lua has nil: the key is absent.
        data = {"EventId": event} if value is None else {"EventId": event, "Data": value}
        return self.call(method, data)

    def handle(
        self,
        instance: int,
        phase: str = "access",
        pdk: Callable[[str, list[Any]], Any] | None = None,
    ) -> Outcome:
        """Run an event to its end; ``pdk`` answers the plugin's calls."""
        outcome = Outcome()
        answer = self.begin(instance, phase)
        while answer["Data"] != "ret":
            method, arguments = answer["Data"]["Method"], answer["Data"]["Args"]
            if method in EXITS:
                outcome.exit = arguments
                return outcome
            outcome.calls.append((method, arguments))
            answer = self.step(answer["EventId"], pdk(method, arguments) if pdk else None)
        return outcome

    def status(self) -> dict[str, Any]:
        return self.call("plugin.GetStatus")

    def close(self) -> None:
        for wire in self._idle:
            wire.close()


def is_scim_error(exit_arguments: list[Any], status: int) -> bool:
    """Whether the client gets a SCIM error (RFC 7644 §3.12)."""
    code, body, headers = exit_arguments
    answer = json.loads(body)
    assert answer.pop("detail").endswith(".")
    return (code, answer, headers["Content-Type"]) == (
        status,
        {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(status)},
        "application/scim+json",
    )
