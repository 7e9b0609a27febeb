"""The plugin's configuration as one pydantic model.

Kong's schema of the plugin (:mod:`kong_scim.config.kong_schema`), the JSON Schema in ``schemas/``
and the reference table of the docs are made from :class:`PluginConfig`, so a field is described
once. The value of ``kong`` in ``json_schema_extra`` goes into Kong's schema unchanged. There a rule
is a Lua pattern that is a regular expression or a validator here.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from kong_scim.config.auth import SCOPES, Jwt, Limits, Scope, StrictRecord, Token
from kong_scim.config.consumer import ConsumerMapping
from kong_scim.config.events import POLL, Events, Webhook
from kong_scim.config.groups import GroupMapping, RoleMapping
from kong_scim.config.quarantine import QuarantineConfig
from kong_scim.config.reconcile import ReconcileConfig
from kong_scim.config.references import (
    event_references,
    references,
    secrets_in_clear,
    with_references,
)
from kong_scim.config.requests import RequestsConfig
from kong_scim.config.subjects import Subject

_NOT_MAPPING = frozenset(
    {
        *("tokens", "jwt", "limits", "base_url", "require_https", "guard", "events"),
        *("quarantine", "reconcile", "requests", "dry_run", "subjects"),
        *("max_body_size", "max_results", "max_operations"),
    }
)
"""The fields of the configuration that have no effect on a user's consumer."""

RESERVED_TENANTS = frozenset({"suspended"})
"""Names that no tenant may have, since the guard gives their tag ``scim:<tenant>`` a meaning."""

__all__ = [
    "MAPPING",
    "POLL",
    "SCOPES",
    "ConfigurationError",
    "ConsumerMapping",
    "Events",
    "GroupMapping",
    "Jwt",
    "Limits",
    "PluginConfig",
    "QuarantineConfig",
    "RoleMapping",
    "Scope",
    "Subject",
    "Token",
    "Webhook",
    "event_references",
    "parse",
    "references",
    "secrets_in_clear",
]


class ConfigurationError(ValueError):
    """The configuration cannot work. The message names the field and says what to change."""


class PluginConfig(StrictRecord):
    """The configuration of one instance of the plugin: one identity provider on one route."""

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        "default",
        description="Keeps this identity provider's resources apart from those of other instances. "
        "Everything created carries the tags `scim` and `scim:<tenant>`.",
        json_schema_extra={
            "kong": {
                "match": "^%w[%w_.%-]*$",
                "len_max": 64,
                "not_one_of": [*sorted(RESERVED_TENANTS)],
            }
        },
    )
    auth: Literal["bearer", "kong"] = Field(
        "bearer",
        description="`bearer`: one of `tokens`, or a JWT as `jwt` says. `kong`: the consumer whom "
        "Kong authenticated on the route, by the ACL groups in `group_scopes`.",
    )
    tokens: Annotated[list[Token], Field(min_length=0, max_length=32)] = Field(
        default=[],
        description="Bearer tokens that are accepted, any of them: two during a rotation.",
    )
    jwt: Jwt = Field(default_factory=Jwt, description="JWTs that are accepted as bearer tokens.")
    group_scopes: dict[str, Annotated[list[Scope], Field(min_length=1, max_length=16)]] = Field(
        default_factory=dict,
        description="With `auth: kong`, the scopes of the consumers in an ACL group. No provider "
        "of this tenant can fill such a group, unless `groups.allow` has it.",
    )
    limits: Limits = Field(
        default_factory=Limits, description="Rate limits, and limits of what one request may cost."
    )
    base_url: str | None = Field(
        None,
        description="Public URL of the SCIM endpoints, such as `https://gw.example.com/scim/v2`. "
        "Set it where Kong does not know its public name. Without it the URL is taken from the "
        "request, as far as Kong trusts it.",
        json_schema_extra={
            "kong": {
                "match_any": {
                    "patterns": ["^https?://[^%s/?#@]+$", "^https?://[^%s/?#@]+/[^%s?#]*$"],
                    "err": "give an absolute URL such as https://gw.example.com/scim/v2",
                }
            }
        },
    )
    require_https: bool = Field(
        True,
        description="Refuse (403) requests that did not come over TLS, as Kong judges it "
        "(`trusted_ips`).",
    )
    consumer: ConsumerMapping = Field(
        default_factory=ConsumerMapping, description="Which attributes of a user name its consumer."
    )
    groups: GroupMapping = Field(
        default_factory=GroupMapping, description="How groups are named in Kong."
    )
    roles: RoleMapping = Field(
        default_factory=RoleMapping, description="How roles and entitlements are named in Kong."
    )
    subjects: Annotated[list[Subject], Field(min_length=0, max_length=16)] = Field(
        default=[],
        description="How the tokens of issuers name users, for people who have no consumer: the "
        "guard refuses the tokens of users who are disabled or deleted (see `claims` of "
        "`scim-bridge`).",
    )
    on_deactivate: Literal["revoke", "suspend", "delete"] = Field(
        "revoke",
        description="`revoke`: credentials deleted, groups removed, consumer refused. `suspend`: "
        "keeps the credentials, the guard refuses the consumer. `delete`: the consumer is deleted.",
    )
    guard: Literal["required", "optional"] = Field(
        "required",
        description="Whether `scim-bridge`, which refuses suspended consumers, must be enabled for "
        "every route: `required` (503 until it is) or `optional` (a warning, and the header "
        "`Kong-SCIM-Guard: off`).",
    )
    adopt: Literal["refuse", "link"] = Field(
        "refuse",
        description="A user whose name meets a consumer that SCIM did not create: `refuse` (409) "
        "or `link` (take it over).",
    )
    events: Events = Field(
        default_factory=Events,
        description="What an event of a change contains, and where it is sent.",
    )
    quarantine: QuarantineConfig = Field(
        default_factory=QuarantineConfig, description="How many users may be deprovisioned at once."
    )
    reconcile: ReconcileConfig = Field(
        default_factory=ReconcileConfig,
        description="How often Kong is compared with what SCIM wants, and what then happens.",
    )
    requests: RequestsConfig = Field(
        default_factory=RequestsConfig, description="Which requests the provider log keeps."
    )
    dry_run: bool = Field(
        default=False,
        description="Answer as if it had worked, and write nothing but an event that says what "
        "would have happened. Every answer carries `Kong-SCIM-Dry-Run: true`.",
    )
    max_body_size: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = Field(
        1024 * 1024, description="Largest request body, in bytes; a larger one is 413."
    )
    max_results: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Most resources on one page."
    )
    max_operations: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1000, description="Most operations in one Bulk or PATCH request; more is 413."
    )

    @field_validator("tenant")
    @classmethod
    def _tenant_is_free(cls, value: str) -> str:
        if value in RESERVED_TENANTS:
            raise ValueError(f"{value!r} is reserved: its tag marks suspended consumers")
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url_is_absolute(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not re.match(r"^https?://[^\s/?#@]+(?:/[^\s?#]*)?$", value):
            raise ValueError("give an absolute URL such as https://gw.example.com/scim/v2")
        return value.rstrip("/")

    @field_validator("tokens")
    @classmethod
    def _token_names_differ(cls, tokens: list[Token]) -> list[Token]:
        names = [token.name for token in tokens]
        if len(set(names)) != len(names):
            raise ValueError("two tokens have the same name")
        return tokens

    @model_validator(mode="after")
    def _somebody_may_call(self) -> PluginConfig:
        if self.auth == "kong" and not self.group_scopes:
            raise ValueError("auth is kong: give config.group_scopes, or nobody may do anything")
        if self.auth == "bearer" and not self.tokens and not self.jwt.issuer:
            raise ValueError("give config.tokens or config.jwt, or nobody may call")
        return self

    def tag(self) -> str:
        """Return the tag of this tenant's entities in Kong."""
        return f"scim:{self.tenant}"

    @cached_property
    def mapping_digest(self) -> str:
        """The SHA-256 of all fields that may decide which consumer and which groups a user has."""
        text = self.model_dump_json(exclude=set(_NOT_MAPPING))
        return hashlib.sha256(text.encode()).hexdigest()


MAPPING = frozenset(PluginConfig.model_fields) - _NOT_MAPPING
"""The fields of the configuration that may decide which consumer and which groups a user has."""


def parse(raw: dict[str, Any]) -> PluginConfig:
    """Parse the configuration that Kong sends to a plugin instance.

    Kong's own keys (``__key__``, ``__seq__``, ``$refs``, ``route_id``, ...) are ignored, and a null
    is an absent value.

    :raises ConfigurationError: It names the field, and never contains its value.
    """
    try:
        found = with_references(_without_nulls(raw))
        return PluginConfig.model_validate(found)
    except ValidationError as error:
        raise ConfigurationError(sentences("config", error)) from None


def sentences(record: str, error: ValidationError) -> str:
    """Return a sentence for each field of a record that cannot be used, without its value."""
    found = error.errors(include_input=False, include_url=False)
    return "; ".join(f"{'.'.join([record, *map(str, e['loc'])])}: {_sentence(e)}" for e in found)


_SENTENCES = {
    "missing": "is missing: give it a value",
    "extra_forbidden": "is no field of this configuration",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "literal_error": "must be one of {expected}",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have {min_length} entries or more",
    "too_long": "must have {max_length} entries or fewer",
}
"""Sentences by pydantic's error code. They appear in the log, and in the 503 to each request."""


def _sentence(problem: ErrorDetails) -> str:
    context = problem.get("ctx", {})
    if "error" in context:  # raised by a validator of these models
        return str(context["error"])
    sentence = _SENTENCES.get(problem["type"], "cannot be used: see docs/configuration.md")
    return sentence.format_map(context)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
