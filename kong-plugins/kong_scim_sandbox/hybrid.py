"""A hybrid gateway in one process: a control plane, a data plane, and a channel that can be cut.

The proxy and the plugin server are those of the data plane. The Admin API and the SCIM tables are
those of the control plane.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Queue

from kong_scim_sandbox.declarative_rows import ConsumerRow
from kong_scim_sandbox.entity_schema import DAOS
from kong_scim_sandbox.store import Store

DATA_PLANE = "a data plane"
"""The name of the data plane, where Kong has the id of a node."""

_CONTROL_PLANE = "control_plane"
_CAPABILITY = "kong.scim.v1"
_AWAY = "node is not connected"
_HASH_KEY = "declarative_config:hash"

PAUSE = 0.05
"""Seconds from a change to the configuration that has it. Kong takes about a second."""


class Hybrid:
    """The stores of both nodes, and what goes from one to the other.

    :param path: The SQLite file of the control plane.
    :param cache: That of the data plane, which keeps its configuration through a restart.
    :ivar control_plane: Stands for the database of the control plane.
    :ivar data_plane: Stands for the memory of the data plane.
    """

    def __init__(self, path: Path, cache: Path) -> None:
        self.control_plane = Store(path, settings={"role": _CONTROL_PLANE})
        self.data_plane = Store(cache, dbless=True, settings={"role": "data_plane"})
        self.control_plane.changed = self.send_configuration
        self._connected = True
        self._wanted = threading.Event()
        self._messages: Queue[tuple[str, str] | None] = Queue()
        self.control_plane.bridge.channel = _Side(self, DATA_PLANE)
        self.data_plane.bridge.channel = _Side(self, _CONTROL_PLANE)
        for work in (self._send_configurations, self._send_messages):
            threading.Thread(target=work, daemon=True).start()
        self._wanted.set()

    def close(self) -> None:
        """Close both stores."""
        self._connected = False
        self._messages.put(None)
        self.data_plane.close()
        self.control_plane.close()

    def declare(self, consumers: list[ConsumerRow]) -> None:
        """Write the consumers of a declarative file into the control plane."""
        self.control_plane.declare(consumers)

    @property
    def connected(self) -> bool:
        """Whether the channel is open, and not cut."""
        return self._connected

    def connect(self, connected: bool) -> None:
        """Open the channel, upon which the data plane gets the configuration, or cut it."""
        self._connected = connected
        if connected:
            self.send_configuration()

    def send_configuration(self) -> None:
        """Have the data plane get the configuration soon."""
        self._wanted.set()

    def call_control_plane(self, method: str, argument: str) -> str:
        """Call the control plane, whose answer is lost if the channel is cut meanwhile."""
        answer = None
        if self._connected:
            answer = self.control_plane.bridge.on_call(method, DATA_PLANE, argument)
        return answer if answer and self._connected else json.dumps({"error": _AWAY})

    def tell_data_plane(self, method: str, argument: str) -> str:
        """Send a message to the data plane, without waiting until it has it."""
        self._messages.put((method, argument))
        return json.dumps({"ok": True})

    def _send_messages(self) -> None:
        # In a thread of its own, since a call of the data plane may have led to the message.
        while (message := self._messages.get()) is not None:
            with suppress(sqlite3.Error):  # the store may be closed by now
                if self._connected:
                    self.data_plane.bridge.on_call(message[0], _CONTROL_PLANE, message[1])

    def _send_configurations(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            time.sleep(PAUSE)
            with suppress(sqlite3.Error):  # the store may be closed by now
                if self._connected:
                    self.copy_configuration()

    def copy_configuration(self) -> None:
        """Replace all entities of the data plane, as Kong does with a whole configuration."""
        tables = [f'"{dao.name}"' for dao in DAOS.values()]
        read = self.control_plane.database.reader()
        with self.data_plane.writing() as connection:
            read.execute("BEGIN")
            connection.execute("DELETE FROM lmdb")
            connection.execute("INSERT INTO lmdb VALUES (?, ?)", [_HASH_KEY, uuid.uuid4().hex])
            for table in reversed(tables):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
            for table in tables:
                for row in read.execute(f"SELECT * FROM {table}"):  # noqa: S608
                    places = ", ".join("?" * len(row))
                    connection.execute(f"INSERT INTO {table} VALUES ({places})", row)  # noqa: S608
            read.execute("ROLLBACK")
        read.close()
        self.data_plane.bridge.send_event("declarative", "reconfigure")


class _Side:
    """The channel as one of the nodes sees it."""

    def __init__(self, hybrid: Hybrid, peer: str) -> None:
        self._hybrid = hybrid
        self._peer = peer

    def peers(self) -> dict[str, list[str]]:
        return {self._peer: [_CAPABILITY]} if self._hybrid.connected else {}

    def call(self, peer: str, method: str, argument: str) -> str:
        if not self._hybrid.connected:
            return json.dumps({"error": _AWAY})
        if peer == DATA_PLANE:
            return self._hybrid.tell_data_plane(method, argument)
        return self._hybrid.call_control_plane(method, argument)

    def send_configuration(self) -> None:
        self._hybrid.send_configuration()
