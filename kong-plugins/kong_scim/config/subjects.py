"""The part of the configuration that says how the tokens of an issuer name a user.

:mod:`kong_scim.config.plugin` puts the parts together.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from kong_scim.config.auth import StrictRecord

_NOBODY = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "azp", "nonce", "typ", "auth_time"})
"""Claims that say something of a token, and not who has it (RFC 7519 §4.1, OpenID Connect Core)."""

_PATH = re.compile(r"[^\s.\x00-\x1f\x7f]+(?:\.[^\s.\x00-\x1f\x7f]+)*")


class Subject(StrictRecord):
    """A claim in the tokens of one issuer, and the attribute of a user that has its value."""

    issuer: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="`iss` of the tokens, to the letter. For a source whose claims have no `iss`, "
        "the issuer that `claims_issuer` of `scim-bridge` names.",
        json_schema_extra={"kong": {"match": "^[^%c%s]+$"}},
    )
    claim: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        default="sub",
        description="Claim that names the user, such as `sub`, `oid`, `preferred_username` or "
        "`email`. A claim in an object is written with dots.",
    )
    attribute: str = Field(
        default="externalId",
        description="SCIM attribute with the value of the claim, such as `externalId`, `userName` "
        "or `emails.value`. No two users can have the same value.",
    )
    ignore_case: bool = Field(
        default=False,
        description="Whether `Ann@Example.com` in a token is the user `ann@example.com`. Only the "
        "letters of ASCII have a case here.",
    )

    @field_validator("issuer")
    @classmethod
    def _issuer_is_one_word(cls, value: str) -> str:
        if re.search(r"[\s\x00-\x1f\x7f]", value):
            raise ValueError("an issuer has no blanks and no control characters")
        return value

    @field_validator("claim")
    @classmethod
    def _claim_can_name_somebody(cls, value: str) -> str:
        if not _PATH.fullmatch(value):
            raise ValueError(
                f"no token can have the claim {value!r}: write a name, or names with dots between "
                "them, without blanks"
            )
        if value in _NOBODY:
            raise ValueError(f"the claim {value!r} does not say who has a token: name another one")
        return value
