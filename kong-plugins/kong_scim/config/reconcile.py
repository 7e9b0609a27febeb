"""The part of the configuration about drift: how often to search for it, whether to mend it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kong_scim.config.auth import StrictRecord


class ReconcileConfig(StrictRecord):
    """How often everybody is compared with what Kong has, and whether differences are mended."""

    every: Annotated[int, Field(ge=0, le=10_080)] = Field(
        default=15,
        description="Minutes from the end of one pass over all users to the begin of the next "
        "(docs/drift.md); 0 for none. After a change of the mapping a pass begins at once.",
    )
    mode: Literal["report", "mend"] = Field(
        default="report",
        description="What a pass does about a difference between what SCIM wants and what Kong "
        "has: `report` it as an event and in the metrics, or `mend` it as well.",
    )
