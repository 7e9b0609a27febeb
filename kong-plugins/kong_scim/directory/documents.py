"""Turns a resource into the document of its row, and back.

The document leaves out attributes that are columns or membership rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from scim2_models import Path, Resource, ResponseParameters, ScimPolicy
from scim2_models import default_comparison_key as comparison_key
from scim2_models.path import AttributeBinding
from scim2_server.utils import parametrize

from kong_scim.directory.kinds import KONG_SCHEMA, Kind
from kong_scim.directory.ports import GroupRef
from kong_scim.directory.values import drop_write_only, instant

# A document with an extension that is no longer served must stay readable.
_LENIENT = ScimPolicy(unknown=ScimPolicy.Unknown.ignore)


@dataclass(frozen=True)
class StoredRow:
    """A row of ``scim_resources``.

    :param doc: The resource in SCIM JSON form, without ``id``, ``meta``, ``groups``, ``members``.
    :param created: In the form of :func:`~kong_scim.directory.values.instant`, as ``modified``.
    """

    id: str
    type: str
    version: int
    doc: Mapping[str, Any]
    created: str
    modified: str

    @classmethod
    def read(cls, columns: Mapping[str, Any]) -> StoredRow:
        """Return the row for the columns that a database returned."""
        return cls(
            id=columns["id"],
            type=columns["type"],
            version=int(columns["version"]),
            doc=json.loads(columns["doc"]),
            created=columns["created"],
            modified=columns["modified"],
        )

    @property
    def etag(self) -> str:
        """The version as SCIM shows it (RFC 7644 §3.14)."""
        return f'W/"{self.version}"'

    @property
    def display(self) -> str | None:
        """The name by which the resource is shown: its displayName, or else its userName."""
        display = self.doc.get("displayName") or self.doc.get("userName")
        return None if display is None else str(display)

    def changed(self, *, doc: Mapping[str, Any] | None = None, now: datetime) -> StoredRow:
        """Return the row of the next version, with the same document if none is given."""
        return replace(
            self,
            doc=self.doc if doc is None else doc,
            version=self.version + 1,
            modified=instant(now),
        )

    def text(self) -> str:
        """Return the document as the JSON text that is stored."""
        return json.dumps(self.doc, separators=(",", ":"), ensure_ascii=False)

    def display_key(self, kind: Kind) -> str | None:
        """Return the display in the form for comparisons."""
        if self.display is None:
            return None
        binding = parametrize(Path, kind.model)("displayName").resolve()
        if not isinstance(binding, AttributeBinding):
            return self.display
        return comparison_key(binding, self.display)


def document(kind: Kind, resource: Resource[Any]) -> dict[str, Any]:
    """Return the document of a resource, without empty values (RFC 7643 §2.5)."""
    dumped = resource.model_dump(mode="json")
    drop_write_only(kind, dumped)
    for column in filter(None, ("id", "meta", kind.computed)):
        dumped.pop(column, None)
    return dict(dumped)


def model(
    kind: Kind,
    row: StoredRow,
    *,
    groups: Iterable[Mapping[str, Any]] | None = None,
    members: Iterable[Mapping[str, Any]] | None = None,
) -> Resource[Any]:
    """Return a resource from its row, with the values of its memberships if they are given."""
    data = dict(row.doc)
    data["id"] = row.id
    data["meta"] = {
        "resourceType": row.type,
        "created": row.created,
        "lastModified": row.modified,
        "version": row.etag,
    }
    if groups:
        data["groups"] = list(groups)
    if members:
        data["members"] = list(members)
    return kind.model.model_validate(data, scim_policy=_LENIENT)


def group_values(group_kind: Kind, groups: Iterable[GroupRef]) -> list[dict[str, Any]]:
    """Return a user's ``groups`` (RFC 7643 §4.1.2); references are relative to the base URL."""
    return [
        {
            "value": group.id,
            "$ref": f"{group_kind.endpoint}/{group.id}",
            "display": group.display_name,
            "type": "direct" if group.direct else "indirect",
        }
        for group in groups
    ]


def with_record(
    kind: Kind, doc: Mapping[str, Any], record: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return a document with this record as its Kong extension, in place of any other."""
    bare = {key: value for key, value in doc.items() if key.lower() != KONG_SCHEMA.lower()}
    if not kind.has_record:
        return bare
    schemas = [each for each in bare.get("schemas", []) if each.lower() != KONG_SCHEMA.lower()]
    if record:
        bare[KONG_SCHEMA] = dict(record)
        schemas.append(KONG_SCHEMA)
    bare["schemas"] = schemas
    return bare


def record_of(doc: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the Kong extension of a document, or None."""
    found: Mapping[str, Any] | None = doc.get(KONG_SCHEMA)
    return found


def shows_memberships(kind: Kind, parameters: ResponseParameters[Any] | None) -> bool:
    """Tell whether a response has the attribute that is computed from membership rows."""
    if kind.computed is None:
        return False
    if parameters is None:
        return True
    return _shows(
        kind.model,
        kind.computed,
        None if parameters.attributes is None else tuple(map(str, parameters.attributes)),
        tuple(map(str, parameters.excluded_attributes or ())),
    )


@lru_cache(maxsize=1024)
def _shows(
    model: type[Resource[Any]],
    computed: str,
    attributes: tuple[str, ...] | None,
    excluded: tuple[str, ...],
) -> bool:
    bound = parametrize(Path, model)
    kept = bound.iter_paths(
        include_subattributes=False,
        attributes=None if attributes is None else [bound(each) for each in attributes],
        excluded_attributes=[bound(each) for each in excluded],
    )
    return any(path == computed or path.endswith(f":{computed}") for path in kept)
