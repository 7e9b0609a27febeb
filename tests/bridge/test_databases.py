"""What the bridge needs of Kong's database, and what it says where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from memories import KONG_YML
from probe import HERE, Probe

from kong_process import ROOT, KongProcess, kong_binary, requires_kong
from kong_scim.directory import ddl
from kong_scim.directory.columns import metadata
from postgres import Postgres

MIGRATIONS = ROOT / "kong-plugins/kong/plugins/scim-bridge/migrations"

OF_KONGS_TABLES = ("006_logins",)
"""Migrations that add nothing but an index to one of Kong's tables."""

WITH_CONSUMERS = (
    KONG_YML
    + """
consumers:
- username: ann
  custom_id: a-1
  tags: [scim]
  keyauth_credentials: [{key: ann-key}]
  acls: [{group: staff}, {group: dev}]
- {username: bob, tags: ["scim:suspended"], keyauth_credentials: [{key: bob-key}]}
"""
)


def test_the_migrations_are_what_the_tables_say() -> None:
    """Regenerate one with the command in its first lines."""
    listed = re.findall(r'"(\w+)"', (MIGRATIONS / "init.lua").read_text())
    assert listed == sorted(path.stem for path in MIGRATIONS.glob("0*.lua"))
    of_tables = sorted({table.info["migration"] for table in metadata.sorted_tables})
    assert sorted({*of_tables, *OF_KONGS_TABLES}) == listed
    for name in of_tables:
        text = re.search(
            r"up = \[\[\n(.*?)\s*\]\]", (MIGRATIONS / f"{name}.lua").read_text(), re.DOTALL
        )
        assert text is not None
        expected = ddl.statements("postgresql", name)
        assert text[1] == "\n".join(f"{statement};" for statement in expected)


@requires_kong
def test_kongs_migrations_create_the_tables(probe: Probe, postgres: Postgres) -> None:
    with postgres.connect() as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'scim%'"
        ).fetchall()
    assert {row[0] for row in tables} == set(metadata.tables)


@requires_kong
class TestWithoutADatabase:
    @pytest.fixture(scope="class")
    def dbless(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
        directory = tmp_path_factory.mktemp("k")
        declarative: Path = directory / "kong.yml"
        declarative.write_text(WITH_CONSUMERS)
        process = KongProcess(
            kong_binary(),
            directory / "p",
            declarative=declarative,
            plugins=("scim-bridge", "scim-probe"),
            lua_path=[HERE],
        )
        with process:
            yield Probe(process.proxy_url, process.admin_url)

    def test_it_says_so_at_the_beginning(self, dbless: Probe) -> None:
        opening = dbless.bridge.begin(max_body_size=1000, require_https=False)
        assert (opening.host.database, opening.host.dialect) == ("off", "sqlite")

    def test_its_guard_refuses(self, dbless: Probe) -> None:
        for key, status in {"ann-key": 200, "bob-key": 403, "x": 401}.items():
            answer = dbless.proxy.get("/api", headers={"apikey": key})
            assert answer.status_code == status
