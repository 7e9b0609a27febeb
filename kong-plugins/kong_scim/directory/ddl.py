"""The statements that create the SCIM tables.

``python -m kong_scim.directory.ddl --dialect postgresql`` prints them for the migrations of
scim-bridge; :mod:`kong_scim.directory.sqlite` runs them itself.
"""

from __future__ import annotations

import argparse

from sqlalchemy.schema import CreateIndex, CreateTable

from kong_scim.bridge import Dialect
from kong_scim.directory.statements import dialect_of
from kong_scim.directory.tables import metadata


def statements(dialect: Dialect) -> list[str]:
    """Return one statement per table and index, each harmless where the thing is there already."""
    compiler = dialect_of(dialect)
    creations: list[CreateTable | CreateIndex] = []
    for table in metadata.sorted_tables:
        creations.append(CreateTable(table, if_not_exists=True))
        creations.extend(
            CreateIndex(index, if_not_exists=True)
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        )
    return [
        "\n".join(line.rstrip() for line in text.strip().splitlines())
        for text in (str(creation.compile(dialect=compiler)) for creation in creations)
    ]


def main() -> None:
    """Print the statements, each ended with a semicolon."""
    parser = argparse.ArgumentParser(description="Print the SCIM tables as SQL.")
    parser.add_argument("--dialect", choices=["postgresql", "sqlite"], required=True)
    for statement in statements(parser.parse_args().dialect):
        print(f"{statement};")


if __name__ == "__main__":
    main()
