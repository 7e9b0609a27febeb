"""Keeps the plugin instances: one for each configuration and each of Kong's workers."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

MAX_INSTANCES = 1024
"""Above what a gateway has in use. Kong forgets instances without closing them (``reset_instance``
in plugin.lua, and each ``kong reload``), so the least recently used one goes; should Kong come back
to it, "no plugin instance" makes it start another."""


def random_base() -> int:
    """Return where to count ids from.

    Kong keeps the ids of a server that was restarted. Counted from 0 again, an old id would reach
    another configuration's instance, or another request's event.
    """
    return secrets.randbelow(2**31)


class NoInstanceError(Exception):
    """Its text begins with "no plugin instance", at which ``mp_rpc.lua`` starts a new one."""


@dataclass(frozen=True)
class Instance:
    """A plugin object, or None where its constructor failed."""

    id: int
    plugin: Any
    started: float
    """In seconds since the epoch."""


class Instances:
    """The instances of one plugin class."""

    def __init__(self, plugin_class: type[Any]) -> None:
        self._class = plugin_class
        self._lock = threading.Lock()
        self._instances: OrderedDict[int, Instance] = OrderedDict()
        self._next = random_base()

    def start(self, config: str) -> tuple[Instance, Any]:
        """Start an instance and return it with its configuration, decoded.

        It never fails, because Kong would answer a bare 500 then: an instance whose constructor
        raised has no plugin object.

        :param config: JSON text, as Kong sends it.
        """
        plugin = decoded = None
        try:
            decoded = json.loads(config)
            plugin = self._class(decoded)
        except Exception:
            log.exception("a plugin instance could not start; its requests will be refused")
        with self._lock:
            instance = Instance(self._next, plugin, time.time())
            self._next += 1
            self._instances[instance.id] = instance
            while len(self._instances) > MAX_INSTANCES:
                self._instances.popitem(last=False)
        log.info("instance %d started", instance.id)
        return instance, decoded

    def get(self, instance_id: Any) -> Instance:
        """Return an instance.

        :raises NoInstanceError: When there is none of that id.
        """
        with self._lock:
            instance = self._instances.get(instance_id)
            if instance is None:
                raise NoInstanceError(f"no plugin instance #{instance_id}")
            self._instances.move_to_end(instance.id)
        return instance

    def close(self, instance_id: Any) -> None:
        """Forget an instance; events that run on it go on.

        :raises NoInstanceError: When there is none of that id.
        """
        instance = self.get(instance_id)
        with self._lock:
            self._instances.pop(instance.id, None)
        log.info("instance %d closed", instance.id)

    def all(self) -> list[Instance]:
        """Return every instance."""
        with self._lock:
            return list(self._instances.values())
