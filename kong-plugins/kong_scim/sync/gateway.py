"""The gateway as the directory's database: SQL and Kong's entities are written in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from scim2_models import InvalidValueException, UniquenessException

from kong_scim import cpu
from kong_scim.bridge import (
    DeclaredError,
    Dialect,
    EntityRefusedError,
    GroupTakenError,
    NamesTakenError,
    RollbackDryRun,
    Rows,
    Sql,
    Step,
    StepResult,
    Upsert,
)
from kong_scim.directory.ports import Conflict
from kong_scim.sync.ownership import taken_group


class Gateway(Protocol):
    """A :class:`~kong_scim.bridge.Bridge`, or on a DB-less Kong a :class:`.DblessBridge`."""

    def query(
        self,
        statements: Sequence[Sql] = (),
        *,
        consumer_ids: Sequence[str] = (),
        usernames: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
    ) -> Rows: ...

    def commit(self, steps: Sequence[Step]) -> list[StepResult]: ...


class GatewayDatabase:
    """The directory's ``Database``, run by scim-bridge inside Kong."""

    def __init__(self, bridge: Gateway, dialect: Dialect) -> None:
        self._bridge = bridge
        self._dialect = dialect

    @property
    def dialect(self) -> Dialect:
        """The dialect of SQL that the host reported."""
        return self._dialect

    def query(self, statements: Sequence[Sql]) -> list[list[dict[str, Any]]]:
        """Return the rows of each statement."""
        return self._bridge.query(statements).sql

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        """Apply every step or none.

        :raises ~scim2_models.SCIMException: When Kong refuses an entity: 409 for a name that was
            taken since it was looked up, and for an ACL group that somebody else gives; 400 for a
            value that violates Kong's schema.
        :raises ~kong_scim.directory.ports.Conflict: When an entity changed since it was read.
        :raises ~kong_scim.bridge.BridgeError: For any other failure; ``ROW_COUNT`` with the step
            whose guard did not hold.
        """
        try:
            results = self._bridge.commit(steps)
        except EntityRefusedError as error:
            step = steps[error.step] if error.step is not None else None
            if step is None or isinstance(step, Sql | RollbackDryRun):
                raise
            raise _refusal(error, step) from error
        cpu.renew()
        return results


def _refusal(error: EntityRefusedError, step: Step) -> Exception:
    """Return the SCIM error for an entity that Kong refused, or the error if SCIM has none."""
    if isinstance(error, GroupTakenError):
        return taken_group(str(error.fields.get("group", "")))
    if isinstance(error, NamesTakenError):
        return Conflict(detail="A consumer of Kong has one of the names already.")
    if isinstance(error, DeclaredError):
        return UniquenessException(
            detail="The gateway's declarative configuration declares this consumer or one of its "
            "groups, which can be changed only there: rename one of the two, or remove that one."
        )
    if error.code == EntityRefusedError.SCHEMA_VIOLATION:
        return InvalidValueException(detail=f"Kong refuses this user: {error.message}.")
    on_consumer = isinstance(step, Upsert) and step.dao == "consumers"
    if error.code == EntityRefusedError.UNIQUE_VIOLATION and on_consumer:
        taken = " and ".join(f"{field} {value!r}" for field, value in error.fields.items())
        return UniquenessException(
            detail=f"Another consumer of Kong has the {taken or 'name'} already. "
            "Rename one of the two."
        )
    if error.code in EntityRefusedError.CHANGED_MEANWHILE:
        return Conflict(detail="The consumer changed in Kong at the same moment: try again.")
    return error
