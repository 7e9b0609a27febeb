"""A database of each dialect, empty for every test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import PostgresDatabase

from kong_scim.directory.database import Database
from kong_scim.directory.sqlite import SqliteDatabase
from postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_database(postgres: Postgres) -> Iterator[PostgresDatabase]:
    database = PostgresDatabase(postgres.new_database(f"scim-{uuid.uuid4().hex}").dsn)
    yield database
    database.close()


@pytest.fixture
def postgres_database(_postgres_database: PostgresDatabase) -> PostgresDatabase:
    # far quicker than TRUNCATE where there is little
    _postgres_database.run("DELETE FROM scim_tenants")
    _postgres_database.run("DELETE FROM scim_resources")
    return _postgres_database


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "scim.db")
    yield database
    database.close()


@pytest.fixture(scope="module")
def shared_sqlite() -> Iterator[SqliteDatabase]:
    """One for all the runs of a property, each of which has a scope of its own."""
    database = SqliteDatabase(":memory:")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    name = {"sqlite": "sqlite_database", "postgresql": "postgres_database"}[request.param]
    found: Database = request.getfixturevalue(name)
    return found
