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

# JSON Schema's name for a limit, and Kong's (kong/db/schema/metaschema.lua). A regular expression
# has none: Kong takes Lua patterns, which a field gives itself.
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

WIDTH = 100
"""Characters of a line of the schema in Lua."""

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

    A field with a default is ``required`` there: Kong fills it in before it checks, and a null,
    which :func:`kong_scim.config.plugin.parse` would take for the default, is refused.
    """
    return _fields(_inlined())


def lua() -> str:
    """Return ``kong/plugins/scim/schema.lua``."""
    return _LUA % _json_lines(fields())


def _json_lines(value: Any, indent: str = "") -> str:
    """Return JSON with as many members on a line as fit into it, as Kong's own schemas have
    them."""
    if not isinstance(value, list | dict):
        return json.dumps(value)
    inner = indent + " "
    names = (
        [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    )
    items = value.values() if isinstance(value, dict) else value
    lines = [""]
    for name, item in zip(names, items, strict=True):
        part = name + _json_lines(item, inner)
        if lines[-1] and ("\n" in part + lines[-1] or len(inner + lines[-1] + part) > WIDTH):
            lines.append("")
        lines[-1] += f"{part}, "
    start, end = "[]" if isinstance(value, list) else "{}"
    whole = "".join(lines).removesuffix(", ")
    if len(lines) == 1 and "\n" not in whole and len(indent + whole) < WIDTH:
        return f"{start}{whole}{end}"
    text = f"\n{inner}".join(line.rstrip() for line in lines).removesuffix(",")
    return f"{start}\n{inner}{text}\n{indent}{end}"


def json_schema() -> JsonSchema:
    """Return the JSON Schema of ``config``. Unknown fields are refused, as Kong refuses them."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_public(_inlined()),
        "title": "Configuration of the Kong plugin scim",
    }


def markdown() -> str:
    """Return the reference page of the docs."""
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
    # A record that is not given is made of its own fields' defaults, but only if it is required.
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
    """Return the schema itself, or of a union with null the other half."""
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
                _words(shape),
                _default(schema, required=name in record.get("required", [])),
                schema["description"].replace("|", "\\|"),
            )
        )
        if "properties" in shape:
            rows += _rows(f"{prefix}{name}.", shape)
        if "properties" in shape.get("items", {}):
            rows += _rows(f"{prefix}{name}[].", shape["items"])
    return rows


def _words(shape: JsonSchema) -> str:
    match shape:
        case {"enum": values}:
            return "one of " + ", ".join(f"`{value}`" for value in values)
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"map of string to {_words(values)}"
        case {"type": "object"}:
            return "record"
        case {"type": "array"}:
            return f"{shape['minItems']} to {shape['maxItems']} × {_words(shape['items'])}"
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
    """Write what was asked for to stdout."""
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
