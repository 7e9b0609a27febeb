"""The part of the configuration that sets the limits of the deprovisioning guard."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kong_scim.config.auth import StrictRecord

MEMBERSHIPS_AT_LEAST = 100
"""Memberships that may be taken away by default, however few a tenant has."""


class QuarantineConfig(StrictRecord):
    """How many people may leave at once, and how much access may be taken away from those who stay,
    before somebody has to say that this is meant.
    """

    enabled: bool = Field(
        default=True,
        description="Refuse (409) further requests that deactivate or delete users, or take ACL "
        "groups from them, once a limit is reached, until somebody decides with "
        "`kong-scim quarantine` (docs/safety.md).",
    )
    users: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=50,
        description="How many users may be deactivated or deleted within `window`, whatever their "
        "share of the tenant is.",
    )
    share: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20,
        description="The same limit in percent of the users who were active at the start of the "
        "`window`; it applies above `at_least` only.",
    )
    at_least: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=10,
        description="So many users may be deactivated or deleted whatever their share is, so that "
        "a small tenant can lose two. Never more than `users`.",
    )
    memberships: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None,
        description="Most memberships of ACL groups that may be taken within `window` from people "
        "who stay, by emptying, deleting or renaming groups and by removing roles. Without a "
        "number: half of all memberships, and at least 100.",
    )
    window: Annotated[int, Field(ge=1, le=10_080)] = Field(
        default=60,
        description="Minutes for which a deprovisioned user counts, and for which an approval "
        "lifts the limits.",
    )

    def allowed(self, users: int) -> int:
        """Return how many of a tenant's ``users`` may be removed within the window."""
        return min(self.users, max(self.at_least, users * self.share // 100))

    def memberships_allowed(self, memberships: int) -> int:
        """Return how many of a tenant's ``memberships`` may be taken away within the window."""
        if self.memberships is not None:
            return self.memberships
        return max(MEMBERSHIPS_AT_LEAST, memberships // 2)
