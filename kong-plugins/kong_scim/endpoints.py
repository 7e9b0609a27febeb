"""Answers the requests of the route that are not SCIM, in JSON of its own.

``GET /jwks.json``
    The public keys of Security Event Tokens (RFC 7517), for anybody.
``GET /openapi.json``
    The description of all endpoints.
``GET /Events/chain``
    The numbers and hashes of the first and the last record, to verify the audit trail.
``GET /Events/deliveries?state=dead&after=0&count=100``
    The deliveries to webhooks, in order, with every attempt: ``{"deliveries": [...]}``.
``GET /Events/tokens``
    The tokens of the configuration and all other callers, with the time of the last use:
    ``{"tokens": [{"name", "scopes", "expires", "networks", "lastUsed"}]}``. A use on another node
    shows in ``lastUsed`` up to a minute later.
``POST /Events/poll`` with ``{"ack": [id], "setErrs": {id: {"err", "description"}}, "maxEvents": 10,
"returnImmediately": true}``
    Security Event Tokens for a receiver that cannot be called (RFC 8936), in order, until they are
    acknowledged: ``{"sets": {id: token}, "moreAvailable": false}``.
``GET /Quarantine``
    The state of the tenant's quarantine: :meth:`.QuarantineDecisions.show`.
``POST /Quarantine`` with ``{"decision": "approve", "minutes": 60}``
    Decides on the quarantine: ``approve`` (for these minutes), ``reject`` or ``lift``.
``POST /Events/deliveries/replay`` with ``{"ids": [1, 2]}`` or ``{"failed": true}``
    Sends deliveries again that were made or given up: ``{"replayed": 2}``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from scim2_models import InvalidSyntaxException, InvalidValueException, NotFoundException
from scim2_server.errors import MethodNotAllowedException
from scim2_server.responses import ScimResponse

from kong_scim import cpu
from kong_scim.auth.scopes import ADMIN, EVENTS, Identity, require
from kong_scim.bridge import Request
from kong_scim.config.plugin import POLL
from kong_scim.counts import unforeseen
from kong_scim.events.trail import Trail
from kong_scim.events.webhooks.deliveries import STATES, Deliveries
from kong_scim.events.webhooks.formats import Issuer
from kong_scim.quarantine.decisions import DECISIONS, QuarantineDecisions
from kong_scim.worker_slots import POLLS, WorkerSlots

log = logging.getLogger(__name__)

KEYS = "/jwks.json"
OPENAPI = "/openapi.json"
QUARANTINE = "/Quarantine"
REPLAY = "/Events/deliveries/replay"
MOST = 200
"""Deliveries that one answer has at most."""

LONGEST_APPROVAL = 10_080
"""Minutes that an approval may last: a week."""

LONGEST_POLL = 5.0
"""Seconds that a poll waits for an event at most. Meanwhile it holds a worker of the plugin server;
:data:`.worker_slots.POLLS` limits how many do."""

BETWEEN_LOOKS = 0.5
"""Seconds between two queries for events during a poll."""


def keys(request: Request, issuer: Issuer | None) -> ScimResponse:
    """Return the answer with the public keys, an empty set without an issuer."""
    _require_method(request, "GET")
    return _json(issuer.keys() if issuer else {"keys": []})


class Endpoints:
    """Answers requests that are not SCIM.

    :param trail: Returns the tenant's audit trail.
    :param deliveries: Returns the tenant's deliveries.
    :param quarantine: Returns the tenant's quarantine.
    :param callers: Returns the credentials and their last uses.
    :param describe: Returns the OpenAPI description.
    :param issuer: Signs the tokens for a receiver that polls; None if polling is off.
    :param audience: The claim ``aud`` of these tokens.
    :param waiting_room: The worker slots in which polls wait for an event.
    """

    def __init__(
        self,
        trail: Callable[[], Trail],
        deliveries: Callable[[], Deliveries],
        quarantine: Callable[[], QuarantineDecisions],
        callers: Callable[[], list[dict[str, Any]]],
        describe: Callable[[], dict[str, Any]],
        *,
        issuer: Issuer | None = None,
        audience: str = "",
        waiting_room: WorkerSlots = POLLS,
    ) -> None:
        self._describe = describe
        self._issuer = issuer
        self._audience = audience
        self._waiting_room = waiting_room
        self._trail = trail
        self._deliveries = deliveries
        self._quarantine = quarantine
        self._callers = callers
        self._answers: Mapping[str, Callable[[Request, Identity], ScimResponse]] = {
            "/Events/chain": self._chain,
            "/Events/deliveries": self._page,
            REPLAY: self._replay,
            OPENAPI: self._openapi,
            "/Events/poll": self._poll,
            QUARANTINE: self._quarantined,
            "/Events/tokens": self._tokens,
        }

    def answer(self, request: Request, identity: Identity) -> ScimResponse | None:
        """Return the answer to a request, or None if it is a SCIM request.

        :raises ~scim2_models.SCIMException: For an invalid request, or a caller without the scope.
        """
        path = request.path.rstrip("/")
        found = self._answers.get(path)
        if found is None:
            return None
        if path != OPENAPI:
            require(identity, ADMIN if path in {REPLAY, QUARANTINE} else EVENTS)
        return found(request, identity)

    def _openapi(self, request: Request, _: Identity) -> ScimResponse:
        _require_method(request, "GET")
        return _json(self._describe())

    def _chain(self, request: Request, _: Identity) -> ScimResponse:
        _require_method(request, "GET")
        return _json(self._trail().chain().to_json())

    def _tokens(self, request: Request, _: Identity) -> ScimResponse:
        _require_method(request, "GET")
        return _json({"tokens": self._callers()})

    def _page(self, request: Request, _: Identity) -> ScimResponse:
        _require_method(request, "GET")
        query = {name: values[-1] for name, values in parse_qs(request.query).items()}
        state = query.get("state")
        if state is not None and state not in STATES:
            raise InvalidValueException(detail=f"state is one of {', '.join(STATES)}")
        after, count = (
            _number(query, name, default) for name, default in (("after", 0), ("count", MOST))
        )
        page = self._deliveries().page(state=state, after=after, limit=min(count, MOST))
        return _json({"deliveries": page})

    def _poll(self, request: Request, _: Identity) -> ScimResponse:
        _require_method(request, "POST")
        if self._issuer is None:
            raise NotFoundException(
                detail="Nothing is kept to be polled: see events.poll and events.signing_key"
            )
        body = _json_object(request.body)
        acknowledged, errors = body.get("ack", []), body.get("setErrs", {})
        most, at_once = body.get("maxEvents", MOST), body.get("returnImmediately", False)
        valid = (
            _are_strings(acknowledged)
            and isinstance(errors, dict)
            and len(acknowledged) + len(errors) <= 1000
            and type(most) is int
            and most >= 0
            and isinstance(at_once, bool)
        )
        if not valid:
            raise InvalidValueException(
                detail="ack is a list of at most 1000 ids, setErrs an object of objects, maxEvents "
                "a number and returnImmediately a boolean (RFC 8936)"
            )
        deliveries, now = self._deliveries(), datetime.now(UTC)
        if acknowledged or errors:
            reasons = {
                each: json.dumps(error, ensure_ascii=False) for each, error in errors.items()
            }
            deliveries.acknowledge(POLL, acknowledged, reasons, now)
        most = min(most, MOST)
        found = deliveries.waiting(POLL, most + 1)
        if not found and most and not at_once:
            found = self._wait_for_events(deliveries, most + 1)
        sets, unfit = self._sign(self._issuer, found[:most], now)
        if unfit:  # otherwise they would block all later events
            deliveries.acknowledge(POLL, [], unfit, now)
        return _json({"sets": sets, "moreAvailable": len(found) > most})

    def _sign(
        self, issuer: Issuer, found: Sequence[tuple[str, Mapping[str, Any] | None]], now: datetime
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the tokens by the id of their event, and by the same id why one cannot be made."""
        sets, unfit = {}, {}
        for event_id, event in found:
            if event is None:
                unfit[event_id] = "the stored event cannot be read"
                continue
            try:
                sets[event_id] = issuer.token(event, self._audience, now)
            except Exception as error:  # the stored event may be of any shape
                unfit[event_id] = "no token can be made of the event"
                log.error("event %s: %s: %s", event_id, unfit[event_id], unforeseen(error))  # noqa: TRY400
        return sets, unfit

    def _wait_for_events(
        self, deliveries: Deliveries, limit: int
    ) -> list[tuple[str, Mapping[str, Any] | None]]:
        """Wait up to :data:`LONGEST_POLL` for events; return none at once if no slot is free.

        RFC 8936 §2.2 leaves it to the two parties how long a poll is held open.
        """
        found: list[tuple[str, Mapping[str, Any] | None]] = []
        with self._waiting_room.place() as may_wait:
            deadline = time.monotonic() + LONGEST_POLL
            while may_wait and not found and time.monotonic() < deadline:
                with cpu.waiting():
                    time.sleep(BETWEEN_LOOKS)
                found = deliveries.waiting(POLL, limit)
        return found

    def _replay(self, request: Request, _: Identity) -> ScimResponse:
        _require_method(request, "POST")
        body = _json_object(request.body)
        ids, failed = body.get("ids"), body.get("failed") is True
        has_ids = isinstance(ids, list) and all(
            type(each) is int and 0 < each < 2**53 for each in ids
        )
        if failed == has_ids or (has_ids and len(ids or []) > 1000):
            raise InvalidValueException(
                detail='Say which: {"ids": [1, 2]}, at most 1000, or {"failed": true}'
            )
        count = self._deliveries().replay(None if failed else ids, datetime.now(UTC))
        return _json({"replayed": count})

    def _quarantined(self, request: Request, identity: Identity) -> ScimResponse:
        if request.method in {"GET", "HEAD"}:
            return _json(self._quarantine().show())
        _require_method(request, "POST", also=("GET", "HEAD"))
        body = _json_object(request.body)
        decision, minutes = body.get("decision"), body.get("minutes")
        timed = minutes is None or (type(minutes) is int and 0 < minutes <= LONGEST_APPROVAL)
        if decision not in DECISIONS or not timed or (minutes and decision != "approve"):
            raise InvalidValueException(
                detail='decision is one of "approve", "reject" and "lift"; an approval may have '
                f"minutes, a number up to {LONGEST_APPROVAL}"
            )
        return _json(self._quarantine().decide(decision, identity.token, minutes))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidSyntaxException(detail="The body must be a JSON object")
    return found


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _require_method(request: Request, method: str, also: Sequence[str] = ()) -> None:
    allowed = [*also, *(["GET", "HEAD"] if method == "GET" else [method])]
    if request.method not in allowed:
        named = " and ".join([*also[:1], method])
        raise MethodNotAllowedException(detail=f"This endpoint takes {named} only", allowed=allowed)


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidValueException(detail=f"{name} must be a number")
    return int(text)


def _json(body: dict[str, Any]) -> ScimResponse:
    return ScimResponse(HTTPStatus.OK, body, {"Content-Type": "application/json"})
