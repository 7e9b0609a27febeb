"""What the tests of ``kong-scim doctor`` look at, and what they look for in its report."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx

from hosts import Gateway, eventually, scim_client
from kong_scim.doctor.examination import Subject, examine
from kong_scim.doctor.report import Finding, Report, State
from outbox import run

ADMIN = "token-of-an-administrator"
IDP = {"name": "idp", "value": "{vault://env/scim-token-a}"}


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


TOKENS: list[dict[str, Any]] = [
    IDP,
    {"name": "admin", "sha256": digest(ADMIN), "scopes": ["scim:admin"]},
]


def empty_provider_log(gateway: Gateway) -> None:
    """Delete the requests that other tests sent to the tenant, also those that wait in memory."""
    last = f"/Users/{uuid.uuid4()}"
    gateway.scim.get(last)
    with scim_client(gateway.scim_base, ADMIN) as admin:
        eventually(
            lambda: last in admin.get("/Requests").text,
            "the log to have all requests until now",
        )
    run(gateway, "DELETE FROM scim_requests")


def look(url: str, **more: Any) -> Report:
    report, _ = examine(Subject(url, more.pop("token", ADMIN), **more))
    return report


def wrong(report: Report) -> dict[str, str]:
    """Return what is found wrong, by check."""
    return {each.check: each.found for each in report.findings() if each.mend}


def finding(report: Report, check: str) -> Finding:
    """Return the finding about a check; each fault has a sentence that mends it."""
    found = next(each for each in report.findings() if each.check == check)
    assert found.mend, f"nothing is wrong with {check}: {found.found}"
    return found


def failed(report: Report, check: str) -> str:
    found = finding(report, check)
    assert found.state is State.FAILED
    assert report.exit_status() == 1
    return found.found


class Telling(httpx.HTTPTransport):
    """The gateway, with something else in one of its JSON answers."""

    def __init__(self, path: str, change: Callable[[Any], Any]) -> None:
        super().__init__(trust_env=False)
        self._path, self._change = path, change

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if not request.url.path.endswith(self._path):
            return answer
        body = json.loads(answer.read()) if answer.status_code == 200 else {}
        return httpx.Response(200, json=self._change(body) or body)


def answering(status: int, body: Any, **headers: str) -> httpx.MockTransport:
    """A gateway that answers each request alike."""
    return httpx.MockTransport(lambda _: httpx.Response(status, json=body, headers=headers))
