"""What a target is sent: an event as signed JSON, or as a Security Event Token.

JSON is signed in the form of Standard Webhooks 1.0 (``webhook-id``, ``webhook-timestamp``,
``webhook-signature``). A SET (RFC 8417) has the events of RFC 9967 §2 in their ``notice`` form,
which names attributes and tells no values, and is pushed as RFC 8935 says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from joserfc import jwk, jwt
from joserfc.errors import JoseError

_PROV = "urn:ietf:params:scim:event:prov:"
_FEED = "urn:ietf:params:scim:event:feed:"
_EXPIRY_WARNING = "urn:kong-scim:event:token:expiry-warning"
"""Of this project: RFC 9967 has no such event."""

_NOTICES = {"create": "create:notice", "replace": "put:notice", "patch": "patch:notice"}
_OUTSIDE = frozenset({"schemas", "meta"})

_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


@dataclass(frozen=True)
class Message:
    """What is posted."""

    headers: Mapping[str, str]
    body: bytes


class SigningKeyError(ValueError):
    """A key that cannot sign. The message says nothing of it."""


def labels(event: Mapping[str, Any]) -> list[str]:
    """Return what an event may be asked for by: ``user.patch``, ``user.deactivate``, ..."""
    kind = str(event["resourceType"]).lower()
    return [f"{kind}.{what}" for what in (event["operation"], *event.get("actions", []))]


def wanted(event: Mapping[str, Any], names: Collection[str]) -> bool:
    """Tell whether a target that asks for these is told of an event; for none, of every one."""
    return not names or not set(names).isdisjoint(labels(event))


def signed_json(event: Mapping[str, Any], secret: str, now: datetime) -> Message:
    """Return an event as JSON: ``type``, ``timestamp`` and ``data``, the event as it is read.

    :param secret: ``whsec_`` and base64, or any text.
    """
    data = {name: value for name, value in event.items() if name not in _OUTSIDE}
    content = {"type": labels(event)[0], "timestamp": event["occurred"], "data": data}
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    timestamp = str(int(now.timestamp()))
    signature = hmac.new(
        _key(secret), f"{event['id']}.{timestamp}.".encode() + body, hashlib.sha256
    )
    return Message(
        {
            "Content-Type": "application/json",
            "webhook-id": str(event["id"]),
            "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + base64.b64encode(signature.digest()).decode(),
        },
        body,
    )


class Issuer:
    """Signs Security Event Tokens.

    :param key: A private key in PEM, or as a JWK: RSA, EC or Ed25519.
    :param name: The ``iss`` of its tokens.
    :raises SigningKeyError: When it is none.
    """

    def __init__(self, key: str, name: str) -> None:
        self.name = name
        try:
            self._key: Any = _imported(key)
            self._id = self._key.thumbprint()
            self._algorithm = _CURVES.get(self._key.as_dict(private=False).get("crv", ""), "")
            self._algorithm = self._algorithm or _ALGORITHMS[self._key.key_type]
            if not self._key.is_private:
                raise SigningKeyError("events.signing_key is a public key: give the private one")
        except (JoseError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, SigningKeyError):
                raise
            raise SigningKeyError("events.signing_key is no private key in PEM or JWK") from None

    def keys(self) -> dict[str, Any]:
        """Return the public key as a JWK set (RFC 7517 §5)."""
        public = self._key.as_dict(private=False)
        return {"keys": [{**public, "kid": self._id, "use": "sig", "alg": self._algorithm}]}

    def token(self, event: Mapping[str, Any], audience: str, now: datetime) -> str:
        """Return an event as a signed token."""
        header = {"alg": self._algorithm, "typ": "secevent+jwt", "kid": self._id}
        claims = {
            "iss": self.name,
            "iat": int(now.timestamp()),
            "jti": event["id"],
            "aud": audience,
            "toe": int(datetime.fromisoformat(event["occurred"]).timestamp()),
            "txn": event.get("requestId") or event["id"],
            "sub_id": {
                "format": "scim",
                "uri": f"/{event['resourceType']}s/{event['resourceId']}",
            },
            "events": scim_events(event),
        }
        # Ed25519 is not among joserfc's defaults.
        return jwt.encode(header, claims, self._key, algorithms=[self._algorithm])

    def push(self, event: Mapping[str, Any], audience: str, now: datetime) -> Message:
        """Return an event as it is pushed (RFC 8935 §2.1)."""
        headers = {"Content-Type": "application/secevent+jwt", "Accept": "application/json"}
        return Message(headers, self.token(event, audience, now).encode())


def scim_events(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claim ``events``, by the URIs of RFC 9967."""
    found: dict[str, Any] = {}
    operation, actions = event["operation"], event.get("actions", [])
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


Format = Literal["json", "set"]


def _imported(key: str) -> Any:
    if key.lstrip().startswith("{"):
        return jwk.import_key(json.loads(key))
    last: Exception = ValueError("no key")
    for kind in ("RSA", "EC", "OKP"):
        try:
            return jwk.import_key(key, kind)
        except (JoseError, ValueError, TypeError) as error:
            last = error
    raise last


def _key(secret: str) -> bytes:
    prefix, _, encoded = secret.strip().partition("_")
    if prefix == "whsec":
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            pass
    return secret.strip().encode()
