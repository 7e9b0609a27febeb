"""The authentication plugins key-auth, jwt, session and ldap-auth, with Kong's answers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from kong_scim_sandbox import entities
from kong_scim_sandbox.entity_schema import Entity, is_text
from kong_scim_sandbox.exchange import Exchange
from kong_scim_sandbox.pdk import Exit
from kong_scim_sandbox.plugins import JwtConfig, KeyAuthConfig, LdapAuthConfig, SessionConfig

_BIND = 0x60
_BOUND = 0x61
"""Tags of LDAP's BindRequest and BindResponse (RFC 4511 §4.2)."""


# -- key-auth --------------------------------------------------------------


def key_auth(exchange: Exchange, config: KeyAuthConfig, database: sqlite3.Connection) -> None:
    """Authenticate by key (``kong/plugins/key-auth/handler.lua``).

    :raises ~kong_scim_sandbox.pdk.Exit: 401 without a key, with two, or with an unknown one, if
        no anonymous consumer is configured.
    """
    if exchange.method == "OPTIONS" and not config.run_on_preflight:
        return
    if config.anonymous is None:
        _by_key(exchange, config, database)
    elif exchange.credential is None:
        try:
            _by_key(exchange, config, database)
        except Exit:
            anonymous = entities.find_consumer(database, config.anonymous)
            if anonymous is None:
                raise exchange.error(500, "An unexpected error occurred") from None
            _authenticated(exchange, anonymous, None)


def _by_key(exchange: Exchange, config: KeyAuthConfig, database: sqlite3.Connection) -> None:
    challenge = {"WWW-Authenticate": f'Key realm="{config.realm}"' if config.realm else "Key"}
    key = None
    query = exchange.query() if config.key_in_query else {}
    for name in config.key_names:
        values = exchange.headers.get(name.lower(), []) if config.key_in_header else []
        values = values or query.get(name, [])
        if len(values) > 1:
            raise exchange.error(401, "Duplicate API key found", challenge)
        if values:
            key = values[0]
            if config.hide_credentials:
                exchange.upstream_headers[name.lower()] = None
                exchange.hidden_query.add(name)
            break
    if not key:
        raise exchange.error(401, "No API key found in request", challenge)
    found = entities.select(database, "keyauth_credentials", "key", key) if is_text(key) else []
    if not found:
        raise exchange.error(401, "Unauthorized", challenge)
    [consumer] = entities.select(database, "consumers", "id", found[0]["consumer"]["id"])
    _authenticated(exchange, consumer, found[0])


def _authenticated(
    exchange: Exchange, consumer: Entity | None, credential: Entity | None, name: str | None = None
) -> None:
    """Note who calls, for later plugins and for the upstream.

    :param name: The name of the credential for the upstream, if not its id.
    """
    exchange.consumer, exchange.credential = consumer, credential
    fields = consumer or {}
    exchange.upstream_headers |= {
        "x-consumer-id": fields.get("id"),
        "x-consumer-custom-id": fields.get("custom_id"),
        "x-consumer-username": fields.get("username"),
        "x-credential-identifier": (name or str(credential["id"])) if credential else None,
        "x-anonymous-consumer": None if credential else "true",
    }


# -- jwt -------------------------------------------------------------------


def jwt(exchange: Exchange, config: JwtConfig, database: sqlite3.Connection) -> None:
    """Authenticate by a JWT of an issuer whose key a consumer has (``kong/plugins/jwt``).

    :raises ~kong_scim_sandbox.pdk.Exit: 401 without a token, or with one that is not valid.
    """
    scheme, _, token = (exchange.header("authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise exchange.error(401, "Unauthorized")
    try:
        payload = json.loads(_decoded(token.split(".")[1]))
        issuer = payload[config.key_claim_name]
        found = entities.select(database, "jwt_secrets", "key", issuer)
    except (ValueError, LookupError, TypeError, sqlite3.Error):
        raise exchange.error(401, "Bad token; invalid JSON") from None
    if not found:
        raise exchange.error(401, "No credentials found for given 'iss'")
    try:
        key = RSAKey.import_key(found[0]["rsa_public_key"])
        claims = joserfc_jwt.decode(token, key, algorithms=[found[0]["algorithm"]]).claims
    except (JoseError, ValueError):
        raise exchange.error(401, "Invalid signature") from None
    if "exp" in config.claims_to_verify and claims.get("exp", 0) <= time.time():
        raise exchange.error(401, "exp: token expired")
    [consumer] = entities.select(database, "consumers", "id", found[0]["consumer"]["id"])
    exchange.token = token
    _authenticated(exchange, consumer, found[0])


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


# -- session ---------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """A session, which its cookie or the gateway keeps.

    :param consumer: The id of the consumer.
    :param credential: The id of the credential.
    :param began: When it began, in whole seconds since 1970.
    :param key: The key under which the gateway keeps it; None if the cookie has it.
    """

    consumer: str
    credential: str
    began: int
    key: str | None = None


class Sessions:
    """Keeps sessions with ``storage: kong`` in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def keep(self, text: str) -> str:
        """Keep a session as text, and return its key."""
        key = secrets.token_urlsafe(24)
        self._kept[key] = text
        return key

    def find(self, key: str) -> str | None:
        """Return the session of a key as text, or None."""
        return self._kept.get(key)

    def end(self, session: Session) -> None:
        """Forget a session."""
        self._kept.pop(session.key or "", None)


def session(
    exchange: Exchange, config: SessionConfig, database: sqlite3.Connection, kept: Sessions
) -> None:
    """Authenticate by the cookie of a session (``kong/plugins/session/access.lua``)."""
    found = _session_of(exchange, config, kept)
    if found is None or time.time() - found.began > config.absolute_timeout:
        return
    owners = entities.select(database, "consumers", "id", found.consumer)
    if owners:
        exchange.session = found
        _authenticated(exchange, owners[0], {"id": found.credential, "consumer_id": found.consumer})


def begin_session(exchange: Exchange, config: SessionConfig, kept: Sessions) -> None:
    """Set a cookie if another plugin authenticated (``kong/plugins/session/header_filter.lua``)."""
    consumer, credential, current = exchange.consumer, exchange.credential, exchange.session
    if not consumer or not credential:
        return
    if current and (current.consumer, current.credential) == (consumer["id"], credential["id"]):
        return
    # A session that continues with another credential keeps the time when it began.
    began = current.began if current else int(time.time())
    text = json.dumps([consumer["id"], credential["id"], began])
    value = kept.keep(text) if config.storage == "kong" else _sealed(config, text)
    exchange.response_headers["set-cookie"] = f"{config.cookie_name}={value}; Path=/; HttpOnly"


def end_session(exchange: Exchange, config: SessionConfig, kept: Sessions) -> None:
    """End a session that the guard refused: delete its cookie, and what the gateway keeps."""
    if exchange.ended is not None:
        kept.end(exchange.ended)
        exchange.response_headers["set-cookie"] = f"{config.cookie_name}=; Path=/; Max-Age=0"


def _session_of(exchange: Exchange, config: SessionConfig, kept: Sessions) -> Session | None:
    for line in exchange.headers.get("cookie", []):
        for part in line.split(";"):
            name, _, value = part.strip().partition("=")
            if name != config.cookie_name:
                continue
            if config.storage == "kong":
                text, key = kept.find(value), value
            else:
                text, key = _opened(config, value), None
            if text is not None:
                consumer, credential, began = json.loads(text)
                return Session(consumer, credential, began, key)
    return None


def _sealed(config: SessionConfig, text: str) -> str:
    raw = text.encode()
    return base64.urlsafe_b64encode(_mac(config, raw) + raw).decode().rstrip("=")


def _opened(config: SessionConfig, value: str) -> str | None:
    try:
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return None
    mac, text = raw[:32], raw[32:]
    return text.decode() if hmac.compare_digest(mac, _mac(config, text)) else None


def _mac(config: SessionConfig, text: bytes) -> bytes:
    return hmac.digest(config.secret.encode(), text, hashlib.sha256)


# -- ldap-auth -------------------------------------------------------------


async def ldap_auth(exchange: Exchange, config: LdapAuthConfig) -> None:
    """Authenticate by a directory, without a consumer (``kong/plugins/ldap-auth/access.lua``).

    :raises ~kong_scim_sandbox.pdk.Exit: 401 without a correct name and password.
    """
    scheme, _, encoded = (exchange.header("authorization") or "").partition(" ")
    challenge = {"WWW-Authenticate": config.header_type.upper()}
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name = colon = password = ""
    if scheme.lower() != config.header_type or not colon or not password:
        raise exchange.error(401, "Unauthorized", challenge)
    dn = f"{config.attribute}={name},{config.base_dn}"
    try:
        async with asyncio.timeout(config.timeout / 1000):
            bound = await _binds(config, dn, password)
    except (OSError, TimeoutError, ValueError):
        raise exchange.error(500, "An unexpected error occurred") from None
    if not bound:
        raise exchange.error(401, "Unauthorized", challenge)
    key = hashlib.sha256(f"{dn}:{password}".encode()).hexdigest()
    credential: dict[str, Any] = {"id": f"ldap_auth_cache:{key}", "username": name}
    _authenticated(exchange, None, credential, name)


async def _binds(config: LdapAuthConfig, dn: str, password: str) -> bool:
    request = _ber(0x02, b"\x03") + _ber(0x04, dn.encode()) + _ber(0x80, password.encode())
    reader, writer = await asyncio.open_connection(config.ldap_host, config.ldap_port)
    try:
        writer.write(_ber(0x30, _ber(0x02, b"\x01") + _ber(_BIND, request)))
        await writer.drain()
        answer = await reader.read(4096)
    finally:
        writer.close()
    at = answer.index(bytes([_BOUND]))
    # The length follows, then resultCode, an ENUMERATED of one byte.
    return answer[at + 2 : at + 5] == b"\x0a\x01\x00"


def _ber(tag: int, content: bytes) -> bytes:
    """Return a BER element. If its content has more than 127 bytes, its length has two bytes."""
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2)) + content
