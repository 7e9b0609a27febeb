"""``kong-scim doctor`` names the faults that the gateway tells of itself and of the tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from doctor_support import ADMIN, IDP, TOKENS, Telling, failed, finding, look, wrong

from declared import scim_plugin
from hosts import Gateway, SandboxHost, scim_client
from kong_scim.doctor.report import Report, State
from outbox import events, run
from scim_traffic import new_user
from variants import variant

# -- What the gateway tells of itself ----------------------------------------------


def test_the_guard_is_missing(host: Gateway, good: Gateway) -> None:
    host.set_guard(False)
    try:
        report = look(good.scim_base, admin_url=host.host.admin_url)
    finally:
        host.set_guard(True)
        host.wait()
    assert failed(report, "guard")


def test_a_service_on_the_route(host: Gateway) -> None:
    assert isinstance(host.host, SandboxHost)
    (service,) = host.content["services"]
    route = {
        "name": "with-service",
        "paths": ["/with-service/scim/v2"],
        "plugins": [scim_plugin("with-service", "scim-token-a")],
    }
    service["routes"].append(route)
    host.host.configure(host.content)
    try:
        base = host.proxy_url + "/with-service/scim/v2"
        report = look(base, token=host.token, admin_url=host.host.admin_url)
    finally:
        service["routes"].remove(route)
        host.host.configure(host.content)
    assert "with-service" in failed(report, "service")


def test_a_configuration_that_cannot_work(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, consumer={"username": "nothingLikeThat"}) as gateway:
        assert "nothingLikeThat" in failed(look(gateway.scim_base), "configuration")


def test_a_dry_run_that_was_left_on(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, dry_run=True) as gateway:
        assert "nothing changes" in finding(look(gateway.scim_base), "dry-run").found


def _set(*path: str, to: Any) -> Callable[[Any], None]:
    def change(facts: Any) -> None:
        for name in path[:-1]:
            facts = facts[name]
        facts[path[-1]] = to

    return change


TOLD: dict[str, tuple[str, Callable[[Any], None], State]] = {
    "another release of Kong": (
        "versions",
        _set("versions", "kong", to="3.4.2"),
        State.WARNING,
    ),
    "Lua files of an older release": (
        "versions",
        _set("versions", "scimBridge", to="0.0.9"),
        State.FAILED,
    ),
    "old migrations": (
        "migrations",
        _set("migrations", to={"missing": ["007_names"], "pending": [], "unknown": []}),
        State.FAILED,
    ),
    "migrations that are not finished": (
        "migrations",
        _set("migrations", to={"missing": [], "pending": ["007_names"], "unknown": []}),
        State.WARNING,
    ),
    "a database of a newer release": (
        "migrations",
        _set("migrations", to={"missing": [], "pending": [], "unknown": ["008_next"]}),
        State.FAILED,
    ),
    "a guard that runs after acl": (
        "guard",
        _set("guard", "priorities", "acl", to=970),
        State.FAILED,
    ),
    "a guard that is optional and off": ("guard", _set("guard", "enabled", to=False), State.FAILED),
    "a body buffer that is too small": (
        "body-size",
        _set("limits", "clientBodyBufferSize", to=1024),
        State.WARNING,
    ),
    "Nginx takes less than the plugin": (
        "body-size",
        _set("limits", "clientMaxBodySize", to=65536),
        State.FAILED,
    ),
    "Kong gives statements less time than the plugin": (
        "body-size",
        _set("limits", "pgTimeout", to=2000),
        State.WARNING,
    ),
    "a data plane": ("node", _set("node", "channel", to="off"), State.FAILED),
    "a DB-less Kong that was just started": (
        "memory",
        _set("memoryComplete", to=False),
        State.FAILED,
    ),
    "a database that does not answer": (
        "database",
        _set("deliveries", to={"error": "The gateway's database does not answer"}),
        State.FAILED,
    ),
}


@pytest.mark.parametrize("fault", TOLD)
def test_each_fault_that_the_gateway_tells_is_named(good: Gateway, fault: str) -> None:
    check, change, state = TOLD[fault]
    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert finding(report, check).state is state
    assert set(wrong(report)) == {check}


@pytest.mark.parametrize("facts", [{"limits": None}, {"x": 1}, {"now": 7, "versions": []}])
def test_facts_of_another_release_are_a_sentence(good: Gateway, facts: dict[str, Any]) -> None:
    report = look(good.scim_base, transport=Telling("/Doctor", lambda _: facts))
    assert "does not understand" in failed(report, "versions")


def test_a_clock_that_is_off(good: Gateway) -> None:
    def ahead(seconds: int) -> Report:
        return look(good.scim_base, now=lambda: datetime.now(UTC) + timedelta(seconds=seconds))

    assert "differ by" in failed(ahead(-600), "clock")
    assert failed(ahead(3600), "clock")
    assert finding(ahead(20), "clock").state is State.WARNING


# -- The tenant ------------------------------------------------------------------


def test_deliveries_that_were_given_up(good: Gateway) -> None:
    user = new_user(good.scim)["id"]
    with scim_client(good.scim_base, ADMIN) as admin:
        event = events(good, user, scim=admin)[-1]["id"]
    run(
        good,
        "INSERT INTO scim_deliveries (workspace, tenant, target, event_id, resource_id, state, "
        "attempts, created, due, leased) SELECT workspace, tenant, 'hr', id, id, 'dead', 9, "
        f"'2026-01-01', '', '' FROM scim_resources WHERE id = '{event}'",
    )
    try:
        assert "1 deliveries" in failed(look(good.scim_base), "deliveries")
    finally:
        run(good, f"DELETE FROM scim_deliveries WHERE event_id = '{event}'")
        good.clear()


def test_a_quarantine(host: Gateway) -> None:
    few = {"users": 1, "at_least": 1}
    admin = {**IDP, "scopes": ["scim:users", "scim:groups", "scim:bulk", "scim:admin"]}
    with variant(host, tokens=[admin, TOKENS[1]], quarantine=few) as gateway:
        people = [new_user(gateway.scim)["id"] for _ in range(3)]
        run(gateway, "UPDATE scim_resources SET created = '2020' WHERE type = 'User'")
        for user in people:
            gateway.scim.patch(
                f"/Users/{user}",
                json={
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": [{"op": "replace", "value": {"active": False}}],
                },
            )
        assert "quarantined" in failed(look(gateway.scim_base), "quarantine")


def test_a_provider_that_went_silent(good: Gateway) -> None:
    def change(facts: Any) -> None:
        facts["tokens"][0]["lastUsed"] = "2026-01-01T00:00:00Z"

    report = look(good.scim_base, transport=Telling("/Doctor", change))
    assert finding(report, "last-request").state is State.WARNING


def test_drift_and_failed_requests_where_the_gateway_tells_them(good: Gateway) -> None:
    known = {"drift": {"total": 2, "byKind": {"group_missing": 2}}}
    drift = Telling("/Overview", lambda _: known)
    assert "2 group_missing" in finding(look(good.scim_base, transport=drift), "drift").found
    unknown = Telling("/Overview", lambda _: {"drift": None})
    assert look(good.scim_base, transport=unknown).state("drift") is State.SKIPPED
    request = {
        "method": "POST",
        "path": "/Users",
        "status": 409,
        "error": "The username a belongs to a consumer that SCIM did not create",
        "token": "idp",
    }
    requests = Telling("/Requests", lambda _: {"requests": [request] * 3})
    found = finding(look(good.scim_base, transport=requests), "requests")
    assert "3 of the provider's last requests" in found.found
    assert "adopt: link" in found.mend
