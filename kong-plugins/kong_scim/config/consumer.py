"""The part of the configuration that says which attributes of a user name its consumer."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from kong_scim.config.auth import StrictRecord

_ATTRIBUTE_PATH = re.compile(r"^(?:urn:[^\s,/]+:)?[A-Za-z][\w$-]*(?:\.[A-Za-z][\w$-]*)?$")

_LUA_ATTRIBUTE_PATH: dict[str, Any] = {
    "patterns": [
        "^%a[%w_$%-]*$",
        "^%a[%w_$%-]*%.%a[%w_$%-]*$",
        "^urn:[^%s,/]+:%a[%w_$%-]*$",
        "^urn:[^%s,/]+:%a[%w_$%-]*%.%a[%w_$%-]*$",
    ],
    "err": "name a SCIM attribute path such as userName or name.familyName",
}
"""The same rule for Kong. It needs four patterns, since a Lua pattern has no optional groups."""


class ConsumerMapping(StrictRecord):
    """Which attributes of a user name its consumer."""

    username: str = Field(
        default="userName",
        description="SCIM attribute that becomes the consumer's `username`.",
        json_schema_extra={"kong": {"match_any": _LUA_ATTRIBUTE_PATH}},
    )
    custom_id: str | None = Field(
        default="externalId",
        description="SCIM attribute that becomes the consumer's `custom_id`; an empty string for "
        "none. It must be unique in the workspace.",
        json_schema_extra={
            "kong": {
                "match_any": {
                    **_LUA_ATTRIBUTE_PATH,
                    "patterns": [*_LUA_ATTRIBUTE_PATH["patterns"], "^$"],
                }
            }
        },
    )

    @field_validator("username", "custom_id")
    @classmethod
    def _is_attribute_path(cls, value: str | None) -> str | None:
        if value in (None, ""):
            return None
        if not _ATTRIBUTE_PATH.match(str(value)):
            raise ValueError(
                f"{value!r} is no SCIM attribute path such as userName or name.familyName"
            )
        return value

    @model_validator(mode="after")
    def _username_is_set(self) -> ConsumerMapping:
        if self.username is None:
            raise ValueError("username: name an attribute, such as userName")
        return self
