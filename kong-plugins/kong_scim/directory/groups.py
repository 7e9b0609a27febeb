"""Writes groups, and each user whose groups change with them.

Adding or removing members reads and writes only the rows of these members, so that it costs the
same in a group of ten and of ten thousand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scim2_models import InvalidValueException

from kong_scim import cpu
from kong_scim.bridge import Sql
from kong_scim.directory import queries
from kong_scim.directory.context import DirectoryContext, Rows, existing_row, graph_of, version_of
from kong_scim.directory.documents import Content, Found, Member, record_of, with_record
from kong_scim.directory.graph import Graph
from kong_scim.directory.kinds import Kind, Kinds
from kong_scim.directory.ports import Change, Entry, Operation, Outcome, UserChange, UserState
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.users import Precondition, Rewrite
from kong_scim.directory.values import instant
from kong_scim.directory.writes import Writes


@dataclass(frozen=True)
class _Neighbourhood:
    """The rows and memberships that a change of a group reads.

    :param rows: By id, the rows of the members that are added or removed, and of all their members.
        If the group is renamed or deleted, all its members too.
    :param graph: The groups that these members and the group are in.
    :param version: The version of the tenant's graph; None if the tenant has no row yet.
    """

    rows: Mapping[str, StoredRow]
    graph: Graph
    version: int | None


class Groups:
    """Creates, replaces, patches and deletes groups, each with its steps in Kong in one commit."""

    def __init__(self, context: DirectoryContext) -> None:
        self._context = context

    def create(self, kind: Kind, content: Content) -> Found:
        """Store a new group.

        :raises ~scim2_models.InvalidValueException: When a member does not exist.
        """
        (doc, members), moment = content, instant(self._context.clock())
        row = StoredRow(self._context.new_id(), kind.name, 1, doc, moment, moment)
        neighbourhood = (
            self._neighbourhood(members, []) if members else _Neighbourhood({}, graph_of(), None)
        )
        _refuse_unknown(members, neighbourhood)
        name = row.display or ""
        graph = neighbourhood.graph.with_group(row.id, name, add=members)
        writes = Writes(self._context.database)
        if members:
            self._guard_graph(writes, neighbourhood, exclusive=_nests(members, neighbourhood))
        writes.create(kind, row)
        writes.join(row.id, {each: neighbourhood.rows[each].type for each in members})
        change, outcome = self._regroup(
            writes, Change("create", "Group", row.id, group_name=name), neighbourhood, graph
        )
        entry = Entry(
            change, outcome, None, row.doc, version_after=row.version, joined=tuple(members)
        )
        self._context.commit(writes, entry)
        return Found(kind, row, members=self._members(members, neighbourhood.rows))

    def change(
        self,
        kind: Kind,
        group_id: str,
        rewrite: Rewrite,
        operation: Operation,
        precondition: Precondition,
    ) -> Found:
        """Change a group and its members. Nothing is written if nothing changes.

        :raises ~scim2_models.NotFoundException: When the group does not exist.
        :raises ~scim2_models.InvalidValueException: When a member does not exist, or is the group
            itself.
        :raises Conflict: When the group has another version at the commit.
        """
        context = self._context
        rows, held = context.read(
            context.one(kind, group_id), queries.direct_members(context.database, [group_id])
        )
        row = existing_row(kind, group_id, rows)
        precondition(row.etag)
        present = {each["id"]: self._member(each) for each in held}
        found = Found(kind, row, members=tuple(present.values()))
        content = rewrite(found)
        if content is None:
            return found
        doc, wanted = content
        add = [each for each in wanted if each not in present]
        staying = present.keys() & set(wanted)
        remove = sorted(present.keys() - staying)
        after = row.changed(doc=doc, now=context.clock())
        neighbourhood = self._neighbourhood(
            [*add, *remove], [group_id], below=after.display != row.display
        )
        _refuse_unknown(add, neighbourhood)
        self._change(
            operation, kind, row, after, add=add, remove=remove, neighbourhood=neighbourhood
        )
        shown = [*self._members(add, neighbourhood.rows), *(present[each] for each in staying)]
        return Found(kind, after, members=tuple(sorted(shown, key=lambda member: member.id)))

    def patch(
        self,
        kind: Kind,
        group_id: str,
        *,
        rewrite: Rewrite | None,
        add: Collection[str],
        remove: Collection[str],
        precondition: Precondition | None,
    ) -> Found:
        """Add and remove members, and change other attributes; return the group without members.

        :param rewrite: The change of other attributes, which gets the group without its members,
            and whose members are ignored.
        :param precondition: None if the group may have any version. Then several clients can add
            members at once, unless there is a change of other attributes.
        :raises ~scim2_models.NotFoundException: When the group does not exist.
        :raises ~scim2_models.InvalidValueException: As :meth:`change`.
        :raises Conflict: When a row that was read has changed at the commit.
        """
        context = self._context
        named = [*add, *remove]
        rows, neighbourhood = self._read_neighbourhood(
            context.one(kind, group_id), named, [group_id]
        )
        row = existing_row(kind, group_id, rows)
        if precondition is not None:
            precondition(row.etag)
        content = rewrite(Found(kind, row)) if rewrite else None
        after = None
        if content is not None:
            after = row.changed(doc=content.doc, now=context.clock())
            if after.display != row.display:
                neighbourhood = self._neighbourhood(named, [group_id], below=True)
        _refuse_unknown(add, neighbourhood)
        joining = [each for each in add if group_id not in neighbourhood.graph.parents(each)]
        leaving = [each for each in remove if group_id in neighbourhood.graph.parents(each)]
        if after is None and not joining and not leaving:
            return Found(kind, row)
        version = self._change(
            "patch",
            kind,
            row,
            after,
            add=joining,
            remove=leaving,
            neighbourhood=neighbourhood,
            exact=precondition is not None,
        )
        result = after or replace(row, modified=instant(context.clock()))
        return Found(kind, replace(result, version=version))

    def delete(self, kind: Kind, group_id: str, precondition: Precondition) -> None:
        """Delete a group.

        :raises ~scim2_models.NotFoundException: When the group does not exist.
        :raises Conflict: When the group has another version at the commit.
        """
        context = self._context
        rows, neighbourhood = self._read_neighbourhood(
            context.one(kind, group_id), [], [group_id], below=True
        )
        row = existing_row(kind, group_id, rows)
        precondition(row.etag)
        parents = sorted(neighbourhood.graph.parents(group_id))
        writes = Writes(context.database)
        writes.guard({row.id: row.version, **dict.fromkeys(parents)})
        self._guard_graph(writes, neighbourhood, exclusive=True)
        moment = instant(context.clock())
        for parent in parents:
            writes.touch(parent, moment)
        change, outcome = self._regroup(
            writes,
            Change("delete", "Group", group_id, old_group_name=row.display),
            neighbourhood,
            neighbourhood.graph.without_group(group_id),
        )
        writes.delete(group_id)
        left = tuple(
            each for each in neighbourhood.rows if group_id in neighbourhood.graph.parents(each)
        )
        context.commit(writes, Entry(change, outcome, row.doc, None, row.version, left=left))

    # -- Parts ------------------------------------------------------------

    def _change(
        self,
        operation: Operation,
        kind: Kind,
        row: StoredRow,
        after: StoredRow | None,
        *,
        add: Collection[str],
        remove: Collection[str],
        neighbourhood: _Neighbourhood,
        exact: bool = True,
    ) -> int:
        """Commit a change of an existing group, and return its new version.

        :param after: The new row, or None if only members change. Then the version that was read is
            not guarded, so that several clients can add members at once.
        :param exact: Whether the version is guarded in any case.
        """
        _refuse_itself(row, add)
        renamed = after is not None and after.display != row.display
        name = (after or row).display or ""
        graph = neighbourhood.graph.with_group(row.id, name, add=add, remove=remove)
        writes = Writes(self._context.database)
        writes.guard({row.id: row.version if exact or after is not None else None})
        self._guard_graph(
            writes, neighbourhood, exclusive=renamed or _nests([*add, *remove], neighbourhood)
        )
        if after is None:
            touched = writes.touch(row.id, instant(self._context.clock()))
        else:
            writes.update(kind, row, after)
        writes.leave(row.id, remove)
        writes.join(row.id, {each: neighbourhood.rows[each].type for each in add})
        change = Change(
            operation,
            "Group",
            row.id,
            group_name=name if renamed else None,
            old_group_name=row.display if renamed else None,
        )
        change, outcome = self._regroup(writes, change, neighbourhood, graph)
        entry = Entry(
            change,
            outcome,
            row.doc,
            (after or row).doc,
            row.version if after else None,
            after.version if after else None,
            counted=after is None,
            joined=tuple(add),
            left=tuple(remove),
        )
        results = self._context.commit(writes, entry)
        return int(results[touched].data[0]["version"]) if after is None else after.version

    def _regroup(
        self, writes: Writes, change: Change, neighbourhood: _Neighbourhood, graph: Graph
    ) -> tuple[Change, Outcome]:
        """Write every user whose groups are different in a new graph.

        :return: The change with these users, and its outcome.
        """
        context = self._context
        writes.guard(
            {
                row.id: row.version
                for row in neighbourhood.rows.values()
                if row.id != change.resource_id
            }
        )
        kind = context.kinds.in_role("User")
        users = [row for row in neighbourhood.rows.values() if row.type == kind.name]
        affected: list[tuple[StoredRow, UserChange]] = []
        for row in users:
            cpu.give_way()
            before, after = neighbourhood.graph.groups_of(row.id), graph.groups_of(row.id)
            if before != after:
                states = UserState(row, before), UserState(row, after)
                affected.append((row, UserChange(row.id, *states)))
        change = replace(change, users=tuple(each for _, each in affected))
        outcome = context.consumer_sync.of(change)
        moment = context.clock()
        for row, _ in affected:
            cpu.give_way()
            record = outcome.records.get(row.id, record_of(row.doc))
            new = row.changed(doc=with_record(kind, row.doc, record), now=moment)
            writes.update(kind, row, new)
        return change, outcome

    def _guard_graph(
        self, writes: Writes, neighbourhood: _Neighbourhood, *, exclusive: bool
    ) -> None:
        (writes.change_graph if exclusive else writes.hold_graph)(neighbourhood.version)

    def _neighbourhood(
        self, members: Collection[str], groups: list[str], *, below: bool = False
    ) -> _Neighbourhood:
        return self._read_neighbourhood([], members, groups, below=below)[1]

    def _read_neighbourhood(
        self,
        statements: list[Sql],
        members: Collection[str],
        groups: list[str],
        *,
        below: bool = False,
    ) -> tuple[Rows, _Neighbourhood]:
        """Run other statements, and read the neighbourhood of a group: in one step, unless groups
        are nested.

        :param members: Ids of members whose rows, and those of all their members, are read.
        :param groups: The id of the group, if it exists; the groups that it is in are read.
        :param below: Whether all members of the group are read too.
        """
        context, database = self._context, self._context.database
        row_ids = [*members, *groups] if below else list(members)
        # The version is read first: if a row read after it changes meanwhile, the guard fails.
        version, rows, nodes, above = context.read(
            [database.bind(queries.GRAPH_VERSION)],
            statements,
            queries.some(database, row_ids),
            queries.edges(database, [*members, *groups]),
            consumers=list(members),
        )
        edges = [above]
        group_type = context.kinds.in_role("Group").name
        nested_groups = [node["id"] for node in nodes if node["type"] == group_type]
        if nested_groups:
            (nested_members,) = context.read(queries.below(database, nested_groups))
            edges += context.read(queries.edges(database, [node["id"] for node in nested_members]))
            nodes += nested_members
        return rows, _Neighbourhood(
            rows={node["id"]: StoredRow.read(node) for node in nodes},
            graph=graph_of(*edges),
            version=version_of(version),
        )

    def _members(self, ids: Iterable[str], rows: Mapping[str, StoredRow]) -> tuple[Member, ...]:
        return tuple(
            self._member({"id": each, "type": rows[each].type, "display": rows[each].display})
            for each in sorted(ids)
        )

    def _member(self, row: Mapping[str, Any]) -> Member:
        return member_of(self._context.kinds, row)


def member_of(kinds: Kinds, row: Mapping[str, Any]) -> Member:
    """Return the member of a row that ``queries.direct_members`` selects."""
    return Member(row["id"], row["type"], kinds.of(row["type"]).endpoint, row["display"])


def _nests(ids: Iterable[str], neighbourhood: _Neighbourhood) -> bool:
    return any(
        neighbourhood.rows[each].type == "Group" for each in ids if each in neighbourhood.rows
    )


def _refuse_unknown(ids: Iterable[str], neighbourhood: _Neighbourhood) -> None:
    unknown = [each for each in ids if each not in neighbourhood.rows]
    if unknown:
        named = ", ".join(repr(each[:80]) for each in unknown[:5])
        raise InvalidValueException(
            detail=f"members: there is no user or group with the id {named}"
            + (f" (and {len(unknown) - 5} more)" if len(unknown) > 5 else "")
        )


def _refuse_itself(row: StoredRow, add: Iterable[str]) -> None:
    """Refuse a group as a direct member of itself; a cycle with other groups is allowed."""
    if row.id in add:
        raise InvalidValueException(
            detail=f"members: a group cannot be in itself, and this would make it so: "
            f"{row.display!r} in {row.display!r}"
        )
