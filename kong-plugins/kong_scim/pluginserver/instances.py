"""Keeps the plugin instances: one for each configuration and each of Kong's workers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from kong_scim.pluginserver.ids import Ids

log = logging.getLogger(__name__)

MAX_INSTANCES = 1024
"""More instances than a gateway uses. Kong forgets instances without closing them
(``reset_instance`` in plugin.lua, and each ``kong reload``), so the least recently used one is
dropped. If Kong still uses it, the error "no plugin instance" makes Kong start another."""


class NoInstanceError(Exception):
    """There is no such instance. The text makes ``mp_rpc.lua`` start a new one."""


@dataclass(frozen=True)
class Instance:
    """A plugin object, or None if its constructor failed."""

    id: int
    plugin: Any
    config: str
    """JSON text, as Kong sent it. The other processes need it for an instance of the same id."""
    started: float
    """In seconds since the epoch."""


class Instances:
    """The instances of one plugin class."""

    def __init__(self, plugin_class: type[Any], ids: Ids) -> None:
        self._class = plugin_class
        self._lock = threading.Lock()
        self._instances: OrderedDict[int, Instance] = OrderedDict()
        self._ids = ids

    def start(self, config: str, instance_id: int | None = None) -> tuple[Instance, Any]:
        """Start an instance, and return it with its decoded configuration.

        If the constructor raises, the instance has no plugin object. This never fails, because Kong
        would then answer a bare 500.

        :param config: JSON text, as Kong sends it.
        :param instance_id: The id that another process gave it; None for a new one.
        """
        plugin = decoded = None
        try:
            decoded = json.loads(config)
            plugin = self._class(decoded)
        except Exception:
            log.exception("a plugin instance could not start; its requests will be refused")
        given = self._ids.next() if instance_id is None else instance_id
        instance = Instance(given, plugin, config, time.time())
        with self._lock:
            self._instances[instance.id] = instance
            while len(self._instances) > MAX_INSTANCES:
                self._instances.popitem(last=False)
        log.info("instance %d started", instance.id)
        return instance, decoded

    def get(self, instance_id: Any) -> Instance:
        """Return the instance with an id.

        :raises NoInstanceError: When there is none.
        """
        with self._lock:
            instance = self._instances.get(instance_id)
            if instance is None:
                raise NoInstanceError(f"no plugin instance #{instance_id}")
            self._instances.move_to_end(instance.id)
        return instance

    def close(self, instance_id: Any) -> None:
        """Drop the instance with an id. Its running events go on.

        :raises NoInstanceError: When there is none.
        """
        instance = self.get(instance_id)
        with self._lock:
            self._instances.pop(instance.id, None)
        log.info("instance %d closed", instance.id)

    def all(self) -> list[Instance]:
        """Return every instance."""
        with self._lock:
            return list(self._instances.values())
