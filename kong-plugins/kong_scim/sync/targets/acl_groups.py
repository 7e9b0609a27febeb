"""The target ACL groups: a membership is a row of ``acls``, which Kong's acl plugin reads."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid5

from kong_scim.bridge import Consumer, Delete, Step, Upsert
from kong_scim.sync.wanted import Wanted


class AclGroups:
    """The ACL groups of a consumer. Those without the tenant's tag are never deleted."""

    dao = "acls"

    def steps(self, wanted: Wanted, present: Consumer | None) -> Iterator[Step]:
        """Yield the deletions of the tenant's groups that are not wanted, then the new ones."""
        acls = present.acls if present else ()
        tenant_tag = wanted.owner_tags[1]
        for acl in acls:
            if tenant_tag in acl.tags and acl.group not in wanted.groups:
                yield Delete(self.dao, acl.id)
        held = {acl.group for acl in acls}
        for group in wanted.groups:
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
        return {acl.id: acl.group for acl in present.acls}

    def given(self, wanted: Wanted, present: Consumer) -> set[str]:
        """Return the groups of a consumer that the tenant gave."""
        return {acl.group for acl in present.acls if wanted.owner_tags[1] in acl.tags}

    def group_of(self, step: Upsert) -> str:
        """Return the group of the membership that a step of this target creates."""
        return str(step.entity["group"])
