"""Stands between the console and the gateway: passes requests on, and notes each of them.

A test can have the answer of a path be another one: such as that of a gateway of an older release,
or of one whose database is away.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from host_processes import eventually
from ports import free_port

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

_PASSED_ON = ("authorization", "content-type", "user-agent")

Answer = tuple[int, Any]
"""A status and a body: text for HTML, and anything else for JSON."""


class Relay:
    """Passes on what the console asks for.

    :ivar answers: What a path is answered instead, or a function that returns it for a query.
    :ivar calls: Each request: its method, path, query and JSON body.
    :ivar most: How many entries a page may have, by path; the gateway is asked for no more.
    :ivar tokens: The values of ``Authorization`` that were seen.
    :ivar url: Where it answers.
    """

    def __init__(self, gateway_url: str) -> None:
        self._gateway_url = gateway_url
        self._http: httpx.AsyncClient | None = None
        self.answers: dict[str, Answer | Callable[[dict[str, str]], Answer]] = {}
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        self.most: dict[str, int] = {}
        self.tokens: set[str] = set()
        self.url = ""

    def reset(self) -> None:
        """Forget what a test asked for and did."""
        for each in (self.answers, self.calls, self.most, self.tokens):
            each.clear()

    def sent(self, method: str, path: str) -> list[Any]:
        """Return the bodies of the requests to an endpoint."""
        return [body for how, where, _, body in self.calls if (how, where) == (method, path)]

    async def _answer(self, request: Request) -> Response:
        path, query = request.url.path.removeprefix("/scim/v2"), dict(request.query_params)
        content = await request.body()
        self.calls.append((request.method, path, query, json.loads(content or b"null")))
        self.tokens.add(request.headers.get("authorization", ""))
        if path not in self.answers:
            return await self._passed_on(request, path, query, content)
        given = self.answers[path]
        status, body = given(query) if callable(given) else given
        if isinstance(body, str):
            return Response(body, status, media_type="text/html")
        return Response(json.dumps(body), status, media_type="application/scim+json")

    async def _passed_on(
        self, request: Request, path: str, query: dict[str, str], content: bytes
    ) -> Response:
        assert self._http is not None
        if path in self.most:
            query["count"] = str(min(self.most[path], int(query.get("count", "1000"))))
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        url = self._gateway_url + path
        answer = await self._http.request(
            request.method, url, params=query, content=content, headers=headers
        )
        return Response(answer.content, answer.status_code, media_type="application/scim+json")

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Listen on a port of loopback, until the end of the block."""

        @contextlib.asynccontextmanager
        async def with_client(_: Starlette) -> AsyncIterator[None]:
            async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
                self._http = client
                yield

        port = free_port()
        route = Route("/scim/v2/{path:path}", self._answer, methods=_METHODS)
        app = Starlette(routes=[route], lifespan=with_client)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        eventually(lambda: server.started, "the gateway of the console")
        self.url = f"http://127.0.0.1:{port}/scim/v2"
        yield
        server.should_exit = True
        thread.join()
