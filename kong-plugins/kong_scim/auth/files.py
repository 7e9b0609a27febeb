"""Tokens in a file."""

from __future__ import annotations

import time
from collections.abc import Callable

from kong_scim.auth.digests import digest
from kong_scim.files import WatchedFile

MAX_TOKENS = 8
"""Lines of a file that count."""


class TokenFile:
    """The tokens of a file, one a line, as they are now; see :class:`~kong_scim.files.WatchedFile`.

    A file that is empty for a moment lets nobody in.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = WatchedFile(path, "token file", _digests, clock)

    def digests(self) -> tuple[bytes, ...]:
        """Return the digests of the tokens; of a file that cannot be read, none."""
        return self._file.get() or ()


def _digests(text: str) -> tuple[bytes, ...]:
    return tuple(digest(line) for line in text.splitlines() if line.strip())[:MAX_TOKENS]
