"""Makes answers of stored documents: what is stored is the JSON that is shown.

For an answer with the default attributes, id, meta and memberships are put into the stored text,
which is not parsed. For others, the attributes are chosen from the parsed document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

from scim2_models import (
    BaseModel,
    ComplexAttribute,
    Extension,
    ListResponse,
    Path,
    Reference,
    Resource,
    ResponseParameters,
    Returned,
)
from scim2_models.base import _is_returned
from scim2_server.responses import ScimResponse
from scim2_server.utils import parametrize

from kong_scim.directory.documents import Found, group_values, member_values, record_of
from kong_scim.directory.kinds import KONG_SCHEMA
from kong_scim.directory.shapes import names_of
from kong_scim.json_text import to_text
from kong_scim.protocol import references

Plan = Mapping[str, "Plan | None"]
"""The attributes that an answer has, by name; None for a whole one, else its sub-attributes."""

_RECORD = f',"{KONG_SCHEMA}":{{'
"""The beginning of the Kong extension, which is the last attribute of a document. It cannot stand
in a value, where the quotation marks would have backslashes."""

_LISTED_RECORD = f',"{KONG_SCHEMA}"'

_SCHEMAS = '{"schemas":['


class TextResponse(ScimResponse):
    """A response whose body is JSON text already."""

    def __init__(self, status: HTTPStatus, text: str, headers: dict[str, str]) -> None:
        super().__init__(status, None, headers)
        self.text = text


def resource_response(
    found: Found,
    base_url: str,
    parameters: ResponseParameters[Any] | None,
    status: HTTPStatus = HTTPStatus.OK,
) -> TextResponse:
    """Return the response with a resource (RFC 7643 §3.1).

    :param parameters: The attributes that the client requested, or None for the default ones.
    """
    location = _location(found, base_url)
    headers = {"Content-Location": location, "ETag": found.row.etag}
    if status == HTTPStatus.CREATED:
        headers["Location"] = location
    return TextResponse(status, resource_text(found, base_url, parameters), headers)


def page_text(
    found: Iterable[Found],
    base_url: str,
    parameters: ResponseParameters[Any] | None,
    more: Mapping[str, Any],
) -> str:
    """Return a page of a search (RFC 7644 §3.4.2).

    :param more: The other members of the message, such as ``totalResults``.
    """
    resources = [resource_text(each, base_url, parameters) for each in found]
    message = {"schemas": [str(ListResponse.__schema__)], "itemsPerPage": len(resources), **more}
    return f'{to_text(message)[:-1]},"Resources":[{",".join(resources)}]}}'


def resource_text(found: Found, base_url: str, parameters: ResponseParameters[Any] | None) -> str:
    """Return a resource as JSON text."""
    model, text = found.kind.model, found.row.text
    shown = _shown_by_default(model)
    if parameters is not None and (parameters.attributes or parameters.excluded_attributes):
        attributes = tuple(map(str, parameters.attributes or ()))
        excluded = tuple(map(str, parameters.excluded_attributes or ()))
        return to_text(_chosen(found, base_url, plan(model, attributes, excluded)))
    if not shown.is_text or any(name in text for name in shown.references):
        return to_text(_chosen(found, base_url, plan(model, (), ())))
    if shown.has_record:
        cut = text.rfind(_RECORD)
        text = text if cut < 0 else f"{text[:cut]}}}"
    end = text.find("]") + 1
    if not text.startswith(_SCHEMAS) or not end:
        return to_text(_chosen(found, base_url, plan(model, (), ())))
    row, schemas = found.row, text[:end]
    if shown.has_record:
        schemas = schemas.replace(_LISTED_RECORD, "", 1)
    return "".join(
        (
            schemas,
            f',"id":"{row.id}","meta":',
            to_text(_meta(found, base_url)),
            text[end:-1],
            _memberships_text(found, base_url),
            "}",
        )
    )


def _memberships_text(found: Found, base_url: str) -> str:
    if found.groups:
        values = _located(group_values(found.groups), base_url)
        return f',"groups":{to_text(values)}'
    if found.members:
        base = base_url.rstrip("/")
        members = ",".join(
            f'{{"value":"{each.id}","$ref":"{base}/{each.endpoint}/{each.id}","type":"{each.type}"}}'
            for each in found.members
        )
        return f',"members":[{members}]'
    return ""


def _chosen(found: Found, base_url: str, wanted: Plan) -> dict[str, Any]:
    doc, record = dict(found.row.doc), record_of(found.row.doc)
    if record is not None:  # it is stored with its empty lists, which are not shown
        doc[KONG_SCHEMA] = {name: value for name, value in record.items() if value != []}
    whole: dict[str, Any] = {
        "schemas": doc.pop("schemas", []),
        "id": found.row.id,
        "meta": _meta(found, base_url),
        **_published(found.kind.model, doc, base_url),
    }
    if found.groups:
        whole["groups"] = _located(group_values(found.groups), base_url)
    if found.members:
        whole["members"] = _located(member_values(found.members), base_url)
    shown = _projected(whole, wanted)
    hidden = found.kind.model.get_extension_models().keys() - shown.keys()
    shown["schemas"] = [urn for urn in shown["schemas"] if urn not in hidden]
    return shown


def _meta(found: Found, base_url: str) -> dict[str, str]:
    row = found.row
    return {
        "resourceType": row.type,
        "created": _shown_instant(row.created),
        "lastModified": _shown_instant(row.modified),
        "location": _location(found, base_url),
        "version": row.etag,
    }


def _location(found: Found, base_url: str) -> str:
    return f"{base_url.rstrip('/')}/{found.kind.endpoint}/{found.row.id}"


def _shown_instant(stored: str) -> str:
    """Return a date of a fixed width as it is shown, such as ``2026-11-29T11:53:12Z``."""
    return f"{stored[:19]}{stored[19:26] if stored[19:26] != '.000000' else ''}Z"


def _located(values: list[dict[str, Any]], base_url: str) -> list[dict[str, Any]]:
    base = base_url.rstrip("/")
    return [{**each, "$ref": f"{base}/{each['$ref']}"} for each in values]


# -- References -----------------------------------------------------------


@dataclass(frozen=True)
class _Default:
    """How a resource type is shown by default.

    :param is_text: Whether the stored text has what is shown, except for the Kong extension.
    :param references: Names in JSON of attributes that refer to resources, which are shown as URLs.
    """

    is_text: bool
    references: tuple[str, ...]
    has_record: bool


@lru_cache(maxsize=64)
def _shown_by_default(model: type[Resource[Any]]) -> _Default:
    hidden = _complete(model) - plan(model, (), ()).keys()
    partly = {name for name, shown in plan(model, (), ()).items() if shown is not None}
    memberships = {"groups", "members"}
    return _Default(
        is_text=hidden <= {KONG_SCHEMA, "password"} and partly <= memberships,
        references=tuple(sorted({f'"{name}":' for *_, name in _references(model)})),
        has_record=KONG_SCHEMA in hidden,
    )


def _complete(model: type[BaseModel]) -> set[str]:
    return {name for _, name in names_of(model)}


@lru_cache(maxsize=64)
def _references(model: type[Resource[Any]]) -> tuple[tuple[str | None, str | None, str], ...]:
    """Return the stored attributes that refer to resources.

    Each is the URN of its extension or None, its complex attribute or None, and its name.
    """
    found: list[tuple[str | None, str | None, str]] = []
    for path in parametrize(Path, model).iter_paths(target_type=[Reference]):
        binding = path.resolve()
        if binding is None or not references.targets(binding.target_type):
            continue
        if references.is_derived(binding):
            continue
        urn = str(binding.model.__schema__) if issubclass(binding.model, Extension) else None
        head = dict(names_of(binding.model))[binding.field_name]
        if binding.sub_field_name is None:
            found.append((urn, None, head))
        else:
            entry = cast(type[BaseModel], binding.field_type)
            found.append((urn, head, dict(names_of(entry))[binding.sub_field_name]))
    return tuple(found)


def _published(model: type[Resource[Any]], doc: dict[str, Any], base_url: str) -> dict[str, Any]:
    """Return a document whose references are URLs."""
    for urn, head, name in _references(model):
        doc = _with_url(doc, [each for each in (urn, head, name) if each is not None], base_url)
    return doc


def _with_url(value: Any, names: list[str], base_url: str) -> Any:
    if isinstance(value, list):
        return [_with_url(each, names, base_url) for each in value]
    if not names:
        absolute = references.is_absolute(value)
        return value if absolute else f"{base_url.rstrip('/')}/{value}"
    if not isinstance(value, dict) or value.get(names[0]) is None:
        return value
    return {**value, names[0]: _with_url(value[names[0]], names[1:], base_url)}


# -- Choice of attributes -------------------------------------------------


@lru_cache(maxsize=1024)
def plan(
    model: type[Resource[Any]], attributes: tuple[str, ...], excluded: tuple[str, ...]
) -> Plan:
    """Return the attributes of an answer (RFC 7644 §3.9).

    scim2-models decides it for each attribute, as when it shows a model.
    """
    return _plan(model, str(model.__schema__), ":", list(attributes), list(excluded))


def _plan(
    model: type[BaseModel], urn: str, joint: str, attributes: list[str], excluded: list[str]
) -> Plan:
    found: dict[str, Plan | None] = {}
    for field_name, name in names_of(model):
        kind: Any = model.get_field_root_type(field_name)
        extension = isinstance(kind, type) and issubclass(kind, Extension)
        named = name if extension else f"{urn}{joint}{name}"
        returned = model.get_field_annotation(field_name, Returned)
        if name != "schemas" and not _is_returned(returned, named, attributes, excluded):
            continue
        found[name] = None
        if extension or (isinstance(kind, type) and issubclass(kind, ComplexAttribute)):
            parts = _plan(kind, named, ":" if extension else ".", attributes, excluded)
            if parts.keys() != _complete(kind) or any(parts.values()):
                found[name] = parts
            if not parts:
                del found[name]
    return found


def _projected(value: Mapping[str, Any], wanted: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, item in value.items():
        if name not in wanted:
            continue
        parts = wanted[name]
        if parts is None:
            found[name] = item
        elif isinstance(item, list):
            entries = [part for entry in item if (part := _projected(entry, parts))]
            if entries:
                found[name] = entries
        elif part := _projected(item, parts):
            found[name] = part
    return found
