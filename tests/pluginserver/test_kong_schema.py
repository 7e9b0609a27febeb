"""Kong's schema, the JSON Schema and the docs say the same as the model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kong_scim.config import kong_schema
from kong_scim.config.plugin import ConfigurationError, PluginConfig, parse

ROOT = Path(__file__).parents[2]

TOKENS = [{"name": "okta", "value": "secret"}]

# What a field may have: kong/db/schema/metaschema.lua.
TYPES = {"string", "integer", "boolean", "array", "map", "record"}
ATTRIBUTES = {
    *("type", "required", "description", "default", "encrypted", "referenceable"),
    *("between", "len_min", "len_max", "match", "match_any", "one_of", "not_one_of", "is_regex"),
    *("elements", "keys", "values", "fields", "entity_checks"),
}


def walk(fields: list[dict[str, Any]]):
    for entry in fields:
        ((name, field),) = entry.items()
        yield name, field
        nested = [field.get(key) for key in ("elements", "keys", "values") if key in field]
        for part in nested:
            yield f"{name} (nested)", part
        for part in [field, *nested]:
            yield from walk(part.get("fields", []))


def kong_defaults(fields: list[dict[str, Any]]) -> dict[str, Any]:
    """What Kong makes of an empty record (``handle_missing_field`` in kong/db/schema/init.lua)."""
    values = {}
    for entry in fields:
        ((name, field),) = entry.items()
        if "default" in field:
            values[name] = field["default"]
        elif field.get("required") and field["type"] == "record":
            values[name] = kong_defaults(field["fields"])
    return values


def test_kongs_defaults_are_the_models():
    filled = {**kong_defaults(kong_schema.fields()), "tokens": TOKENS}
    assert parse(filled) == parse({"tokens": TOKENS})
    assert set(filled) >= PluginConfig.model_fields.keys() - {"base_url"}


def test_every_field_is_in_words_kong_knows():
    found = dict(walk(kong_schema.fields()))
    assert PluginConfig.model_fields.keys() <= found.keys()
    for name, field in found.items():
        assert field["type"] in TYPES, name
        assert field.keys() <= ATTRIBUTES, name
        assert field.get("default", "") is not None, name
        assert 10 <= len(field.get("description", "some words")) <= 500, name


def test_a_regular_expression_of_the_model_is_a_lua_pattern_in_kong():
    """A new field with a ``pattern`` needs a ``kong`` of its own, or Kong lets all through."""

    def patterned(schema: Any):
        if isinstance(schema, dict):
            if "pattern" in schema and isinstance(schema["pattern"], str):
                yield schema
            for value in schema.values():
                yield from patterned(value)

    found = list(patterned(PluginConfig.model_json_schema()))
    assert len(found) == 4
    for schema in found:
        assert "match" in schema["kong"]


def test_secrets_may_be_references_and_are_encrypted():
    found = dict(walk(kong_schema.fields()))
    secrets = {"value", "secret", "signing_key"}
    assert {name for name, field in found.items() if "referenceable" in field} == secrets
    assert {name for name, field in found.items() if field.get("encrypted")} == secrets


@pytest.mark.parametrize(
    ("config", "valid"),
    [
        ({"tokens": TOKENS}, True),
        ({"tokens": TOKENS, "groups": {"map": {"A": "a"}, "pattern": None}}, True),
        ({"tokens": TOKENS, "consumer": {"custom_id": ""}, "on_deactivate": "suspend"}, True),
        ({"tokens": [{"name": "a", "sha256": "abc"}]}, False),
        ({"tokens": [{"name": "a", "value": "x", "scopes": ["scim:everything"]}]}, False),
        ({"auth": "kong", "group_scopes": {"idp": ["scim:users"]}}, True),
        ({"tokens": TOKENS, "jwt": {"algorithms": ["HS256"]}}, False),
        ({"tokens": [{"name": "a b", "value": "x"}]}, False),
        ({"tokens": [{"name": "a", "value": ""}]}, False),
        ({"tokens": TOKENS, "tenant": "../x"}, False),
        ({"tokens": TOKENS, "on_deactivate": "ignore"}, False),
        ({"tokens": TOKENS, "max_results": 0}, False),
        ({"tokens": TOKENS, "require_https": "perhaps"}, False),
        ({"tokens": TOKENS, "groups": {"map": {"A": 1}}}, False),
    ],
)
def test_the_json_schema_judges_as_the_model_does(config, valid):
    validator = jsonschema.Draft202012Validator(kong_schema.json_schema())
    assert validator.is_valid(config) is valid
    if valid:
        parse(config)
    else:
        with pytest.raises(ConfigurationError):
            parse(config)


def test_the_json_schema_refuses_a_field_that_is_misspelt():
    validator = jsonschema.Draft202012Validator(kong_schema.json_schema())
    assert not validator.is_valid({"tokens": TOKENS, "tenent": "acme"})
    assert not validator.is_valid({"tokens": TOKENS, "groups": {"mapp": {}}})
    assert "kong" not in json.dumps(kong_schema.json_schema()["properties"]["tenant"])


@pytest.mark.parametrize(
    ("option", "file"),
    [
        ("--json-schema", "schemas/config.schema.json"),
        ("--lua", "kong-plugins/kong/plugins/scim/schema.lua"),
        ("--markdown", "docs/configuration.md"),
    ],
)
def test_the_generated_file_is_up_to_date(option, file):
    """``make docs`` writes it."""
    command = [sys.executable, "-m", "kong_scim.config.kong_schema", option]
    made = subprocess.run(command, cwd=ROOT / "kong-plugins", capture_output=True, check=True)
    assert made.stdout.decode() == (ROOT / file).read_text()
