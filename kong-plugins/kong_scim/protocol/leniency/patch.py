"""Rewrites PATCH operations of real providers into the form of RFC 7644 §3.5.2.

Every operation comes out with a path: one without is split into one per attribute of its value, so
that Entra's dotted, URN-qualified and filtered keys (docs/providers/traffic.md#keys-that-are-paths)
and Okta's plain objects (docs/providers/traffic.md#deactivated-without-a-path) are read by the same
rules as a path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from scim2_models import (
    InvalidPathException,
    InvalidSyntaxException,
    InvalidValueException,
    Mutability,
    MutabilityException,
    PatchOperation,
    Path,
    PathNotFoundException,
    PayloadTooLargeException,
    Required,
    Resource,
)

from kong_scim import cpu
from kong_scim.protocol.attributes import Attribute, Schemas, schemas_of
from kong_scim.protocol.leniency.bodies import FORGOTTEN, canonical
from kong_scim.protocol.leniency.filters import lenient_path
from kong_scim.protocol.leniency.values import shaped
from kong_scim.protocol.limits import check_path, shown
from kong_scim.protocol.wording import of_validation

Operation = dict[str, Any]


def lenient_patch(
    model: type[Resource[Any]], payload: dict[str, Any], max_operations: int
) -> dict[str, Any]:
    """Return a PATCH request whose operations each have a path and a value in the declared shape.

    :raises PayloadTooLargeException: When there are more operations than ``max_operations``.
    :raises InvalidPathException: When a path names nothing
        (docs/providers/traffic.md#attributes-nobody-knows).
    """
    result = {}
    for name, value in payload.items():
        if name.lower() == "operations" and isinstance(value, list):
            if len(value) > max_operations:
                raise PayloadTooLargeException(
                    detail=f"The PATCH has {len(value)} operations, the limit is {max_operations}: "
                    "send several requests"
                )
            result[name] = [each for item in value for each in _checked(model, item)]
        else:
            result[name] = value
    return result


def _checked(model: type[Resource[Any]], sent: Any) -> Iterator[Any]:
    cpu.check()
    yield from _lenient(model, sent)


def _lenient(model: type[Resource[Any]], sent: Any) -> Iterator[Any]:
    if not isinstance(sent, dict):
        raise InvalidSyntaxException(detail="Each of the Operations must be an object")
    operation = {name.lower(): value for name, value in sent.items()}
    op, path = operation.get("op"), operation.get("path")
    if not isinstance(op, str) or not isinstance(path, str | None):
        yield {key: operation[key] for key in ("op", "path", "value") if key in operation}
        return
    op = op.strip().lower()
    path = (path or "").strip()
    if op == "remove":
        yield _removal(model, path, operation)
    elif op not in ("add", "replace") or "value" not in operation:
        yield {"op": op, **({"path": path} if path else {})}
    else:
        parts = list(_written(model, op, path, operation["value"]))
        # An operation on nothing we serve changes nothing, and is no error.
        yield from parts or [{"op": op, "value": {}}]


def _written(model: type[Resource[Any]], op: str, path: str, value: Any) -> Iterator[Operation]:
    target = _path(model, path)
    if target.model is None:
        yield from _write(model, target, op, value)
    elif isinstance(value, dict):
        yield from _by_attribute(model, op, target, value)
    else:
        yield {"op": op, "value": value}


def _by_attribute(
    model: type[Resource[Any]], op: str, parent: Path[Any], value: dict[str, Any]
) -> Iterator[Operation]:
    """Split the value for a whole resource or extension into one operation for each attribute.

    What the server alone writes is left out: Okta sends the id back
    (docs/providers/traffic.md#a-group-is-renamed-with-its-id).
    """
    schemas = schemas_of(model)
    urn = schemas.urn if parent.model is model else str(getattr(parent.model, "__schema__"))  # noqa: B009
    found, selected = canonical(schemas, value, urn)
    for name, item in found.items():
        if name == "schemas":
            continue
        if name not in schemas.attributes:
            yield from _write(model, _path(model, name), op, item)
        elif item is None:
            yield {"op": "remove", "path": name}
        else:
            for inner, each in item.items():
                yield from _write(model, _path(model, f"{name}:{inner}"), op, each)
    for key, item in selected:
        yield from _write(model, _path(model, schemas.text(key)), op, item)


def _write(
    model: type[Resource[Any]], target: Path[Any], op: str, value: Any
) -> Iterator[Operation]:
    attribute = _attribute(model, target)
    if attribute.name == FORGOTTEN and isinstance(value, str):
        return
    selects = target.value_filter is not None
    value = shaped(schemas_of(model), attribute, value)
    if value is None and attribute.lasting:
        return  # what says nothing of it leaves it as it is, as a PUT without it does
    if selects and value in (None, ""):
        # Nothing is written to an entry that is not there (Entra, an attribute without a value).
        yield {"op": "remove", "path": str(target)}
        return
    if value is None or (value == [] and op == "replace"):
        _refuse_required(target)
    _check(target, value)
    if value is None and op == "add":
        # Entra adds an empty manager to clear it (docs/providers/traffic.md#a-manager-as-a-string).
        op = "replace"
    yield {"op": op, "path": str(target), "value": value}


def _refuse_required(target: Path[Any]) -> None:
    """Refuse that a required attribute goes (RFC 7644 §3.5.2.2).

    :raises MutabilityException: Naming it.
    """
    binding = target.resolve()
    if binding is None or binding.sub_field_name or target.value_filter is not None:
        return
    if binding.get_annotation(Required) == Required.true:
        raise MutabilityException(
            detail=f"{target} is required, and cannot be taken away: replace it by another value"
        )


def _check(target: Path[Any], value: Any) -> None:
    """Refuse a value that its attribute cannot take, before anything is changed.

    :raises InvalidValueException: Naming the attribute.
    """
    binding = target.resolve()
    if value is None or binding is None or binding.target_model is None:
        return
    if Mutability.read_only in (
        binding.model.get_field_annotation(binding.field_name, Mutability),
        binding.get_annotation(Mutability),
    ):
        return  # whatever the value is, it is refused for that
    name = binding.target_field_name
    if name == "members":
        return  # they are read one by one already, and may be thousands
    entry = target.value_filter is not None and binding.sub_field_name is None
    try:
        holder = binding.target_model.model_construct()
        setattr(holder, name, [value] if entry and not isinstance(value, list) else value)
    except ValidationError as error:
        path = binding.urn.removeprefix(f"{getattr(target.models[0], '__schema__', None)}:")
        raise of_validation(
            error, path.rpartition("." if binding.sub_field_name else ":")[0]
        ) from None


def _removal(model: type[Resource[Any]], path: str, sent: dict[str, Any]) -> Operation:
    """Return a removal; its value selects entries only where a list of them is the target.

    Entra lists the members to remove in the value (docs/providers/traffic.md#members-in-the-value),
    and also sends along the value of what it removes. Without a value, the whole list goes; a
    value that selects nothing is refused, since it may be a template that was not filled in, and
    everybody would go.
    """
    operation: Operation = {"op": "remove"}
    if not path:
        return operation
    target = _path(model, path)
    operation["path"] = str(target)
    if target.model is model:
        raise InvalidPathException(
            path=path, detail=f"{shown(path)} is the whole resource: name what to remove of it"
        )
    schemas = schemas_of(model)
    if target.model is not None:
        urn = str(getattr(target.model, "__schema__"))  # noqa: B009
        if schemas.is_read_only(urn):
            raise MutabilityException(detail=f"{shown(path)} is read-only: the gateway writes it")
        return operation
    _refuse_required(target)
    attribute = _attribute(model, target)
    if "value" in sent and attribute.multivalued and target.value_filter is None:
        value = sent["value"]
        entries = value if isinstance(value, list) else [value]
        operation["value"] = [_selecting(schemas, attribute, entry) for entry in entries]
    return operation


def _selecting(schemas: Schemas, attribute: Attribute, sent: Any) -> dict[str, Any]:
    """Return what identifies an entry: its value where it has one (RFC 7643 §2.4).

    :raises InvalidValueException: When nothing does.
    """
    entries = shaped(schemas, attribute, sent)
    entry = entries[0] if entries else None
    if attribute.kind != "complex":
        entry = {"value": entry}
    elif isinstance(entry, dict):
        by_name = {name.lower(): value for name, value in entry.items()}
        entry = {"value": by_name["value"]} if "value" in by_name else entry
    elif entry is not None:
        raise InvalidValueException(
            detail=f"The value of a remove lists entries of {attribute.name}: send objects"
        )
    if not entry or any(value in (None, "", [], {}) for value in entry.values()):
        raise InvalidValueException(
            detail=f"The value of a remove of {attribute.name} has an empty entry, which selects "
            f"nothing: send the value of each entry to remove, or no value to remove all"
        )
    for name, value in entry.items():
        if isinstance(value, dict | list):
            raise InvalidValueException(
                detail=f"{attribute.name}.{name} selects what to remove: send one plain value"
            )
    return entry


def _path(model: type[Resource[Any]], text: str) -> Path[Any]:
    """Return a path bound to the model.

    :raises InvalidPathException: When it is malformed, or names nothing the model declares.
    """
    check_path(text)
    schemas = schemas_of(model)
    key = schemas.read(text, schemas.urn)
    plain = text if key is None else schemas.text(key)
    path: Path[Any] = Path[model](lenient_path(model, plain))  # type: ignore[valid-type]
    key = key or schemas.read(str(path), schemas.urn)  # erratum 7122: emails.type eq "work"
    if text and (key is None or (path.model is None and path.resolve() is None)):
        raise PathNotFoundException(
            path=text,
            detail=f"The path {shown(text)} names no attribute of the schemas this service has",
        )
    return path


def _attribute(model: type[Resource[Any]], target: Path[Any]) -> Attribute:
    """Return the attribute that a path writes; one entry of it where the path selects one."""
    schemas = schemas_of(model)
    key = schemas.read(str(target), schemas.urn)
    assert key is not None  # noqa: S101 - _path refused the others
    attribute = key.target
    if key.selection is not None and key.part is None:
        return replace(attribute, multivalued=False)
    return attribute


def as_add(resource: Resource[Any], operation: PatchOperation[Any]) -> PatchOperation[Any]:
    """Return an operation on a sub-attribute of a list that is empty as one that adds an entry.

    A target that does not exist is added (RFC 7644 §3.5.2.3).
    """
    if operation.op == PatchOperation.Op.remove or operation.value is None:
        return operation
    model = type(resource)
    schemas = schemas_of(model)
    key = schemas.read(str(operation.path or ""), schemas.urn)
    if key is None or not key.selects or key.part is None or key.selection is not None:
        return operation
    whole = key._replace(part=None)
    path: Path[Any] = Path[model](schemas.text(whole))  # type: ignore[valid-type]
    if path.get(resource):
        return operation
    value = shaped(schemas, whole.target, [{key.part.name: operation.value}])
    return operation.model_copy(update={"op": PatchOperation.Op.add, "path": path, "value": value})
