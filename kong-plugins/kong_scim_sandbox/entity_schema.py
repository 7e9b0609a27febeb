"""The schemas of Kong's entities, and the errors of its DAOs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Entity: TypeAlias = dict[str, Any]

_TAG = re.compile(r"^[ !-+\--.0-~\x80-\U0010ffff]+$")
"""``validate_tag`` in ``kong/db/schema/typedefs.lua``."""

_NO_TEXT = re.compile("[\0\ud800-\udfff]")

_NAMELESS = "at least one of these fields must be non-empty: 'custom_id', 'username'"


class DaoError(Exception):
    """An error of one of Kong's DAOs (``kong/db/errors.lua``)."""

    def __init__(self, code: int, name: str, message: str, fields: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.name = name
        self.message = message
        self.fields = dict(fields)

    def body(self) -> dict[str, Any]:
        """Return the error as the Admin API shows it."""
        return {
            "code": self.code,
            "name": self.name,
            "message": self.message,
            "fields": self.fields,
        }


@dataclass(frozen=True)
class Dao:
    """The schema of an entity.

    :param strings: Fields with text, besides ``id``.
    :param cache_key: The fields that together are unique.
    :param foreign: The entities to which fields refer, by the name of the field.
    :param numbers: Fields with integers.
    :param primary_key: The fields of the primary key.
    :param tagged: Whether it can have tags.
    :param updated: Whether it has the time of its last change.
    """

    name: str
    strings: tuple[str, ...]
    cache_key: tuple[str, ...]
    foreign: Mapping[str, str] = field(default_factory=lambda: {"consumer": "consumers"})
    numbers: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ("id",)
    tagged: bool = True
    updated: bool = False

    @property
    def unique(self) -> tuple[str, ...]:
        """Return the fields with text that no two entities share."""
        if self.name == "consumers":
            return self.strings
        return self.cache_key if set(self.cache_key) <= set(self.strings) else ()

    @property
    def owned(self) -> bool:
        """Return whether the entity belongs to another one."""
        return bool(self.foreign)

    @property
    def required(self) -> tuple[str, ...]:
        """Return the fields that an entity must have."""
        return (*self.foreign, *self.strings) if self.name != "consumers" else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of the table, which have Kong's field names."""
        return (
            *(("id",) if self.primary_key == ("id",) else ()),
            *self.strings,
            *self.numbers,
            *(("tags",) if self.tagged else ()),
            *self.foreign,
            "created_at",
            *(("updated_at",) if self.updated else ()),
        )


DAOS = {
    dao.name: dao
    for dao in (
        Dao("consumers", ("username", "custom_id"), ("id",), foreign={}, updated=True),
        Dao("acls", ("group",), ("consumer", "group")),
        Dao("keyauth_credentials", ("key",), ("key",), numbers=("ttl",)),
        Dao("jwt_secrets", ("key", "algorithm", "rsa_public_key"), ("key",)),
        Dao(
            "scim_subjects",
            ("subject", "tenant", "user"),
            ("subject",),
            foreign={},
            numbers=("not_before", "changed_at"),
            tagged=False,
        ),
    )
}
"""The entities of this Kong, by the names of their DAOs."""


def is_text(value: str) -> bool:
    """Tell whether PostgreSQL could store a string: it has no NUL and no lone surrogate."""
    return not _NO_TEXT.search(value)


def lua(value: Any) -> str:
    """Return a value as Kong writes it into messages (``pl.pretty.write`` on one line)."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={lua(value[key])}" for key in sorted(value)) + "}"
    return f'"{value}"'


def validate(schema: Dao, entity: Mapping[str, Any]) -> None:
    """Check an entity against its schema.

    :raises DaoError: When fields are wrong. It names all of them, with Kong's messages.
    """
    problems = {name: (fields, text) for name, fields, text in _problems(schema, entity)}
    if (
        not problems
        and schema.name == "consumers"
        and not (entity.get("username") or entity.get("custom_id"))
    ):
        problems["@entity"] = ([_NAMELESS], _NAMELESS)
    if problems:
        texts = "; ".join(problems[name][1] for name in sorted(problems))
        count = f"{len(problems)} schema violations" if len(problems) > 1 else "schema violation"
        fields = {name: problem[0] for name, problem in problems.items()}
        raise DaoError(2, "schema violation", f"{count} ({texts})", fields)


def _problems(schema: Dao, entity: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield each wrong field, its value in the error's ``fields``, and its part of the message."""
    for name, value in entity.items():
        if text := _problem(schema, name, value):
            yield name, text, f"{name}: {text}"
    for name in schema.required:
        if entity.get(name) is None:
            yield name, "required field missing", f"{name}: required field missing"
    tags = entity.get("tags")
    for index, tag in enumerate(tags if isinstance(tags, list) else ()):
        if text := _tag_problem(tag):
            yield "tags", [*[None] * index, text], f"tags.{index + 1}: {text}"


def _problem(schema: Dao, name: str, value: Any) -> str | None:
    if name not in schema.columns:
        return "unknown field"
    if value is None:
        return None
    if name in ("id", *schema.strings):
        if not isinstance(value, str):
            return "expected a string"
        if not is_text(value):
            return "must be text without NUL and broken characters"
        return None if value else "length must be at least 1"
    if name in schema.numbers and type(value) is not int:
        return "expected an integer"
    if name == "tags" and not isinstance(value, list):
        return "expected a set"
    if name in schema.foreign and not isinstance(value, Mapping):
        return "expected a record"
    return None


def _tag_problem(tag: Any) -> str | None:
    if not isinstance(tag, str):
        return "expected a string"
    if _TAG.match(tag):
        return None
    allowed = "expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
    return f"invalid tag '{tag}': {allowed}"
