"""Makes SQL for the entries of a user's ``groups`` and a group's ``members``, for filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, literal, null, select, true

from kong_scim.bridge import Dialect
from kong_scim.directory.comparisons import Comparand
from kong_scim.directory.kinds import Kind
from kong_scim.directory.related import InOrder, Related, looked_up
from kong_scim.directory.tables import members, resources


@dataclass(frozen=True)
class Entries:
    """The entries of the outer resource.

    :param rows: The rows, one for each entry.
    :param fields: The value of each sub-attribute, by its Python name, in the form for comparisons.
    :param order: The columns by which the resource orders its entries.
    """

    rows: Related
    fields: Mapping[str, Comparand]
    order: tuple[ColumnElement[Any], ...]

    def field(self, name: str | None) -> Comparand:
        """Return a sub-attribute of the outer entry; its ``value`` if the name is None."""
        return self.fields.get(name or "value", Comparand(null()))

    def all(self, name: str | None) -> Comparand:
        """Return a sub-attribute of every entry of the outer resource."""
        text = self.field(name).text
        return Comparand(text, rows=self.rows, lacking=self.rows.some(text.is_(None)))

    def first(self, name: str | None) -> ColumnElement[Any]:
        """Return a sub-attribute of the first entry of the outer resource."""
        of_resource = (column == ours for column, ours in self.rows.ties)
        statement = select(self.field(name).text).select_from(self.rows.rows).where(*of_resource)
        return statement.order_by(*self.order).limit(1).scalar_subquery()


def entries_of(dialect: Dialect, kind: Kind) -> Entries:
    """Return the entries of a kind's computed attribute (RFC 7643 §4.1.2 and §4.2)."""
    return _members(dialect) if kind.role == "Group" else _groups(dialect)


def _members(dialect: Dialect) -> Entries:
    row, member = members.alias(), resources.alias()
    return Entries(
        rows=Related(
            dialect,
            row.join(member, member.c.id == row.c.member_id),
            true(),
            ((row.c.group_id, resources.c.id),),
        ),
        fields={
            "value": Comparand(row.c.member_id, certain=True),
            "type": Comparand(func.lower(row.c.member_type), certain=True),
            "ref": Comparand(row.c.member_type.concat("s/").concat(row.c.member_id), certain=True),
            "display": Comparand(member.c.display_key),
        },
        order=(row.c.member_id,),
    )


def _groups(dialect: Dialect) -> Entries:
    below, above, group, direct = (
        members.alias(),
        members.alias(),
        resources.alias(),
        members.alias(),
    )
    up = (
        select(below.c.group_id)
        .where(below.c.member_id == resources.c.id)
        .correlate(resources)
        .cte(recursive=True, nesting=True)
    )
    its_row = (above, above.c.member_id == up.c.group_id)
    up = up.union(looked_up(dialect, up, [above.c.group_id], its_row))
    is_direct = exists(
        select(literal(1))
        .where(direct.c.group_id == group.c.id, direct.c.member_id == resources.c.id)
        .correlate(group, resources)
    )
    return Entries(
        rows=Related(dialect, InOrder(up, group, group.c.id == up.c.group_id), true()),
        fields={
            "value": Comparand(group.c.id, certain=True),
            "type": Comparand(case((is_direct, "direct"), else_="indirect"), certain=True),
            "ref": Comparand(literal("Groups/").concat(group.c.id), certain=True),
            "display": Comparand(group.c.display_key),
        },
        order=(group.c.display, group.c.id),
    )
