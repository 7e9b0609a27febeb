"""kong.yml: one file for Kong's command line, its database, DB-less mode, and the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from composition import ROOT

from kong_process import KongProcess, kong_binary, requires_kong
from kong_scim.config import plugin
from kong_scim_sandbox.declarative import load
from postgres import Postgres, running_postgres

FILE = ROOT / "kong.yml"


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


@pytest.fixture(scope="module")
def scim_plugin(tree: dict[str, Any]) -> dict[str, Any]:
    [plugin] = [plugin for route in tree["routes"] for plugin in route["plugins"]]
    assert isinstance(plugin, dict)
    return plugin


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


class TestWhatItSays:
    def test_the_scim_route_has_no_service(self, tree: dict[str, Any]) -> None:
        """So nothing is passed on without the plugin server (docs/kong.md#kong-fails-open)."""
        [route] = tree["routes"]
        assert route["paths"] == ["/scim/v2"]
        assert "service" not in route

    def test_the_guard_is_on_every_route(self, tree: dict[str, Any]) -> None:
        [plugin] = tree["plugins"]
        assert plugin["name"] == "scim-bridge"
        assert not {"route", "service", "consumer"} & set(plugin)

    def test_the_plugins_configuration_works(self, scim_plugin: dict[str, Any]) -> None:
        parsed = plugin.parse(scim_plugin["config"])
        assert parsed.require_https
        assert parsed.tenant == "default"

    def test_every_token_is_a_vault_reference(self, scim_plugin: dict[str, Any]) -> None:
        tokens = scim_plugin["config"]["tokens"]
        assert set(plugin.references(scim_plugin["config"])) == {token["name"] for token in tokens}

    def test_the_sandbox_reads_it(self) -> None:
        declaration = load(FILE.read_text())
        plugins = {route.name: [p.name for p in route.plugins] for route in declaration.routes}
        assert "scim" in plugins["scim"]
        assert {"key-auth", "acl", "scim-bridge"} <= set(plugins["echo"])

    def test_the_shortest_configuration_of_the_readme_works(self) -> None:
        text = (ROOT / "README.md").read_text()
        [block] = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
        declaration = load(block)
        assert [route.paths for route in declaration.routes] == [("/scim/v2",)]
        [written] = yaml.safe_load(block)["routes"][0]["plugins"]
        plugin.parse(written["config"])


@requires_kong
class TestARealKong:
    @pytest.fixture
    def kong(self, postgres: Postgres, tmp_path: Path) -> KongProcess:
        database = postgres.new_database(f"kong_{tmp_path.name}"[:60])
        return KongProcess(
            kong_binary(),
            tmp_path / "kong",
            postgres=database,
            plugins=("scim", "scim-bridge"),
            env={"SCIM_TOKEN": "a-token"},
        )

    def test_parses_it(self, kong: KongProcess) -> None:
        assert "parse successful" in kong.run("config", "parse", str(FILE))

    def test_names_the_field_of_a_wrong_configuration(
        self, kong: KongProcess, tmp_path: Path
    ) -> None:
        wrong = yaml.safe_load(FILE.read_text())
        wrong["routes"][0]["plugins"][0]["config"]["on_deactivate"] = "forget"
        (tmp_path / "wrong.yml").write_text(yaml.safe_dump(wrong))
        assert "on_deactivate" in kong.run(
            "config", "parse", str(tmp_path / "wrong.yml"), check=False
        )

    def test_imports_it_any_number_of_times(self, kong: KongProcess, tmp_path: Path) -> None:
        """As `docker compose up` does: the migrations, then the import, on each start."""
        exported = []
        for attempt in range(2):
            kong.run("migrations", "bootstrap")
            kong.run("migrations", "up")
            kong.run("migrations", "finish")
            assert "import successful" in kong.run("config", "db_import", str(FILE))
            kong.run("config", "db_export", str(tmp_path / f"{attempt}.yml"))
            exported.append(yaml.safe_load((tmp_path / f"{attempt}.yml").read_text()))
        for export in exported:
            for kind in ("services", "routes", "plugins"):
                for row in export[kind]:
                    del row["created_at"], row["updated_at"]
                export[kind].sort(key=lambda row: row["id"])
        assert exported[0] == exported[1]
        assert len(exported[1]["plugins"]) == 4

    def test_keeps_the_token_out_of_the_database(self, kong: KongProcess, tmp_path: Path) -> None:
        kong.run("migrations", "bootstrap")
        kong.run("config", "db_import", str(FILE))
        kong.run("config", "db_export", str(tmp_path / "export.yml"))
        text = (tmp_path / "export.yml").read_text()
        assert "{vault://env/scim-token}" in text
        assert "a-token" not in text

    def test_starts_with_it_without_a_database(self, tmp_path: Path) -> None:
        with KongProcess(
            kong_binary(),
            tmp_path,
            declarative=FILE,
            plugins=("scim", "scim-bridge"),
            pluginserver=(tmp_path / "nobody.socket", Path("/dev/null")),
            env={"SCIM_TOKEN": "a-token"},
        ) as kong:
            assert httpx.get(f"{kong.proxy_url}/echo").status_code == 401
            assert httpx.get(f"{kong.proxy_url}/scim/v2/Users").status_code == 503
