"""The part of the configuration that says who may call, and how often.

See :mod:`kong_scim.config.plugin`, which it belongs to.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Scope = Literal["scim:read", "scim:users", "scim:groups", "scim:bulk", "scim:events", "scim:admin"]
SCOPES: tuple[str, ...] = get_args(Scope)

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Of signatures with a key pair. With a shared secret, or without a key, there is none."""


class StrictRecord(BaseModel):
    """A record of the configuration, which refuses fields it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)


class Token(StrictRecord):
    """A bearer token that an identity provider may present."""

    model_config = ConfigDict(
        json_schema_extra={
            "kong": {"entity_checks": [{"only_one_of": ["value", "file", "sha256"]}]}
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")] = Field(
        description="What logs call this token. Its value is never logged.",
        json_schema_extra={"kong": {"match": "^[%w_.%-]+$"}},
    )
    value: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="The token, best as a vault reference such as `{vault://env/scim-token}`, "
        "which is resolved on each request. One of `value`, `file` and `sha256`.",
        json_schema_extra={"kong": {"referenceable": True, "encrypted": True}},
        repr=False,
    )
    file: Annotated[str, Field(pattern=r"^/", max_length=1024)] | None = Field(
        default=None,
        description="A file on the plugin server's machine that holds the token, or several, one a "
        "line. What changes in it counts within a second; replace it by renaming. It counts only "
        "where nobody else may change it (docs/security.md).",
        json_schema_extra={"kong": {"match": "^/"}},
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]+$", min_length=64, max_length=64)] | None = (
        Field(
            default=None,
            description="The token's SHA-256 in hex, so that the configuration holds no secret: "
            "`kong-scim token new` prints it.",
            json_schema_extra={"kong": {"match": "^[0-9a-f]+$"}},
        )
    )
    scopes: Annotated[list[Scope], Field(min_length=0, max_length=16)] = Field(
        default=[],
        description="What the token may do, see docs/security.md. Without any: `scim:read`, "
        "`scim:users`, `scim:groups` and `scim:bulk`, which is all that a provider needs.",
    )
    expires: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")] | None = Field(
        default=None,
        description="When the token stops to count, in UTC: `2027-01-31T00:00:00Z`. The plugin "
        "server's log warns from 14 days before.",
        json_schema_extra={"kong": {"match": "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"}},
    )
    networks: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]],
        Field(min_length=0, max_length=64),
    ] = Field(
        default=[],
        description="Addresses the token counts from, as CIDR: `203.0.113.0/24`. Without any, from "
        "all. The client's address is what Kong judges it to be (`trusted_ips`).",
    )

    def expiry(self) -> float:
        """Return :attr:`expires` in seconds since the epoch; infinity without one."""
        if self.expires is None:
            return float("inf")
        when = datetime.strptime(self.expires, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - next line
        return when.replace(tzinfo=UTC).timestamp()

    @field_validator("expires")
    @classmethod
    def _expires_at_a_moment(cls, value: str | None) -> str | None:
        if value is not None:
            datetime.fromisoformat(value)  # a ValueError for a 31st of February
        return value

    @field_validator("networks")
    @classmethod
    def _networks_are_cidr(cls, value: list[str]) -> list[str]:
        for each in value:
            ipaddress.ip_network(each, strict=False)  # a ValueError
        return value

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Token:
        if sum(each is not None for each in (self.value, self.file, self.sha256)) != 1:
            raise ValueError("give one of value, file and sha256")
        return self


_WITH_ISSUER: dict[str, Any] = {"if_field": "issuer", "if_match": {"required": True}}


class Jwt(StrictRecord):
    """JWT bearer tokens of one issuer; without an issuer they are off."""

    model_config = ConfigDict(
        json_schema_extra={
            "kong": {
                "entity_checks": [
                    {"mutually_exclusive": ["jwks_url", "public_key"]},
                    {
                        "conditional_at_least_one_of": {
                            **_WITH_ISSUER,
                            "then_at_least_one_of": ["jwks_url", "public_key"],
                        }
                    },
                    {
                        "conditional": {
                            **_WITH_ISSUER,
                            "then_field": "audience",
                            "then_match": {"required": True, "len_min": 1},
                        }
                    },
                ]
            }
        }
    )

    issuer: str | None = Field(
        default=None,
        description="Accept JWTs whose `iss` is this, exactly: "
        "`https://example.okta.com/oauth2/default`. Without it, none are accepted.",
    )
    audience: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=512)]],
        Field(min_length=0, max_length=16),
    ] = Field(default=[], description="One of these must be in the JWT's `aud`.")
    jwks_url: str | None = Field(
        default=None,
        description="Where the issuer publishes its keys. The plugin server fetches them, so it "
        "needs a way there. This or `public_key`.",
        json_schema_extra={"kong": {"match": "^https?://[^%s/?#@]+/?[^%s#]*$"}},
    )
    allow_http: bool = Field(
        default=False, description="Let `jwks_url` be plain HTTP: for tests, never elsewhere."
    )
    refresh_floor: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=30,
        description="Seconds between two fetches of the keys at least, however many unknown key "
        "ids arrive.",
    )
    public_key: Annotated[str, Field(max_length=65536)] | None = Field(
        default=None,
        description="The issuer's public key, pinned: PEM, JWK or JWKS as text.",
    )
    algorithms: Annotated[list[Algorithm], Field(min_length=1, max_length=10)] = Field(
        default=["RS256", "PS256", "ES256"],
        description="Signature algorithms that are accepted, whatever a JWT says of itself.",
    )
    scope_claim: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        default="scope",
        description="The claim with the scopes, as a list or as words: `scp` with Okta, `roles` "
        "with Entra.",
    )
    scopes: dict[str, Annotated[list[Scope], Field(min_length=1, max_length=16)]] = Field(
        default_factory=dict,
        description="What other values of that claim stand for. `scim:...` itself needs no entry; "
        "a JWT with none of either may do nothing.",
    )
    clock_skew: Annotated[int, Field(ge=0, le=600)] = Field(
        default=60, description="Seconds by which the issuer's clock may differ."
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Jwt:
        if not self.issuer:
            return self
        if not self.audience:
            raise ValueError("audience: name whom the tokens are for, or anybody's would do")
        if bool(self.jwks_url) == bool(self.public_key):
            raise ValueError("give one of jwks_url and public_key")
        if self.jwks_url and not re.match(r"^https?://[^\s/?#@]+/?[^\s#]*$", self.jwks_url):
            raise ValueError("jwks_url: give an absolute URL")
        if self.jwks_url and self.jwks_url.startswith("http:") and not self.allow_http:
            raise ValueError("jwks_url: use https, or who is on the way chooses the keys")
        return self


class Limits(StrictRecord):
    """Limits of requests, processor time and statements. Each plugin server counts for itself."""

    failed_attempts: Annotated[int, Field(ge=0, le=100000)] = Field(
        default=20,
        description="Wrong credentials from one address within a minute, after which more of them "
        "get 429; from the half on, answers are slowed. Right ones pass. 0 for no limit.",
    )
    requests_per_minute: Annotated[int, Field(ge=0, le=10000000)] = Field(
        default=60000,
        description="Requests with one token, evened out over ten seconds; more get 429. 0 for no "
        "limit.",
    )
    cpu_seconds: Annotated[int, Field(ge=1, le=60)] = Field(
        default=10,
        description="Seconds of a processor that one request, or one operation of a Bulk request, "
        "may take of the plugin server; what takes more is 413 and writes nothing.",
    )
    statement_seconds: Annotated[int, Field(ge=1, le=60)] = Field(
        default=4,
        description="Seconds that one statement may take in the database, which then stops it. "
        "With PostgreSQL never more than nine tenths of Kong's `pg_timeout` (5 s by default).",
    )
