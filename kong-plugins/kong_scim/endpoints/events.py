"""The endpoints of the audit trail, of deliveries to webhooks, and of receivers that poll.

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
``POST /Events/deliveries/replay`` with ``{"ids": [1, 2]}`` or ``{"failed": true}``
    Sends deliveries again that were made or given up: ``{"replayed": 2}``.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from scim2_models import InvalidValueException, NotFoundException
from scim2_server.responses import ScimResponse

from kong_scim import cpu
from kong_scim.auth.scopes import ADMIN, EVENTS
from kong_scim.config.plugin import POLL
from kong_scim.counts import unforeseen
from kong_scim.endpoints.call import (
    Call,
    Endpoint,
    json_answer,
    json_object,
    number,
    query_of,
    require_method,
)
from kong_scim.events.trail import Trail
from kong_scim.events.webhooks.deliveries import STATES, Deliveries
from kong_scim.events.webhooks.formats import Issuer
from kong_scim.worker_slots import POLLS

log = logging.getLogger(__name__)

MOST = 200
"""Deliveries that one answer has at most."""

LONGEST_POLL = 5.0
"""Seconds that a poll waits for an event at most. Meanwhile it holds a worker of the plugin server;
:data:`.worker_slots.POLLS` limits how many do."""

BETWEEN_LOOKS = 0.5
"""Seconds between two queries for events during a poll."""


def _chain(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    provisioning = call.provisioning
    trail = Trail(provisioning.database(), provisioning.event_kind)
    return json_answer(trail.chain().to_json())


def _tokens(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    return json_answer({"tokens": call.callers()})


def _page(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    query = query_of(call.request)
    state = query.get("state")
    if state is not None and state not in STATES:
        raise InvalidValueException(detail=f"state is one of {', '.join(STATES)}")
    after, count = (
        number(query, name, default) for name, default in (("after", 0), ("count", MOST))
    )
    page = Deliveries(call.provisioning.database()).page(
        state=state, after=after, limit=min(count, MOST)
    )
    return json_answer({"deliveries": page})


def _poll(call: Call) -> ScimResponse:
    require_method(call.request, "POST")
    if call.issuer is None or not call.provisioning.config.events.poll:
        raise NotFoundException(
            detail="Nothing is kept to be polled: see events.poll and events.signing_key"
        )
    body = json_object(call.request.body)
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
    deliveries, now = Deliveries(call.provisioning.database()), datetime.now(UTC)
    if acknowledged or errors:
        reasons = {each: json.dumps(error, ensure_ascii=False) for each, error in errors.items()}
        deliveries.acknowledge(POLL, acknowledged, reasons, now)
    most = min(most, MOST)
    found = deliveries.waiting(POLL, most + 1)
    if not found and most and not at_once:
        found = _wait_for_events(deliveries, most + 1)
    sets, unfit = _sign(call.issuer, call.audience, found[:most], now)
    if unfit:  # otherwise they would block all later events
        deliveries.acknowledge(POLL, [], unfit, now)
    return json_answer({"sets": sets, "moreAvailable": len(found) > most})


def _sign(
    issuer: Issuer,
    audience: str,
    found: Sequence[tuple[str, Mapping[str, Any] | None]],
    now: datetime,
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the tokens by the id of their event, and by the same id why one cannot be made."""
    sets, unfit = {}, {}
    for event_id, event in found:
        if event is None:
            unfit[event_id] = "the stored event cannot be read"
            continue
        try:
            sets[event_id] = issuer.token(event, audience, now)
        except Exception as error:  # the stored event may be of any shape
            unfit[event_id] = "no token can be made of the event"
            log.error("event %s: %s: %s", event_id, unfit[event_id], unforeseen(error))  # noqa: TRY400
    return sets, unfit


def _wait_for_events(
    deliveries: Deliveries, limit: int
) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Wait up to :data:`LONGEST_POLL` for events; return none at once if no slot is free.

    RFC 8936 §2.2 leaves it to the two parties how long a poll is held open.
    """
    found: list[tuple[str, Mapping[str, Any] | None]] = []
    with POLLS.place() as may_wait:
        deadline = time.monotonic() + LONGEST_POLL
        while may_wait and not found and time.monotonic() < deadline:
            with cpu.waiting():
                time.sleep(BETWEEN_LOOKS)
            found = deliveries.waiting(POLL, limit)
    return found


def _replay(call: Call) -> ScimResponse:
    require_method(call.request, "POST")
    body = json_object(call.request.body)
    ids, failed = body.get("ids"), body.get("failed") is True
    has_ids = isinstance(ids, list) and all(type(each) is int and 0 < each < 2**53 for each in ids)
    if failed == has_ids or (has_ids and len(ids or []) > 1000):
        raise InvalidValueException(
            detail='Say which: {"ids": [1, 2]}, at most 1000, or {"failed": true}'
        )
    count = Deliveries(call.provisioning.database()).replay(
        None if failed else ids, datetime.now(UTC)
    )
    return json_answer({"replayed": count})


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


ENDPOINTS: Mapping[str, Endpoint] = {
    "/Events/chain": Endpoint(EVENTS, _chain),
    "/Events/deliveries": Endpoint(EVENTS, _page),
    "/Events/deliveries/replay": Endpoint(ADMIN, _replay),
    "/Events/poll": Endpoint(EVENTS, _poll),
    "/Events/tokens": Endpoint(EVENTS, _tokens),
}
