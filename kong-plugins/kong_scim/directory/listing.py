"""Lists the resources of a type, and finds users by the beginning of one of their names.

Both are read by an index from a place on, so that a page costs the same however many resources
there are. :mod:`.search` finds more, by a filter, and may read every resource for it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scim2_models import AttributeBinding, InvalidCursorException, Path, Resource
from scim2_server.utils import parametrize
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from kong_scim.bridge import Dialect
from kong_scim.directory.database import Row, TenantDatabase
from kong_scim.directory.kinds import Kind
from kong_scim.directory.queries import IN_SCOPE_BY_ID, ROW, in_scope
from kong_scim.directory.related import InOrder
from kong_scim.directory.statements import Statement
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.tables import HEAD, resources, values
from kong_scim.directory.values import comparable, key_of

SEARCHED = ("userName", "displayName", "name.familyName", "name.givenName", "emails.value")
"""The attributes by which a user is found, in the order in which what they find is listed."""

LONGEST = HEAD
"""The most characters of a text that is searched for: the index has no more."""

_LAST = "\U0010ffff"
"""The last code point. A text that is padded with it follows all texts that begin with the text."""


@dataclass(frozen=True)
class Place:
    """The place behind a resource, from which the next page is read.

    :param key: The date of its creation; of a search, the indexed beginning of the value found.
    :param attribute: Of a search, the index in :data:`SEARCHED` of the attribute that has it.
    """

    key: str
    id: str
    attribute: int = 0

    def cursor(self) -> str:
        """Return the place as the text that a client sends to get the next page."""
        text = json.dumps([self.key, self.id, self.attribute], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str | None) -> Place | None:
        """Return the place of a cursor, or None without one.

        :raises ~scim2_models.InvalidCursorException: When it is none that :meth:`cursor` made.
        """
        if not cursor:
            return None
        try:
            found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            found = None
        match found:
            case [str(key), str(id_), int(attribute)] if 0 <= attribute < len(SEARCHED):
                return cls(key, id_, attribute)
        raise InvalidCursorException(
            detail="This cursor is none that an answer gave as next: begin again without it"
        )


def in_order_of_creation(
    database: TenantDatabase, kind: Kind, place: Place | None, limit: int
) -> tuple[list[StoredRow], Place | None]:
    """Return a page of a type's resources, and the place of the next one if there is one."""
    created, last = (place.key, place.id) if place else ("", "")
    found = database.rows(_BY_CREATION, type=kind.name, created=created, last=last, limit=limit + 1)
    rows = [StoredRow.read(row) for row in found]
    page = rows[:limit]
    more = len(rows) > limit and page
    return page, Place(page[-1].created, page[-1].id) if more else None


def by_name(
    database: TenantDatabase, kind: Kind, text: str, place: Place | None, limit: int
) -> tuple[list[StoredRow], Place | None]:
    """Return a page of the users of whom a name begins with a text, as the other function does.

    :param text: Of :data:`LONGEST` characters at most, compared as a filter compares.
    """
    first = place.attribute if place else 0
    statements = []
    for attribute in range(first, len(SEARCHED)):
        behind = place if place and attribute == first else None
        statements.append(
            database.bind(
                _found_by(kind.model, attribute),
                **_ranges(kind.model, text),
                type=kind.name,
                head=behind.key if behind else "",
                last=behind.id if behind else "",
                limit=limit + 1,
            )
        )
    found: list[tuple[int, Row]] = []
    for attribute, rows in enumerate(database.query(statements), first):
        found += ((attribute, row) for row in rows)
    page = found[:limit]
    following = None
    if len(found) > limit and page:
        attribute, row = page[-1]
        following = Place(row["head"], row["id"], attribute)
    return [StoredRow.read(row) for _, row in page], following


def _ranges(model: type[Resource[Any]], text: str) -> dict[str, str]:
    """Return for each searched attribute the range of what begins with a text."""
    ranges: dict[str, str] = {}
    for index, binding in enumerate(_searched(model)):
        begin = (comparable(binding, text)[0] or text)[:HEAD]
        ranges |= {f"begin{index}": begin, f"end{index}": begin.ljust(HEAD, _LAST)}
    return ranges


@lru_cache(maxsize=64)
def _searched(model: type[Resource[Any]]) -> tuple[AttributeBinding, ...]:
    bindings = (parametrize(Path, model)(each).resolve() for each in SEARCHED)
    return tuple(each for each in bindings if isinstance(each, AttributeBinding))


@lru_cache(maxsize=64)
def _found_by(model: type[Resource[Any]], attribute: int) -> Statement:
    """Return the statement that finds users by an attribute, without those that an earlier one
    finds, and each once."""
    keys = [key_of(binding) for binding in _searched(model)]

    def begins(head: ColumnElement[str], attr: ColumnElement[str], index: int) -> Any:
        return and_(
            attr == literal(keys[index]),
            head >= bindparam(f"begin{index}"),
            head <= bindparam(f"end{index}"),
        )

    def times_listed_before() -> Any:
        """Return how often the same user comes before this row.

        The columns are expressions, and it is a number and no EXISTS, so that both databases read
        the values of this one user by their key. They would read all that begin with the text.
        """
        other = values.alias("other")
        head, attr = other.c.head.concat(""), other.c.attr.concat("")
        same = and_(
            begins(head, attr, attribute),
            tuple_(head, other.c.entry) < tuple_(values.c.head, values.c.entry),
        )
        earlier = (begins(head, attr, index) for index in range(attribute))
        return (
            select(func.count())
            .select_from(other)
            .where(other.c.resource_id == values.c.resource_id, or_(same, *earlier))
            .scalar_subquery()
        )

    def statement(dialect: Dialect) -> Select[Any]:
        tie = resources.c.id == values.c.resource_id
        in_order = InOrder(values, resources, tie)
        return (
            select(*ROW, values.c.head)
            .select_from(in_order if dialect == "sqlite" else values.join(resources, tie))
            .where(
                begins(values.c.head, values.c.attr, attribute),
                tuple_(values.c.head, values.c.resource_id)
                > tuple_(bindparam("head"), bindparam("last")),
                IN_SCOPE_BY_ID,
                resources.c.type == bindparam("type"),
                times_listed_before() == 0,
            )
            .order_by(values.c.head, values.c.resource_id)
            .limit(bindparam("limit"))
        )

    return Statement(statement)


_BY_CREATION = Statement(
    select(*ROW)
    .where(
        in_scope(),
        resources.c.type == bindparam("type"),
        tuple_(resources.c.created, resources.c.id)
        > tuple_(bindparam("created"), bindparam("last")),
    )
    .order_by(resources.c.created, resources.c.id)
    .limit(bindparam("limit"))
)
