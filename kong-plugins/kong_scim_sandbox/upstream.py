"""Sends a request that every plugin let pass to its upstream, or to the built-in echo."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import unquote_plus

import httpx

from kong_scim_sandbox.declarative import Service
from kong_scim_sandbox.exchange import SERVER, Exchange, encoded
from kong_scim_sandbox.router import Match

_HOP_BY_HOP = frozenset(
    [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class Upstreams:
    """Proxies to services.

    :param echo_host: The host for which the sandbox itself answers, with the request as JSON; None
        for no such host.
    """

    def __init__(self, echo_host: str | None) -> None:
        self._echo_host = echo_host
        self._client = httpx.AsyncClient(
            follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=None)
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def forward(self, exchange: Exchange, match: Match, service: Service) -> None:
        """Send the request to the upstream, and its answer to the client.

        :raises ~kong_scim_sandbox.pdk.Exit: 502 or 504 if the upstream does not answer.
        """
        headers = _request_headers(exchange, match, service)
        path = (service.path or "").rstrip("/") + match.upstream_path
        if query := _query(exchange):
            path += f"?{query}"
        if service.host == self._echo_host:
            await _echo(exchange, path, headers)
            return
        authority = f"[{service.host}]" if ":" in service.host else service.host
        request = self._client.build_request(
            exchange.method,
            # The raw path, because httpx would encode some characters differently.
            httpx.URL(f"{service.protocol}://{authority}:{service.port}").copy_with(
                raw_path=path.encode("latin-1")
            ),
            headers=list(encoded(headers)),
            content=_content(exchange),
            timeout=httpx.Timeout(
                service.read_timeout / 1000,
                connect=service.connect_timeout / 1000,
                write=service.write_timeout / 1000,
            ),
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TimeoutException:
            raise exchange.error(504, "The upstream server is timing out") from None
        except httpx.HTTPError:
            message = "An invalid response was received from the upstream server"
            raise exchange.error(502, message) from None
        try:
            await _relay(exchange, response)
        finally:
            await response.aclose()


async def _relay(exchange: Exchange, response: httpx.Response) -> None:
    lines = [
        (name.lower(), value)
        for name, value in response.headers.raw
        if name.lower().decode("latin-1") not in _HOP_BY_HOP - {"content-length"}
    ]
    lines += encoded(exchange.response_headers.items())
    lines += [(b"via", f"1.1 {SERVER}".encode()), *exchange.own_headers()[1:]]
    await exchange.send(
        {"type": "http.response.start", "status": response.status_code, "headers": lines}
    )
    async for chunk in response.aiter_raw():
        await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
    await exchange.send({"type": "http.response.body", "body": b""})


async def _echo(exchange: Exchange, path: str, headers: list[tuple[str, str]]) -> None:
    body, too_large = await exchange.body(1024 * 1024)
    seen = {
        "method": exchange.method,
        "path": path,
        "headers": dict(headers),
        "body": None if too_large else body.decode("utf-8", "replace"),
    }
    text = json.dumps(seen, indent=2).encode()
    await exchange.respond(200, text + b"\n", {"Content-Type": "application/json"})


def _content(exchange: Exchange) -> AsyncIterator[bytes] | None:
    if exchange.header("content-length") is None and exchange.header("transfer-encoding") is None:
        return None

    async def pieces() -> AsyncIterator[bytes]:
        while (message := await exchange.chunks()) is not None:
            yield message.get("body", b"")

    return pieces()


def _request_headers(exchange: Exchange, match: Match, service: Service) -> list[tuple[str, str]]:
    default = {"http": 80, "https": 443}[service.protocol] == service.port
    set_here = {
        "host": service.host if default else f"{service.host}:{service.port}",
        "x-forwarded-for": ", ".join(
            [*exchange.headers.get("x-forwarded-for", []), exchange.client_ip]
        ),
        "x-forwarded-proto": exchange.scope["scheme"],
        "x-forwarded-host": exchange.host,
        "x-forwarded-port": str(exchange.port),
        "x-forwarded-path": exchange.raw_path,
        "x-forwarded-prefix": match.prefix if match.route.strip_path else None,
        "x-real-ip": exchange.client_ip,
        "x-kong-request-id": exchange.request_id,
        "via": f"1.1 {SERVER}",
        **exchange.upstream_headers,
    }
    if match.route.preserve_host and (host := exchange.header("host")):
        set_here["host"] = host
    if length := exchange.header("content-length"):
        set_here["content-length"] = length
    # A header of the client must not reach the upstream if the gateway sets one of its name.
    kept = [
        (name, value)
        for name, values in exchange.headers.items()
        if name not in _HOP_BY_HOP and name not in set_here
        for value in values
    ]
    return kept + [(name, value) for name, value in set_here.items() if value is not None]


def _query(exchange: Exchange) -> str:
    return "&".join(
        part
        for part in exchange.raw_query.split("&")
        if unquote_plus(part.partition("=")[0]) not in exchange.hidden_query
    )
