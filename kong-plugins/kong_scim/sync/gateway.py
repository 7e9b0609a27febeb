"""The gateway as the directory's database: SQL and Kong's entities are written in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from scim2_models import InvalidValueException, UniquenessException

from kong_scim import cpu
from kong_scim.bridge import (
    Consumer,
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


class ConsumersReadAhead:
    """Reads consumers, without a step for those that came with the rows of the directory."""

    def __init__(self, bridge: Gateway) -> None:
        self._bridge = bridge
        self._ahead: dict[str, Consumer | None] = {}

    def add(self, ids: Sequence[str], found: Sequence[Consumer]) -> None:
        """Keep consumers that were read for the next :meth:`query`; some ids may have none."""
        self._ahead = {**dict.fromkeys(ids), **{each.id: each for each in found}}

    def query(
        self,
        *,
        consumer_ids: Sequence[str] = (),
        usernames: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
    ) -> Rows:
        """Return the consumers that match, each once, as :meth:`Gateway.query`."""
        ahead, self._ahead = self._ahead, {}  # the next caller may have changed them
        ids = [each for each in consumer_ids if each not in ahead]
        known = [each for name in consumer_ids if (each := ahead.get(name)) is not None]
        if not (ids or usernames or custom_ids):
            return Rows(sql=[], consumers=known)
        rows = self._bridge.query(consumer_ids=ids, usernames=usernames, custom_ids=custom_ids)
        found = {each.id: each for each in (*known, *rows.consumers)}
        return Rows(sql=[], consumers=list(found.values()))


class GatewayDatabase:
    """The directory's ``Database``, run by scim-bridge inside Kong.

    :ivar consumers: Reads the consumers that :meth:`query` did not read ahead.
    """

    def __init__(self, bridge: Gateway, dialect: Dialect) -> None:
        self._bridge = bridge
        self._dialect = dialect
        self.consumers = ConsumersReadAhead(bridge)

    @property
    def dialect(self) -> Dialect:
        """The dialect of SQL that the host reported."""
        return self._dialect

    def query(
        self, statements: Sequence[Sql], *, consumers: Sequence[str] = ()
    ) -> list[list[dict[str, Any]]]:
        """Return the rows of each statement; ``consumers`` are read in the same step."""
        rows = self._bridge.query(statements, consumer_ids=consumers)
        self.consumers.add(consumers, rows.consumers)
        return rows.sql

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
