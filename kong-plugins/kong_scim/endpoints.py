"""Answers the requests of the route that are not SCIM, in JSON of its own.

``GET /jwks.json``
    The public keys of Security Event Tokens (RFC 7517), for anybody.
``GET /openapi.json``
    The description of all endpoints.
``GET /Events/chain``
    The ends of the audit trail, against which it is verified.
``GET /Events/deliveries?state=dead&after=0&count=100``
    What was to be sent to webhooks, in order, with every attempt: ``{"deliveries": [...]}``.
``GET /Events/tokens``
    The tokens of the configuration, and whoever else was let in, with the moment of the last use:
    ``{"tokens": [{"name", "scopes", "expires", "networks", "lastUsed"}]}``; ``lastUsed`` may be a
    minute late for what another node let in.
``POST /Events/poll`` with ``{"ack": [id], "setErrs": {id: {"err", "description"}}, "maxEvents": 10,
"returnImmediately": true}``
    Security Event Tokens for a receiver that cannot be called (RFC 8936), in order, until they are
    acknowledged: ``{"sets": {id: token}, "moreAvailable": false}``.
``GET /Quarantine``
    How the tenant's quarantine stands: :meth:`.QuarantineDecisions.show`.
``POST /Quarantine`` with ``{"decision": "approve", "minutes": 60}``
    Decides: ``approve``, ``reject`` or ``lift``; the minutes are those of an approval.
``POST /Events/deliveries/replay`` with ``{"ids": [1, 2]}`` or ``{"failed": true}``
    Sends again what was delivered or given up: ``{"replayed": 2}``.
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
"""Deliveries of one answer."""

LONGEST_APPROVAL = 10_080
"""Minutes of an approval at most: a week."""

LONGEST_POLL = 5.0
"""Seconds that a poll waits for an event at most: it holds a worker of the plugin server, of which
:data:`.waiting.POLLS` has places for a quarter."""

BETWEEN_LOOKS = 0.5
"""Seconds between two looks meanwhile."""


def keys(request: Request, issuer: Issuer | None) -> ScimResponse:
    """Answer with the keys; an empty set where there are none."""
    _only(request, "GET")
    return _json(issuer.keys() if issuer else {"keys": []})


class Endpoints:
    """Answers requests that are not SCIM.

    :param trail: Returns the tenant's audit trail.
    :param deliveries: Returns the tenant's deliveries.
    :param quarantine: Returns the tenant's quarantine.
    :param callers: Returns the credentials and their last uses.
    :param describe: Returns the OpenAPI description.
    :param issuer: Who signs tokens for a receiver that polls; None where none may.
    :param audience: The ``aud`` of those.
    :param waiting_room: Where polls wait for an event.
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
            "/Events/deliveries": self._listed,
            REPLAY: self._replay,
            OPENAPI: self._described,
            "/Events/poll": self._poll,
            QUARANTINE: self._quarantined,
            "/Events/tokens": self._tokens,
        }

    def answer(self, request: Request, identity: Identity) -> ScimResponse | None:
        """Return the answer to a request, or None where it is one for SCIM.

        :raises ~scim2_models.SCIMException: For a request that is wrong, or of somebody who may not
            send it.
        """
        path = request.path.rstrip("/")
        found = self._answers.get(path)
        if found is None:
            return None
        if path != OPENAPI:
            require(identity, ADMIN if path in {REPLAY, QUARANTINE} else EVENTS)
        return found(request, identity)

    def _described(self, request: Request, _: Identity) -> ScimResponse:
        _only(request, "GET")
        return _json(self._describe())

    def _chain(self, request: Request, _: Identity) -> ScimResponse:
        _only(request, "GET")
        return _json(self._trail().chain().to_json())

    def _tokens(self, request: Request, _: Identity) -> ScimResponse:
        _only(request, "GET")
        return _json({"tokens": self._callers()})

    def _listed(self, request: Request, _: Identity) -> ScimResponse:
        _only(request, "GET")
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
        _only(request, "POST")
        if self._issuer is None:
            raise NotFoundException(
                detail="Nothing is kept to be polled: see events.poll and events.signing_key"
            )
        asked = _object(request.body)
        taken, errors = asked.get("ack", []), asked.get("setErrs", {})
        most, at_once = asked.get("maxEvents", MOST), asked.get("returnImmediately", False)
        right = (
            _are_texts(taken)
            and isinstance(errors, dict)
            and len(taken) + len(errors) <= 1000
            and type(most) is int
            and most >= 0
            and isinstance(at_once, bool)
        )
        if not right:
            raise InvalidValueException(
                detail="ack is a list of at most 1000 ids, setErrs an object of objects, maxEvents "
                "a number and returnImmediately a boolean (RFC 8936)"
            )
        deliveries, now = self._deliveries(), datetime.now(UTC)
        if taken or errors:
            said = {each: json.dumps(error, ensure_ascii=False) for each, error in errors.items()}
            deliveries.acknowledge(POLL, taken, said, now)
        most = min(most, MOST)
        found = deliveries.waiting(POLL, most + 1)
        if not found and most and not at_once:
            found = self._awaited(deliveries, most + 1)
        sets, unfit = self._tokens_of(self._issuer, found[:most], now)
        if unfit:  # or they would stand before all others for ever
            deliveries.acknowledge(POLL, [], unfit, now)
        return _json({"sets": sets, "moreAvailable": len(found) > most})

    def _tokens_of(
        self, issuer: Issuer, found: Sequence[tuple[str, Mapping[str, Any] | None]], now: datetime
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return events as tokens by their id, and of those that cannot be one, why."""
        sets, unfit = {}, {}
        for event_id, event in found:
            if event is None:
                unfit[event_id] = "the stored event cannot be read"
                continue
            try:
                sets[event_id] = issuer.token(event, self._audience, now)
            except Exception as error:  # whatever may be stored there
                unfit[event_id] = "no token can be made of the event"
                log.error("event %s: %s: %s", event_id, unfit[event_id], unforeseen(error))  # noqa: TRY400
        return sets, unfit

    def _awaited(
        self, deliveries: Deliveries, limit: int
    ) -> list[tuple[str, Mapping[str, Any] | None]]:
        """Return what comes within :data:`LONGEST_POLL`: nothing, at once, where many wait already.

        How long a poll is held open is left to the two parties (RFC 8936 §2.2).
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
        _only(request, "POST")
        asked = _object(request.body)
        ids, failed = asked.get("ids"), asked.get("failed") is True
        whole = isinstance(ids, list) and all(
            type(each) is int and 0 < each < 2**53 for each in ids
        )
        if failed == whole or (whole and len(ids or []) > 1000):
            raise InvalidValueException(
                detail='Say which: {"ids": [1, 2]}, at most 1000, or {"failed": true}'
            )
        count = self._deliveries().replay(None if failed else ids, datetime.now(UTC))
        return _json({"replayed": count})

    def _quarantined(self, request: Request, identity: Identity) -> ScimResponse:
        if request.method in {"GET", "HEAD"}:
            return _json(self._quarantine().show())
        _only(request, "POST", also=("GET", "HEAD"))
        asked = _object(request.body)
        decision, minutes = asked.get("decision"), asked.get("minutes")
        timed = minutes is None or (type(minutes) is int and 0 < minutes <= LONGEST_APPROVAL)
        if decision not in DECISIONS or not timed or (minutes and decision != "approve"):
            raise InvalidValueException(
                detail='decision is one of "approve", "reject" and "lift"; an approval may have '
                f"minutes, a number up to {LONGEST_APPROVAL}"
            )
        return _json(self._quarantine().decide(decision, identity.token, minutes))


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidSyntaxException(detail="The body must be a JSON object")
    return found


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _only(request: Request, method: str, also: Sequence[str] = ()) -> None:
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
