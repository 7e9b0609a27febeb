"""The part of the configuration that says which requests are kept in the provider log."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kong_scim.config.auth import StrictRecord


class RequestsConfig(StrictRecord):
    """How long the provider log keeps SCIM requests, and how much of them."""

    keep_days: Annotated[int, Field(ge=0, le=90)] = Field(
        default=7,
        description="Days for which the provider log keeps each SCIM request with its status, its "
        "caller and the sentence of its error (`kong-scim requests`); at most 200,000 requests. "
        "0: it keeps none.",
    )
    keep_bodies: bool = Field(
        default=False,
        description="Keep the first 4 KiB of the body of a request that failed, too. That is "
        "personal data: turn it on while you look for a fault. Passwords are taken out.",
    )
