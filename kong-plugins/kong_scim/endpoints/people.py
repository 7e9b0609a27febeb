"""The endpoint that finds people, and says of one what access it has and why.

``GET /People?search=ali&count=50&cursor=``
    The users of whom a name begins with the text (:data:`.listing.SEARCHED`), or all in the order
    of their creation: ``{"people": [{"id", "userName", "displayName", "active", "consumer"}],
    "next"}``. ``consumer`` is the username of the consumer that the user was given, or null. A page
    of a search may be short or empty although there is a next one.
``GET /People?id=ID``
    One user: ``{"id", "userName", "active", "resource", "consumer", "groups", "credentials",
    "suspended"}``. ``consumer`` is what Kong has now, or null. Each of ``groups`` is an ACL group
    ``{"name", "wanted", "found", "reasons": [{"via", "rule", "detail"}]}``: whether the user should
    have it, whether Kong has it, and the :class:`.Reason` of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from scim2_models import InvalidValueException, SCIMException
from scim2_server.responses import ScimResponse

from kong_scim.auth.scopes import ADMIN
from kong_scim.bridge import Consumer
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory import listing, queries
from kong_scim.directory.context import existing_row, graph_of
from kong_scim.directory.documents import Found
from kong_scim.directory.stored_row import StoredRow
from kong_scim.endpoints.call import (
    Call,
    Endpoint,
    json_answer,
    page_size,
    query_of,
    require_method,
)
from kong_scim.protocol.answers import resource_text
from kong_scim.sync.reasons import Reason, reasons
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.wanted import SUSPENDED, wanted

MOST = 200
"""Users of one page at most."""

USUAL = 50


def _people(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    query = query_of(call.request)
    if "id" in query:
        return json_answer(_person(call, query["id"]))
    text = query.get("search", "").strip()
    if len(text) > listing.LONGEST:
        raise InvalidValueException(
            detail=f"search has over {listing.LONGEST} characters: search for less"
        )
    place = listing.Place.of(query.get("cursor"))
    limit = page_size(query, USUAL, MOST)
    kind, database = call.provisioning.kinds.in_role("User"), call.provisioning.database()
    if text:
        rows, following = listing.by_name(database, kind, text, place, limit)
    else:
        rows, following = listing.in_order_of_creation(database, kind, place, limit)
    return json_answer(
        {
            "people": [_listed(row) for row in rows],
            "next": following.cursor() if following else None,
        }
    )


def _listed(row: StoredRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "userName": row.doc.get("userName"),
        "displayName": row.doc.get("displayName"),
        "active": row.doc.get("active") is True,
        "consumer": KongUserRecord.stored(row.doc).username,
    }


def _person(call: Call, user_id: str) -> dict[str, Any]:
    """Return one user.

    :raises ~scim2_models.NotFoundException: When it does not exist.
    """
    provisioning = call.provisioning
    config, database = provisioning.config, provisioning.database()
    kind = provisioning.kinds.in_role("User")
    one = database.bind(queries.ONE, type=kind.name, id=user_id)
    rows, *edges = database.query([one, *queries.edges(database, [user_id])])
    row = existing_row(kind, user_id, rows)
    graph = graph_of(*edges)
    groups, record = graph.groups_of(row.id), KongUserRecord.stored(row.doc)
    consumers = provisioning.consumers([record.consumer_id or row.id])
    consumer = consumers[0] if consumers else None
    credentials = provisioning.credentials([consumer.id]) if consumer else []
    resource = Found(kind, row, groups)
    base_url = config.base_url or call.request.base_url
    wanted_groups = _wanted(config, row, (group.display_name for group in groups))
    return {
        "id": row.id,
        "userName": row.doc.get("userName"),
        "active": row.doc.get("active") is True,
        "resource": json.loads(resource_text(resource, base_url, None)),
        "consumer": consumer and _consumer(consumer),
        "groups": _groups(
            wanted_groups,
            set(consumer.groups) if consumer else set(),
            reasons(config, row.doc, graph.ways(row.id).values()),
        ),
        "credentials": [each.to_json() for each in credentials],
        "suspended": SUSPENDED in consumer.tags if consumer else record.suspended,
    }


def _wanted(config: PluginConfig, row: StoredRow, group_names: Iterable[str]) -> set[str]:
    """Return the ACL groups that a user should have; none if one of its names is impossible."""
    try:
        return set(wanted(config, row, group_names).groups)
    except SCIMException:
        return set()


def _groups(
    wanted_groups: set[str], found: set[str], by_name: Mapping[str, list[Reason]]
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "wanted": name in wanted_groups,
            "found": name in found,
            "reasons": [asdict(reason) for reason in by_name.get(name, [])],
        }
        for name in sorted({*wanted_groups, *found, *by_name})
    ]


def _consumer(consumer: Consumer) -> dict[str, Any]:
    return {
        "id": consumer.id,
        "username": consumer.username,
        "custom_id": consumer.custom_id,
        "tags": list(consumer.tags),
    }


ENDPOINTS: Mapping[str, Endpoint] = {"/People": Endpoint(ADMIN, _people)}
