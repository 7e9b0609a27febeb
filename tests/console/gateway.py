"""A gateway for the console: a tenant of the sandbox, with stand-ins for some of its endpoints.

What is in :data:`STANDS_IN` is answered here, in the form that the endpoints have; everything else
goes on to the sandbox. A test can have any path answered as it likes.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import uvicorn
from company import Company, resources
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from host_processes import eventually
from ports import free_port

STANDS_IN = {
    "GET": {"/Overview", "/People", "/Drift", "/Requests", "/AccessReview"},
    "POST": {"/Drift", "/Drift/preview", "/Mapping"},
}

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def before(**age: float) -> str:
    """Return the time so long ago."""
    moment = datetime.now(UTC) - timedelta(**age)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


class StandIn:
    """What the console's gateway answers.

    :ivar answers: Status and body of a path, instead of what it would be answered.
    :ivar calls: Each request: its method, path, query and JSON body.
    :ivar most: Lines that a page of the access review has at most.
    :ivar tokens: The values of ``Authorization`` that were seen.
    """

    def __init__(self, company: Company) -> None:
        self.company = company
        self.answers: dict[str, tuple[int, Any]] = {}
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        self.tokens: set[str] = set()
        self.people: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.differences: list[dict[str, Any]] = []
        self.url = ""
        self.most = 50
        self.reset()

    def reset(self) -> None:
        """Forget what a test asked for and did."""
        self.answers.clear()
        self.calls.clear()
        self.tokens.clear()
        self.most = 50
        self.people = resources(self.company.gateway, "Users")
        self.groups = resources(self.company.gateway, "Groups")
        self.differences = self._drift()

    def sent(self, method: str, path: str) -> list[Any]:
        """Return the bodies of the requests to an endpoint."""
        return [body for how, where, _, body in self.calls if (how, where) == (method, path)]

    async def answer(self, request: Request) -> Response:
        path = request.url.path.removeprefix("/scim/v2")
        body = json.loads(await request.body() or b"null")
        query = dict(request.query_params)
        self.calls.append((request.method, path, query, body))
        self.tokens.add(request.headers.get("authorization", ""))
        if path in self.answers:
            status, answer = self.answers[path]
            if isinstance(answer, str):
                return Response(answer, status, media_type="text/html")
            return _json(status, answer)
        if path in STANDS_IN.get(request.method, set()):
            name = f"{request.method.lower()}_{path.strip('/').replace('/', '_').lower()}"
            return _json(200, getattr(self, name)(query, body))
        return await self._forwarded(request, path)

    async def _forwarded(self, request: Request, path: str) -> Response:
        gateway = self.company.gateway
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
            answer = await client.request(
                request.method,
                gateway.scim_base + path,
                params=request.url.query,
                content=await request.body(),
                headers={
                    "Authorization": request.headers.get("authorization", ""),
                    "Content-Type": "application/json",
                },
            )
        return Response(answer.content, answer.status_code, media_type="application/scim+json")

    def get_overview(self, query: dict[str, str], _: Any) -> dict[str, Any]:
        quarantine = self.company.gateway.scim.get("/Quarantine").json()
        pattern = [
            0,
            0,
            0,
            1,
            0,
            2,
            5,
            14,
            38,
            52,
            47,
            31,
            26,
            44,
            58,
            49,
            33,
            21,
            9,
            4,
            2,
            1,
            0,
            0,
        ]
        now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        day = [
            {
                "hour": (now - timedelta(hours=23 - place)).isoformat().replace("+00:00", "Z"),
                "requests": count * 3,
                "failed": count // 13,
                "changes": count,
            }
            for place, count in enumerate(pattern)
        ]
        kinds = self._by_kind()
        return {
            "people": len(self.people),
            "groups": len(self.groups),
            "suspended": sum(not each.get("active", True) for each in self.people),
            "lastRequest": {
                "at": before(minutes=2),
                "method": "PATCH",
                "path": f"/Users/{self.people[9]['id']}" if len(self.people) > 9 else "/Users",
                "status": 200,
                "token": "idp",
                "provider": "Okta",
            },
            "drift": {
                "total": sum(kinds.values()),
                "byKind": kinds,
                "lastPass": before(minutes=6),
            },
            "quarantine": {"state": quarantine["state"], "held": quarantine["heldTotal"]},
            "deliveries": {"pending": 2, "dead": 3},
            "day": day,
            "version": {"plugin": "0.1.0", "bridge": "0.1.0", "kong": "3.9.1"},
            "now": before(),
        }

    def get_people(self, query: dict[str, str], _: Any) -> dict[str, Any]:
        if "id" in query:
            return self._person(query["id"])
        wanted = query.get("search", "").lower()
        fit = [
            {
                "id": each["id"],
                "userName": each["userName"],
                "displayName": each.get("displayName"),
                "active": each.get("active", True),
                "consumer": each["userName"],
            }
            for each in self.people
            if wanted in f"{each['userName']} {each.get('displayName', '')}".lower()
        ]
        return _page(fit, query, "people")

    def _person(self, id_: str) -> dict[str, Any]:
        user = next(each for each in self.people if each["id"] == id_)
        active = user.get("active", True)
        groups = [
            {
                "name": each["display"].removeprefix("kong-"),
                "wanted": active,
                "found": active,
                "reasons": [
                    {
                        "via": ["Engineering", each["display"]]
                        if each["type"] == "indirect"
                        else [each["display"]],
                        "rule": "pattern" if each["display"].startswith("kong-") else "name",
                        "detail": "kong-(.+)" if each["display"].startswith("kong-") else "",
                    }
                ],
            }
            for each in user.get("groups", [])
        ]
        return {
            "id": id_,
            "userName": user["userName"],
            "active": active,
            "resource": user,
            "consumer": {
                "id": "6e0b1a5c-31a7-5d0b-8a3f-1f1f5a2f9d11",
                "username": user["userName"],
                "custom_id": user.get("externalId"),
                "tags": ["scim", "scim-tenant:a"] + ([] if active else ["scim:suspended"]),
            },
            "groups": groups,
            "credentials": [
                {
                    "kind": "keyauth_credentials",
                    "id": "0b1f8f6e-2f51-4a5e-9a55-6b2c0c3f7a10",
                    "created": before(days=41),
                    "expires": None,
                },
                {
                    "kind": "jwt_secrets",
                    "id": "5f3d1c7a-94d2-4d08-bb53-0f6e2a9c1e42",
                    "created": before(days=3),
                    "expires": None,
                },
            ]
            if active
            else [],
            "suspended": not active,
        }

    def _drift(self) -> list[dict[str, Any]]:
        if len(self.people) < 20:
            return []
        some = [
            (12, "group_missing", ["payments", "platform"], ["platform"], "Adds the ACL group."),
            (14, "group_extra", ["api-users"], ["api-users", "admins"], "Takes the ACL group."),
            (5, "not_suspended", "scim:suspended", None, "Suspends the consumer again."),
            (5, "credentials_left", 0, 1, "Deletes the API key."),
            (17, "consumer_missing", self.people[17]["userName"], None, "Creates the consumer."),
            (18, "consumer_renamed", self.people[18]["userName"], "n.castillo", "Renames it back."),
        ]
        return [
            {
                "user": self.people[place]["id"],
                "userName": self.people[place]["userName"],
                "kind": kind,
                "wanted": wanted,
                "found": found,
                "since": before(hours=3 * place),
                "mend": mend,
            }
            for place, kind, wanted, found, mend in some
        ]

    def _by_kind(self) -> dict[str, int]:
        kinds = [each["kind"] for each in self.differences]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def get_drift(self, query: dict[str, str], _: Any) -> dict[str, Any]:
        fit = [each for each in self.differences if query.get("kind") in {None, each["kind"]}]
        return {
            "pass": {
                "begun": before(minutes=6, seconds=4),
                "ended": before(minutes=6),
                "people": len(self.people),
                "by": "node 1",
            },
            "total": len(fit),
            "byKind": {
                kind: n for kind, n in self._by_kind().items() if query.get("kind") in {None, kind}
            },
            **_page(fit, query, "differences"),
        }

    def post_drift(self, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        """Mend two people at a time, so that the page has to ask for more."""
        wanted = [each for each in self.differences if body.get("user") in {None, each["user"]}]
        start = int(body.get("cursor") or 0)
        part = wanted[start : start + 2]
        dry = body["dryRun"]
        results = [
            {
                "user": each["user"],
                "userName": each["userName"],
                "kind": each["kind"],
                "result": "would be mended" if dry else "mended",
                "detail": each["mend"],
            }
            for each in part
        ]
        following = start + 2 if start + 2 < len(wanted) else None
        if not dry and following is None:
            self.differences = [each for each in self.differences if each not in wanted]
        return {
            "mended": 0 if dry else len(part),
            "held": 0,
            "failed": 0,
            "results": results,
            "next": None if following is None else str(following),
        }

    def post_drift_preview(self, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        prefix = body["config"]["groups"].get("prefix", "")
        changes = [
            {
                "user": each["id"],
                "userName": each["userName"],
                "before": each["userName"],
                "after": each["userName"],
                "gains": [f"{prefix}api-users"],
                "loses": ["api-users"],
            }
            for each in self.people[:8]
            if prefix
        ]
        return {"people": len(self.people), "changes": changes, "next": None}

    def get_requests(self, query: dict[str, str], _: Any) -> dict[str, Any]:
        id_ = self.people[20]["id"] if len(self.people) > 20 else "1"
        conflict = f"userName {self.people[3]['userName'] if self.people else 'ada'} is taken"
        rows: list[tuple[int, str, str, int, float, str | None, str | None]] = [
            (48, "PATCH", f"/Users/{id_}", 200, 11.2, None, None),
            (61, "GET", "/Users?filter=userName eq …", 200, 4.1, None, None),
            (95, "POST", "/Users", 409, 6.4, conflict, '{"userName": "ada.byrne@example.com"}'),
            (310, "PATCH", "/Groups/2f0c", 404, 3.3, "There is no Group 2f0c", None),
            (312, "GET", "/Groups?count=100", 200, 18.9, None, None),
            (940, "DELETE", f"/Users/{id_}", 409, 8.7, "This tenant is in quarantine", None),
            (1822, "PUT", f"/Users/{id_}", 200, 14.5, None, None),
            (3605, "POST", "/Bulk", 200, 412.0, None, None),
        ]
        fit = [
            {
                "id": f"{number:032x}",
                "at": before(seconds=row[0]),
                **dict(zip(("method", "path", "status", "milliseconds"), row[1:5], strict=True)),
                "token": "idp",
                "provider": "Okta",
                "error": row[5],
                "body": row[6],
            }
            for number, row in enumerate(rows)
            if row[3] >= 400 or query.get("failed") != "true"
        ]
        return {"requests": fit, "next": None}

    def post_mapping(self, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        prefix = body["groups"].get("prefix", "")
        groups = [
            {
                "id": each["id"],
                "displayName": each["displayName"],
                "now": each["displayName"].removeprefix("kong-"),
                "then": prefix + each["displayName"].removeprefix("kong-"),
                "error": None,
            }
            for each in self.groups
        ]
        return _page(groups, {name: str(value) for name, value in body.items()}, "groups")

    def get_accessreview(self, query: dict[str, str], _: Any) -> dict[str, Any]:
        opens = {"api-users": "echo", "payments": "payments", "orders": "orders"}
        entries = [
            {
                "user": each["id"],
                "userName": each["userName"],
                "consumer": each["userName"],
                "suspended": not each.get("active", True),
                "service": opens[name],
                "route": f"{opens[name]}-v1",
                "by": name,
                "since": before(days=30),
                "grantedBy": {
                    "event": "e-1",
                    "actor": "idp",
                    "request": "82c9280317545a43629c6175",
                },
                "credentials": [
                    {
                        "kind": "keyauth_credentials",
                        "id": "k",
                        "created": before(days=41),
                        "expires": None,
                    }
                ]
                if place % 3 == 0
                else [],
            }
            for place, each in enumerate(self.people)
            for name in [one["display"].removeprefix("kong-") for one in each.get("groups", [])]
            if name in opens
        ]
        entries = [
            each
            for each in entries
            if query.get("user", "") in each["userName"]
            and query.get("group") in {None, each["by"]}
            and query.get("service") in {None, each["service"]}
        ]
        page = _page(entries, query, "entries", self.most)
        so_far = entries[: int(query.get("cursor") or 0) + len(page["entries"])]
        return {
            "tenant": "a",
            "moment": before(),
            "people": len({each["user"] for each in so_far}),
            "lines": len(so_far),
            "trail": {"from": before(days=41), "hash": "9c1f" * 16},
            "sha256": "5dd9b328" * 8,
            "signature": None,
            "notJudged": [
                {"route": "portal", "reason": "openid-connect decides by a rule of its own"}
            ],
            **page,
        }


def _page(
    found: list[dict[str, Any]], query: dict[str, str], name: str, most: int = 200
) -> dict[str, Any]:
    start, count = int(query.get("cursor") or 0), min(int(query.get("count", 50)), most)
    following = start + count if start + count < len(found) else None
    return {
        name: found[start : start + count],
        "next": None if following is None else str(following),
    }


def _json(status: int, body: Any) -> Response:
    return Response(json.dumps(body), status, media_type="application/scim+json")


@contextlib.contextmanager
def serving(stand_in: StandIn) -> Iterator[None]:
    """Serve it on a port of loopback, until the end of the block."""
    port = free_port()
    app = Starlette(routes=[Route("/scim/v2/{path:path}", stand_in.answer, methods=_METHODS)])
    config = uvicorn.Config(app, port=port, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started, "the gateway of the console")
    stand_in.url = f"http://127.0.0.1:{port}/scim/v2"
    yield
    server.should_exit = True
    thread.join()
