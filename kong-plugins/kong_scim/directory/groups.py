"""Writes groups, and each user whose groups change with them.

Adding or removing members reads and writes only the rows of these members, so that it costs the
same in a group of ten and of ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scim2_models import InvalidValueException, Resource

from kong_scim.bridge import Sql
from kong_scim.directory import queries
from kong_scim.directory.context import DirectoryContext, Rows, existing_row, graph_of, version_of
from kong_scim.directory.documents import StoredRow, document, model, record_of, with_record
from kong_scim.directory.graph import Graph
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import Change, Entry, Operation, Outcome, UserChange, UserState
from kong_scim.directory.values import instant
from kong_scim.directory.writes import Writes

Patch = Callable[[Resource[Any]], Resource[Any] | None]
"""Returns the new state of a group, without members, or None if nothing changes."""


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

    def create(self, kind: Kind, resource: Resource[Any]) -> Resource[Any]:
        """Store a new group.

        :raises ~scim2_models.InvalidValueException: When a member does not exist.
        """
        moment = instant(self._context.clock())
        doc = document(kind, resource)
        row = StoredRow(self._context.new_id(), kind.name, 1, doc, moment, moment)
        add = _ids(resource)
        neighbourhood = (
            self._neighbourhood(add, []) if add else _Neighbourhood({}, graph_of(), None)
        )
        _refuse_unknown(add, neighbourhood)
        name = row.display or ""
        graph = neighbourhood.graph.with_group(row.id, name, add=add)
        writes = Writes(self._context.database)
        if add:
            self._guard_graph(writes, neighbourhood, exclusive=_nests(add, neighbourhood))
        created = model(kind, row)
        writes.create(kind, row, created)
        writes.join(row.id, {each: neighbourhood.rows[each].type for each in add})
        change, outcome = self._regroup(
            writes, Change("create", "Group", row.id, group_name=name), neighbourhood, graph
        )
        entry = Entry(change, outcome, None, doc, version_after=row.version, joined=tuple(add))
        self._context.commit(writes, entry)
        return model(kind, row, members=self._shown(add, neighbourhood.rows))

    def update(
        self,
        kind: Kind,
        resource: Resource[Any],
        expected_version: str | None,
        operation: Operation,
    ) -> Resource[Any]:
        """Replace a group and its members.

        :raises ~scim2_models.NotFoundException: When the group does not exist.
        :raises ~scim2_models.InvalidValueException: When a member does not exist, or is the group
            itself.
        :raises Conflict: When the group has another version, now or at the commit.
        """
        context, group_id = self._context, str(resource.id)
        rows, held = context.read(
            context.one(kind, group_id), queries.direct_members(context.database, [group_id])
        )
        row = existing_row(kind, group_id, rows, expected_version)
        wanted, present = _ids(resource), {member["id"] for member in held}
        add = [each for each in wanted if each not in present]
        remove = sorted(present.difference(wanted))
        after = row.changed(doc=document(kind, resource), now=context.clock())
        neighbourhood = self._neighbourhood(
            [*add, *remove], [group_id], below=after.display != row.display
        )
        _refuse_unknown(add, neighbourhood)
        self._change(
            operation, kind, row, after, add=add, remove=remove, neighbourhood=neighbourhood
        )
        staying = {member["id"]: member for member in held if member["id"] not in remove}
        shown = self._shown(add, neighbourhood.rows) + [
            self._member(each) for each in staying.values()
        ]
        return model(kind, after, members=sorted(shown, key=lambda member: member["value"]))

    def patch(
        self,
        kind: Kind,
        group_id: str,
        *,
        patch: Patch | None,
        add: Collection[str],
        remove: Collection[str],
        expected_version: str | None,
    ) -> Resource[Any]:
        """Add and remove members, and change other attributes; return the group without members.

        :raises ~scim2_models.NotFoundException: When the group does not exist.
        :raises ~scim2_models.InvalidValueException: As :meth:`update`.
        :raises Conflict: When the group does not have the expected version, or a row that was read
            has changed at the commit.
        """
        context = self._context
        named = [*add, *remove]
        rows, neighbourhood = self._read_neighbourhood(
            context.one(kind, group_id), named, [group_id]
        )
        row = existing_row(kind, group_id, rows, expected_version)
        patched = patch(model(kind, row)) if patch else None
        after = None
        if patched is not None:
            after = row.changed(doc=document(kind, patched), now=context.clock())
            if after.display != row.display:
                neighbourhood = self._neighbourhood(named, [group_id], below=True)
        _refuse_unknown(add, neighbourhood)
        joining = [each for each in add if group_id not in neighbourhood.graph.parents(each)]
        leaving = [each for each in remove if group_id in neighbourhood.graph.parents(each)]
        if after is None and not joining and not leaving:
            return model(kind, row)
        version = self._change(
            "patch",
            kind,
            row,
            after,
            add=joining,
            remove=leaving,
            neighbourhood=neighbourhood,
            exact=expected_version is not None,
        )
        result = after or replace(row, modified=instant(context.clock()))
        return model(kind, replace(result, version=version))

    def delete(self, kind: Kind, group_id: str, expected_version: str | None) -> None:
        """Delete a group.

        :raises ~scim2_models.NotFoundException: When the group does not exist.
        :raises Conflict: When the group has another version, now or at the commit.
        """
        context = self._context
        rows, neighbourhood = self._read_neighbourhood(
            context.one(kind, group_id), [], [group_id], below=True
        )
        row = existing_row(kind, group_id, rows, expected_version)
        parents = sorted(neighbourhood.graph.parents(group_id))
        writes = Writes(context.database)
        writes.guard({row.id: row.version, **dict.fromkeys(parents)})
        self._guard_graph(writes, neighbourhood, exclusive=True)
        moment = instant(context.clock())
        for parent in parents:
            writes.touch(parent, moment)
        change, outcome = self._regroup(
            writes,
            Change("delete", "Group", group_id),
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
            writes.update(kind, after, model(kind, row), model(kind, after))
        writes.leave(row.id, remove)
        writes.join(row.id, {each: neighbourhood.rows[each].type for each in add})
        change = Change(operation, "Group", row.id, group_name=name if renamed else None)
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
            before, after = neighbourhood.graph.groups_of(row.id), graph.groups_of(row.id)
            if before != after:
                user = model(kind, row)
                states = UserState(user, before), UserState(user, after)
                affected.append((row, UserChange(row.id, *states)))
        change = replace(change, users=tuple(each for _, each in affected))
        outcome = context.consumer_sync.of(change)
        moment = context.clock()
        for row, _ in affected:
            record = outcome.records.get(row.id, record_of(row.doc))
            new = row.changed(doc=with_record(kind, row.doc, record), now=moment)
            writes.update(kind, new, model(kind, row), model(kind, new))
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

    def _shown(self, ids: Iterable[str], rows: Mapping[str, StoredRow]) -> list[dict[str, Any]]:
        return [
            self._member({"id": each, "type": rows[each].type, "display": rows[each].display})
            for each in sorted(ids)
        ]

    def _member(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return member_value(self._context.kinds.of(row["type"]), row)


def member_value(kind: Kind, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of ``members`` (RFC 7643 §4.2); its reference is relative to the base URL."""
    return {
        "value": row["id"],
        "$ref": f"{kind.endpoint}/{row['id']}",
        "type": row["type"],
        "display": row["display"],
    }


def _ids(resource: Resource[Any]) -> list[str]:
    members = getattr(resource, "members", None) or ()
    return list(dict.fromkeys(member.value for member in members if member.value))


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
