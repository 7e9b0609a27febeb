"""The plugin server, inside the tests and as a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kong_side import KongSide

from kong_scim.pluginserver.listener import Listener, ListeningSocket
from kong_scim.pluginserver.pluginfile import PluginFile
from kong_scim.pluginserver.server import PluginServer

HERE = Path(__file__).parent
PUPPET = HERE / "plugins" / "puppet.py"
PLUGINS = HERE.parents[1] / "kong-plugins"


def eventually(holds: Callable[[], object], seconds: float = 15) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.005)


def answers(path: Path) -> bool:
    """Whether a server listens there: the file alone may be a dead one's."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class Running:
    """A server inside the test, and Kong's side of it."""

    def __init__(
        self,
        path: Path,
        plugin: Path = PUPPET,
        *,
        workers=4,
        queue=8,
        event_timeout=10.0,
        **rest: Any,
    ) -> None:
        self.path = path
        self.file = PluginFile(plugin)
        self.plugin = self.file.plugin_class
        self.server = PluginServer(
            self.file, workers=workers, queue=queue, event_timeout=event_timeout, **rest
        )
        self.listening = ListeningSocket(path, mode=0o660)
        self.listener = Listener(self.listening, self.server.handle, send_timeout=event_timeout)
        self.kong = KongSide(path)

    def close(self) -> None:
        self.kong.close()
        self.server.stop(grace=0.2)
        self.listening.close()
        self.listener.close()


@contextmanager
def server_process(*options: str, stderr: Path | int = subprocess.DEVNULL) -> Iterator[Any]:
    """``python -m kong_scim.pluginserver`` as a process of its own."""
    with ExitStack() as stack:
        if isinstance(stderr, Path):
            stderr = stack.enter_context(stderr.open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "kong_scim.pluginserver", *options],
            env={"KONG_SCIM_PROCESSES": "1", **os.environ, "PYTHONPATH": str(PLUGINS)},
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


@contextmanager
def serving_process(path: Path, *options: str, **rest: Any) -> Iterator[Any]:
    with server_process(
        "--socket", str(path), "--plugin", str(PUPPET), *options, **rest
    ) as process:
        eventually(lambda: path.exists() or process.poll() is not None)
        assert process.poll() is None
        yield process
