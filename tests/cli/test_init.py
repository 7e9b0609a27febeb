"""``kong-scim init`` writes a set-up that works, and overwrites nothing."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner, Result

from host_processes import Host, SandboxHost, eventually
from kong_process import KongProcess, kong_binary, requires_kong
from kong_processes import KongHost
from kong_scim.cli.main import main
from kong_scim.doctor.examination import Subject, examine
from scim_traffic import user_body

OPTIONS = {
    "tenant": "acme",
    "provider": "okta",
    "database": "postgres",
    "for": "compose",
}


def init(directory: Path, *flags: str, stdin: str | None = None, **changed: str) -> Result:
    given = {**OPTIONS, **changed} if stdin is None else {}
    options = [f"--{name}={value}" for name, value in given.items()]
    arguments = ["init", "--directory", str(directory), *options, *flags]
    return CliRunner().invoke(main, arguments, input=stdin)


def files_of(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def environment(directory: Path) -> dict[str, str]:
    lines = [
        line
        for name in ("kong-scim.env", "kong-scim.admin.env")
        for line in (directory / name).read_text().splitlines()
        if not line.startswith("#")
    ]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("place", ["compose", "systemd", "helm"])
@pytest.mark.parametrize("database", ["postgres", "off"])
def test_it_writes_secrets_for_its_user_alone_and_prints_the_steps(
    tmp_path: Path, place: str, database: str
) -> None:
    done = init(tmp_path, **{"for": place}, database=database)
    assert done.exit_code == 0, done.output
    secrets = environment(tmp_path)
    assert len(secrets["SCIM_TOKEN"]) >= 43
    for name in ("kong-scim.env", "kong-scim.admin.env"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    config = (tmp_path / "kong-scim.yml").read_text()
    for value in (secrets["SCIM_TOKEN"], secrets["SCIM_ADMIN_TOKEN"]):
        assert value not in config
        assert value not in done.output
    commands = {"compose": "docker compose", "systemd": "systemctl", "helm": "helm install"}
    assert commands[place] in done.output
    assert "kong-scim doctor" in done.output
    report, _ = examine(Subject(config=tmp_path / "kong-scim.yml"))
    assert report.exit_status(strict=True) == 0


def test_a_second_time_changes_nothing_and_other_answers_are_refused(tmp_path: Path) -> None:
    init(tmp_path)
    before = files_of(tmp_path)
    again = init(tmp_path)
    assert (again.exit_code, files_of(tmp_path)) == (0, before)
    other = init(tmp_path, tenant="other")
    assert other.exit_code == 1
    assert "kong-scim.yml" in other.output
    assert files_of(tmp_path) == before
    forced = init(tmp_path, "--force", tenant="other")
    assert forced.exit_code == 0
    after = files_of(tmp_path)
    assert all(after[name] != before[name] for name in ("kong-scim.yml", "kong-scim.env"))


def test_nothing_is_written_where_one_file_is_somebody_else_s(tmp_path: Path) -> None:
    (tmp_path / "kong-scim.yml").write_text("mine")
    assert init(tmp_path).exit_code == 1
    assert files_of(tmp_path) == {"kong-scim.yml": "mine"}


def test_it_asks_for_what_is_not_given(tmp_path: Path) -> None:
    done = init(tmp_path, stdin="acme\nentra\noff\nsystemd\n")
    assert done.exit_code == 0, done.output
    assert "Tenant URL" in done.output
    assert "KONG_DATABASE=off" in (tmp_path / "kong-scim.env").read_text()


@pytest.mark.parametrize(
    "wrong", [{"tenant": "no blanks"}, {"tenant": "suspended"}, {"path": "scim"}, {"provider": "x"}]
)
def test_a_wrong_answer_is_a_sentence_and_writes_nothing(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    done = init(tmp_path / "new", **wrong)
    assert done.exit_code in {1, 2}
    assert "Traceback" not in done.output
    assert not (tmp_path / "new").exists()


def test_compose_uses_the_file_in_place_of_the_example(tmp_path: Path) -> None:
    init(tmp_path, database="off")
    tree = yaml.safe_load((tmp_path / "kong-scim.compose.yml").read_text())
    (mount,) = tree["services"]["kong"]["volumes"]
    assert mount["source"] == str(tmp_path / "kong-scim.yml")


def running(name: str, directory: Path, content: dict[str, Any]) -> Host:
    if name.startswith("sandbox"):
        return SandboxHost(
            directory, content, database="off" if name == "sandbox-off" else "sqlite"
        )
    return KongHost(directory, content, dbless=name == "kong-dbless", nodes=1)


@pytest.mark.parametrize(
    "name",
    [
        "sandbox",
        "sandbox-off",
        pytest.param("kong-postgres", marks=requires_kong),
        pytest.param("kong-dbless", marks=requires_kong),
    ],
)
def test_what_it_writes_runs_and_doctor_finds_nothing_wrong(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = "postgres" if name in {"sandbox", "kong-postgres"} else "off"
    assert init(tmp_path / "init", "--http", database=database).exit_code == 0
    secrets = environment(tmp_path / "init")
    monkeypatch.setenv("SCIM_TOKEN", secrets["SCIM_TOKEN"])
    content = yaml.safe_load((tmp_path / "init/kong-scim.yml").read_text())
    (tmp_path / "host").mkdir()
    host = running(name, tmp_path / "host", content)
    try:
        host.start()
        base = f"{host.proxy_urls[0]}/scim/v2"
        headers = {"Authorization": f"Bearer {secrets['SCIM_TOKEN']}"}
        provider = httpx.Client(base_url=base, headers=headers, timeout=60, trust_env=False)

        def provisioned() -> bool:
            return provider.post("/Users", json=user_body("alice")).status_code in {201, 409}

        eventually(provisioned, "the first user")
        report, steps = examine(
            Subject(
                base,
                secrets["SCIM_ADMIN_TOKEN"],
                admin_url=host.admin_url,
                config=tmp_path / "init/kong-scim.yml",
                provider="okta",
            )
        )
        assert [each.to_json() for each in report.findings() if each.mend] == []
        assert steps
        consumer = httpx.get(f"{host.admin_url}/consumers/alice", verify=False)
        assert consumer.status_code == 200
    finally:
        host.close()


@requires_kong
def test_a_real_kong_parses_it_as_it_is_written(tmp_path: Path) -> None:
    init(tmp_path / "init")
    kong = KongProcess(kong_binary(), tmp_path / "kong", plugins=("scim", "scim-bridge"))
    assert "parse successful" in kong.run("config", "parse", str(tmp_path / "init/kong-scim.yml"))
