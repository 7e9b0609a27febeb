"""``kong-scim doctor`` names the faults of a machine, a file, an Admin API and a log."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from doctor_support import IDP, answering, failed, finding, look, wrong

from declared import scim_plugin
from hosts import ROOT
from kong_scim.doctor.examination import Subject, examine
from kong_scim.doctor.report import CHECKS, Report
from kong_scim.doctor.symptoms import symptoms, with_table

# -- Symptoms ----------------------------------------------------------------------


ANSWERED = [each for each in symptoms() if each.status and each.texts]


@pytest.mark.parametrize("symptom", ANSWERED, ids=lambda each: each.symptom[:40])
def test_each_symptom_of_an_answer_names_its_check(symptom: Any) -> None:
    text = symptom.symptom.split("`")[1].replace("...", "something")
    said = symptom.texts[0].pattern.replace(".*", " something ").replace("\\", "")
    detail = text if symptom.texts[0].search(text) else said
    error = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "detail": detail}
    report = look("http://gw.example/scim/v2", transport=answering(symptom.status, error))
    found = finding(report, symptom.check)
    assert detail[:20] in found.found
    assert found.mend


def test_each_symptom_has_a_check_that_there_is_and_the_page_has_them_all() -> None:
    assert {each.check for each in symptoms()} <= set(CHECKS)
    page = (ROOT / "docs/operations.md").read_text()
    assert with_table(page) == page, "run `make docs`"


def test_symptoms_in_logs_are_found(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text(
        "2026/01/01 [error] plugin 'scim' is enabled but not installed\n"
        "WARNING token file /run/token: others may write it\n"
        "nothing to see\n"
    )
    report, _ = examine(Subject(logs=[log]))
    assert set(wrong(report)) == {"plugins", "token"}


# -- The machine, the Admin API and the file -----------------------------------------


@pytest.mark.parametrize(
    ("mode", "found"), [(0o600, "only"), (0o666, "everybody"), (0o660, "Nobody answers")]
)
def test_a_socket_that_kong_may_not_open_or_where_nobody_answers(
    tmp_path: Path, mode: int, found: str
) -> None:
    path = tmp_path / "scim.socket"
    tmp_path.chmod(0o755)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
    path.chmod(mode)
    report, _ = examine(Subject(socket=path))
    assert any(found in each for each in wrong(report).values())
    assert report.exit_status() == 1


def test_no_plugin_server() -> None:
    report, _ = examine(Subject(socket=Path("/nowhere/scim.socket")))
    assert failed(report, "socket")


def test_the_admin_api_answers_500_with_a_start_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kong_scim.doctor import admin

    report = Report()
    kong = answering(500, {"message": "An unexpected error occurred"})
    assert not admin.look_at_admin_api("http://kong.example:8001", report, kong)
    assert any("_START_CMD" in each.mend for each in report.findings())


def test_the_admin_api_tells_open_routes_and_missing_plugins() -> None:
    from kong_scim.doctor import admin

    rows = {
        "/": {
            "plugins": {"available_on_server": {"scim": True}},
            "configuration": {"db_update_frequency": 60},
        },
        "/plugins": {"data": [{"name": "scim", "config": {"tokens": [IDP]}, "route": {"id": "r"}}]},
        "/routes": {"data": [{"id": "r", "service": None}, {"id": "open", "service": {"id": "s"}}]},
    }
    report = Report()
    kong = httpx.MockTransport(lambda request: httpx.Response(200, json=rows[request.url.path]))
    admin.look_at_admin_api("http://kong.example:8001", report, kong)
    assert {"plugins", "guard", "routes"} == set(wrong(report))


FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "no guard": ("guard", {"plugins": []}),
    "a guard on a route only": ("guard", {"plugins": [{"name": "scim-bridge", "route": "scim"}]}),
    "a secret in clear": (
        "secrets",
        {"routes": [{"plugins": [scim_plugin("a", "x", tokens=[{**IDP, "value": "clear"}])]}]},
    ),
    "no plugin": ("configuration", {"routes": []}),
    "a wrong field": (
        "configuration",
        {"routes": [{"plugins": [scim_plugin("a", "x", on_deactivate="forget")]}]},
    ),
    "a service": (
        "service",
        {
            "routes": [],
            "services": [{"name": "s", "routes": [{"plugins": [scim_plugin("a", "x")]}]}],
        },
    ),
}


@pytest.mark.parametrize("fault", FILES)
def test_each_fault_of_a_declarative_file_is_named(tmp_path: Path, fault: str) -> None:
    check, change = FILES[fault]
    content = {
        "plugins": [{"name": "scim-bridge"}],
        "routes": [{"name": "scim", "paths": ["/x"], "plugins": [scim_plugin("a", "x")]}],
        **change,
    }
    path = tmp_path / "kong.yml"
    path.write_text(yaml.safe_dump(content))
    report, _ = examine(Subject(config=path))
    assert set(wrong(report)) == {check}
