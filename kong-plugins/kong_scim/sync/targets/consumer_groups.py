"""The target consumer groups, which Kong Enterprise has: each group is an entity of its own.

A row of ``consumer_group_consumers`` has no tags that could say who made it. So a consumer has a
tag for each of its memberships that SCIM gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from kong_scim.bridge import CONSUMER_GROUPS, Consumer, Delete, Retire, Step, Upsert
from kong_scim.config.groups import Kind
from kong_scim.sync.wanted import GROUP_TAG, Wanted


class ConsumerGroups:
    """The consumer groups of a consumer. Memberships that SCIM did not give are never deleted."""

    kind: Kind = "consumer_group"
    dao = CONSUMER_GROUPS

    def tags(self, wanted: Wanted, present: Consumer | None, /) -> Iterator[str]:
        """Yield the tag of each membership that SCIM gives or gave."""
        held = self._held(present)
        for group in wanted.groups_of(self.kind):
            tag = _tag(group)
            if group not in held or (present and tag in present.tags):
                yield tag

    def steps(self, wanted: Wanted, present: Consumer | None) -> Iterator[Step]:
        """Yield the deletions of SCIM's memberships that are not wanted, then the new ones."""
        held, groups = self._held(present), wanted.groups_of(self.kind)
        for group, membership in held.items():
            if group not in groups and present and _tag(group) in present.tags:
                yield Delete(self.dao, membership)
        for group in groups:
            if group not in held:
                yield Upsert(
                    self.dao,
                    {
                        "id": f"{wanted.id}:{group}",  # as scim-bridge makes it (targets.lua)
                        "consumer": {"id": wanted.id},
                        "group": group,
                        "tags": list(wanted.owner_tags),
                    },
                    unless_present=True,
                )

    def held(self, present: Consumer) -> dict[str, str]:
        """Return the groups of a consumer, by the id of the membership."""
        return {each.id: each.group for each in present.members_of(self.dao)}

    def given(self, _wanted: Wanted, present: Consumer) -> set[str]:
        """Return the groups of a consumer that SCIM gave."""
        return {group for group in self._held(present) if _tag(group) in present.tags}

    def left(self, group: str, tag: str, /) -> Iterator[Step]:
        """Yield the deletion of the group, if SCIM made it and nothing hangs on it."""
        yield Retire(self.dao, group, tag)

    def _held(self, present: Consumer | None) -> dict[str, str]:
        return {each.group: each.id for each in present.members_of(self.dao)} if present else {}


def _tag(group: str) -> str:
    # A tag cannot have a comma or a slash, and a group's name may.
    return f"{GROUP_TAG}{uuid5(NAMESPACE_URL, group)}"
