"""Turns a resource of scim2-models into a document and back, and shows memberships as SCIM does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import ValidationError
from scim2_models import Path, Resource, ResponseParameters, ScimPolicy
from scim2_server.utils import parametrize

from kong_scim.directory.kinds import KONG_SCHEMA, Kind
from kong_scim.directory.ports import GroupRef
from kong_scim.directory.shapes import stored_shape
from kong_scim.directory.stored_row import Document, StoredRow
from kong_scim.directory.values import drop_write_only

# A document with an extension that is no longer served must stay readable.
_LENIENT = ScimPolicy(unknown=ScimPolicy.Unknown.ignore)


class Content(NamedTuple):
    """What a client gives a resource: its document, and of a group the ids of its members.

    :param members: Each id once.
    """

    doc: Document
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """A member of a group, as its row in the database says.

    :param endpoint: The endpoint of its resource type, such as ``Users``.
    :param display: Its name; None if it has none.
    """

    id: str
    type: str
    endpoint: str
    display: str | None


@dataclass(frozen=True)
class Found:
    """A resource of the directory, with its memberships.

    :param groups: Every group that a user is in. Empty also if they were not read.
    :param members: The direct members of a group. Empty also if they were not read.
    """

    kind: Kind
    row: StoredRow
    groups: tuple[GroupRef, ...] = ()
    members: tuple[Member, ...] = ()

    def model(self) -> Resource[Any]:
        """Return the resource as a model of scim2-models."""
        groups = group_values(self.groups)
        return model(self.kind, self.row, groups=groups, members=member_values(self.members))


def document(kind: Kind, resource: Resource[Any]) -> Document:
    """Return the document of a resource, without empty values (RFC 7643 §2.5)."""
    dumped = resource.model_dump(mode="json")
    drop_write_only(kind, dumped)
    for column in filter(None, ("id", "meta", kind.computed)):
        dumped.pop(column, None)
    return dict(dumped)


def content(kind: Kind, resource: Resource[Any]) -> Content:
    """Return the content of a resource."""
    members = getattr(resource, "members", None) or ()
    ids = dict.fromkeys(member.value for member in members if member.value)
    return Content(document(kind, resource), tuple(ids))


def content_model(kind: Kind, content: Content) -> Resource[Any]:
    """Return the model of a content, without id and meta."""
    members = [{"value": each} for each in content.members]
    data = {**content.doc, **({"members": members} if members else {})}
    return kind.model.model_validate(data, scim_policy=_LENIENT)


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


def check_form(kind: Kind, row: StoredRow) -> None:
    """Check that a document has the form of its resource type.

    :raises Exception: When it has not.
    """
    try:
        stored_shape(kind.model).validate_python(row.doc)
    except ValidationError:
        model(kind, row)  # it takes what else means the same, such as names in another case


def group_values(groups: Iterable[GroupRef]) -> list[dict[str, Any]]:
    """Return a user's ``groups`` (RFC 7643 §4.1.2); references are relative to the base URL."""
    return [
        {
            "value": group.id,
            "$ref": f"Groups/{group.id}",
            "display": group.display_name,
            "type": "direct" if group.direct else "indirect",
        }
        for group in groups
    ]


def member_values(members: Iterable[Member]) -> list[dict[str, Any]]:
    """Return a group's ``members`` (RFC 7643 §4.2); references are relative to the base URL."""
    return [
        {
            "value": member.id,
            "$ref": f"{member.endpoint}/{member.id}",
            "type": member.type,
            "display": member.display,
        }
        for member in members
    ]


def with_record(kind: Kind, doc: Document, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a document with this record as its Kong extension, in place of any other.

    The extension comes last, so that it can be cut off the document's text.
    """
    bare = {key: value for key, value in doc.items() if not _is_record(key)}
    if not kind.has_record:
        return bare
    schemas = [each for each in bare.get("schemas", []) if not _is_record(each)]
    if record:
        bare[KONG_SCHEMA] = dict(record)
        schemas.append(KONG_SCHEMA)
    bare["schemas"] = schemas
    return bare


def _is_record(urn: str) -> bool:
    return len(urn) == len(KONG_SCHEMA) and urn.lower() == KONG_SCHEMA.lower()


def record_of(doc: Document) -> Mapping[str, Any] | None:
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
