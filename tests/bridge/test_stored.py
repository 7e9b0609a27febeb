"""What of Kong's plugins is loaded anew, and when."""

from __future__ import annotations

import psycopg
from probe import Probe, eventually

from kong_process import requires_kong
from postgres import Postgres

pytestmark = requires_kong

LOOKS = """
SELECT max(query_start) FROM pg_stat_activity WHERE query LIKE '%AS digest%FROM plugins%'
AND pid <> pg_backend_pid()
"""


def version(probe: Probe) -> str:
    found: str = (
        probe.admin.get("/cache/plugins_iterator:version").raise_for_status().json()["message"]
    )
    return found


def test_looking_for_a_changed_configuration_has_nothing_loaded_anew(
    probe: Probe, postgres: Postgres
) -> None:
    before = version(probe)
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        seen = set()

        def looked() -> bool:
            seen.add(connection.execute(LOOKS).fetchone())
            return len(seen - {(None,)}) > 3

        eventually(looked, "three looks")
    assert version(probe) == before
