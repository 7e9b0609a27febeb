"""Says what is wrong with a request in sentences of this service, and never in those of a library.

scim2-models, scim2-server and pydantic say what they refuse to a programmer who uses them: with the
names of Python classes, and links to their own pages. Whoever reads an error of SCIM sees none of
these; each sentence here names the attribute, and says what to send instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from scim2_models import (
    BaseModel,
    Context,
    Error,
    InvalidCursorException,
    InvalidPathException,
    InvalidSyntaxException,
    InvalidValueException,
    SCIMException,
)

ModelT = TypeVar("ModelT", bound=BaseModel)

_LIBRARIES = ("scim2_models", "scim2_server", "pydantic")

_SENTENCES = {
    r"Remove operation requires a path": "A remove needs a path: name what to remove, such as "
    'members or emails[type eq "work"]',
    r"value is required for (\w+) operations": 'An operation "{0}" needs a value: send one',
    r".* is not a PATCH operation": 'op must be "add", "remove" or "replace"',
    r"operations ": "Operations is missing or empty: send a list of one operation or more",
    r"'(.+)' is read-only": "{0} is read-only: leave it out",
    r"'(.+)' is immutable": "{0} cannot be changed once it is set: remove the entry, and add "
    "another one",
    r"required attribute '(.+)' became": "{0} is required: replace it by another value instead of "
    "taking it away",
    r"required attribute": "A required attribute cannot be taken away: replace it by another value",
    r"no value of '(.+)' matches": "No entry of {0} matches the filter of the path: add the entry "
    "first, or send another filter",
    r"the value contradicts the filter of '(.+)'": "The value says something else than the filter "
    "of the path {0}: send values that agree with it",
    r"Multiple ": 'More than one entry is primary: send "primary": true in one of them only',
    r"attribute '(?:urn:.*:)?(.+)' is not multi-valued": "{0} has one value and not a list of "
    "them: name it without a filter",
    r"No SCIM endpoint at '(.+)'": "There is no SCIM endpoint at {0}: /ResourceTypes lists them",
    r"No resource type found at '(.+)'": "There is no SCIM endpoint at {0}: /ResourceTypes lists "
    "them",
    r"No resource type is served at (.+)": "There is no SCIM endpoint at {0}: /ResourceTypes lists "
    "them",
    r"Resource type '(.+)' not found": "There is no resource type {0}: /ResourceTypes lists them",
    r"Schema '(.+)' not found": "There is no schema {0}: /Schemas lists them",
    r"Bulk operations are not supported at (.+)": "A bulk operation cannot be at {0}: its path is "
    "that of a resource, such as /Users, or /Users/{{id}}",
    r"A bulk operation must target": "The path of a bulk operation is that of a resource, such as "
    "/Users, or /Users/{{id}}: send one of these",
    r"The bulkId (.+) is not unique": "Two operations have the bulkId {0}: give each its own",
    r"The bulkId (.+) is part of a circular": "The bulkId {0} is needed before it can be made, "
    "since what it stands for refers back: send the references in a later request",
    r"No resource was created with the bulkId (.+)": "No resource was made for the bulkId {0}: see "
    "the status of the operation that has it",
    r"path is required": 'path is missing: send one such as "/Users"',
    r"data is required": "data is missing: send the body that the operation would have alone",
    r"bulkId is required": "bulkId is missing: a POST needs one, which is unique in the request",
    r"'bulkId' is reserved": "bulkId stands beside the operations of a bulk request: leave it out "
    "of the resource",
    r"A search cannot have both": "Send a cursor or a startIndex, not both",
    r"The payload exceeds the maxPayloadSize \((\d+) bytes\)": "The body is over {0} bytes: send "
    "several requests",
    r"Discovery endpoints": "This endpoint takes no filter: leave it out",
    r"/Me|POST /Me": "/Me is not served: ask for /Users/{{id}}",
    r"(.+) is not supported": "{0} is not supported: see /ServiceProviderConfig",
}
"""Sentences of the libraries, as patterns, and ours; what a pattern captures is a name."""

_TABLE = [(re.compile(pattern, re.DOTALL), ours) for pattern, ours in _SENTENCES.items()]

_BY_SCIM_TYPE = {
    "invalidFilter": "The filter does not fit its attributes: compare an attribute of /Schemas "
    'with a value of its type, such as userName eq "bjensen"',
    "invalidPath": "The path cannot be read: send the name of an attribute, such as "
    'name.familyName or emails[type eq "work"].value',
    "invalidSyntax": "The request has not the form of RFC 7644: see /openapi.json",
    "invalidValue": "A value does not fit its attribute: see /Schemas for its type",
    "mutability": "An attribute of the request cannot be changed: see its mutability in /Schemas",
    "noTarget": "The path names nothing that is there: add it first, or send another path",
    "uniqueness": "A value is taken by another resource: send another one",
    "tooMany": "The filter finds too much: send one that finds less",
    "invalidVers": "This version of SCIM is not spoken here: send SCIM 2.0",
    "sensitive": "The request carries in its URL what belongs into its body: use POST and .search",
    "invalidCursor": "The cursor is none of this search: begin with an empty cursor, and then send "
    "the nextCursor or previousCursor of the page before",
    "expiredCursor": "The cursor is too old: begin again with an empty cursor",
    "invalidCount": "The count is another one than that of the page before: send the same count "
    "with each cursor of a search",
}

_BY_STATUS = {
    401: "Send one of the bearer tokens of this endpoint: Authorization: Bearer <token>",
    403: "The token may not do this",
    404: "There is no such resource",
    405: "This endpoint does not take the method",
    409: "Another request changed the same resource: read it and send the request again",
    412: "The resource is of another version than the header If-Match or If-None-Match says: read "
    "it again",
    413: "The request is too large: send several",
    415: "The body is not JSON by its Content-Type: send application/scim+json",
    501: "This is not supported: see /ServiceProviderConfig",
}

_TYPES = (
    (("string_", "str_"), "a string"),
    (("bool_",), "true or false"),
    (("int_",), "a whole number"),
    (("float_", "decimal_", "finite_"), "a number"),
    (("datetime_", "date_", "timezone_"), 'a date with a time, such as "2024-05-13T04:42:34Z"'),
    (("list_", "set_", "tuple_"), "a list"),
    (("model_", "dict_", "mapping_", "dataclass_"), "an object"),
    (("base64_", "bytes_"), "a string in base64"),
)
"""Beginnings of pydantic's codes of an error, and what is to be sent."""

_STRUCTURE = {"schema_error", "unknown_extension_schema", "extra_forbidden"}


def detail_of(exception: SCIMException) -> str:
    """Return what an exception says, in words of ours."""
    if not _is_of_a_library(exception):
        return str(exception)
    cause = exception.__cause__
    if isinstance(cause, ValidationError):
        return str(of_validation(cause))
    return _said(str(exception), exception.scim_type, exception.status)


def in_our_words(exception: SCIMException) -> SCIMException:
    """Return an exception of scim2-server as one that names what pydantic refused, if it did."""
    cause = exception.__cause__
    return of_validation(cause) if isinstance(cause, ValidationError) else exception


def validated(model: type[ModelT], payload: dict[str, Any], scim_ctx: Context) -> ModelT:
    """Return the model of a payload.

    :raises ~scim2_models.SCIMException: Naming what pydantic refuses first.
    """
    try:
        return model.model_validate(payload, scim_ctx=scim_ctx)
    except ValidationError as error:
        raise of_validation(error) from None


def of_validation(error: ValidationError, under: str = "") -> SCIMException:
    """Return the SCIM error of what pydantic refuses first.

    :param under: The attribute that was validated, where it was not a whole message.
    """
    first = error.errors(include_url=False)[0]
    code, said = str(first["type"]), first.get("ctx", {})
    path = _path(under, first["loc"])
    if code.startswith("scim_"):
        return _of_scim(first, path)
    if "field_name" in said or code in ("missing", "required_error"):
        path = _joined(path, said.get("field_name", "" if path else "Operations"))
    if code == "schema_error":
        return InvalidSyntaxException(detail=f'schemas must list "{said["schema"]}"')
    if code in ("missing", "required_error"):
        return InvalidValueException(detail=f"{path} is required: send a value")
    if code == "primary_uniqueness_error":
        return InvalidValueException(
            detail=f'{path} has more than one primary entry: send "primary": true in one only'
        )
    if code == "mutability_error":
        return InvalidValueException(detail=f"{path} is read-only: leave it out")
    wanted = _wanted(code, first, said)
    if code in _STRUCTURE or (not path and code.startswith(("model_", "dict_"))):
        return InvalidSyntaxException(detail=f"{path or 'The body'} must be {wanted}")
    if not path:
        return InvalidValueException(detail=_BY_SCIM_TYPE["invalidValue"])
    return InvalidValueException(detail=f"{path} cannot have this value: send {wanted}")


def of_text(error: Error) -> SCIMException:
    """Return an error of which a library kept its sentence only, in words of ours."""
    said = _said(str(error.detail), error.scim_type or "", error.status or 400)
    return SCIMException.from_error(error.model_copy(update={"detail": said}))


def _of_scim(error: Mapping[str, Any], path: str) -> SCIMException:
    """Return an error that a model of scim2-models raised itself."""
    context = error.get("ctx", {})
    scim_type = str(context.get("scim_type") or "")
    if path in ("sortBy", "sort_by"):
        return InvalidPathException(
            detail="sortBy names nothing to sort by: send an attribute of plain values, such as "
            "userName or name.familyName"
        )
    if path.partition("[")[0] in ("attributes", "excludedAttributes"):
        return InvalidPathException(
            detail=f"{path} is no name of an attribute: send one such as userName or emails.value"
        )
    kinds = {each.scim_type: each for each in SCIMException.__subclasses__() if each.scim_type}
    kind = kinds.get(scim_type, InvalidValueException)
    if kind is InvalidCursorException:
        return InvalidCursorException(detail=_BY_SCIM_TYPE[scim_type])
    detail = _said(str(error["msg"]), scim_type, int(context.get("status", 400)))
    return kind(detail=f"{path}: {detail}" if path else detail)


def _said(theirs: str, scim_type: str, status: int) -> str:
    for pattern, ours in _TABLE:
        found = pattern.match(theirs)
        if found:
            return ours.format(*(_scim_name(each) for each in found.groups()))
    return _BY_SCIM_TYPE.get(scim_type) or _BY_STATUS.get(status) or _BY_SCIM_TYPE["invalidSyntax"]


def _wanted(code: str, error: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    for beginnings, wanted in _TYPES:
        if code.startswith(beginnings):
            return wanted
    if code in ("enum", "literal_error"):
        return str(said.get("expected", "another value")).replace("'", '"')
    if not isinstance(error.get("input"), str):
        return "a string"
    return 'a URL, such as "https://example.com/"'


def _path(under: str, location: Sequence[str | int]) -> str:
    """Return where something is, in the notation of RFC 7644 §3.10, with [1] for a second entry.

    pydantic also names the member of a union that it tried, which is left out.
    """
    path = under
    previous: str | int | None = None
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif "[" in part or "(" in part:
            continue
        elif isinstance(previous, int) and part.lower().startswith("urn:"):
            pass
        else:
            path = _joined(path, _scim_name(part))
        previous = part
    return path


def _joined(path: str, name: str) -> str:
    if not path or not name:
        return path or name
    if path == name or path.endswith(f".{name}"):
        return path
    last = path.rpartition(":")[2]
    is_schema = path.lower().startswith("urn:") and last in ("User", "Group")
    return f"{path}:{name}" if is_schema else f"{path}.{name}"


def _scim_name(name: str) -> str:
    """Return the SCIM name of an attribute whose Python name it may be: ``phone_numbers``."""
    if name == "ref":
        return "$ref"
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def _is_of_a_library(exception: SCIMException) -> bool:
    trace = exception.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in _LIBRARIES
