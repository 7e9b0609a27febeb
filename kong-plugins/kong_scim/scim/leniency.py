"""Requests as real identity providers send them, in the form the models accept.

The rule behind it: accept what a real client sends when its meaning is plain, answer in strict
SCIM. Numbers after "interop" are those of the real traffic that ``tests/providers`` holds.
"""

from __future__ import annotations

from typing import Any

from scim2_models import (
    InvalidSyntaxException,
    InvalidVersionException,
    PayloadTooLargeException,
    Resource,
    SCIMException,
    ScimProvider,
)

from kong_scim import cpu
from kong_scim.scim.operations import lenient_patch
from kong_scim.scim.shapes import FORGOTTEN, shaped_object

SCIM_1 = "urn:scim:schemas:"
"""How schema URNs of SCIM 1.1 begin."""


PATCHES = 5
"""Times ``max_operations``: so many operations all PATCHes of one bulk request may have."""


def lenient_resource(
    model: type[Resource[Any]], payload: dict[str, Any], *, creation: bool
) -> dict[str, Any]:
    """Return the body of a POST or PUT in the shapes the model declares.

    :param creation: Whether defaults apply: a user who is created without ``active`` is active.
    :raises InvalidSyntaxException: When ``schemas`` does not name the resource's own.
    :raises InvalidVersionException: When it is a resource of SCIM 1.1.
    """
    refuse_scim_1(payload, str(model.__schema__))
    result = {
        name: value
        for name, value in shaped_object(model, payload).items()
        if name.lower() != FORGOTTEN or not isinstance(value, str)
    }
    for name, value in list(result.items()):
        if name.lower() == "schemas":
            result[name] = _known_schemas(model, value)
    for urn, extension in model.get_extension_models().items():
        for name in [each for each in result if each.lower() == urn.lower()]:
            value = result.pop(name)
            result[urn] = shaped_object(extension, value) if isinstance(value, dict) else value
    if creation and "active" in model.model_fields:
        given = [name for name in result if name.lower() == "active"]
        if not given or result[given[0]] is None:
            result[given[0] if given else "active"] = True
    return result


def refuse_scim_1(payload: dict[str, Any], wanted: str) -> None:
    """Refuse a body of SCIM 1.1, which cannot be told apart by its attributes (interop 26).

    :raises InvalidVersionException: Naming the version and the schema wanted.
    """
    for name, schemas in payload.items():
        if name.lower() != "schemas" or not isinstance(schemas, list) or not schemas:
            continue
        if all(isinstance(each, str) and each.lower().startswith(SCIM_1) for each in schemas):
            raise InvalidVersionException(
                detail=f"This is SCIM 1.1, and this service speaks SCIM 2.0: send schemas "
                f'["{wanted}"] (RFC 7643), and set the provider to SCIM version 2.0'
            )


def _known_schemas(model: type[Resource[Any]], listed: Any) -> Any:
    """Return the schemas of this service out of those a client lists (interop 9)."""
    if isinstance(listed, str):
        listed = [listed]
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        return listed
    own = str(model.__schema__)
    known = {urn.lower(): urn for urn in (own, *model.get_extension_models())}
    kept = [known[each.lower()] for each in listed if each.lower() in known]
    if listed and own not in kept:
        raise InvalidSyntaxException(detail=f'schemas must list "{own}" for this endpoint')
    return list(dict.fromkeys(kept))


def lenient_bulk(
    provider: ScimProvider, payload: dict[str, Any], max_operations: int
) -> tuple[dict[str, Any], dict[int, SCIMException]]:
    """Return a bulk request with lenient operations, and what is wrong with those that have none.

    An operation that cannot be read fails alone, with the others done (RFC 7644 §3.7.3).

    :raises PayloadTooLargeException: When there are more operations than ``max_operations``, or
        its PATCHes have more than :data:`PATCHES` times as many.
    """
    result = dict(payload)
    failures: dict[int, SCIMException] = {}
    for name, operations in payload.items():
        if name.lower() != "operations" or not isinstance(operations, list):
            continue
        if len(operations) > max_operations:
            raise PayloadTooLargeException(
                detail=f"The request has {len(operations)} operations, maxOperations is "
                f"{max_operations}: send several requests"
            )
        _refuse_many_patches(operations, PATCHES * max_operations)
        lenient: list[Any] = []
        for index, operation in enumerate(operations):
            cpu.check()
            try:
                lenient.append(_bulk_operation(provider, operation, max_operations))
            except SCIMException as exception:
                lenient.append(operation)
                failures[index] = exception
        result[name] = lenient
    return result, failures


def _refuse_many_patches(operations: list[Any], most: int) -> None:
    """Refuse a bulk request whose PATCHes together have more than so many operations."""
    total = 0
    for operation in operations:
        for name, data in operation.items() if isinstance(operation, dict) else ():
            if name.lower() != "data" or not isinstance(data, dict):
                continue
            total += sum(
                len(value)
                for key, value in data.items()
                if key.lower() == "operations" and isinstance(value, list)
            )
    if total > most:
        raise PayloadTooLargeException(
            detail=f"The PATCHes of the request have {total} operations in all, the limit is "
            f"{most}: send several requests"
        )


def _bulk_operation(provider: ScimProvider, operation: Any, max_operations: int) -> Any:
    if not isinstance(operation, dict):
        return operation
    members = {name.lower(): value for name, value in operation.items()}
    method, path, data = members.get("method"), members.get("path"), members.get("data")
    if not isinstance(method, str) or not isinstance(path, str) or not isinstance(data, dict):
        return operation
    method = method.upper()
    model = provider.model_for_endpoint("/" + path.lstrip("/").partition("/")[0])
    if model is None or not issubclass(model, Resource):
        return operation
    if method == "PATCH":
        data = lenient_patch(model, data, max_operations)
    elif method in ("POST", "PUT"):
        data = lenient_resource(model, data, creation=method == "POST")
    return {
        name: {"method": method, "data": data}.get(name.lower(), value)
        for name, value in operation.items()
    }
