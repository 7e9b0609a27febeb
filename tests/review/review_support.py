"""A gateway with routes of every kind, and what an access review says of it."""

from __future__ import annotations

from typing import Any

from click.testing import CliRunner, Result

from hosts import Gateway
from kong_scim.cli.main import main

KEY = {"name": "key-auth"}


def acl(**config: Any) -> dict[str, Any]:
    return {"name": "acl", "config": config}


def routes(upstream: str) -> list[dict[str, Any]]:
    """Return services whose routes differ in who may pass."""

    def route(name: str, *plugins: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "paths": [f"/r/{name}"], "plugins": list(plugins)}

    def service(name: str, *below: dict[str, Any], plugins: Any = ()) -> dict[str, Any]:
        return {"name": name, "url": upstream, "plugins": list(plugins), "routes": list(below)}

    or_anonymous = {"name": "key-auth", "config": {"anonymous": "nobody"}}
    return [
        service(
            "mixed",
            route("open"),
            route("any-key", KEY),
            route("no-interns", KEY, acl(deny=["interns"])),
            route("staff-or-ops", KEY, acl(allow=["staff", "ops"])),
            route("acl-only", acl(allow=["staff"])),
            route("nobody-or-key", or_anonymous, acl(allow=["staff"])),
            route("anybody", or_anonymous),
        ),
        service(
            "by-service",
            route("of-the-service"),
            # The acl of the route takes the place of the one of its service.
            route("of-the-route", acl(deny=["staff"])),
            plugins=[KEY, acl(allow=["staff"])],
        ),
    ]


NOBODY = {"id": "5f1b8a5e-3c1d-4c55-9d0b-6c1f3f0a7d11", "username": "nobody"}
"""The anonymous consumer, which is in no group."""

NOT_JUDGED = {"open", "acl-only", "anybody"}


def review(gateway: Gateway, **query: Any) -> dict[str, Any]:
    """Return the whole report, with all its pages."""
    report: dict[str, Any] = {"next": ""}
    entries: list[Any] = []
    while report["next"] is not None:
        cursor = {"cursor": report["next"]} if report["next"] else {}
        answer = gateway.scim.get("/AccessReview", params={**query, **cursor})
        assert answer.status_code == 200, answer.text
        report = answer.json()
        entries += report["entries"]
    return {**report, "entries": entries}


def command(gateway: Gateway, *arguments: str) -> Result:
    options = ["--scim-url", gateway.scim_base, "--token", gateway.token]
    return CliRunner().invoke(main, ["access-review", *options, *arguments])


def verified(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["access-review", "verify", *arguments])
