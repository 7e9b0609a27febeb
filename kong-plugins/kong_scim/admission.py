"""Admits a request to its tenant: it finds out who calls, and fetches the body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from scim2_models import ForbiddenException, PayloadTooLargeException
from scim2_server.errors import UnsupportedMediaTypeException
from scim2_server.service import is_json_media_type

from kong_scim.auth.authenticator import Authenticator, Caller
from kong_scim.auth.scopes import Identity
from kong_scim.bridge import Bridge, Opening
from kong_scim.config.plugin import PluginConfig
from kong_scim.protocol.errors import ServiceUnavailableException
from kong_scim.tick import UNGUARDED
from kong_scim.worker_slots import MEMORY

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

WITH_BODY = WRITES - {"DELETE"}
"""Methods whose request body is read. The body of any other is never fetched."""


def admit(config: PluginConfig, authenticator: Authenticator, opening: Opening) -> Identity:
    """Return the caller's identity, before the body of the request is fetched.

    :raises ~scim2_models.SCIMException: 403 for plain HTTP, 415 for a media type that a page in
        a browser can send, 503 while the guard is off, and the errors of
        :meth:`Authenticator.admit <kong_scim.auth.authenticator.Authenticator.admit>`.
    """
    request = opening.request
    if config.require_https and not request.https:
        raise ForbiddenException(
            detail="Use https: this endpoint takes tokens and personal data over TLS only"
        )
    identity = authenticator.admit(
        Caller(
            authorization=request.headers.get("authorization"),
            client_ip=request.client_ip,
            secrets=opening.secrets,
            consumer=opening.caller,
        )
    )
    # Kong may authenticate a caller by what a browser adds by itself (a cookie, HTTP Basic, a
    # client certificate). A page of another site can make the browser send a POST with a form's
    # media type, or with none. For other types and methods the browser first sends a CORS
    # preflight, which this gateway refuses.
    may_be_forged = authenticator.trusts_kong and request.method in WITH_BODY
    if may_be_forged and not is_json_media_type(request.headers.get("content-type")):
        raise UnsupportedMediaTypeException(
            detail="Send the header Content-Type: application/scim+json, or "
            "application/json; where Kong authenticates (auth: kong) no other is taken"
        )
    if not opening.guarded and config.guard == "required":
        raise ServiceUnavailableException(detail=UNGUARDED, retry_after=None)
    return identity


@contextmanager
def with_body(config: PluginConfig, bridge: Bridge, opening: Opening) -> Iterator[Opening]:
    """Yield the opening with the whole body of its request, held until the block ends.

    :raises ~scim2_models.SCIMException: 413 for a body that is too large, 503 while the bodies
        of other requests leave too little memory for it.
    """
    request = opening.request
    most = min(config.max_body_size, MEMORY.capacity)
    if request.body_too_large or request.body_size > most:
        raise PayloadTooLargeException(detail=f"The body is over {most} bytes: send less at once")
    if request.body_size == len(request.body) or request.method not in WITH_BODY:
        yield opening
        return
    with MEMORY.hold(request.body_size) as fits:
        if not fits:
            raise ServiceUnavailableException(
                detail="Too many large bodies at once: send the request again, or less in it"
            )
        body = bridge.body(request.body_size)
        yield replace(opening, request=replace(request, body=body))
