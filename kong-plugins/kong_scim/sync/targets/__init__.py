"""Targets: what the groups of a user become in Kong. Each target is one module in this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from kong_scim.bridge import Consumer, Step, Upsert
from kong_scim.sync.targets.acl_groups import AclGroups
from kong_scim.sync.wanted import Wanted


class Target(Protocol):
    """A kind of entity in Kong whose rows are the memberships of consumers."""

    dao: str
    """The name of its DAO in Kong. Each row is one membership."""

    def steps(self, wanted: Wanted, present: Consumer | None) -> Iterator[Step]:
        """Yield the steps from the memberships that Kong has to those that are wanted."""

    def held(self, present: Consumer) -> dict[str, str]:
        """Return the groups of a consumer, by the id of the membership."""

    def given(self, wanted: Wanted, present: Consumer) -> set[str]:
        """Return the groups of a consumer that the tenant gave."""

    def group_of(self, step: Upsert) -> str:
        """Return the group of the membership that a step of this target creates."""


TARGETS: tuple[Target, ...] = (AclGroups(),)
"""All targets, in the order in which the memberships of a consumer are read and written."""
