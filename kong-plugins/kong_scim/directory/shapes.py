"""Makes plain types of pydantic from the models of scim2-models, which have a SCIM rule for each
field and take a hundred times as long.

A value of such a type is a dictionary in canonical form: each name as its schema declares it, each
value of its JSON type, nothing unknown, and no null. The names are in the order of the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from inspect import isclass
from typing import Any, Required, cast

from pydantic import ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr, TypeAdapter
from scim2_models import BaseModel, ComplexAttribute, Extension, Resource
from scim2_models import Required as IsRequired
from typing_extensions import TypedDict

STRICT = ConfigDict(extra="forbid", strict=True)

FieldType = Callable[[type[BaseModel], str], Any]
"""Returns the plain type of a field that is not complex, or None if no value of it is plain."""


def shape(model: type[Resource[Any]], field_type: FieldType, *, partial: bool = False) -> Any:
    """Return the plain type of a resource, with its extensions.

    :param partial: Whether every attribute may be missing, as in the value of a PATCH.
    """
    return _shape(model, model.__name__, field_type, partial=partial)


def _shape(
    model: type[BaseModel], name: str, field_type: FieldType, *, partial: bool = False
) -> Any:
    fields: dict[str, Any] = {}
    for field_name, attribute in names_of(model):
        kind = model.get_field_root_type(field_name)
        if isclass(kind) and issubclass(kind, ComplexAttribute | Extension):
            plain = _shape(kind, kind.__name__, field_type, partial=partial)
        else:
            plain = field_type(model, field_name)
        if plain is None:
            continue
        if model.get_field_multiplicity(field_name):
            plain = list.__class_getitem__(plain)
        required = model.get_field_annotation(field_name, IsRequired) == IsRequired.true
        fields[attribute] = Required[plain] if required and not partial else plain
    made = cast(Any, TypedDict)(name, fields, total=False)
    made.__pydantic_config__ = STRICT
    return made


def names_of(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Yield the Python name and the name in JSON of each attribute of a model, in their order.

    ``schemas`` is left out for an extension, where scim2-models declares it and SCIM does not.
    """
    for field_name, declaration in model.model_fields.items():
        if field_name == "schemas" and issubclass(model, Extension):
            continue
        yield field_name, str(declaration.serialization_alias or field_name)


def json_type(model: type[BaseModel], field_name: str) -> Any:
    """Return the JSON type of a field; dates, references and binary values are texts."""
    kind = model.get_field_root_type(field_name)
    if not isclass(kind):
        return StrictStr
    if issubclass(kind, bool):
        return StrictBool
    if issubclass(kind, int):
        return StrictInt
    return StrictFloat | StrictInt if issubclass(kind, float) else StrictStr


@lru_cache(maxsize=64)
def stored_shape(model: type[Resource[Any]]) -> TypeAdapter[Any]:
    """Return the validator of the documents of a resource type, with ``id`` and without ``meta``.

    A document that it accepts has the shape of the model; one that it refuses may have it too.
    """
    return TypeAdapter(shape(model, json_type, partial=True))
