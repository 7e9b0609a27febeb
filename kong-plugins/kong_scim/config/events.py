"""The part of the configuration that says which events are sent to whom."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from kong_scim.config.auth import StrictRecord

POLL = "poll"
"""The name of the target that polls for its events instead of being called."""


SecretFile = Annotated[str, Field(pattern=r"^/", max_length=1024)] | None


class Webhook(StrictRecord):
    """A target that gets events over HTTP."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")] = Field(
        description="What logs and `kong-scim deliveries` call this target.",
        json_schema_extra={"kong": {"match": "^[%w_.%-]+$"}},
    )
    url: Annotated[
        str, Field(max_length=2048, pattern=r"^https?://[^\s/?#@]+(?:[/?][^\s#]*)?$")
    ] = Field(
        description="Where events are posted. Redirects are not followed.",
        json_schema_extra={"kong": {"match": "^https?://[^%s/?#@]+[^%s#]*$"}},
    )
    format: Literal["json", "set"] = Field(
        "json",
        description="`json`: the event, signed with HMAC-SHA256 in the form of Standard Webhooks. "
        "`set`: a Security Event Token (RFC 8417) with the events of RFC 9967, pushed as RFC 8935 "
        "says; it needs `events.signing_key` or `signing_key_file`.",
    )
    secret: Annotated[str, Field(max_length=4096)] = Field(
        default="",
        description="What `json` is signed with, best as a vault reference: `whsec_` and base64, "
        "or any text; two, one a line, during a rotation.",
        json_schema_extra={"kong": {"referenceable": True, "encrypted": True}},
        repr=False,
    )
    secret_file: SecretFile = Field(
        default=None,
        description="A file on the plugin server's machine that holds it instead. What changes in "
        "it counts within a second; replace it by renaming.",
        json_schema_extra={"kong": {"match": "^/"}},
    )
    events: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=0, max_length=64)
    ] = Field(
        default=[],
        description="Only these, such as `user.create`, `user.deactivate`, `group.member-remove`: "
        "the type of the resource, and the operation or an action. Empty: every event.",
    )
    audience: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="The `aud` of a token; empty: the URL."
    )

    @model_validator(mode="after")
    def _secret_comes_from_one_place(self) -> Webhook:
        if self.secret and self.secret_file:
            raise ValueError("give one of secret and secret_file")
        return self


class Events(StrictRecord):
    """How long events are kept, what they contain, and who gets them."""

    values: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=256)]],
        Field(min_length=0, max_length=64),
    ] = Field(
        default=[],
        description="Attributes whose new values are kept with an event, such as `userName`, and "
        "`urn:...:User:department` of an extension; of all others only the name is. The audit "
        "trail cannot be edited: what is kept there stays when the person is deleted.",
    )
    keep_days: Annotated[int, Field(ge=1, le=36_500)] = Field(
        default=400,
        description="Days for which events stay in the audit trail. It can be verified after older "
        "ones were dropped.",
    )
    webhooks: Annotated[list[Webhook], Field(min_length=0, max_length=16)] = Field(
        default=[],
        description="Targets that get each event, at least once and in order for each resource.",
    )
    poll: bool = Field(
        default=False,
        description="Keep Security Event Tokens for a receiver that cannot be called and polls "
        "`/Events/poll` (RFC 8936); it needs `events.signing_key` or `signing_key_file`.",
    )
    poll_audience: Annotated[str, Field(max_length=2048)] = Field(
        default="",
        description="The `aud` of polled tokens; empty: `base_url`, or else their `iss`.",
    )
    signing_key: Annotated[str, Field(max_length=16_384)] = Field(
        default="",
        description="Private key of Security Event Tokens, best as a vault reference: RSA of 2,048 "
        "bits or more, EC or Ed25519, in PEM or as a JWK. The public one is at `/jwks.json`. Of "
        "several (PEM blocks, a JWK set) the first signs, and all are there.",
        json_schema_extra={"kong": {"referenceable": True, "encrypted": True}},
        repr=False,
    )
    signing_key_file: SecretFile = Field(
        default=None,
        description="A file on the plugin server's machine that holds it instead, or several. A "
        "change is noticed within a second; replace the file by renaming another one.",
        json_schema_extra={"kong": {"match": "^/"}},
    )
    issuer: Annotated[str, Field(max_length=2048)] = Field(
        default="", description="The `iss` of tokens; empty: `base_url`, or else `kong-scim`."
    )
    give_up_hours: Annotated[int, Field(ge=1, le=8760)] = Field(
        default=72,
        description="Hours after which a delivery that keeps failing is given up; "
        "`kong-scim deliveries` shows it and sends it again.",
    )
    timeout: Annotated[int, Field(ge=1, le=60)] = Field(
        default=10, description="Seconds for one delivery, from the connection to the answer."
    )
    allow_http: bool = Field(
        default=False, description="Allow webhooks without TLS, where the network is trusted."
    )
    allow_hosts: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253)]],
        Field(min_length=0, max_length=64),
    ] = Field(
        default=[],
        description="Hosts of webhooks that may have a private or link-local address, by name.",
    )

    @model_validator(mode="after")
    def _signing_key_comes_from_one_place(self) -> Events:
        if self.signing_key and self.signing_key_file:
            raise ValueError("give one of signing_key and signing_key_file")
        return self

    @field_validator("webhooks")
    @classmethod
    def _webhook_names_differ(cls, webhooks: list[Webhook]) -> list[Webhook]:
        names = [webhook.name for webhook in webhooks]
        if len(set(names)) != len(names):
            raise ValueError("two webhooks have the same name")
        if POLL in names:
            raise ValueError(f"{POLL!r} is the name of what is polled: give another one")
        return webhooks
