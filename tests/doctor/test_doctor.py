"""``kong-scim doctor`` finds nothing on a good set-up, and plays a provider's first requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from click.testing import CliRunner
from doctor_support import ADMIN, TOKENS, empty_provider_log, failed, look, wrong

from declared import scim_plugin
from hosts import Gateway
from kong_process import requires_kong
from kong_scim.cli.main import main
from kong_scim.doctor.examination import Subject, examine
from kong_scim.doctor.providers import providers
from kong_scim.doctor.report import CHECKS, Report, State
from outbox import run
from scim_traffic import new_group, new_user
from variants import variant

# -- A good one -----------------------------------------------------------------


def test_nothing_is_found_wrong_with_a_good_set_up(good: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "kong.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "plugins": [{"name": "scim-bridge"}],
                "routes": [{"name": "scim", "plugins": [scim_plugin("a", "scim-token")]}],
            }
        )
    )
    listening = plugin_socket(good)
    report = look(good.scim_base, config=file, socket=listening)
    assert wrong(report) == {}
    assert report.exit_status(strict=True) == 0
    assert [each.check for each in report.findings()] == list(CHECKS)
    fine = {each.check for each in report.findings() if each.state is State.OK}
    assert {"token", "guard", "service", "versions", "clock", "last-request", "socket"} <= fine


def plugin_socket(gateway: Gateway) -> Path:
    """Return the socket of the plugin server that the sandbox started."""
    command = gateway.host.plugin_server().cmdline()
    return Path(command[command.index("--socket") + 1])


def test_a_provider_s_token_tells_what_it_can(good: Gateway) -> None:
    report = look(good.scim_base, token=good.token)
    assert wrong(report) == {}
    states = {each.check: each.state for each in report.findings()}
    assert states["scopes"] is State.OK
    assert states["versions"] is State.SKIPPED


# -- A provider's first requests --------------------------------------------------------


def test_each_provider_would_succeed_on_each_host_and_nothing_is_written(
    gateway_with: Callable[..., Gateway],
) -> None:
    good = gateway_with(tokens=TOKENS)
    empty_provider_log(good)
    user = new_user(good.scim)["id"]
    group = new_group(good.scim)["id"]
    before = [good.scim.get(path).json() for path in (f"/Users/{user}", f"/Groups/{group}")]
    for name in providers():
        report, steps = examine(Subject(good.scim_base, ADMIN, provider=name))
        assert wrong(report) == {}, name
        assert {each.state for each in steps} == {State.OK}
    after = [good.scim.get(path).json() for path in (f"/Users/{user}", f"/Groups/{group}")]
    assert after == before
    assert good.scim.get("/Users").json()["totalResults"] == 1


@requires_kong
def test_a_real_kong_tells_that_the_database_is_old_or_new(kong_with_postgres: Gateway) -> None:
    kong = kong_with_postgres
    change = "UPDATE schema_meta SET executed = {} WHERE subsystem = 'scim-bridge'"
    for put, back, found in (
        ("array_remove(executed, '007_names')", "array_append(executed, '007_names')", "lacks"),
        ("array_append(executed, '999_next')", "array_remove(executed, '999_next')", "newer"),
    ):
        run(kong, change.format(put))
        try:
            report = look(kong.scim_base, token=kong.token, admin_url=kong.host.admin_url)
        finally:
            run(kong, change.format(back))
        assert found in failed(report, "migrations")
        assert "keyed" not in str(wrong(report))


def test_without_a_user_what_needs_one_is_skipped(good: Gateway) -> None:
    good.clear()
    _, steps = examine(Subject(good.scim_base, ADMIN, provider="okta"))
    assert {each.state for each in steps} == {State.OK, State.SKIPPED}


def test_no_write_is_sent_to_a_gateway_that_knows_no_dry_run() -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.method)
        return httpx.Response(200, json={"schemas": [], "Resources": [], "totalResults": 0})

    from kong_scim.doctor.providers import play
    from kong_scim.doctor.route import Route

    report = Report()
    route = Route("http://gw.example/scim/v2", "t", httpx.MockTransport(answer))
    assert play("okta", route, {"limits": {"maxBodySize": 1}}, report) == []
    assert set(sent) == {"GET"}
    assert failed(report, "provider")


def test_what_a_provider_would_be_refused_is_shown(host: Gateway) -> None:
    with variant(host, tokens=TOKENS, groups={"pattern": "^team-(.+)$"}) as gateway:
        new_user(gateway.scim)
        report, steps = examine(Subject(gateway.scim_base, ADMIN, provider="entra"))
        assert all(each.status for each in steps if each.state is State.FAILED)
        assert report.exit_status() in {0, 1}


# -- A dry run of one request -------------------------------------------------------------

DRY = {"Kong-SCIM-Dry-Run": "true"}


def test_only_an_administrator_may_ask_for_a_dry_run(good: Gateway) -> None:
    admin = {**DRY, "Authorization": f"Bearer {ADMIN}"}
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "dry"}
    refused = good.scim.post("/Users", json=body, headers=DRY)
    assert (refused.status_code, "scim:admin" in refused.text) == (403, True)
    wanted = good.scim.post("/Users", json=body, headers=admin)
    assert (wanted.status_code, wanted.headers["Kong-SCIM-Dry-Run"]) == (201, "true")
    odd = good.scim.post("/Users", json=body, headers={**admin, "Kong-SCIM-Dry-Run": "1"})
    assert odd.status_code == 400
    decision = good.scim.post("/Quarantine", json={"decision": "lift"}, headers=admin)
    assert (decision.status_code, "no dry run" in decision.text) == (400, True)
    assert good.scim.get("/Users").json()["totalResults"] == 0
    assert "Kong-SCIM-Dry-Run" not in good.scim.get("/Users").headers


# -- The command ------------------------------------------------------------------------------


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_the_command_prints_a_table_or_json_and_ends_with_the_status(good: Gateway) -> None:
    options = ("--url", good.scim_base, "--token", ADMIN)
    table = command(*options, "--provider", "okta")
    assert table.exit_code == 0, table.output
    assert "connection test:" in table.stdout
    found = json.loads(command(*options, "--json").stdout)
    assert {each["check"] for each in found["checks"]} == set(CHECKS)
    assert found["exitStatus"] == 0
    bad = command("--url", good.scim_base, "--token", "wrong")
    assert bad.exit_code == 1
    assert "-> " in bad.stdout


def test_the_command_needs_something_to_look_at() -> None:
    assert command().exit_code == 2
    assert command("--url", "gw.example/scim/v2").exit_code == 2
    assert command("--provider", "okta", "--config", "kong.yml").exit_code == 2
