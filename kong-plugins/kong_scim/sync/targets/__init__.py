"""Targets: what the groups of a user become in Kong. Each target is one module in this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from kong_scim.bridge import Consumer, Step
from kong_scim.config.groups import Kind, TargetChoice
from kong_scim.sync.targets.acl_groups import AclGroups
from kong_scim.sync.targets.consumer_groups import ConsumerGroups
from kong_scim.sync.wanted import Wanted


class Target(Protocol):
    """A kind of entity in Kong whose rows are the memberships of consumers."""

    @property
    def kind(self) -> Kind:
        """Its name in the configuration."""

    @property
    def dao(self) -> str:
        """The name of its DAO in Kong. Each row is one membership."""

    def tags(self, wanted: Wanted, present: Consumer | None, /) -> Iterator[str]:
        """Yield the tags by which the consumer remembers its memberships."""

    def steps(self, wanted: Wanted, present: Consumer | None) -> Iterator[Step]:
        """Yield the steps from the memberships that Kong has to those that are wanted."""

    def held(self, present: Consumer) -> dict[str, str]:
        """Return the groups of a consumer, by the id of the membership."""

    def given(self, wanted: Wanted, present: Consumer) -> set[str]:
        """Return the groups of a consumer that the tenant gave."""

    def left(self, group: str, tag: str, /) -> Iterator[Step]:
        """Yield the steps for a group that the tenant does not give any more.

        :param tag: The tag of the groups that the tenant made.
        """


TARGETS: tuple[Target, ...] = (AclGroups(), ConsumerGroups())
"""All targets, in the order in which the memberships of a consumer are read and written."""


def daos(choice: TargetChoice, group: str) -> list[str]:
    """Return the DAOs of a group's memberships, by its name in Kong."""
    return [each.dao for each in TARGETS if choice.has(group, each.kind)]


def missing(choice: TargetChoice, present: tuple[str, ...]) -> list[str]:
    """Return the kinds of groups that are configured, and that this Kong does not have.

    :param present: The DAOs of memberships that this Kong has.
    """
    return [
        each.kind
        for each in TARGETS
        # Every Kong can have ACL groups, and one without the plugin acl has no use for them.
        if each.kind in choice.kinds - {"acl"} and each.dao not in present
    ]
