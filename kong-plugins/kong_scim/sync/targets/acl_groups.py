"""The target ACL groups: a membership is a row of ``acls``, which Kong's acl plugin reads."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid5

from kong_scim.bridge import ACLS, Consumer, Delete, Step, Upsert
from kong_scim.config.groups import Kind
from kong_scim.sync.wanted import Wanted


class AclGroups:
    """The ACL groups of a consumer. Those without the tenant's tag are never deleted."""

    kind: Kind = "acl"
    dao = ACLS

    def tags(self, _wanted: Wanted, _present: Consumer | None, /) -> Iterator[str]:
        """Yield no tags: each row has the tags of its tenant."""
        yield from ()

    def steps(self, wanted: Wanted, present: Consumer | None) -> Iterator[Step]:
        """Yield the deletions of the tenant's groups that are not wanted, then the new ones."""
        acls = present.acls if present else ()
        tenant_tag = wanted.owner_tags[1]
        groups = wanted.groups_of(self.kind)
        for acl in acls:
            if tenant_tag in acl.tags and acl.group not in groups:
                yield Delete(self.dao, acl.id)
        held = {acl.group for acl in acls}
        for group in groups:
            if group not in held:
                yield Upsert(
                    self.dao,
                    {
                        # The id is always the same, so that a repeated commit writes the same row.
                        "id": str(uuid5(UUID(wanted.id), group)),
                        "consumer": {"id": wanted.id},
                        "group": group,
                        "tags": list(wanted.owner_tags),
                    },
                    unless_present=True,
                )

    def held(self, present: Consumer) -> dict[str, str]:
        """Return the groups of a consumer, by the id of the membership."""
        return {each.id: each.group for each in present.acls}

    def given(self, wanted: Wanted, present: Consumer) -> set[str]:
        """Return the groups of a consumer that the tenant gave."""
        return {each.group for each in present.acls if wanted.owner_tags[1] in each.tags}

    def left(self, _group: str, _tag: str, /) -> Iterator[Step]:
        """Yield no steps: an ACL group is nothing without its members."""
        yield from ()
