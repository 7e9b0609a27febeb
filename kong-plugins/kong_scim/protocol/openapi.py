"""Makes the OpenAPI description of the endpoints from the resource models.

For tools that know OpenAPI and not SCIM (contract tests, gateways, portals). SCIM's own discovery,
``/ServiceProviderConfig``, ``/ResourceTypes`` and ``/Schemas``, is what providers read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from scim2_models import Resource, ResourceType, ScimProvider

Json = dict[str, Any]

MEDIA = "application/scim+json"
_MESSAGE = "urn:ietf:params:scim:api:messages:2.0:"

_TYPES: dict[str, Json] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "decimal": {"type": "number"},
    "integer": {"type": "integer"},
    "dateTime": {"type": "string", "format": "date-time"},
    "reference": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
}

_SEARCH: dict[str, Json] = {
    "filter": {"type": "string"},
    "sortBy": {"type": "string"},
    "sortOrder": {"type": "string", "enum": ["ascending", "descending"]},
    "startIndex": {"type": "integer"},
    "count": {"type": "integer"},
    "cursor": {"type": "string"},
}
_PROJECTION: dict[str, Json] = {
    "attributes": {"type": "string"},
    "excludedAttributes": {"type": "string"},
}
_LISTED: dict[str, Json] = {
    name: {"type": "array", "items": {"type": "string"}} for name in _PROJECTION
}


def description(provider: ScimProvider, *, base_url: str, version: str) -> Json:
    """Return the description (OpenAPI 3.1).

    :param base_url: Under which the client knows the endpoints.
    :param version: Of this service.
    """
    types = list(provider.resource_types)
    paths: Json = {}
    for each in types:
        paths |= _resource_paths(each)
    for name in ("ServiceProviderConfig", "ResourceTypes", "Schemas"):
        paths[f"/{name}"] = {"get": _operation(f"get{name}", "discovery", {"200": _any()})}
    search = _operation("searchAll", "search", {"200": _ok("ListResponse")}, body="SearchRequest")
    paths["/.search"] = {"post": search}
    paths["/Bulk"] = {
        "post": _operation("bulk", "bulk", {"200": _ok("BulkResponse")}, body="BulkRequest")
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kong SCIM",
            "version": version,
            "description": "SCIM 2.0 (RFC 7643, RFC 7644) on a route of Kong Gateway.",
        },
        "servers": [{"url": base_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                **_messages(),
                **{str(each.name): _model(provider, each) for each in types},
            },
        },
    }


# -- Paths --------------------------------------------------------------------


def _resource_paths(resource_type: ResourceType) -> Json:
    name, endpoint = str(resource_type.name), str(resource_type.endpoint)
    one, many = {"200": _ok(name)}, {"200": _ok("ListResponse")}
    listed: Json = {"get": _operation(f"list{name}s", name, many, query=_SEARCH | _PROJECTION)}
    single: Json = {
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        ],
        "get": _operation(f"get{name}", name, one, query=_PROJECTION),
    }
    if name != "Event":  # the audit trail is read only
        created = {"201": _ok(name)}
        listed["post"] = _operation(f"create{name}", name, created, body=name)
        single["put"] = _operation(f"replace{name}", name, one, query=_PROJECTION, body=name)
        patched = {**one, "204": {"description": "done"}}
        single["patch"] = _operation(
            f"patch{name}", name, patched, query=_PROJECTION, body="PatchOp"
        )
        single["delete"] = _operation(f"delete{name}", name, {"204": {"description": "deleted"}})
    search = _operation(f"search{name}s", name, many, body="SearchRequest")
    return {
        endpoint: listed,
        f"{endpoint}/{{id}}": single,
        f"{endpoint}/.search": {"post": search},
    }


def _operation(
    operation_id: str,
    tag: str,
    responses: Json,
    *,
    query: dict[str, Json] | None = None,
    body: str | None = None,
) -> Json:
    operation: Json = {
        "operationId": operation_id,
        "tags": [tag],
        "responses": {**responses, "default": _ok("Error")},
    }
    if query:
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": schema} for name, schema in query.items()
        ]
    if body:
        operation["requestBody"] = {"required": True, "content": _content(body)}
    return operation


def _ok(schema: str) -> Json:
    return {"description": schema, "content": _content(schema)}


def _any() -> Json:
    return {"description": "discovery", "content": {MEDIA: {"schema": {"type": "object"}}}}


def _content(schema: str) -> Json:
    return {MEDIA: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


# -- Schemas ------------------------------------------------------------------


def _model(provider: ScimProvider, resource_type: ResourceType) -> Json:
    model = cast(type[Resource[Any]], provider.model_for(resource_type))
    schema = model.to_schema()
    properties: Json = {
        "schemas": {"type": "array", "items": {"type": "string"}},
        "id": {"type": "string", "readOnly": True},
        "externalId": {"type": "string"},
        "meta": {"type": "object", "readOnly": True},
    }
    record = _record(schema.model_dump()["attributes"])
    properties |= record["properties"]
    for extension in model.get_extension_models().values():
        described = extension.to_schema().model_dump()
        properties[described["id"]] = _record(described["attributes"])
    return {**record, "properties": properties, "description": schema.description or ""}


def _record(attributes: Iterable[Json]) -> Json:
    properties, required = {}, []
    for attribute in attributes:
        properties[attribute["name"]] = _attribute(attribute)
        if attribute.get("required"):
            required.append(attribute["name"])
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _attribute(attribute: Json) -> Json:
    if attribute["type"] == "complex":
        schema = _record(attribute.get("subAttributes") or [])
        schema.pop("required", None)  # a PATCH and a provider may leave it out
    else:
        schema = dict(_TYPES.get(attribute["type"], {}))
    if attribute.get("multiValued"):
        schema = {"type": "array", "items": schema}
    if attribute.get("description"):
        schema["description"] = attribute["description"]
    if attribute.get("mutability") == "readOnly":
        schema["readOnly"] = True
    if attribute.get("returned") == "never":
        schema["writeOnly"] = True
    return schema


def _messages() -> dict[str, Json]:
    """Return the messages of RFC 7644."""
    schemas: Json = {"type": "array", "items": {"type": "string"}}
    text, number, anything = {"type": "string"}, {"type": "integer"}, {"type": "object"}
    patched: Json = {
        "type": "object",
        "properties": {"op": {"enum": ["add", "remove", "replace"]}, "path": text, "value": {}},
        "required": ["op"],
    }
    operation: Json = {
        "type": "object",
        "properties": {
            "method": {"enum": ["POST", "PUT", "PATCH", "DELETE"]},
            "path": text,
            "bulkId": text,
            "version": text,
            "data": anything,
        },
        "required": ["method", "path"],
    }
    message: dict[str, dict[str, Json]] = {
        "ListResponse": {
            "totalResults": number,
            "itemsPerPage": number,
            "startIndex": number,
            "nextCursor": text,
            "previousCursor": text,
            "Resources": {"type": "array", "items": anything},
        },
        "SearchRequest": _SEARCH | _LISTED,
        "PatchOp": {"Operations": {"type": "array", "items": patched}},
        "BulkRequest": {
            "Operations": {"type": "array", "items": operation},
            "failOnErrors": number,
        },
        "BulkResponse": {"Operations": {"type": "array", "items": anything}},
        "Error": {"status": text, "scimType": text, "detail": text},
    }
    return {
        name: {
            "type": "object",
            "description": f"{_MESSAGE}{name}",
            "properties": {"schemas": schemas, **properties},
        }
        for name, properties in message.items()
    }
