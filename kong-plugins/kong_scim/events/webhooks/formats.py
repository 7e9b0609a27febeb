"""The formats in which a target gets events: signed JSON, and Security Event Tokens.

A format is one class with ``build`` and ``accepted``, and a line in :data:`FORMATS`. Its name is a
value of ``config.events.webhooks.format``.

JSON is signed according to Standard Webhooks 1.0 (``webhook-id``, ``webhook-timestamp``,
``webhook-signature``). A SET (RFC 8417) has the events of RFC 9967 §2 in their ``notice`` form,
which has names of attributes but no values, and is pushed according to RFC 8935.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from joserfc import jwt

from kong_scim.events.signing import signing_keys

QUARANTINE = "Quarantine"
"""The resource type of events on a tenant's quarantine."""

DRIFT = "Drift"
"""The resource type of events on differences between what a tenant wants and what Kong has."""

_PROV = "urn:ietf:params:scim:event:prov:"
_FEED = "urn:ietf:params:scim:event:feed:"
_OF_TENANT = {
    QUARANTINE: "urn:kong-scim:event:quarantine:",
    DRIFT: "urn:kong-scim:event:drift:",
}
"""The prefixes of the event URIs of subjects of which a tenant has only one."""
_EXPIRY_WARNING = "urn:kong-scim:event:token:expiry-warning"
"""Event URIs of this project, since RFC 9967 has no such events."""

_CREDENTIAL = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
_CREDENTIAL_CHANGES = {"credential-add": "create", "credential-remove": "delete"}
_NOTICES = {
    "create": "create:notice",
    "replace": "put:notice",
    "patch": "patch:notice",
    "reconcile": "patch:notice",
}

MAX_SECRETS = 4
"""Lines of a secret that are used."""

_OUTSIDE = frozenset({"schemas", "meta"})


@dataclass(frozen=True)
class Message:
    """The headers and the body of one POST to a target."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class WebhookTarget:
    """A receiver of events.

    :param format: A key of :data:`FORMATS`.
    :param events: Labels of the events that it gets (:func:`labels`); empty for all.
    :param audience: The ``aud`` of its tokens; empty for its URL.
    """

    name: str
    url: str
    format: str = "json"
    events: tuple[str, ...] = ()
    audience: str = ""


@dataclass
class Secrets:
    """The secrets and keys that messages are signed with.

    :param of_target: The secrets by the target's name.
    :param issuer: Signs Security Event Tokens; None without a key.
    """

    of_target: Mapping[str, str] = field(default_factory=dict)
    issuer: Issuer | None = None


class UnsignedError(Exception):
    """There is no secret or key to sign a message with. The text names the setting for it."""


class Format(Protocol):
    """How an event becomes a message, and which answers say that a receiver took it."""

    def build(
        self, event: Mapping[str, Any], target: WebhookTarget, secrets: Secrets, now: datetime
    ) -> Message:
        """Return the message of an event for a target.

        :raises UnsignedError: When there is no secret or key to sign it with.
        """

    def accepted(self, status: int) -> bool:
        """Tell whether an HTTP status says that the receiver took the message."""


def labels(event: Mapping[str, Any]) -> list[str]:
    """Return the names by which a target may select an event, such as ``user.deactivate``."""
    kind = str(event["resourceType"]).lower()
    return [f"{kind}.{what}" for what in (event["operation"], *event.get("actions", []))]


def wanted(event: Mapping[str, Any], names: Collection[str]) -> bool:
    """Tell whether a target that selects events by these labels gets an event.

    :param names: Labels; empty for all events.
    """
    return not names or not set(names).isdisjoint(labels(event))


def secrets_of(text: str) -> list[str]:
    """Return the secrets in a text, which has one on each line, such as two during a rotation."""
    return [line.strip() for line in text.splitlines() if line.strip()][:MAX_SECRETS]


class SignedJson:
    """The format ``json``: ``type``, ``timestamp``, and ``data``, which is the event as SCIM has
    it.

    A target's secret is ``whsec_`` and base64, or any text. Each of several, one a line, signs.
    """

    def build(
        self, event: Mapping[str, Any], target: WebhookTarget, secrets: Secrets, now: datetime
    ) -> Message:
        """Return the message of an event, signed with each secret of the target."""
        secret = secrets.of_target.get(target.name)
        if not secret:
            raise UnsignedError("the target's secret has no value")
        data = {name: value for name, value in event.items() if name not in _OUTSIDE}
        content = {"type": labels(event)[0], "timestamp": event["occurred"], "data": data}
        body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        timestamp = str(int(now.timestamp()))
        signed = f"{event['id']}.{timestamp}.".encode() + body
        digests = [hmac.digest(_key(each), signed, hashlib.sha256) for each in secrets_of(secret)]
        return Message(
            {
                "Content-Type": "application/json",
                "webhook-id": str(event["id"]),
                "webhook-timestamp": timestamp,
                "webhook-signature": " ".join(
                    "v1," + base64.b64encode(each).decode() for each in digests
                ),
            },
            body,
        )

    def accepted(self, status: int) -> bool:
        """Tell whether the receiver took the message, which any 2xx says."""
        return 200 <= status < 300


class PushedToken:
    """The format ``set``: a Security Event Token, pushed according to RFC 8935."""

    def build(
        self, event: Mapping[str, Any], target: WebhookTarget, secrets: Secrets, now: datetime
    ) -> Message:
        """Return the message of an event, signed by the issuer (RFC 8935 §2.1)."""
        if secrets.issuer is None:
            raise UnsignedError("there is no signing key that can sign (events.signing_key)")
        headers = {"Content-Type": "application/secevent+jwt", "Accept": "application/json"}
        token = secrets.issuer.token(event, target.audience or target.url, now)
        return Message(headers, token.encode())

    def accepted(self, status: int) -> bool:
        """Tell whether the receiver took the token, which only 202 says (RFC 8935 §2.2)."""
        return status == 202


FORMATS: Mapping[str, Format] = {"json": SignedJson(), "set": PushedToken()}
"""The formats by their names in ``config.events.webhooks.format``."""


class Issuer:
    """Signs Security Event Tokens.

    :param key: The text of one key or several, see :func:`~.signing.signing_keys`.
    :param name: The ``iss`` of its tokens.
    :raises SigningKeyError: When the text has no key that can sign.
    """

    def __init__(self, key: str, name: str) -> None:
        self.name = name
        self._keys = signing_keys(key)

    def keys(self) -> dict[str, Any]:
        """Return the public keys as a JWK set (RFC 7517 §5)."""
        return {"keys": [each.public() for each in self._keys]}

    def token(self, event: Mapping[str, Any], audience: str, now: datetime) -> str:
        """Return an event as a signed token."""
        claims = {
            "jti": event["id"],
            "aud": audience,
            "toe": int(datetime.fromisoformat(event["occurred"]).timestamp()),
            "txn": event.get("requestId") or event["id"],
            "sub_id": {
                "format": "scim",
                "uri": _uri(event),
            },
            "events": scim_events(event),
        }
        return self.signed(claims, "secevent+jwt", now)

    def signed(self, claims: Mapping[str, Any], kind: str, now: datetime) -> str:
        """Return claims as a token, with the issuer and the time.

        :param kind: The header ``typ``, so that a token of one kind is not taken for another.
        """
        key = self._keys[0]
        header = {"alg": key.algorithm, "typ": kind, "kid": key.id}
        claims = {"iss": self.name, "iat": int(now.timestamp()), **claims}
        # The algorithm is named, since Ed25519 is not among joserfc's defaults.
        return jwt.encode(header, claims, key.key, algorithms=[key.algorithm])


def scim_events(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claim ``events``, with URIs of RFC 9967, or of CAEP 1.0 §3.3 for a credential."""
    found: dict[str, Any] = {}
    operation, actions = event["operation"], event.get("actions", [])
    if event["resourceType"] in _OF_TENANT:
        return {_OF_TENANT[event["resourceType"]] + operation: {"reason": event["detail"]}}
    if operation in _CREDENTIAL_CHANGES:
        # RFC 9967 has no such event, since the resource did not change. One credential did.
        (credential,) = event["entities"]
        change = _CREDENTIAL_CHANGES[operation]
        return {_CREDENTIAL: {"credential_type": credential["kind"], "change_type": change}}
    if operation == "expiry-warning":
        return {_EXPIRY_WARNING: {"expires": event["values"][0]["value"]}}
    if operation == "create":
        found[_FEED + "add"] = {}
    if operation == "delete":
        found[_PROV + "delete"] = {}
    else:
        notice: dict[str, Any] = {"attributes": event.get("attributes", [])}
        if event.get("versionAfter") is not None:
            notice["version"] = f'W/"{event["versionAfter"]}"'
        found[_PROV + _NOTICES[operation]] = notice
    for action in ("activate", "deactivate"):
        if action in actions:
            found[_PROV + action] = {}
    return found


def _uri(event: Mapping[str, Any]) -> str:
    if event["resourceType"] in _OF_TENANT:
        return f"/{event['resourceType']}"
    return f"/{event['resourceType']}s/{event['resourceId']}"


def _key(secret: str) -> bytes:
    prefix, _, encoded = secret.partition("_")
    if prefix == "whsec":
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            pass
    return secret.encode("utf-8", "surrogateescape")
