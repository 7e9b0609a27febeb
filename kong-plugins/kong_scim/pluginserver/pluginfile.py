"""Loads a plugin file of kong-pdk's format, and describes it as Kong asks before it starts."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from kong_pdk.module import Module


class PluginFile:
    """A Python file with a class ``Plugin``, and ``Schema``, ``version`` and ``priority``.

    :param path: The plugin's name is the file's, without its ending.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        with redirect_stdout(sys.stderr):  # `--dump` is read by Kong
            self._module = Module(self.name, path=str(path))
        self.plugin_class: type[Any] = self._module.cls

    def info(self) -> dict[str, Any]:
        """Return the plugin's entry of the array that ``pluginserver_NAME_query_cmd`` prints.

        Shape: ``query_external_plugin_info`` in kong/runloop/plugin_servers/process.lua.
        """
        return {
            "Name": self.name,
            "Phases": self._module.phases,
            "Priority": self._module.priority,
            "Version": self._module.version,
            "Schema": {
                "name": self.name,
                "fields": [{"config": {"type": "record", "fields": self._module.schema}}],
            },
        }

    def status(self) -> dict[str, Any]:
        """Return when the file was loaded and changed, in seconds since the epoch."""
        return {
            "Name": self.name,
            "LoadTime": self._module.load_time,
            "Modtime": self._module.mtime,
        }

    def handles(self, event_name: object) -> bool:
        """Return whether the plugin has a public method of that name.

        Any may be called, not only Kong's phases: a Lua timer sends ``tick``.
        """
        return (
            isinstance(event_name, str)
            and not event_name.startswith("_")
            and callable(getattr(self.plugin_class, event_name, None))
        )
