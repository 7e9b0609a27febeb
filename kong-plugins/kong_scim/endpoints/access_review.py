"""The endpoint of the access review.

``GET /AccessReview?at=&user=&group=&service=&refused=&count=&cursor=``
    Who reaches which route at a moment, a page of lines: :func:`_review`. ``at`` is a date, for its
    end, or a date with a time. ``next`` is the cursor of the next page. ``people``, ``lines`` and
    ``sha256`` are those of the report up to this page, and the last page has the ``signature``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, time
from typing import Any

from scim2_models import InvalidValueException
from scim2_server.responses import ScimResponse

from kong_scim.auth.scopes import ADMIN
from kong_scim.directory.values import instant, utc_now
from kong_scim.endpoints.call import (
    Call,
    Endpoint,
    json_answer,
    number,
    query_of,
    require_method,
)
from kong_scim.json_text import canonical
from kong_scim.review.configuration import KongConfiguration
from kong_scim.review.lines import Filter, JudgedRoute, judged_routes, lines_of, not_judged, shown
from kong_scim.review.people import (
    ChangedMeanwhileException,
    PersonThen,
    Position,
    ReviewReader,
    TrailEnd,
    first,
)
from kong_scim.review.report import SIGNED_AS, Digest, claims

MOST = 1000
"""Lines of a page, beyond which no further person is added to it."""

MOST_PEOPLE = 250
"""People that one answer looks at."""

_Json = dict[str, Any]


@dataclass(frozen=True)
class _Place:
    """Where the next page of a report begins, which its cursor has.

    :param header: The digest of the report's header, which must not change between pages.
    :param read: When Kong's configuration was read.
    """

    moment: str
    trail: TrailEnd
    read: str
    header: str
    digest: Digest
    position: Position


def _review(call: Call) -> ScimResponse:
    """Answer a page of the report.

    :raises ~scim2_models.InvalidValueException: A parameter is wrong, or names what is not there.
    :raises ChangedMeanwhileException: Kong's configuration changed since the first page.
    """
    require_method(call.request, "GET")
    query = query_of(call.request)
    only = Filter(
        query.get("user"),
        query.get("group"),
        query.get("service"),
        query.get("refused", "").lower() == "true",
    )
    count = min(max(1, number(query, "count", MOST)), MOST)
    sealed = _Cursors(call.provisioning.directory(call.origin).secret("access-review"), only)
    place = sealed.opened(query["cursor"]) if query.get("cursor") else None
    reader = call.provisioning.review()
    configuration = reader.configuration()
    _check_names(only, configuration)
    anonymous = reader.anonymous(configuration)
    routes = judged_routes(configuration, anonymous, only.service)
    if place is None:
        place = _beginning(reader, query.get("at"))
    report: _Json = {
        "tenant": call.provisioning.config.tenant,
        "moment": shown(place.moment),
        "filter": only.to_json(),
        "trail": {
            "from": place.trail.begins and shown(place.trail.begins),
            "sequence": place.trail.sequence,
            "hash": place.trail.hash,
        },
        "gateway": {"read": shown(place.read), "sha256": configuration.digest(anonymous)},
        "notJudged": not_judged(routes),
    }
    header = Digest.of_header(report)
    if place.header and place.header != header.value:
        raise ChangedMeanwhileException(
            detail="Kong's routes or plugins changed while the report was read: begin anew"
        )
    digest = place.digest if place.header else header
    entries, digest, position = _lines(
        reader, replace(place, header=header.value, digest=digest), routes, only, count
    )
    report |= {
        "people": digest.people,
        "lines": digest.lines,
        "sha256": digest.of_report(),
        "signature": None,
        "entries": entries,
        "next": None,
    }
    if position is not None:
        report["next"] = sealed.sealed(
            replace(place, header=header.value, digest=digest, position=position)
        )
    elif call.issuer is not None:
        report["signature"] = call.issuer.signed(claims(report), SIGNED_AS, utc_now())
    return json_answer(report)


def _lines(
    reader: ReviewReader, place: _Place, routes: list[JudgedRoute], only: Filter, count: int
) -> tuple[list[_Json], Digest, Position | None]:
    """Return the lines of a page, the digest with them, and where the next one begins; None at the
    end of the report."""
    entries: list[_Json] = []
    digest, looked_at, before = place.digest, 0, place.position
    people: Iterable[tuple[PersonThen, Position]]
    if only.user is not None:
        people = [(each, place.position) for each in reader.named(only.user, place.moment)]
    else:
        people = reader.everybody(place.moment, place.read, place.position)
    for person, position in people:
        if len(entries) >= count or looked_at >= MOST_PEOPLE:
            return entries, digest, before
        lines = lines_of(person, routes, only)
        digest = digest.with_person(lines)
        entries += lines
        looked_at, before = looked_at + 1, position
    return entries, digest, None


def _check_names(only: Filter, configuration: KongConfiguration) -> None:
    if only.service is not None and not any(
        only.service in {each.name, each.id} for each in configuration.services
    ):
        raise InvalidValueException(detail=f"Kong has no service {only.service!r}")
    if only.group is not None and only.group not in configuration.acl_groups:
        raise InvalidValueException(
            detail=f"No acl plugin of Kong names the group {only.group!r}, so nobody reaches "
            "anything by it"
        )


def _beginning(reader: ReviewReader, at: str | None) -> _Place:
    """Return the place of a report's first page."""
    now = utc_now()
    moment = instant(now if at is None else _moment(at, now))
    trail = reader.trail(None if at is None else moment)
    if at is not None and trail.begins is None:
        raise InvalidValueException(detail="The audit trail has no record yet: leave `at` out")
    if at is not None and trail.begins is not None and moment < trail.begins:
        raise InvalidValueException(
            detail=f"The audit trail reaches back to {shown(trail.begins)} and not to "
            f"{shown(moment)}: ask for a moment since then"
        )
    return _Place(moment, trail, instant(now), "", Digest(""), first(moment))


def _moment(text: str, now: datetime) -> datetime:
    """Return the moment that ``at`` names: of a date, its end, or now for today.

    :raises ~scim2_models.InvalidValueException: It names none, or one to come.
    """
    # In a query a plus sign is a blank.
    text = text.strip().replace(" ", "+") if "T" in text else text.strip()
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if len(text) <= len("2026-09-30"):
            end = datetime.combine(moment.date(), time.max, UTC)
            moment = min(end, now) if moment <= now else end
        is_future = moment > now
    except (ValueError, OverflowError):
        raise InvalidValueException(
            detail=f"{text!r} is no date such as 2026-09-30 and no moment such as "
            "2026-09-30T12:00:00Z"
        ) from None
    if is_future:
        raise InvalidValueException(detail=f"{text!r} is to come: an access review looks back")
    return moment


class _Cursors:
    """Seals the place of a page into its cursor, so that nobody can make one up: the gateway signs
    what the pages before had.

    :param secret: Of the tenant.
    :param only: The filter, which is the same for all pages of a report.
    """

    def __init__(self, secret: bytes, only: Filter) -> None:
        self._key = hmac.digest(secret, canonical(only.to_json()), "sha256")

    def sealed(self, place: _Place) -> str:
        """Return the cursor of a place."""
        content = json.dumps(asdict(place)).encode()
        return base64.urlsafe_b64encode(self._mac(content) + content).decode()

    def opened(self, cursor: str) -> _Place:
        """Return the place of a cursor.

        :raises ~scim2_models.InvalidValueException: It is not one of this report.
        """
        try:
            raw = base64.urlsafe_b64decode(cursor)
        except (ValueError, binascii.Error):
            raw = b""
        mac, content = raw[:_MAC], raw[_MAC:]
        if not hmac.compare_digest(mac, self._mac(content)):
            raise InvalidValueException(
                detail="This cursor is of another report, or of none: begin anew without one"
            )
        place = json.loads(content)
        return _Place(
            **{
                **place,
                "trail": TrailEnd(**place["trail"]),
                "digest": Digest(**place["digest"]),
                "position": tuple(place["position"]),
            }
        )

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")


_MAC = 32
"""Bytes of the code that a cursor begins with."""

ENDPOINTS: Mapping[str, Endpoint] = {"/AccessReview": Endpoint(ADMIN, _review)}
