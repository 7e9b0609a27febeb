"""The endpoint that sums a tenant up for its administrator.

``GET /Overview``
    ``{"people", "groups", "suspended", "lastRequest", "drift", "quarantine", "deliveries", "day",
    "version", "now"}``: numbers of resources and of suspended users; the last request of a provider
    as ``GET /Requests`` has it, or null; ``{"state", "held"}`` of the quarantine; numbers of
    deliveries ``{"pending", "dead"}``; and for each of the last 24 hours, the present one last,
    ``{"hour", "requests", "failed", "changes"}``: SCIM requests, those that failed, and events in
    the audit trail. ``drift`` has ``{"total", "byKind", "lastPass"}``: the differences that the
    last pass over all users found, and that pass as ``GET /Drift`` shows it; null before the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from scim2_server.responses import ScimResponse
from sqlalchemy import Select, func, literal_column, select

from kong_scim import __version__
from kong_scim.auth.scopes import ADMIN
from kong_scim.bridge import BRIDGE_VERSION, Dialect
from kong_scim.directory import queries
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.kinds import KONG_SCHEMA
from kong_scim.directory.related import InOrder
from kong_scim.directory.statements import Statement
from kong_scim.directory.tables import resources, values
from kong_scim.directory.values import instant
from kong_scim.endpoints.call import Call, Endpoint, json_answer, require_method
from kong_scim.events.trail import Trail
from kong_scim.events.webhooks.deliveries import Deliveries
from kong_scim.provider_log import log as provider_log
from kong_scim.sync.drift_state import DriftState

HOURS = 24
"""Hours of the chart."""


def _overview(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    provisioning, now = call.provisioning, datetime.now(UTC)
    database = provisioning.database()
    provider_log.write_waiting(database, patience=provider_log.PATIENCE)
    users, groups = (provisioning.kinds.in_role(role).name for role in ("User", "Group"))
    (people,), (grouped,), (suspended,) = database.query(
        [
            database.bind(queries.COUNT, type=users),
            database.bind(queries.COUNT, type=groups),
            database.bind(_SUSPENDED),
        ]
    )
    return json_answer(
        {
            "people": int(people["total"]),
            "groups": int(grouped["total"]),
            "suspended": int(suspended["total"]),
            "lastRequest": provider_log.last(database),
            "drift": DriftState(database).summary(),
            "quarantine": provisioning.quarantine(call.origin).summary(),
            "deliveries": Deliveries(database).unsent(),
            "day": _day(database, Trail(database, provisioning.event_kind), now),
            "version": {
                "plugin": __version__,
                "bridge": str(BRIDGE_VERSION),
                "kong": provisioning.host.kong_version,
            },
            "now": provider_log.moment(instant(now)),
        }
    )


def _day(database: TenantDatabase, trail: Trail, now: datetime) -> list[dict[str, Any]]:
    """Return the numbers of each hour, those without any included."""
    hours = [provider_log.hour_of(now - timedelta(hours=ago)) for ago in reversed(range(HOURS))]
    requests, changes = provider_log.by_hour(database, hours[0]), trail.by_hour(hours[0])
    return [
        {
            "hour": f"{hour}:00:00Z",
            "requests": requests.get(hour, (0, 0))[0],
            "failed": requests.get(hour, (0, 0))[1],
            "changes": changes.get(hour, 0),
        }
        for hour in hours
    ]


def _suspended(dialect: Dialect) -> Select[Any]:
    tie = resources.c.id == values.c.resource_id
    in_order = InOrder(values, resources, tie)
    return (
        select(func.count().label("total"))
        .select_from(in_order if dialect == "sqlite" else values.join(resources, tie))
        .where(
            values.c.attr == f"{KONG_SCHEMA}:suspended".lower(),
            values.c.num == literal_column("1"),
            queries.IN_SCOPE_BY_ID,
        )
    )


_SUSPENDED = Statement(_suspended)
"""Counts the users whose consumer is suspended, as ``total``."""

ENDPOINTS: Mapping[str, Endpoint] = {"/Overview": Endpoint(ADMIN, _overview)}
