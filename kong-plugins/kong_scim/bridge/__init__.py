"""The typed client of ``kong.scim.*``: the only module that knows the wire of scim-bridge.

The bridge (``kong/plugins/scim-bridge``) puts its functions on Kong's global table, which the
plugin server reaches with the ordinary PDK object: ``kong.scim.begin`` and ``kong.scim.body``, or
``kong.scim.wake`` (and ``kong.scim.answer_admin_request``) where there is no request of a client,
``kong.scim.query``, ``kong.scim.commit``, ``kong.scim.request_tick`` and ``kong.scim.report``. Each
takes one JSON text and answers one JSON text, because every other value is changed on the way (an
empty table becomes ``[]``, integers become floats, trailing nulls vanish). An answer is ``{"ok":
...}`` or ``{"error": {"code", "name", "message", "fields", "step", "label"}}``.
"""

from kong_scim.bridge.client import BRIDGE_VERSION, Bridge, Pdk
from kong_scim.bridge.messages import (
    Acl,
    AdminRequest,
    BridgeError,
    BridgeUnavailableError,
    Claim,
    Consumer,
    Delete,
    Dialect,
    EntityCounter,
    EntityCounts,
    Epoch,
    Host,
    KongCaller,
    LastEventTag,
    Opening,
    Param,
    Request,
    Revoke,
    RollbackDryRun,
    Rows,
    Sample,
    Scalar,
    Sql,
    Step,
    StepResult,
    Upsert,
    Waking,
)

__all__ = [
    "BRIDGE_VERSION",
    "Acl",
    "AdminRequest",
    "Bridge",
    "BridgeError",
    "BridgeUnavailableError",
    "Claim",
    "Consumer",
    "Delete",
    "Dialect",
    "EntityCounter",
    "EntityCounts",
    "Epoch",
    "Host",
    "KongCaller",
    "LastEventTag",
    "Opening",
    "Param",
    "Pdk",
    "Request",
    "Revoke",
    "RollbackDryRun",
    "Rows",
    "Sample",
    "Scalar",
    "Sql",
    "Step",
    "StepResult",
    "Upsert",
    "Waking",
]
