"""A gateway whose pauses between deliveries pass by a clock of the test's.

``python -m on_clock sandbox ...`` is ``kong-scim sandbox ...``, and ``python -m on_clock ...`` is
``python -m kong_scim.pluginserver ...``, both with that clock, whose file the environment names.
What a receiver does while it is called takes the time that it takes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from kong_scim.cli.main import main as kong_scim
from kong_scim.directory.values import utc_now
from kong_scim.events.webhooks.dispatcher import Dispatcher
from kong_scim.pluginserver.__main__ import main as plugin_server
from kong_scim_sandbox.lua import workers
from kong_scim_sandbox.plugin_process import PluginProcess

VARIABLE = "CLOCK_OF_THE_TEST"

STEP = 2.0
"""Seconds that pass at each look of :meth:`Clock.passing`, some tens of which fit in a second."""


class Clock:
    """The time of a gateway's deliveries: what it is for everybody else, and what the test adds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ahead = 0.0
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead += seconds
        new = self.path.with_suffix(".new")
        new.write_text(str(self._ahead))
        new.replace(self.path)

    def passing(self, condition: Callable[[], bool]) -> Callable[[], bool]:
        """Return the condition, each look at which lets time pass."""

        def look() -> bool:
            self.advance(STEP)
            return condition()

        return look


def _hold() -> None:
    path = Path(os.environ[VARIABLE])

    def clock() -> float:
        return time.monotonic() + float(path.read_text())

    def now() -> datetime:
        return utc_now() + timedelta(seconds=float(path.read_text()))

    Dispatcher.__init__.__kwdefaults__.update(clock=clock, now=now)


if __name__ == "__main__":
    if sys.argv[1:2] == ["sandbox"]:
        # Nor does a tick wait for the second that Kong's timer waits for.
        workers.INTERVAL_SCALE = workers.PAUSE_SCALE = 0.1
        PluginProcess.__init__.__defaults__ = ((sys.executable, "-m", "on_clock"), ())  # type: ignore[misc]
        kong_scim()
    else:
        _hold()
        sys.exit(plugin_server())
