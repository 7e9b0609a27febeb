"""Makes Kong's schema of the plugin, its JSON Schema and its reference page from one pydantic
model.

``python -m kong_scim.config.kong_schema`` with ``--kong``, ``--lua``, ``--json-schema`` or
``--markdown`` writes one of them to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from kong_scim.config.plugin import PluginConfig

JsonSchema = dict[str, Any]

# From JSON Schema's name of a limit to Kong's (kong/db/schema/metaschema.lua). `pattern` is not
# here, since Kong takes Lua patterns: a field gives its own under `kong`.
_LIMITS = {
    "minLength": "len_min",
    "maxLength": "len_max",
    "minItems": "len_min",
    "maxItems": "len_max",
    "enum": "one_of",
}

_HEADING = """\
# Configuration

The fields of the plugin's `config`. This page is made by `make docs` from `kong_scim/config/`, and
so are Kong's schema of the plugin and, for editors, `schemas/config.schema.json`.

Kong refuses wrong values with the field's name, when it loads a configuration and in its Admin API.
What its schema cannot say (two tokens of one name, a replacement without its bracket) is a line in
the plugin server's log when the instance starts, and a 503 on each request that says the same.

| Field | Type | Default | What it does |
|---|---|---|---|
"""

_LUA = """\
-- The schema of the configuration, made by `make docs` from kong_scim/config/.
-- Kong's command line reads it here, where it has no plugin server to ask (see handler.lua).
-- luacheck: no max line length

local cjson = require "cjson"
local typedefs = require "kong.db.schema.typedefs"


return {
  name = "scim",
  fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = { type = "record", fields = cjson.decode([==[
%s
]==]) } },
  },
}
"""


def fields() -> list[dict[str, Any]]:
    """Return the fields of ``config`` as Kong's schemas declare them, one single-key dict each.

    A field with a default is ``required`` there. Kong fills it in before it checks, and refuses a
    null, which :func:`kong_scim.config.plugin.parse` would take as the default.
    """
    return _fields(_inlined())


def lua() -> str:
    """Return the text of ``kong/plugins/scim/schema.lua``."""
    return _LUA % json.dumps(fields(), indent=1)


def json_schema() -> JsonSchema:
    """Return the JSON Schema of ``config``. Like Kong, it refuses unknown fields."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_public(_inlined()),
        "title": "Configuration of the Kong plugin scim",
    }


def markdown() -> str:
    """Return the text of ``docs/configuration.md``."""
    return _HEADING + "".join(f"| {' | '.join(row)} |\n" for row in _rows("", _inlined()))


def _inlined() -> JsonSchema:
    schema = PluginConfig.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        name = value.get("$ref", "").removeprefix("#/$defs/")
        merged = {**definitions.get(name, {}), **value}
        return {key: resolve(item) for key, item in merged.items() if key != "$ref"}

    resolved: JsonSchema = resolve(schema)
    return resolved


def _fields(record: JsonSchema) -> list[dict[str, Any]]:
    required = record.get("required", [])
    return [
        {name: _field(schema, required=name in required)}
        for name, schema in record["properties"].items()
    ]


def _field(schema: JsonSchema, *, required: bool) -> dict[str, Any]:
    field = {"description": schema["description"], **_type(schema)}
    if schema.get("default") is not None:
        field["default"] = schema["default"]
    elif field["type"] == "map" and not required:
        field["default"] = {}
    # Kong fills an absent record with its fields' defaults, but only if the record is required.
    if required or "default" in field or field["type"] == "record":
        field["required"] = True
    return field


def _type(schema: JsonSchema) -> dict[str, Any]:
    shape = _not_null(schema)
    found: dict[str, Any]
    match shape:
        case {"type": "object", "additionalProperties": dict(values)}:
            found = {"type": "map", "keys": {"type": "string"}, "values": _type(values)}
        case {"type": "object"}:
            found = {"type": "record", "fields": _fields(shape)}
        case {"type": "array"}:
            found = {"type": "array", "elements": _type(shape["items"])}
        case {"type": "string"}:
            found = {"type": "string", "len_min": 0}  # Kong's own default is 1
        case _:
            found = {"type": shape["type"]}
    found |= {kong: shape[name] for name, kong in _LIMITS.items() if name in shape}
    if "minimum" in shape:
        found["between"] = [shape["minimum"], shape["maximum"]]
    found |= schema.get("kong", {})
    return found


def _not_null(schema: JsonSchema) -> JsonSchema:
    """Return the schema, or for a union with null the schema of the other type."""
    shape: JsonSchema = next(
        (half for half in schema.get("anyOf", []) if half["type"] != "null"), schema
    )
    return shape


def _public(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_public(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    public = {key: _public(value) for key, value in schema.items() if key != "kong"}
    if "properties" in public:
        public["additionalProperties"] = False
    return public


def _rows(prefix: str, record: JsonSchema) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, schema in record["properties"].items():
        shape = _not_null(schema)
        rows.append(
            (
                f"`{prefix}{name}`",
                _type_name(shape),
                _default(schema, required=name in record.get("required", [])),
                schema["description"].replace("|", "\\|"),
            )
        )
        if "properties" in shape:
            rows += _rows(f"{prefix}{name}.", shape)
        if "properties" in shape.get("items", {}):
            rows += _rows(f"{prefix}{name}[].", shape["items"])
    return rows


def _type_name(shape: JsonSchema) -> str:
    match shape:
        case {"enum": values}:
            return "one of " + ", ".join(f"`{value}`" for value in values)
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"map of string to {_type_name(values)}"
        case {"type": "object"}:
            return "record"
        case {"type": "array"}:
            return f"{shape['minItems']} to {shape['maxItems']} × {_type_name(shape['items'])}"
        case {"minimum": low, "maximum": high}:
            return f"{shape['type']}, {low} to {high}"
    return str(shape["type"])


def _default(schema: JsonSchema, *, required: bool) -> str:
    if required:
        return "**required**"
    if schema.get("default") is None:
        return ""
    return f"`{json.dumps(schema['default'])}`"


def main() -> None:
    """Write the chosen document to stdout."""
    parser = argparse.ArgumentParser(
        prog="python -m kong_scim.config.kong_schema", description=__doc__
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kong", action="store_true", help="the fields, as Kong's schema has them")
    what.add_argument("--lua", action="store_true", help="kong/plugins/scim/schema.lua")
    what.add_argument("--json-schema", action="store_true", help="schemas/config.schema.json")
    what.add_argument("--markdown", action="store_true", help="docs/configuration.md")
    options = parser.parse_args()
    if options.markdown:
        sys.stdout.write(markdown())
    elif options.lua:
        sys.stdout.write(lua())
    else:
        json.dump(fields() if options.kong else json_schema(), sys.stdout, indent=2)
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
