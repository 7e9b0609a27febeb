"""When which credentials were last accepted, as this process knows it: a few bytes each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

MOST = 1000
"""Names of one tenant; JWTs name clients that no configuration lists. The longest unused goes."""


class Uses:
    """The moments of last use, by tenant and the name of the credentials."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, datetime]] = {}

    def note(self, tenant: str, name: str) -> None:
        """Remember that these credentials were accepted just now."""
        with self._lock:
            names = self._latest.setdefault(tenant, {})
            names.pop(name, None)  # so that the last one stands last
            names[name] = self._now()
            if len(names) > MOST:
                del names[next(iter(names))]

    def of(self, tenant: str) -> dict[str, datetime]:
        """Return what is known of a tenant."""
        with self._lock:
            return dict(self._latest.get(tenant, {}))


USES = Uses()
"""Those of the process: Kong's timer and its requests have instances of the plugin of their own."""
