"""The part of the configuration that sets the limits of the deprovisioning guard."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kong_scim.config.auth import StrictRecord

MEMBERSHIPS_AT_LEAST = 100
"""So many memberships may be taken away by default, however few there are."""


class QuarantineConfig(StrictRecord):
    """How many people may leave at once, and how much access may be taken away from those who stay,
    before somebody has to say that this is meant.
    """

    enabled: bool = Field(
        default=True,
        description="Hold back what deactivates or deletes users, or takes ACL groups from them, "
        "once it is too much: 409, until somebody decides with `kong-scim quarantine` "
        "(docs/safety.md).",
    )
    users: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=50,
        description="Most users that are deactivated or deleted within `window`, whatever share of "
        "the tenant they are.",
    )
    share: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20,
        description="Most of them in percent of the people who were active at the start of the "
        "`window`; it counts above `at_least` only.",
    )
    at_least: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=10,
        description="So many may be gone whatever share they are, or else a small tenant is in "
        "quarantine with its second leaver. Never more than `users`.",
    )
    memberships: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None,
        description="Most memberships of ACL groups that may be taken within `window` from people "
        "who stay, by emptying, deleting or renaming groups and by removing roles. Without a "
        "number: half of all memberships, and at least 100.",
    )
    window: Annotated[int, Field(ge=1, le=10_080)] = Field(
        default=60,
        description="Minutes that a departure counts, and that an approval lets everything pass.",
    )

    def allowed(self, users: int) -> int:
        """Return how many users of so many may be gone within the window."""
        return min(self.users, max(self.at_least, users * self.share // 100))

    def memberships_allowed(self, memberships: int) -> int:
        """Return how many memberships of so many may be taken away within the window."""
        if self.memberships is not None:
            return self.memberships
        return max(MEMBERSHIPS_AT_LEAST, memberships // 2)
