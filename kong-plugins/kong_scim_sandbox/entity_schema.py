"""The schemas of Kong's entities, and the errors of its DAOs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    :param owned: Whether the entity belongs to a consumer.
    :param numbers: Fields with integers.
    """

    name: str
    strings: tuple[str, ...]
    cache_key: tuple[str, ...]
    owned: bool = True
    numbers: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of the table, which have Kong's field names."""
        updated = () if self.owned else ("updated_at",)
        owner = ("consumer",) if self.owned else ()
        return ("id", *self.strings, *self.numbers, "tags", *owner, "created_at", *updated)


DAOS = {
    dao.name: dao
    for dao in (
        Dao("consumers", ("username", "custom_id"), ("id",), owned=False),
        Dao("acls", ("group",), ("consumer", "group")),
        Dao("keyauth_credentials", ("key",), ("key",), numbers=("ttl",)),
    )
}


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
        and not schema.owned
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
    for field, value in entity.items():
        if text := _problem(schema, field, value):
            yield field, text, f"{field}: {text}"
    for field in ("consumer", *schema.strings) if schema.owned else ():
        if entity.get(field) is None:
            yield field, "required field missing", f"{field}: required field missing"
    tags = entity.get("tags")
    for index, tag in enumerate(tags if isinstance(tags, list) else ()):
        if text := _tag_problem(tag):
            yield "tags", [*[None] * index, text], f"tags.{index + 1}: {text}"


def _problem(schema: Dao, field: str, value: Any) -> str | None:
    if field not in schema.columns:
        return "unknown field"
    if value is None:
        return None
    if field in ("id", *schema.strings):
        if not isinstance(value, str):
            return "expected a string"
        if not is_text(value):
            return "must be text without NUL and broken characters"
        return None if value else "length must be at least 1"
    if field in schema.numbers and type(value) is not int:
        return "expected an integer"
    if field == "tags" and not isinstance(value, list):
        return "expected a set"
    if field == "consumer" and not isinstance(value, Mapping):
        return "expected a record"
    return None


def _tag_problem(tag: Any) -> str | None:
    if not isinstance(tag, str):
        return "expected a string"
    if _TAG.match(tag):
        return None
    allowed = "expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
    return f"invalid tag '{tag}': {allowed}"
