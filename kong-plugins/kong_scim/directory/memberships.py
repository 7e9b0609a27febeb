"""A user's ``groups`` and a group's ``members`` as entries that a filter can select from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, null, select
from sqlalchemy.sql.selectable import FromClause

from kong_scim.directory.comparisons import Comparand
from kong_scim.directory.kinds import Kind
from kong_scim.directory.tables import members, resources


@dataclass(frozen=True)
class Entries:
    """The entries of the resource at hand.

    :param rows: One row an entry.
    :param tie: The condition that an entry is of the resource at hand.
    :param fields: The value of each sub-attribute, by its Python name, in the form comparisons use.
    """

    rows: FromClause
    tie: ColumnElement[bool]
    fields: Mapping[str, ColumnElement[Any]]

    def field(self, name: str | None) -> Comparand:
        """Return a sub-attribute of an entry that is at hand itself; None for the entry."""
        return Comparand(self.fields.get(name or "value", null()))

    def all(self, name: str | None) -> Comparand:
        """Return a sub-attribute of every entry of the resource at hand."""
        text = self.field(name).text
        lacking = exists(select(literal(1)).select_from(self.rows).where(self.tie, text.is_(None)))
        return Comparand(text, rows=self.rows, tie=self.tie, lacking=lacking)


def entries_of(kind: Kind) -> Entries:
    """Return the entries of a kind's computed attribute (RFC 7643 §4.1.2 and §4.2)."""
    return _members() if kind.role == "Group" else _groups()


def _members() -> Entries:
    row, member = members.alias(), resources.alias()
    return Entries(
        rows=row.join(member, member.c.id == row.c.member_id),
        tie=row.c.group_id == resources.c.id,
        fields={
            "value": row.c.member_id,
            "type": func.lower(row.c.member_type),
            "ref": row.c.member_type.concat("s/").concat(row.c.member_id),
            "display": member.c.display_key,
        },
    )


def _groups() -> Entries:
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
    up = up.union(select(above.c.group_id).join_from(up, above, above.c.member_id == up.c.group_id))
    is_direct = exists(
        select(literal(1)).where(
            and_(direct.c.group_id == group.c.id, direct.c.member_id == resources.c.id)
        )
    )
    return Entries(
        rows=up.join(group, group.c.id == up.c.group_id),
        # the rows are of the resource at hand already
        tie=group.c.id.is_not(None),
        fields={
            "value": group.c.id,
            "type": case((is_direct, "direct"), else_="indirect"),
            "ref": literal("Groups/").concat(group.c.id),
            "display": group.c.display_key,
        },
    )
