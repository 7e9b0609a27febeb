"""Reads extensions of the resource types from JSON schema files (RFC 7643 §7).

A file in ``schemas/`` whose top object is a SCIM Schema and whose id contains ``:extension:``
extends the resource type that the last segment of its id names. It is served, validated, stored and
filterable like the rest; no code knows it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from scim2_models import Attribute, Extension, Schema, SCIMException

from kong_scim.config.plugin import ConfigurationError

DIRECTORY_VARIABLE = "KONG_SCIM_SCHEMAS"
SCHEMA_URN = "urn:ietf:params:scim:schemas:core:2.0:Schema"

_EXTENSION_ID = re.compile(r"^urn:[^\s]+:extension:[^\s]+:(?P<resource>[A-Za-z]+)$")
_ATTRIBUTE_NAME = re.compile(r"^(?:\$ref|[A-Za-z][\w-]*)$")


@dataclass(frozen=True)
class SchemaFile:
    """A schema file, read; equal when its name and content are."""

    name: str
    resource: str
    """The resource type it extends, such as ``User``."""

    text: str

    def extension(
        self, resource: type[BaseModel], others: Mapping[str, Sequence[type[Extension]]]
    ) -> type[Extension]:
        """Build the model of the extension.

        :raises ConfigurationError: When no model can be built, or another has its id or name.
        """
        try:
            schema = Schema.model_validate(json.loads(self.text))
            _check_attributes(schema.attributes or [], "")
            extension = Extension.from_schema(schema)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise refused(self.name, f"{where}: {problem['msg']}") from None
        except (ValueError, TypeError, NameError, SCIMException) as error:
            raise refused(self.name, str(error)) from None
        known = [each for extensions in others.values() for each in extensions]
        if any(str(each.__schema__).lower() == str(schema.id).lower() for each in known):
            raise refused(self.name, f"id: {schema.id} is already taken by another schema")
        if any(each.__name__ == extension.__name__ for each in others[self.resource]):
            raise refused(self.name, f"name: {schema.name} is already taken by another extension")
        if hasattr(resource, extension.__name__) or extension.__name__ in resource.model_fields:
            raise refused(self.name, f"name: {schema.name} is a name of the {self.resource} itself")
        return extension


def schemas_directory() -> Path:
    """Return the directory of the schema files.

    It is ``KONG_SCIM_SCHEMAS`` where set, else what the wheel carries, else the repository's
    ``schemas/``.
    """
    given = os.environ.get(DIRECTORY_VARIABLE)
    if given:
        return Path(given)
    package = Path(__file__).resolve().parents[1]
    installed = package / "_schemas"
    return installed if installed.is_dir() else package.parents[1] / "schemas"


def schema_files() -> tuple[SchemaFile, ...]:
    """Read the extensions' files, in the order of their names.

    :raises ConfigurationError: When the directory or a file cannot be read, or a SCIM schema is not
        an extension of a resource type.
    """
    directory = schemas_directory()
    if not directory.is_dir():
        raise ConfigurationError(f"{directory}: there is no such directory of SCIM schemas")
    found = []
    for path in sorted(directory.glob("*.json")):
        file = _read(path)
        if file is not None:
            found.append(file)
    return tuple(found)


def _read(path: Path) -> SchemaFile | None:
    """Return an extension's file, or None for JSON that is no SCIM schema (the plugin's own)."""
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text)
    except (OSError, ValueError) as error:
        raise refused(path.name, str(error)) from None
    if not isinstance(content, dict) or SCHEMA_URN not in (content.get("schemas") or []):
        return None
    urn = content.get("id")
    match = _EXTENSION_ID.match(urn) if isinstance(urn, str) else None
    if match is None or match["resource"] not in ("User", "Group"):
        raise refused(
            path.name,
            "id: name an extension, such as urn:example:scim:schemas:extension:acme:2.0:User; the "
            "last segment is the resource type it extends, User or Group",
        )
    return SchemaFile(path.name, match["resource"], text)


def _check_attributes(attributes: Sequence[Attribute], parent: str) -> None:
    """Refuse what scim2-models would silently leave out."""
    if not attributes:
        raise ValueError(f"{parent or 'attributes'}: name at least one attribute")
    for attribute in attributes:
        if not attribute.name or not _ATTRIBUTE_NAME.match(attribute.name):
            raise ValueError(f"{parent}attributes: {attribute.name!r} is no attribute name")
        name = f"{parent}{attribute.name}"
        if attribute.type is None:
            raise ValueError(f"{name}: type is missing")
        if attribute.type == Attribute.Type.complex:
            _check_attributes(attribute.sub_attributes or [], f"{name}.")


def refused(file: str, reason: str) -> ConfigurationError:
    """Return the error of a schema file that cannot be served."""
    return ConfigurationError(f"schemas/{file}: {reason}")
