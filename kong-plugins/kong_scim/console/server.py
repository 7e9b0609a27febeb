"""The console's HTTP server: the page, the session, and what the page calls.

``GET /``, ``GET /static/...``
    The page. It contains no data, so everybody may read it.
``POST /session`` with ``{"secret": ...}``
    Begins a session with the secret of the printed link; answers ``{"key": ...}`` and a cookie.
``GET /session``
    ``{"gateway", "user", "version"}``; 401 without a session.
``DELETE /session``
    Ends the session.
``/api/...``
    What :mod:`.forwarding` passes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kong_scim import __version__
from kong_scim.console.forwarding import LARGEST_BODY, Answer, GatewayClient, refusal
from kong_scim.console.sessions import LONGEST, Sessions

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"

KEY_HEADER = "X-Console-Key"
"""The header with the session's key. No other site can send it: that needs a CORS permission."""

_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_LONGEST_QUERY = 4096

_USED = "This link is not valid, or was used before. The terminal shows the one that is valid now."


@dataclass(frozen=True)
class SignOn:
    """A company's sign-on in front of the console: it has checked who the user is.

    :param header: The header in which it names the user.
    :param public_url: The URL at which browsers reach it.
    """

    header: str
    public_url: str


class Console:
    """The console of one tenant.

    :param gateway: Calls the gateway.
    :param port: The port on loopback where it listens.
    :param announce: Is told each link that begins a session.
    :param sign_on: Takes the place of links, sessions and their cookies.
    """

    def __init__(
        self,
        gateway: GatewayClient,
        port: int,
        announce: Callable[[str], object],
        sign_on: SignOn | None = None,
    ) -> None:
        self._gateway = gateway
        self._announce = announce
        self._sign_on = sign_on
        self._sessions = Sessions()
        # A browser sends a cookie to every port: each console needs a name of its own.
        self._cookie = f"kong-scim-console-{port}"
        self._origins = [f"http://{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
        if sign_on is not None:
            parts = urlsplit(sign_on.public_url)
            self._origins = [f"{parts.scheme}://{parts.netloc}".lower()]
        self.app: ASGIApp = _Guarded(self._application(), self._origins)

    def link(self) -> str:
        """Return a link that begins one session; the one before it is no longer valid."""
        if self._sign_on is not None:
            return self._origins[0] + "/"
        # Behind `#` it is sent to no server, and written to no log.
        return f"{self._origins[0]}/#secret={self._sessions.new_secret()}"

    async def close(self) -> None:
        """Close the connections to the gateway."""
        await self._gateway.close()

    def _application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/session", self._session, methods=["GET", "POST", "DELETE"]),
                Route("/api/{path:path}", self._api, methods=["GET", "POST"]),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        )

    async def _page(self, _: Request) -> Response:
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def _session(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._begin(request)
        user = self._user(request)
        if user is None:
            return _json(self._no_session())
        if request.method == "DELETE":
            self._sessions.end(request.cookies.get(self._cookie, ""))
            response = Response(status_code=204)
            response.delete_cookie(self._cookie, httponly=True, samesite="strict")
            return response
        shown = {"gateway": self._gateway.url, "user": user, "version": __version__}
        return _json(Answer(200, json.dumps(shown).encode()))

    async def _begin(self, request: Request) -> Response:
        body = await _body(request)
        secret = _secret_of(body)
        begun = self._sessions.begin(secret) if secret else None
        if begun is None:
            return _json(refusal(403, _USED))
        cookie, key = begun
        self._announce(self.link())
        response = _json(Answer(200, json.dumps({"key": key}).encode()))
        response.set_cookie(
            self._cookie, cookie, httponly=True, samesite="strict", max_age=int(LONGEST), path="/"
        )
        return response

    async def _api(self, request: Request) -> Response:
        user = self._user(request)
        if user is None:
            return _json(self._no_session())
        if len(request.url.query) > _LONGEST_QUERY:
            return _json(refusal(414, f"The query has more than {_LONGEST_QUERY} characters"))
        body = await _body(request)
        if body is None:
            return _json(refusal(413, f"The request has more than {LARGEST_BODY} bytes"))
        path = "/" + request.path_params["path"]
        answer = await self._gateway.call(request.method, path, request.url.query, body)
        if request.method == "POST":
            log.info("%r: POST %s: %d", user or "local", path, answer.status)
        return _json(answer)

    def _user(self, request: Request) -> str | None:
        """Return the user of a request: the name of a sign-on, otherwise empty; None for nobody."""
        key = request.headers.get(KEY_HEADER)
        if key is None:
            return None
        if self._sign_on is not None:
            names = request.headers.getlist(self._sign_on.header)
            return names[0].strip() or None if len(names) == 1 else None
        return "" if self._sessions.has(request.cookies.get(self._cookie, ""), key) else None

    def _no_session(self) -> Answer:
        if self._sign_on is not None:
            return refusal(401, f"The sign-on did not say who you are in {self._sign_on.header}")
        return refusal(401, "There is no session. Open the link that the terminal shows.")


class _Guarded:
    """Refuses requests that come through another site, and adds the security headers.

    The check of ``Host`` is against DNS rebinding, that of ``Origin`` against requests which
    another site has the browser send.
    """

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        self._app = app
        self._origins = origins
        self._hosts = {urlsplit(origin).netloc for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_SECURITY)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        refused = self._refused(scope["method"], Headers(scope=scope))
        await (self._app if refused is None else _json(refused))(scope, receive, guarded)

    def _refused(self, method: str, headers: Headers) -> Answer | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return refusal(421, f"This console answers at {self._origins[0]} only")
        origin = headers.get("origin")
        if origin is None:
            # A browser sends none with a GET of its own page. Data needs the session's key anyway.
            if method in {"GET", "HEAD"} or headers.get("sec-fetch-site") == "same-origin":
                return None
        elif origin.lower() in self._origins:
            return None
        return refusal(403, "This request comes from another site")


def _json(answer: Answer) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(answer.body, answer.status, headers, media_type="application/json")


async def _body(request: Request) -> bytes | None:
    """Return the body of a request, or None if it is too large."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > LARGEST_BODY:
            return None
    return found


def _secret_of(body: bytes | None) -> str:
    try:
        found: Any = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return ""
    secret = found.get("secret") if isinstance(found, dict) else None
    return secret if isinstance(secret, str) and secret.isascii() else ""
