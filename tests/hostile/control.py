"""How fast the machine answers at each moment of a storm, whatever the plugin server does."""

from __future__ import annotations

import threading
import time

import httpx

PAUSE = 0.1

TIMES = 20.0
"""How much longer than a plain request a hostile one may take on a slow machine: the page of
resources that takes longest takes a tenth of a second where a plain one takes 5 ms."""


class Control:
    """Sends a plain request again and again, which the gateway answers without the plugin server.

    What it takes is what this machine takes: it waits for a processor as every request does.

    :param url: Of something that is answered by the gateway alone.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._spans: list[tuple[float, float]] = []
        self._began: float | None = None
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control")

    def __enter__(self) -> Control:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def slowest(self, since: float) -> float:
        """Return the seconds that the slowest one took of those that ended since, or go on still.

        :param since: As :func:`time.monotonic` has it.
        """
        now = time.monotonic()
        with self._lock:
            under_way = now - self._began if self._began is not None else 0.0
            recent = [took for ended, took in self._spans if ended >= since]
        return max([under_way, *recent])

    def allowed(self, since: float, bound: float) -> float:
        """Return how long a request that began then may take: the bound on a machine that is not
        slow itself."""
        return max(bound, TIMES * self.slowest(since))

    def _run(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while not self._end.wait(PAUSE):
                with self._lock:
                    self._began = began = time.monotonic()
                client.get(self._url)
                ended = time.monotonic()
                with self._lock:
                    self._began = None
                    self._spans.append((ended, ended - began))
