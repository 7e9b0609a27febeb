"""Statements that are compiled once still carry the values of the request at hand."""

from __future__ import annotations

import pytest
from directory_support import USERS, Recorder, create_user, names, request, storage_on
from sqlalchemy import bindparam, literal, select

from kong_scim.directory import ddl, statements
from kong_scim.directory.database import Database
from kong_scim.directory.statements import Statement, compile_alike, is_one_of
from kong_scim.directory.tables import resources


def test_a_statement_compiled_for_other_values_is_bound_to_its_own() -> None:
    def search(name: str, limit: int) -> tuple[object, ...]:
        statement = select(resources.c.id).where(
            resources.c.display == name, resources.c.type == "User"
        )
        return compile_alike(statement.limit(limit), "sqlite").params

    assert search("ann", 3) == ("ann", "User", 3, 0)
    assert search("User", 7) == ("User", "User", 7, 0)


def test_statements_that_differ_in_more_than_values_are_not_taken_for_another() -> None:
    by_id = compile_alike(select(resources.c.id).where(resources.c.id == "x"), "sqlite")
    by_type = compile_alike(select(resources.c.id).where(resources.c.type == "x"), "sqlite")
    assert by_id.sql != by_type.sql


@pytest.mark.parametrize(("ids", "found"), [([], set()), (["x"], {"x"}), (["x", "y"], {"x", "y"})])
def test_one_of_no_values_matches_nothing_beside_parameters(
    database: Database, ids: list[str], found: set[str]
) -> None:
    rows = select(literal("x").label("id"), literal("t").label("type")).union_all(
        select(literal("y"), literal("t"))
    )
    table = rows.subquery()
    statement = Statement(
        select(table.c.id).where(is_one_of(table.c.id, ids), table.c.type == bindparam("type"))
    )
    (result,) = database.query([statement.bind(database.dialect, {"type": "t"})])
    assert {row["id"] for row in result} == found


def test_each_dialect_has_its_own_text() -> None:
    statement = select(resources.c.id).offset(1)
    texts = {compile_alike(statement, dialect).sql for dialect in ("postgresql", "sqlite")}
    assert len(texts) == 2


def test_a_second_search_of_the_same_shape_is_not_compiled_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(database)
    storage = storage_on(recorder)
    for name in ("ann", "bob", "cyd"):
        create_user(storage, name)
    assert names(storage, 'userName eq "ann" and userName ne "bob"') == {"ann"}
    first = recorder.queries[-1]

    def compiled_again(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(statements, "_DIALECTS", {database.dialect: None})
    assert names(storage, 'userName eq "cyd" and userName ne "ann"') == {"cyd"}
    second = recorder.queries[-1]
    assert [each.sql for each in first] == [each.sql for each in second]
    monkeypatch.undo()


def test_values_are_never_part_of_the_text(database: Database) -> None:
    recorder = Recorder(database)
    storage = storage_on(recorder)
    create_user(storage, "Robert'); DROP", title="sekret-title")
    storage.search([USERS], request(filter='title sw "sekret" or userName co "\') --"', count=5))
    ran = [each for batch in (*recorder.queries, *recorder.commits) for each in batch]
    assert not [each for each in ran if "sekret" in each.sql or "DROP" in each.sql]  # type: ignore[union-attr]


def test_the_tables_are_created_again_without_harm(database: Database) -> None:
    storage = storage_on(database)
    create_user(storage, "ann")
    for statement in ddl.statements(database.dialect):
        database.commit([statements.Sql(statement)])
    assert names(storage, "userName pr") == {"ann"}
