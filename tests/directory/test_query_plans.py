"""Look-ups use their indexes however large the directory is, on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from databases import PostgresDatabase
from directory_support import (
    GROUPS,
    PROVIDER,
    USERS,
    Recorder,
    create_group,
    found,
    request,
    storage_on,
)
from scim2_models import ResourceType

from kong_scim.bridge import Sql
from kong_scim.directory import listing
from kong_scim.directory.database import Scope, TenantDatabase
from kong_scim.directory.every_user import EveryUser
from kong_scim.directory.kinds import Kinds
from kong_scim.directory.sqlite import SqliteDatabase
from postgres import Postgres
from without_kong import Storage

SCOPE = Scope("workspace", "tenant")
USERS_THERE = 20_000

ID = f"{'0' * 120}-"
"""What each user's id begins with. With long ids, the indexes have as many levels as with a million
people, and PostgreSQL takes some for equally good that are not."""

_NUMBERS = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {})
INSERT INTO {} SELECT {} FROM numbers ORDER BY n * 7919 % 20011
"""
_MOMENT = "'2026-01-01T00:00:00.000000+00:00'"
_DOCUMENT = (
    """'{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"user'||n||'"}'"""
)
_VALUES = {
    "username": "'user'||n",
    "displayname": "'user '||n",
    "externalid": "'x'||n",
    "emails.value": "'u'||n||'@example.com'",
    "emails.type": "'work'",
}

LOOK_UPS: list[tuple[ResourceType, str]] = [
    (USERS, 'userName eq "user77"'),
    (USERS, 'externalId eq "x77"'),
    (USERS, f'id eq "{ID}77"'),
    (USERS, 'emails.value eq "u77@example.com"'),
    (USERS, 'userName sw "user1234"'),
    (USERS, 'userName eq "user77" and externalId eq "x77"'),
    (GROUPS, 'displayName eq "small"'),
    (GROUPS, f'members.value eq "{ID}77"'),
    (GROUPS, f'members[value eq "{ID}77"]'),
]

SELECTION = (USERS, 'emails[type eq "work" and value eq "u77@example.com"]')
"""PostgreSQL starts from the value as soon as it knows, by ANALYZE, that most are of this type."""


class Filled:
    """A large directory: many users, and two groups of very different size."""

    def __init__(self, db: PostgresDatabase | SqliteDatabase) -> None:
        self.database = db
        self.recorder = Recorder(db)
        self.storage: Storage = storage_on(self.recorder, SCOPE)
        scope = f"'{SCOPE.workspace}', '{SCOPE.tenant}'"
        user = f"'{ID}'||n, {scope}, 'User', 1, 'User '||n, 'user '||n, {_DOCUMENT}"
        self.insert(USERS_THERE, "scim_resources", f"{user}, {_MOMENT}, {_MOMENT}")
        self.insert(USERS_THERE, "scim_values", f"'{ID}'||n, 'emails', 0, 0, NULL, NULL, 1, 0")
        for attr, value in _VALUES.items():
            columns = f"'{ID}'||n, '{attr}', 0, 0, {value}, {value}, NULL, 1"
            self.insert(USERS_THERE, "scim_values", columns)
        self.large = create_group(self.storage, "large")
        self.small = create_group(self.storage, "small")
        for group_id, size in ((self.large, USERS_THERE // 2), (self.small, 10)):
            self.insert(size, "scim_members", f"'{group_id}', '{ID}'||n, 'User'")

    def insert(self, count: int, table: str, columns: str) -> None:
        self.recorder.commit([Sql(_NUMBERS.format(count, table, columns))])

    def search(self, type_: ResourceType, filter_: str) -> Sequence[Sql]:
        """Return the statements that count and select what a filter finds, and read the
        memberships of what is found."""
        self.recorder.steps()
        assert found(self.storage, filter_, [type_])
        return self.recorder.queries[0]

    def add(self, group_id: str, *members: str) -> list[Sql]:
        """Return every statement that adding members and removing them runs."""
        self.recorder.steps()
        self.storage.patch_members(GROUPS, group_id, add=members)
        self.storage.patch_members(GROUPS, group_id, remove=members)
        return self.ran()

    def nest(self) -> list[Sql]:
        """Return every statement that making, reading and deleting a group of a group runs."""
        self.recorder.steps()
        outer = create_group(self.storage, "outer", self.small)
        self.storage.get(USERS, f"{ID}1")
        self.storage.delete(GROUPS, outer)
        return self.ran()

    def people(self, text: str) -> list[Sql]:
        """Return every statement that finds people by the beginning of a name."""
        self.recorder.steps()
        users = Kinds(PROVIDER).in_role("User")
        listing.by_name(TenantDatabase(self.recorder, SCOPE), users, text, None, 20)
        return self.ran()

    def ran(self) -> list[Sql]:
        batches = [*self.recorder.queries, *self.recorder.commits]
        return [each for batch in batches for each in batch if isinstance(each, Sql)]


@pytest.fixture(scope="module", params=["imported", "analyzed"])
def filled_postgres(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Filled]:
    database = PostgresDatabase(postgres.new_database(f"plans-{request.param}").dsn)
    for table in ("scim_resources", "scim_values", "scim_members"):
        # no statistics that come in the middle of a test
        database.run(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    filled = Filled(database)
    if request.param == "analyzed":
        database.run("ANALYZE")
    yield filled
    database.close()


@pytest.fixture(scope="module", params=["imported", "analyzed"])
def filled_sqlite(request: pytest.FixtureRequest) -> Iterator[Filled]:
    """With statistics and without: nobody runs ANALYZE on the file of a DB-less gateway."""
    database = SqliteDatabase(":memory:")
    filled = Filled(database)
    if request.param == "analyzed":
        database.query([Sql("ANALYZE")])
    yield filled
    database.close()


class TestOnPostgres:
    @pytest.fixture
    def filled(self, filled_postgres: Filled) -> Filled:
        return filled_postgres

    @pytest.fixture
    def database(self, filled: Filled) -> PostgresDatabase:
        found = filled.database
        assert isinstance(found, PostgresDatabase)
        return found

    @pytest.mark.parametrize(("type_", "filter_"), LOOK_UPS, ids=[each for _, each in LOOK_UPS])
    def test_a_look_up_reads_no_more_than_it_finds(
        self, filled: Filled, database: PostgresDatabase, type_: ResourceType, filter_: str
    ) -> None:
        for statement in filled.search(type_, filter_)[:2]:
            assert most_rows(database, statement) <= 100, database.explain(statement)

    @pytest.mark.parametrize(("type_", "filter_"), LOOK_UPS[:-1], ids=[f for _, f in LOOK_UPS[:-1]])
    def test_a_look_up_reads_not_all_rows_of_the_tenant(
        self, filled: Filled, database: PostgresDatabase, type_: ResourceType, filter_: str
    ) -> None:
        for statement in filled.search(type_, filter_):
            plan = database.explain(statement)
            assert "scim_resources_order" not in plan, plan

    def test_a_page_of_all_users_comes_in_the_order_of_the_index(
        self, filled: Filled, database: PostgresDatabase
    ) -> None:
        filled.recorder.steps()
        filled.storage.search([USERS], request(count=20))
        plan = database.explain(filled.recorder.queries[0][1])
        assert "scim_resources_order" in plan
        assert "Sort" not in plan

    @pytest.mark.parametrize("members", [1, 60])
    def test_members_are_added_without_a_table_being_read(
        self, filled: Filled, database: PostgresDatabase, members: int
    ) -> None:
        ids = [f"{ID}{n}" for n in range(USERS_THERE - members, USERS_THERE)]
        for group_id in (filled.small, filled.large):
            for statement in filled.add(group_id, *ids):
                assert_no_table_is_read(database, statement)

    @pytest.mark.parametrize("text", ["user1", "u77", "nobody"])
    def test_a_page_of_people_by_name_reads_little_more_than_the_page(
        self, filled: Filled, database: PostgresDatabase, text: str
    ) -> None:
        for statement in filled.people(text):
            assert most_rows(database, statement) <= 2000, database.explain(statement)


class TestOnSqlite:
    @pytest.fixture
    def filled(self, filled_sqlite: Filled) -> Filled:
        return filled_sqlite

    @pytest.fixture
    def database(self, filled: Filled) -> SqliteDatabase:
        found = filled.database
        assert isinstance(found, SqliteDatabase)
        return found

    @pytest.mark.parametrize(("type_", "filter_"), [*LOOK_UPS, SELECTION])
    def test_a_look_up_starts_from_an_index_on_what_it_looks_for(
        self, filled: Filled, database: SqliteDatabase, type_: ResourceType, filter_: str
    ) -> None:
        *selecting, memberships = filled.search(type_, filter_)
        for statement in selecting:
            plan = sqlite_plan(database, statement)
            assert "SCAN" not in plan, plan
            assert "scim_resources_order" not in plan, plan
        assert_looks_up(database, memberships)

    def test_a_page_of_all_users_comes_in_the_order_of_the_index(
        self, filled: Filled, database: SqliteDatabase
    ) -> None:
        filled.recorder.steps()
        filled.storage.search([USERS], request(count=20))
        plan = sqlite_plan(database, filled.recorder.queries[0][1])
        assert "scim_resources_order" in plan
        assert "TEMP B-TREE" not in plan

    def test_a_member_is_added_without_a_table_being_read(
        self, filled: Filled, database: SqliteDatabase
    ) -> None:
        for group_id in (filled.small, filled.large):
            for statement in filled.add(group_id, f"{ID}19999"):
                assert_looks_up(database, statement)

    def test_many_members_are_added_without_a_table_being_read(
        self, filled: Filled, database: SqliteDatabase
    ) -> None:
        for statement in filled.add(filled.small, *(f"{ID}{n}" for n in range(15_000, 15_060))):
            assert_looks_up(database, statement)

    def test_a_group_is_nested_without_a_table_being_read(
        self, filled: Filled, database: SqliteDatabase
    ) -> None:
        for statement in filled.nest():
            assert_looks_up(database, statement)

    def test_users_are_swept_in_the_order_of_their_ids(
        self, filled: Filled, database: SqliteDatabase
    ) -> None:
        filled.recorder.steps()
        users = Kinds(PROVIDER).in_role("User")
        next(EveryUser(TenantDatabase(filled.recorder, SCOPE), users).batches(20))
        for statement in filled.ran():
            assert_looks_up(database, statement)
            assert "TEMP B-TREE" not in sqlite_plan(database, statement)

    def test_people_are_found_by_name_in_the_order_of_the_index(
        self, filled: Filled, database: SqliteDatabase
    ) -> None:
        for statement in filled.people("u"):
            plan = sqlite_plan(database, statement)
            first, *others = plan.split("SEARCH ")[1:]
            assert "scim_values_head (attr=? AND head>?" in first, plan
            assert all("id=?" in each for each in others), plan
            assert "SCAN scim_" not in plan, plan


def assert_no_table_is_read(database: PostgresDatabase, statement: Sql) -> None:
    """Hold that a statement finds its rows by their ids, and not all rows of the tenant."""
    plan = database.explain(statement)
    for table in ("scim_resources", "scim_members", "scim_values"):
        assert f"Seq Scan on {table}" not in plan, plan
    assert "scim_resources_order" not in plan, plan


def most_rows(database: PostgresDatabase, statement: Sql) -> float:
    """Run a statement and return how many rows the busiest part of its plan has seen."""
    plan = database.explain_run(statement)["Plan"]
    waiting, most = [plan], 0.0
    while waiting:
        node = waiting.pop()
        seen = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        seen += node.get("Rows Removed by Join Filter", 0)
        most = max(most, seen * node["Actual Loops"])
        waiting += node.get("Plans", [])
    return most


def assert_looks_up(database: SqliteDatabase, statement: Sql) -> None:
    """Hold that a statement finds its rows by their ids.

    The order of the joined tables must be in the statement: with "JOIN", and no statistics, SQLite
    3.46 reads all resources where 3.40 does not.
    """
    plan = sqlite_plan(database, statement)
    assert "SCAN scim_" not in plan, plan
    assert "AUTOMATIC" not in plan, plan
    assert "scim_resources_order" not in plan, plan
    if "WITH RECURSIVE" in statement.sql:
        assert " JOIN " not in statement.sql.replace(" CROSS JOIN ", " "), statement.sql


def sqlite_plan(database: SqliteDatabase, statement: Sql) -> str:
    explained = Sql("EXPLAIN QUERY PLAN " + statement.sql, statement.params)
    return "\n".join(row["detail"] for row in database.query([explained])[0])
