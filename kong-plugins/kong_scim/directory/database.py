"""A tenant's database, in which the rows of one identity provider are read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kong_scim.bridge import Dialect, Param, Sql, Step, StepResult
from kong_scim.directory.statements import Statement

Row = dict[str, Any]


class Database(Protocol):
    """Runs compiled statements. One call is one step of the RPC."""

    @property
    def dialect(self) -> Dialect: ...

    def query(self, statements: Sequence[Sql], *, consumers: Sequence[str] = ()) -> list[list[Row]]:
        """Return the rows of each statement.

        :param consumers: Ids of consumers that the caller's :class:`~.ports.ConsumerSync` will need
            next, so that a gateway can read them in the same step.
        """

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        """Apply every step or none.

        :raises ~kong_scim.bridge.BridgeError: ``ROW_COUNT`` with the step whose guard did not hold.
        """


@dataclass(frozen=True)
class Scope:
    """The owner of resources. A resource of one scope is never visible in another."""

    workspace: str
    tenant: str


@dataclass(frozen=True)
class TenantDatabase:
    """A database, and the scope whose rows are read and written there."""

    database: Database
    scope: Scope

    @property
    def dialect(self) -> Dialect:
        """The dialect of the database."""
        return self.database.dialect

    def bind(self, statement: Statement, /, **values: Param) -> Sql:
        """Return a statement with its values, and with ``workspace`` and ``tenant`` of the scope.

        :raises ~scim2_models.InvalidValueException: When a string cannot be stored.
        """
        scope = {"workspace": self.scope.workspace, "tenant": self.scope.tenant}
        return statement.bind(self.dialect, {**scope, **values})

    def rows(self, statement: Statement, /, **values: Param) -> list[Row]:
        """Run one statement in a step of its own, and return its rows.

        :raises ~kong_scim.bridge.BridgeError: When the database does not answer.
        """
        (found,) = self.query([self.bind(statement, **values)])
        return found

    def query(self, statements: Sequence[Sql], *, consumers: Sequence[str] = ()) -> list[list[Row]]:
        """Return the rows of each statement, as :meth:`Database.query`."""
        return self.database.query(statements, consumers=consumers)

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        """Apply every step or none, as :meth:`Database.commit`."""
        return self.database.commit(steps)
