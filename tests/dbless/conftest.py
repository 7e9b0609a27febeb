from __future__ import annotations

from collections.abc import Iterator

import pytest
from memory_of_kong import Gateway, running


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running() as found:
        yield found
