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
from kong_scim.directory.related import looked_up
from kong_scim.directory.statements import Statement
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.tables import HEAD, resources, values
from kong_scim.directory.values import comparable, key_of

SEARCHED = ("userName", "displayName", "name.familyName", "name.givenName", "emails.value")
"""The attributes by which a user is found, in the order in which what they find is listed."""

WINDOWS = (500, 2000, 10_000, 10_000)
"""How many values the steps of a search examine: few for a usual page. A step that has examined all
of an attribute goes on with the next attribute, and counts for none."""

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

    At most the values in :data:`WINDOWS` are examined. Where most of them are of other tenants, or
    of users who are listed already, the page is short or empty although there is a next one.

    :param text: Of :data:`LONGEST` characters at most, compared as a filter compares.
    """
    place, ranges = place or Place("", ""), _ranges(kind.model, text)
    found: list[tuple[int, Row]] = []
    windows = iter(WINDOWS)
    window = next(windows)
    while True:
        wanted = {"window": window, "end": window - 1, "limit": limit + 1}
        rows, end = database.query(
            [
                database.bind(
                    each, **ranges, **wanted, type=kind.name, head=place.key, last=place.id
                )
                for each in _statements(kind.model, place.attribute)
            ]
        )
        found += ((place.attribute, row) for row in rows)
        if len(found) > limit:
            attribute, row = found[limit - 1]
            page = [StoredRow.read(row) for _, row in found[:limit]]
            return page, Place(row["head"], row["id"], attribute)
        following: int | None = window
        if end:
            place = Place(end[0]["head"], end[0]["resource_id"], place.attribute)
            following = next(windows, None)
        elif place.attribute + 1 < len(SEARCHED):
            place = Place("", "", place.attribute + 1)
        else:
            return [StoredRow.read(row) for _, row in found], None
        if following is None:
            return [StoredRow.read(row) for _, row in found], place
        window = following


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
def _statements(model: type[Resource[Any]], attribute: int) -> tuple[Statement, Statement]:
    """Return the statements that find users by an attribute among the next values of it.

    The first selects them, without those that an earlier attribute finds, and each once. The second
    selects the last of the values that it examines, if there are so many.
    """
    keys = [key_of(binding) for binding in _searched(model)]

    def begins(head: ColumnElement[str], attr: ColumnElement[str], index: int) -> Any:
        return and_(
            attr == literal(keys[index]),
            head >= bindparam(f"begin{index}"),
            head <= bindparam(f"end{index}"),
        )

    following = (
        select(values.c.head, values.c.resource_id, values.c.entry)
        .where(
            begins(values.c.head, values.c.attr, attribute),
            tuple_(values.c.head, values.c.resource_id)
            > tuple_(bindparam("head"), bindparam("last")),
        )
        .order_by(values.c.head, values.c.resource_id)
    )
    window = following.limit(bindparam("window")).subquery("examined")

    def times_listed_before() -> Any:
        """Return how often the same user comes before this row.

        The columns are expressions, and it is a number and no EXISTS, so that both databases read
        the values of this one user by their key. They would read all that begin with the text.
        """
        other = values.alias("other")
        head, attr = other.c.head.concat(""), other.c.attr.concat("")
        same = and_(
            begins(head, attr, attribute),
            tuple_(head, other.c.entry) < tuple_(window.c.head, window.c.entry),
        )
        earlier = (begins(head, attr, index) for index in range(attribute))
        return (
            select(func.count())
            .select_from(other)
            .where(other.c.resource_id == window.c.resource_id, or_(same, *earlier))
            .scalar_subquery()
        )

    def found(dialect: Dialect) -> Select[Any]:
        its_user = and_(
            resources.c.id == window.c.resource_id,
            resources.c.type == bindparam("type"),
            IN_SCOPE_BY_ID,
        )
        return (
            looked_up(dialect, window, ROW, (resources, its_user))
            .add_columns(window.c.head)
            .where(times_listed_before() == 0)
            .order_by(window.c.head, window.c.resource_id)
            .limit(bindparam("limit"))
        )

    end = following.offset(bindparam("end")).limit(1)
    return Statement(found), Statement(end)


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
