"""Puts the events of a user and the requests of its consumer on one timeline.

The requests come from JSON lines of Kong's file-log or http-log, to which scim-bridge's guard adds
the user (``scim.user_id``). Other lines of the log are ignored.
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
    """Consecutive requests of one kind, either refused or not, with no event between them."""

    refused: bool
    first: datetime
    last: datetime
    where: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        """Return a line of text that describes the requests."""
        count = sum(self.where.values())
        times = "once" if count == 1 else f"{count} times"
        places = ", ".join(f"{place} ({each})" for place, each in self.where.most_common(3))
        rest = len(self.where) - 3
        more = f" and {rest} more" if rest > 0 else ""
        until = "" if count == 1 else f", until {self.last:%H:%M:%SZ}"
        what = "refused" if self.refused else "access used"
        return f"{self.first:%Y-%m-%d %H:%M:%SZ}         {what} {times}: {places}{more}{until}"


@dataclass(frozen=True)
class Request:
    """A request with a user's credentials, from a record of the access log.

    :param where: Its method and path.
    :param route: The name of Kong's route, or its id if it has no name; None if neither is known.
    """

    user: str
    at: datetime
    status: int
    where: str
    route: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the gateway refused it."""
        return self.status in _REFUSED


def timeline(
    events: Iterable[Mapping[str, Any]], log: Iterable[str], user_id: str
) -> Iterator[Mapping[str, Any] | Requests]:
    """Yield a user's events, and between them the requests with the user's credentials.

    :param events: In the order of their time.
    :param log: Lines of an access log, in any order.
    """
    requests = sorted(
        (each for each in requests_of(log) if each.user == user_id), key=lambda each: each.at
    )
    place = 0
    for event in events:
        moment = datetime.fromisoformat(event["occurred"])
        start = place
        while place < len(requests) and requests[place].at < moment:
            place += 1
        yield from _grouped(requests[start:place])
        yield event
    yield from _grouped(requests[place:])


def _grouped(requests: Iterable[Request]) -> Iterator[Requests]:
    group: Requests | None = None
    for request in requests:
        refused = request.is_refused
        if group is None or group.refused != refused:
            if group is not None:
                yield group
            group = Requests(refused, request.at, request.at)
        group.last = request.at
        group.where[request.where] += 1
    if group is not None:
        yield group


def requests_of(log: Iterable[str]) -> Iterator[Request]:
    """Yield the requests with credentials of SCIM's users, in the order of the lines."""
    for line in log:
        try:
            record = json.loads(line)
            route = record.get("route") or {}
            yield Request(
                user=str(record["scim"]["user_id"]),
                at=datetime.fromtimestamp(record["started_at"] / 1000, UTC),
                status=int(record["response"]["status"]),
                where=f"{record['request']['method']} {_path(record['request'])}",
                route=route.get("name") or route.get("id"),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue


def _path(request: Mapping[str, Any]) -> str:
    """Return the path of a request without its query, which may contain a secret."""
    path = str(request["uri"]).partition("?")[0][:80]
    return "".join(each if each.isprintable() else "?" for each in path)
