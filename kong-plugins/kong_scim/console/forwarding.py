"""Passes requests of the page on to the gateway, with the administrator's token.

Only the endpoints in :data:`ALLOWED` are called, and only JSON comes back.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx

from kong_scim import __version__

_ID = r"[A-Za-z0-9_-]{1,64}"

ALLOWED = {
    "GET": re.compile(
        "/(?:Overview|People|Requests|Drift|Quarantine|AccessReview|Events|Users|Groups"
        f"|Events/(?:chain|deliveries|tokens)|Users/{_ID}|Groups/{_ID})"
    ),
    "POST": re.compile("/(?:Drift|Drift/preview|Mapping|Quarantine|Events/deliveries/replay)"),
}
"""The paths that the page may call, by method. SCIM resources can be read only."""

LARGEST_BODY = 256 * 1024
"""Bytes that a request may have."""

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that are read at most."""

_TIMEOUT = httpx.Timeout(60, connect=5)
_CONNECTIONS = httpx.Limits(max_connections=16)


@dataclass(frozen=True)
class Answer:
    """What the page gets: a status, and the text of a JSON value."""

    status: int
    body: bytes


def refusal(status: int, detail: str) -> Answer:
    """Return an error of the console itself, which the page tells from one of the gateway."""
    return Answer(status, json.dumps({"detail": detail, "by": "console"}).encode())


class GatewayClient:
    """Calls one tenant's SCIM route.

    :param transport: For tests.
    """

    def __init__(
        self, scim_url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = scim_url.rstrip("/")
        self._token = token
        self._transport = transport
        self._http: httpx.AsyncClient | None = None

    async def call(self, method: str, path: str, query: str, body: bytes) -> Answer:
        """Send a request to an endpoint on the allow-list, and return what the gateway answered.

        Each failure is an answer with a sentence; none contains the token.
        """
        allowed = ALLOWED.get(method)
        if allowed is None or not allowed.fullmatch(path):
            return refusal(404, f"The console does not call {method} {path[:100]}")
        try:
            return await self._send(method, path, query, body)
        except httpx.TimeoutException:
            return refusal(504, f"The gateway at {self.url} did not answer in time")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = str(error) or type(error).__name__
            return refusal(502, f"The gateway at {self.url} cannot be reached: {detail}")

    async def _send(self, method: str, path: str, query: str, body: bytes) -> Answer:
        headers = {"Accept": "application/scim+json, application/json"}
        if method == "POST":
            headers["Content-Type"] = "application/json"
        url = f"{self.url}{path}" + (f"?{query}" if query else "")
        content = body if method == "POST" else None
        async with self._client().stream(method, url, headers=headers, content=content) as answer:
            found = b""
            async for part in answer.aiter_bytes():
                found += part
                if len(found) > LARGEST_ANSWER:
                    return refusal(502, f"The answer of {path} is too large for the console")
        if not _is_json_object(found):
            return refusal(
                502,
                f"{self.url}{path} answered {answer.status_code} without JSON: "
                "is this the URL of a SCIM route?",
            )
        return Answer(answer.status_code, found)

    def _client(self) -> httpx.AsyncClient:
        # Made at the first call: reading the certificates of all authorities takes a while.
        if self._http is None:
            self._http = httpx.AsyncClient(
                headers={
                    "Authorization": f"Bearer {self._token}",
                    # So that the provider log tells the console's requests from the provider's.
                    "User-Agent": f"kong-scim/{__version__}",
                },
                timeout=_TIMEOUT,
                limits=_CONNECTIONS,
                transport=self._transport,
            )
        return self._http

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()


def _is_json_object(text: bytes) -> bool:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict)
