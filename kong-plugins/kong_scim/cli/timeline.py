"""Puts the events of a user and the requests of its consumer on one timeline.

Requests are the JSON lines of Kong's file-log or http-log, in which scim-bridge's guard says whose
they are (``scim.user_id``). What is no such line is left out: a log may hold anything.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_REFUSED = frozenset({401, 403})


@dataclass
class Requests:
    """Requests of one kind with no event between them."""

    refused: bool
    first: datetime
    last: datetime
    where: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """Return them as a line of text."""
        count = sum(self.where.values())
        times = "once" if count == 1 else f"{count} times"
        places = ", ".join(f"{place} ({each})" for place, each in self.where.most_common(3))
        rest = len(self.where) - 3
        more = f" and {rest} more" if rest > 0 else ""
        until = "" if count == 1 else f", until {self.last:%H:%M:%SZ}"
        what = "refused" if self.refused else "access used"
        return f"{self.first:%Y-%m-%d %H:%M:%SZ}         {what} {times}: {places}{more}{until}"


@dataclass(frozen=True)
class _Request:
    at: datetime
    status: int
    where: str


def timeline(
    events: Iterable[Mapping[str, Any]], log: Iterable[str], user_id: str
) -> Iterator[Mapping[str, Any] | Requests]:
    """Yield events, and between them what the user's credentials were used for.

    :param events: In order.
    :param log: Lines of an access log, in any order.
    """
    requests = sorted(_requests(log, user_id), key=lambda request: request.at)
    place = 0
    for event in events:
        moment = datetime.fromisoformat(event["occurred"])
        start = place
        while place < len(requests) and requests[place].at < moment:
            place += 1
        yield from _grouped(requests[start:place])
        yield event
    yield from _grouped(requests[place:])


def _grouped(requests: Iterable[_Request]) -> Iterator[Requests]:
    group: Requests | None = None
    for request in requests:
        refused = request.status in _REFUSED
        if group is None or group.refused != refused:
            if group is not None:
                yield group
            group = Requests(refused, request.at, request.at)
        group.last = request.at
        group.where[request.where] += 1
    if group is not None:
        yield group


def _requests(log: Iterable[str], user_id: str) -> Iterator[_Request]:
    for line in log:
        try:
            record = json.loads(line)
            if record["scim"]["user_id"] != user_id:
                continue
            yield _Request(
                at=datetime.fromtimestamp(record["started_at"] / 1000, UTC),
                status=int(record["response"]["status"]),
                where=f"{record['request']['method']} {_path(record['request'])}",
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            continue


def _path(request: Mapping[str, Any]) -> str:
    """Return the path without its query, which may hold a secret."""
    path = str(request["uri"]).partition("?")[0][:80]
    return "".join(each if each.isprintable() else "?" for each in path)
