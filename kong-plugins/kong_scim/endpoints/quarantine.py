"""The endpoint of the quarantine.

``GET /Quarantine``
    The state of the tenant's quarantine: :meth:`.QuarantineDecisions.show`.
``POST /Quarantine`` with ``{"decision": "approve", "minutes": 60}``
    Decides on the quarantine: ``approve`` (for these minutes), ``reject`` or ``lift``.
"""

from __future__ import annotations

from collections.abc import Mapping

from scim2_models import InvalidValueException
from scim2_server.responses import ScimResponse

from kong_scim.auth.scopes import ADMIN
from kong_scim.endpoints.call import Call, Endpoint, json_answer, json_object, require_method
from kong_scim.quarantine.decisions import DECISIONS

LONGEST_APPROVAL = 10_080
"""Minutes that an approval may last: a week."""


def _quarantine(call: Call) -> ScimResponse:
    quarantine = call.provisioning.quarantine(call.origin)
    if call.request.method in {"GET", "HEAD"}:
        return json_answer(quarantine.show())
    require_method(call.request, "POST", also=("GET", "HEAD"))
    body = json_object(call.request.body)
    decision, minutes = body.get("decision"), body.get("minutes")
    timed = minutes is None or (type(minutes) is int and 0 < minutes <= LONGEST_APPROVAL)
    if decision not in DECISIONS or not timed or (minutes and decision != "approve"):
        raise InvalidValueException(
            detail='decision is one of "approve", "reject" and "lift"; an approval may have '
            f"minutes, a number up to {LONGEST_APPROVAL}"
        )
    return json_answer(quarantine.decide(decision, call.identity.token, minutes))


ENDPOINTS: Mapping[str, Endpoint] = {"/Quarantine": Endpoint(ADMIN, _quarantine)}
