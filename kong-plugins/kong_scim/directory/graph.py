"""Works out which groups a user is in, including nested ones, from a small graph in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kong_scim.directory.ports import GroupRef


class Graph:
    """The groups that some members are in.

    :param parents: By member id, the ids of the groups it is directly in. Members are users and
        groups; a group that is in other groups is a key too.
    :param names: The displayName of each group, by its id.
    """

    def __init__(self, parents: Mapping[str, frozenset[str]], names: Mapping[str, str]) -> None:
        self._parents = parents
        self._names = names

    @classmethod
    def from_edges(cls, edges: Iterable[tuple[str, str, str]]) -> Graph:
        """Return the graph of edges (member id, group id, the group's name)."""
        parents: dict[str, set[str]] = {}
        names = {}
        for member, group, name in edges:
            parents.setdefault(member, set()).add(group)
            names[group] = name
        return cls({member: frozenset(groups) for member, groups in parents.items()}, names)

    def parents(self, member: str) -> frozenset[str]:
        """Return the ids of the groups that a member is directly in."""
        return self._parents.get(member, frozenset())

    def groups_of(self, member: str) -> tuple[GroupRef, ...]:
        """Return every group that a member is in, in the order of their names, each once.

        Groups may be members of each other in a cycle; a member of one of them is in all.
        """
        direct = self.parents(member)
        found = set(direct)
        level = direct
        while level:
            level = frozenset().union(*(self.parents(group) for group in level)) - found
            found |= level
        refs = (GroupRef(group, self._names[group], group in direct) for group in found)
        return tuple(sorted(refs, key=lambda ref: (ref.display_name, ref.id)))

    def ways(self, member: str) -> dict[str, tuple[str, ...]]:
        """Return a shortest way to each group that a member is in, by the group's id.

        :return: The names of the groups on the way: first one that has the member itself, then one
            that has this group, and so on to the group.
        """
        ways: dict[str, tuple[str, ...]] = {}
        level: dict[str, tuple[str, ...]] = {member: ()}
        while level:
            above: dict[str, tuple[str, ...]] = {}
            for each in sorted(level, key=lambda each: (level[each], each)):
                for group in self.parents(each):
                    if group not in ways and group not in above:
                        above[group] = (*level[each], self._names[group])
            ways |= above
            level = above
        return ways

    def with_group(
        self,
        group: str,
        name: str,
        *,
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> Graph:
        """Return the graph in which a group has this name, and members are added and removed."""
        parents = dict(self._parents)
        for member in remove:
            parents[member] = self.parents(member) - {group}
        for member in add:
            parents[member] = self.parents(member) | {group}
        return Graph(parents, {**self._names, group: name})

    def without_group(self, group: str) -> Graph:
        """Return the graph without a group."""
        return Graph(
            {
                member: groups - {group}
                for member, groups in self._parents.items()
                if member != group
            },
            self._names,
        )
