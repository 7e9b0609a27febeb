"""Makes the statements of a search: its count and a page of results (RFC 7644 §3.4.2, RFC 9865)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from inspect import isclass
from typing import Any, Literal

from scim2_models import AttributeBinding, InvalidCursorException, SearchRequest
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    tuple_,
)
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, Grouping
from sqlalchemy.sql.operators import and_ as and_operator
from sqlalchemy.sql.operators import eq

from kong_scim.bridge import Dialect, Sql
from kong_scim.directory import queries
from kong_scim.directory.comparisons import column
from kong_scim.directory.database import Scope
from kong_scim.directory.filters import condition
from kong_scim.directory.kinds import Kind
from kong_scim.directory.memberships import entries_of
from kong_scim.directory.related import NotByIndex
from kong_scim.directory.statements import compile_alike
from kong_scim.directory.tables import resources, values
from kong_scim.directory.values import key_of

Key = str | float | None


@dataclass(frozen=True)
class Position:
    """The position of the resource at which a page begins or ends.

    :param direction: Whether the page after it is wanted, or the one before it.
    :param key: The resource's sort value; None if it has none.
    :param total: How many resources there were when the first page was read. The other pages do not
        count them again, which would take as long as there are resources.
    """

    direction: Literal["next", "previous"]
    key: Key
    id: str
    total: int

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON for a cursor."""
        return {"d": self.direction, "k": self.key, "i": self.id, "t": self.total}

    @classmethod
    def read(cls, position: Any) -> Position:
        """Return the position of a cursor.

        :raises ~scim2_models.InvalidCursorException: When it has another form.
        """
        match position:
            case {
                "d": "next" | "previous" as direction,
                "k": key,
                "i": str(identifier),
                "t": int(total),
            } if key is None or isinstance(key, str | int | float):
                return cls(direction, key, identifier, total)
        raise InvalidCursorException


class Search:
    """Makes the statements of one search.

    Resources are in the order of their sort value and then of their id; those without a value are
    last (RFC 7644 §3.4.2.3), or first in descending order. Without ``sortBy``, they are in the
    order of their creation.
    """

    def __init__(
        self, dialect: Dialect, scope: Scope, kinds: Sequence[Kind], request: SearchRequest[Any]
    ) -> None:
        self._dialect = dialect
        self._request = request
        self._descending = (
            request.sort_by is not None and request.sort_order == SearchRequest.SortOrder.descending
        )
        self._key = self._sort_key(kinds)
        of_kinds = [self._of(kind) for kind in kinds]
        workspace: Any = resources.c.workspace
        tenant: Any = resources.c.tenant
        if dialect != "sqlite" and all(map(_is_of_ids, of_kinds)):
            workspace, tenant = NotByIndex(workspace), NotByIndex(tenant)
        in_scope = [workspace == scope.workspace, tenant == scope.tenant]
        if dialect == "sqlite":
            # Without this hint, SQLite prefers an index on the scope to any look-up by id.
            in_scope = [func.likely(each) for each in in_scope]
        self._found = and_(*in_scope, or_(*of_kinds))

    def total(self) -> Sql:
        """Return the statement that counts the results."""
        statement = select(func.count().label("total")).select_from(resources)
        return compile_alike(statement.where(self._found), self._dialect)

    def page(self, position: Position | None) -> Sql:
        """Return the statement that selects the rows of a page, with ``sort_key``.

        The rows of the page before a position are in reverse order.
        """
        return compile_alike(self._page(position), self._dialect)

    def memberships(self, kind: Kind, position: Position | None) -> Sql:
        """Return the statement that selects the memberships of the page's users, as
        :func:`.queries.edges`, or of its groups, as :func:`.queries.direct_members`."""
        page = self._page(position).subquery("page")
        its = select(page.c.id).where(page.c.type == kind.name).cte("its")
        read = queries.edges_of if kind.role == "User" else queries.direct_members_of
        return compile_alike(read(self._dialect, its), self._dialect)

    def _page(self, position: Position | None) -> Select[Any]:
        backwards = position is not None and position.direction == "previous"
        statement = self._ordered(backwards=backwards).where(self._found)
        if position is not None:
            statement = statement.where(self._beyond(position, backwards=backwards))
        if self._request.cursor is None:
            statement = statement.offset(self._request.start_index_0 or 0)
            # SQLite accepts OFFSET only with LIMIT.
            statement = statement.limit(-1 if self._dialect == "sqlite" else None)
        if self._request.count is not None:
            statement = statement.limit(self._request.count)
        return statement

    def neighbour(self, position: Position) -> Sql:
        """Return the statement that selects one id beyond a position, if there is any."""
        backwards = position.direction == "previous"
        statement = select(resources.c.id).where(
            self._found, self._beyond(position, backwards=backwards)
        )
        return compile_alike(statement.limit(1), self._dialect)

    def _ordered(self, *, backwards: bool) -> Select[Any]:
        statement = select(*queries.ROW, self._key.label("sort_key"))
        keys: list[ColumnElement[Any]] = [resources.c.id]
        if self._request.sort_by is None:
            keys.insert(0, resources.c.created)
        else:
            keys[:0] = [case((self._key.is_(None), 1), else_=0), self._key]
        if self._descending != backwards:
            keys = [key.desc() for key in keys]
        return statement.order_by(*keys)

    def _beyond(self, position: Position, *, backwards: bool) -> ColumnElement[bool]:
        """Return the condition that a resource comes after a position, or before it."""
        upwards = self._descending == backwards
        missing = self._key.is_(None)
        if position.key is None:
            beyond = resources.c.id > position.id if upwards else resources.c.id < position.id
            rest = false() if upwards else not_(missing)
            return or_(rest, and_(missing, beyond))
        position_key = tuple_(literal(position.key), literal(position.id))
        row = tuple_(self._key, resources.c.id)
        beyond = row > position_key if upwards else row < position_key
        # Every resource has a date of creation. PostgreSQL would read all before the position to
        # find those without.
        always = self._request.sort_by is None
        return or_(missing, beyond) if upwards and not always else beyond

    def _of(self, kind: Kind) -> ColumnElement[bool]:
        of_kind: ColumnElement[bool] = resources.c.type == kind.name
        if self._request.filter is None:
            return of_kind
        return and_(of_kind, condition(self._dialect, kind, self._request.filter))

    def _sort_key(self, kinds: Sequence[Kind]) -> ColumnElement[Any]:
        if self._request.sort_by is None:
            return resources.c.created
        keys = [
            (resources.c.type == kind.name, _sort_value(self._dialect, kind, binding))
            for kind in kinds
            if (binding := self._request.sort_binding(kind.model)) is not None
        ]
        if not keys:
            return null()
        return keys[0][1] if len(kinds) == 1 else case(*keys, else_=null())


def _is_of_ids(condition: Any) -> bool:
    """Tell whether only resources with certain ids, which are looked up, meet a condition."""
    if isinstance(condition, BooleanClauseList):
        combined = any if condition.operator is and_operator else all
        return combined(map(_is_of_ids, condition.clauses))
    if isinstance(condition, Grouping):
        return _is_of_ids(condition.element)
    return (
        isinstance(condition, BinaryExpression)
        and condition.operator is eq
        and condition.left is resources.c.id
    )


def _sort_value(dialect: Dialect, kind: Kind, binding: AttributeBinding) -> ColumnElement[Any]:
    own_column = column(binding)
    if own_column is not None:
        return own_column.text
    if binding.field_name == kind.computed:
        return entries_of(dialect, kind).first(binding.sub_field_name)
    row = values.alias()
    target = binding.target_type
    numeric = (
        isclass(target) and issubclass(target, int | float) and not issubclass(target, datetime)
    )
    return (
        select(row.c.num if numeric else row.c.val)
        .where(
            row.c.resource_id == resources.c.id,
            row.c.attr == key_of(binding),
            row.c.sorts == 1,
        )
        .scalar_subquery()
    )
