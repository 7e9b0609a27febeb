"""Rewrites requests of real providers into the form that the models accept.

The rule behind it: accept what a real client sends when its meaning is plain, answer in strict
SCIM. What providers send, and which test holds it, is in docs/providers/traffic.md.
"""

from __future__ import annotations

import re
from typing import Any

from scim2_models import (
    InvalidSyntaxException,
    InvalidVersionException,
    PatchOp,
    Resource,
)

from kong_scim.protocol.attributes import Schemas, schemas_of
from kong_scim.protocol.leniency.bodies import canonical_resource
from kong_scim.protocol.leniency.patch import lenient_patch
from kong_scim.protocol.leniency.values import is_nothing

SCIM_1 = re.compile(r"urn:scim:schemas:.*:1\.\d", re.IGNORECASE)
"""Schema URNs of SCIM 1.1; those of the drafts of SCIM 2.0 begin alike, and end with 2.0."""


def lenient_resource(
    model: type[Resource[Any]], payload: dict[str, Any], *, creation: bool
) -> dict[str, Any]:
    """Return the body of a POST or PUT in the form that the models accept.

    :param creation: Whether defaults apply: a user who is created without ``active`` is active.
    :raises InvalidSyntaxException: When ``schemas`` is of another resource type.
    :raises InvalidValueException: As :func:`~kong_scim.protocol.leniency.bodies.canonical_resource`
        does.
    :raises InvalidVersionException: When it is a resource of SCIM 1.1.
    """
    schemas = schemas_of(model)
    refuse_scim_1(payload, schemas.urn)
    result = dict(canonical_resource(schemas, payload))
    result["schemas"] = _known_schemas(schemas, result)
    if creation and "active" in model.model_fields and result.get("active") is None:
        result["active"] = True
    return result


def refuse_scim_1(payload: dict[str, Any], wanted: str) -> None:
    """Refuse a body of SCIM 1.1, which cannot be told apart by its attributes.

    See docs/providers/traffic.md#scim-11.

    :raises InvalidVersionException: Naming the version and the schema wanted.
    """
    for name, schemas in payload.items():
        if name.lower() != "schemas" or not isinstance(schemas, list) or not schemas:
            continue
        if all(isinstance(each, str) and SCIM_1.match(each) for each in schemas):
            raise InvalidVersionException(
                detail=f"This is SCIM 1.1, and this service speaks SCIM 2.0: send schemas "
                f'["{wanted}"] (RFC 7643), and set the provider to SCIM version 2.0'
            )


def lenient_patch_message(
    model: type[Resource[Any]], payload: dict[str, Any], max_operations: int
) -> dict[str, Any]:
    """Return the body of a PATCH in the form that the models accept.

    :raises SCIMException: As :func:`~kong_scim.protocol.leniency.patch.lenient_patch` does.
    :raises InvalidVersionException: When it is a resource of SCIM 1.1.
    """
    urn = str(PatchOp.__schema__)
    refuse_scim_1(payload, urn)
    return lenient_patch(model, lenient_message(payload, urn), max_operations)


def lenient_message(payload: dict[str, Any], urn: str) -> dict[str, Any]:
    """Return a message with its own schema alone: the endpoint and the method say what it is.

    Providers list the schema of the resource, or of a draft, or none.
    """
    result = {name: value for name, value in payload.items() if name.lower() != "schemas"}
    result["schemas"] = [urn]
    for name, value in payload.items():
        if name.lower() == "schemas" and not _is_list_of_text(value):
            result["schemas"] = value  # which the model refuses
    return result


def _is_list_of_text(value: Any) -> bool:
    return is_nothing(value) or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


def _known_schemas(schemas: Schemas, resource: dict[str, Any]) -> Any:
    """Return the schemas of this service that a client lists.

    A user by any schema is a user at this endpoint; but what is said to be a group is none
    (docs/providers/traffic.md#schemas-of-its-own).
    """
    listed = resource.get("schemas")
    if isinstance(listed, str):
        listed = [listed] if listed.strip() else []
    if not _is_list_of_text(listed):
        return listed
    known = [schemas.urn_of(each) for each in listed or ()]
    if schemas.urn not in known:
        for each in listed or ():
            core, colon, other = each.strip().rpartition(":")
            if not colon or (schemas.urn_of(core) == schemas.urn and other.isalpha()):
                raise InvalidSyntaxException(
                    detail=f'schemas must list "{schemas.urn}" for this endpoint'
                )
    held = [urn for urn in schemas.attributes if urn in known or resource.get(urn)]
    return list(dict.fromkeys([schemas.urn, *held]))
