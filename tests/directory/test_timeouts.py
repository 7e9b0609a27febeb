"""A statement that goes on for too long is stopped, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kong_scim.bridge import BridgeError, Sql
from kong_scim.dbless.local_store import LocalStore
from kong_scim.directory.sqlite import SqliteDatabase

ENDLESS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n
"""
INSERT = Sql("INSERT INTO scim_tenants (workspace, tenant, graph_version) VALUES ('w', 't', 1)")
COUNT = Sql("SELECT count(*) AS n FROM scim_tenants")


def test_a_reading_statement_is_stopped_and_the_next_one_runs(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(BridgeError) as raised:
        store.query([COUNT, Sql(ENDLESS)], timeout=0.05)
    assert (raised.value.name, raised.value.step) == ("TIMEOUT", 1)
    assert store.query([COUNT], timeout=5) == [[{"n": 0}]]
    store.close()


def test_a_writing_transaction_is_undone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "x.sqlite")
    delete = Sql(f"DELETE FROM scim_tenants WHERE graph_version < ({ENDLESS})")

    def write() -> None:
        with database.transaction(0.05) as transaction:
            transaction.run(INSERT)
            transaction.run(delete)

    with pytest.raises(BridgeError) as raised:
        write()
    assert raised.value.name == "TIMEOUT"
    assert database.query([COUNT]) == [[{"n": 0}]]
    database.close()
