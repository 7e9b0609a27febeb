"""The plugin behind an HTTP client without sockets, for thousands of requests."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx

BASE = "https://gw.example/scim/v2"
TOKEN = "t0ken-of-the-tests"
CONFIG: dict[str, Any] = {
    "tokens": [{"name": "okta", "value": TOKEN}],
    "limits": {"failed_attempts": 0},
    "reconcile": {"every": 0},
}


class Kong:
    """The PDK object of one request, with a scim-bridge that has no database.

    Its answers have the shape of ``kong/plugins/scim-bridge``; it records what the plugin sends.

    :cvar host: What it says of its node beyond what every node is.
    :cvar guarded: Whether it says that the guard is on for every route.
    """

    guarded: ClassVar[bool] = True

    host: ClassVar[dict[str, str]] = {
        "dialect": "sqlite",
        "database": "sqlite",
        "channel": "here",
    }

    def __init__(
        self, request: dict[str, Any], secrets: dict[str, str | None] | None = None
    ) -> None:
        self.request = request
        self.secrets = secrets or {}
        self.caller: dict[str, Any] | None = None
        self.asked: list[dict[str, Any]] = []
        self.logged: list[str] = []
        self.exit: tuple[int, str, dict[str, str]] | None = None
        self.scim = SimpleNamespace(
            begin=self._begin,
            body=self._body,
            query=self._never,
            commit=self._never,
            exit=self._exit,
        )
        self.response = SimpleNamespace(exit=self._exit)

    def _begin(self, text: str) -> str:
        question = json.loads(text)
        self.asked.append(question)
        size = len(self.request["body"])
        large = size > question["max_body_size"]
        body = b"" if large or size > 8192 else self.request["body"]
        return json.dumps(
            {
                "ok": {
                    "bridge_version": question["bridge_version"],
                    "host": {
                        **self.host,
                        "kong_version": "3.9.1",
                        "node_id": "n1",
                        "workspace": "w1",
                    },
                    "request": {
                        **self.request,
                        "body": base64.b64encode(body).decode(),
                        "body_size": 0 if large else size,
                        "body_too_large": large,
                    },
                    "guarded": self.guarded,
                    "secrets": {each: self.secrets.get(each) for each in question["secrets"]},
                    "caller": self.caller if question["caller"] else None,
                }
            }
        )

    def _body(self, text: str) -> str:
        question = json.loads(text)
        self.asked.append(question)
        start = question["from"]
        piece = self.request["body"][start : start + question["length"]]
        return json.dumps({"ok": {"piece": base64.b64encode(piece).decode()}})

    def _never(self, text: str) -> str:
        raise AssertionError(f"nothing should be read or written: {text[:100]}")

    def _exit(
        self, status: int, body: str, headers: dict[str, str], line: str | None = None
    ) -> None:
        assert self.exit is None, "a second answer"
        if line is not None:
            self.logged.append(line)
        self.exit = (status, body, headers)


class Transport(httpx.BaseTransport):
    """Hands each request to a plugin instance as Kong would.

    :param client_ip: The client's address, as Kong judges it.
    :param caller: The consumer that Kong authenticated.
    """

    def __init__(
        self,
        plugin: Any,
        *,
        kong: type[Kong] = Kong,
        https: bool = True,
        client_ip: str = "192.0.2.1",
        caller: dict[str, Any] | None = None,
    ) -> None:
        self.plugin = plugin
        self.kong = kong
        self.https = https
        self.client_ip = client_ip
        self.caller = caller
        self.last: Kong | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raw_path, _, query = request.url.raw_path.partition(b"?")
        self.last = self.kong(
            {
                "method": request.method,
                "path": raw_path.decode("latin-1").removeprefix("/scim/v2"),
                "query": query.decode("latin-1"),
                "headers": {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in reversed(request.headers.raw)
                },
                "body": request.read(),
                "https": self.https,
                "base_url": BASE,
                "client_ip": self.client_ip,
                "request_id": "r1",
            }
        )
        self.last.caller = self.caller
        self.plugin.access(self.last)
        assert self.last.exit is not None, "no answer"
        status, body, headers = self.last.exit
        return httpx.Response(status, headers=headers, content=body.encode())


class Client(httpx.Client):
    """A client of one plugin instance."""

    def __init__(self, transport: Transport, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self.instance = transport

    @property
    def last(self) -> Kong:
        """Kong as the last request saw it: what it was asked, and what was logged there."""
        assert self.instance.last is not None, "no request was sent"
        return self.instance.last


def client(plugin: Any, *, token: str = TOKEN, **options: Any) -> Client:
    """Return a client of the SCIM endpoints, with the right token unless another is given."""
    return Client(
        Transport(plugin, **options),
        base_url=BASE,
        headers={"Authorization": f"Bearer {token}"},
    )
