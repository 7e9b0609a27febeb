"""The command of the plugin server's image, run on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def environment(packages: Path, **more: str) -> dict[str, str]:
    """The image's environment.

    :param packages: The directory that has ``kong_scim`` in it. `python` is that of the tests.
    """
    interpreter = str(Path(sys.executable).parent)
    return {"PATH": f"{interpreter}:/usr/bin:/bin", "PYTHONPATH": str(packages), **more}


@contextmanager
def started(
    command: Path, packages: Path, description: Path, directory: Path, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``start-plugin-server`` until the end of the block.

    :param description: The dump that it leaves for Kong.
    :param directory: Where the socket is, once the block begins.
    :param more: Of the environment.
    """
    process = subprocess.Popen(
        [str(command), str(description)],
        env=environment(packages, SOCKET_DIRECTORY=str(directory), **more),
        cwd="/",
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not (directory / "scim.socket").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
