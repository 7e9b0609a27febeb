"""Keeps requests in memory until the tick writes them into the provider log.

A request is noted by one call right before it is answered, which waits for nothing. What waits is
kept by tenant for the whole process, since requests and ticks are served by different instances.
The tick of this node takes what waits in all its processes. A crash loses what waits: the requests
since the last tick, about a second ago.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from kong_scim import processes
from kong_scim.bridge import Request
from kong_scim.provider_log.secrets_out import shown_body, without
from kong_scim.provider_log.senders import provider_of

MOST = 2000
"""Requests that wait in one process at most. Those beyond are counted, and not kept."""

MOST_STRANGERS = 50
"""Of these, requests of callers who were not let in: anybody can send such requests."""

MOST_BODIES = 256 * 1024
"""Characters of bodies that wait in one process at most; then requests are kept without theirs."""

LONGEST_PATH = 200
LONGEST_ERROR = 600

_NANOSECONDS = 1_000_000_000
_HOUR = 3600


@dataclass(frozen=True)
class Entry:
    """A request of the provider log.

    :param at: When it was answered, in nanoseconds since 1970.
    :param path: Below the route's prefix, without the query.
    :param token: The name of the caller's token; empty for a caller who was not let in.
    :param provider: As :func:`.provider_of`.
    :param error: The sentence of the error; empty for a request that succeeded.
    :param body: The body of a request that failed, if it is kept.
    """

    at: int
    method: str
    path: str
    status: int
    milliseconds: int
    token: str
    provider: str
    error: str = ""
    body: str = ""


@dataclass
class Taken:
    """What waited: the entries, and by hour (of hours since 1970) the numbers of all requests and
    of those that failed, also of requests that are not kept."""

    entries: list[Entry] = field(default_factory=list)
    requests: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    left_out: int = 0

    def __bool__(self) -> bool:
        return bool(self.requests)

    def add(self, other: Taken) -> None:
        """Add what waited elsewhere."""
        self.entries += other.entries
        self.requests.update(other.requests)
        self.failed.update(other.failed)
        self.left_out += other.left_out

    def packed(self) -> list[Any]:
        """Return it as MsgPack can encode it."""
        entries = [astuple(entry) for entry in self.entries]
        counts = [sorted(each.items()) for each in (self.requests, self.failed)]
        return [entries, *counts, self.left_out]

    @classmethod
    def unpacked(cls, packed: list[Any]) -> Taken:
        """Return what :meth:`packed` returned in another process."""
        entries, requests, failed, left_out = packed
        return cls(
            [Entry(*each) for each in entries],
            Counter(dict(requests)),
            Counter(dict(failed)),
            left_out,
        )


class Waiting:
    """The requests of one tenant that wait in this process.

    :ivar writing: Is held by the thread that writes what it took.
    """

    def __init__(self) -> None:
        self.writing = threading.Lock()
        self._lock = threading.Lock()
        self._taken = Taken()
        self._strangers = self._bodies = 0

    def add(self, entry: Entry) -> None:
        """Add a request, or only count it if too many wait."""
        hour = entry.at // (_HOUR * _NANOSECONDS)
        with self._lock:
            taken = self._taken
            taken.requests[hour] += 1
            if entry.status >= 400:
                taken.failed[hour] += 1
            if len(taken.entries) >= MOST or (
                not entry.token and self._strangers >= MOST_STRANGERS
            ):
                taken.left_out += 1
                return
            self._strangers += not entry.token
            if entry.body and self._bodies + len(entry.body) > MOST_BODIES:
                entry = Entry(*astuple(entry)[:-1])
            self._bodies += len(entry.body)
            taken.entries.append(entry)

    def take(self) -> Taken:
        """Return what waits, and begin anew."""
        with self._lock:
            taken, self._taken = self._taken, Taken()
            self._strangers = self._bodies = 0
        return taken

    def put_back(self, taken: Taken) -> None:
        """Add what could not be written to what waits now, as far as there is room."""
        with self._lock:
            now, self._taken = self._taken, taken
            self._taken.add(now)
            beyond = len(self._taken.entries) - MOST
            if beyond > 0:
                del self._taken.entries[MOST:]
                self._taken.left_out += beyond


_by_tenant: dict[str, Waiting] = {}


def waiting_of(tenant: str) -> Waiting:
    """Return the requests of a tenant that wait in this process."""
    return _by_tenant.setdefault(tenant, Waiting())


def take_all(tenant: str) -> Taken:
    """Return what waits in all processes of this plugin server, and begin anew."""
    taken = waiting_of(tenant).take()
    for packed in processes.ask_others("provider log", tenant):
        taken.add(Taken.unpacked(packed))
    return taken


processes.offer("provider log", lambda tenant: waiting_of(tenant).take().packed())


@dataclass
class Visit:
    """A request while it is served, of which an entry is made at its end.

    :param began: The time of a monotonic clock.
    :param request: The request, once Kong told it.
    :param token: The name of the caller's token, once the caller was let in.
    """

    began: float = field(default_factory=time.monotonic)
    request: Request | None = None
    token: str = ""

    def entry(self, request: Request, status: int, answer: Any, *, keep_body: bool) -> Entry:
        """Return the entry of the request.

        :param answer: The body of the answer, which of an error has its sentence.
        """
        error = body = ""
        path = request.path
        if status >= 400:
            authorization = request.headers.get("authorization", "")
            path = without(path, authorization)
            if isinstance(answer, Mapping):
                error = without(str(answer.get("detail") or ""), authorization)
            if keep_body:
                body = without(shown_body(request.body), authorization)
        return Entry(
            at=time.time_ns(),
            method=request.method[:16],
            path=_kept(path, LONGEST_PATH),
            status=status,
            milliseconds=round(1000 * (time.monotonic() - self.began)),
            token=self.token,
            provider=provider_of(request.headers.get("user-agent", ""), request.query),
            error=_kept(error, LONGEST_ERROR),
            body=_kept(body, len(body)),
        )


def _kept(text: str, most: int) -> str:
    """Return the beginning of a text in a form that every database can store."""
    text = text[:most]
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
