from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from served import Running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    with ExitStack() as stack:

        def start(**options: Any) -> Running:
            running = Running(tmp_path / f"{len(os.listdir(tmp_path))}.sock", **options)
            stack.callback(running.close)
            return running

        yield start


@pytest.fixture
def running(serve: Callable[..., Running]) -> Running:
    return serve()
