"""The endpoint that `kong-scim doctor` asks what only the gateway knows.

``GET /Doctor``
    Facts about this node of Kong, the route and the tenant: :func:`_facts` has the keys.
    A part that needs the database and cannot be read is ``{"error": sentence}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from scim2_server.responses import ScimResponse

from kong_scim import __version__
from kong_scim.auth.scopes import ADMIN
from kong_scim.bridge import BridgeError
from kong_scim.dbless.local_store import StoreError
from kong_scim.endpoints.call import Call, Endpoint, json_answer, require_method
from kong_scim.events.webhooks.deliveries import Deliveries
from kong_scim.tenant import NoDataError
from kong_scim.worker_slots import MEMORY


def _doctor(call: Call) -> ScimResponse:
    require_method(call.request, "GET")
    return json_answer(_facts(call, call.provisioning.bridge.diagnose()))


def _facts(call: Call, kong: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer.

    :param kong: What :meth:`.Bridge.diagnose` returned.
    """
    config, host, limits = call.provisioning.config, call.provisioning.host, kong["limits"]
    versions = kong["versions"] or {}
    return {
        "now": _written(datetime.now(UTC)),
        "kongNow": _written(datetime.fromtimestamp(kong["now"], UTC)),
        "versions": {
            "kong": host.kong_version,
            "writtenFor": kong["written_for"],
            "pluginServer": __version__,
            "scim": versions.get("scim"),
            "scimBridge": versions.get("scim-bridge"),
        },
        "node": {"id": host.node_id, "role": host.role, "database": host.database},
        "migrations": kong["migrations"],
        "guard": {
            "enabled": kong["guarded"],
            "mode": config.guard,
            "priorities": kong["priorities"] or {},
        },
        "route": {"name": kong["route"], "service": kong["service"]},
        "limits": {
            "clientBodyBufferSize": limits["client_body_buffer_size"],
            "clientMaxBodySize": limits["client_max_body_size"],
            "maxBodySize": config.max_body_size,
            "bodies": MEMORY.capacity,
            "statementSeconds": config.limits.statement_seconds,
            "pgTimeout": limits["pg_timeout"],
        },
        "request": {
            "https": call.request.https,
            "baseUrl": call.request.base_url,
            "clientIp": call.request.client_ip,
            "forwardedProto": call.request.headers.get("x-forwarded-proto"),
        },
        "caller": {"token": call.identity.token, "scopes": sorted(call.identity.scopes)},
        "tenant": config.tenant,
        "auth": config.auth,
        "baseUrl": config.base_url,
        "requireHttps": config.require_https,
        "dryRun": config.dry_run,
        "secretsInClear": list(call.secrets_in_clear),
        "tokens": _part(call.callers),
        "memoryComplete": _part(call.provisioning.is_kong_applied),
        "deliveries": _part(lambda: Deliveries(call.provisioning.database()).unsent()),
    }


def _part(read: Callable[[], Any]) -> Any:
    """Return what a function reads, or why it cannot be read: the rest is of use without it."""
    try:
        return read()
    except (BridgeError, NoDataError, StoreError) as error:
        return {"error": str(error)}


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


ENDPOINTS: Mapping[str, Endpoint] = {"/Doctor": Endpoint(ADMIN, _doctor)}
