"""The errors of scim-bridge, one class for each kind of failure that somebody handles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class BridgeUnavailableError(Exception):
    """scim-bridge is not enabled on this Kong, or has another version."""


class BridgeError(Exception):
    """The bridge refused a query, or rolled a commit back so that nothing was written.

    An error of this class itself is a defect: ``BAD_REQUEST`` (of the caller, such as SQL that
    PostgreSQL refuses) or ``INTERNAL`` (see Kong's log).

    :param name: The name on the wire, if it is not that of the class.
    :param step: Index of the step that failed, from 0, or None.
    :param label: The label of the statement that failed, or None.
    :param code: Kong's DAO error code (``kong/db/errors.lua``), or 0.
    :param fields: Field errors of a DAO, such as ``{"username": "alice"}``.
    """

    wire_name: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        name: str | None = None,
        code: int = 0,
        step: int | None = None,
        label: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.name = name or self.wire_name
        self.message = message
        self.code = code
        self.step = step
        self.label = label
        self.fields = dict(fields or {})


class EntityRefusedError(BridgeError):
    """A DAO of Kong, or a constraint of the database, refused an entity or a row.

    ``name`` is Kong's name of the error, such as ``unique constraint violation``.
    """

    SCHEMA_VIOLATION = 2
    UNIQUE_VIOLATION = 5
    CHANGED_MEANWHILE = frozenset({3, 4, UNIQUE_VIOLATION, 6})
    """Codes of Kong for a primary key, a foreign key or a name that is taken or missing, and for a
    missing entity."""


class DeclaredError(EntityRefusedError):
    """The declarative configuration of a DB-less Kong declares the entity."""

    wire_name = "DECLARED"


class GroupTakenError(EntityRefusedError):
    """Another tenant or an administrator gives the ACL group ``fields["group"]``; see
    :class:`.Claim`."""

    wire_name = "GROUP_TAKEN"


class NamesTakenError(EntityRefusedError):
    """A consumer has an id or a name that was expected to be free; see :class:`.Vacant`."""

    wire_name = "NAMES_TAKEN"


class RowCountError(BridgeError):
    """A statement touched another number of rows than its guard requires."""

    wire_name = "ROW_COUNT"


class TransactionConflictError(BridgeError):
    """Another transaction won (serialization failure or deadlock): run the request again."""

    wire_name = "CONFLICT"


class DatabaseDownError(BridgeError):
    """The database does not answer.

    If ``step`` is None, the connection broke during COMMIT, and the commit may have been written.
    """

    wire_name = "DATABASE"


class ControlPlaneAwayError(DatabaseDownError):
    """This data plane is not connected to its control plane. Nothing was written."""

    wire_name = "CONTROL_PLANE_AWAY"


class StatementTimeoutError(BridgeError):
    """A statement took too long and was stopped."""

    wire_name = "TIMEOUT"


class ReadOnlyError(BridgeError):
    """This node cannot write, because it is a data plane without a channel, or its database is a
    standby."""

    wire_name = "READ_ONLY"


class EpochChangedError(BridgeError):
    """The memory of a DB-less Kong is not at the expected :class:`.Epoch`."""

    wire_name = "EPOCH_CHANGED"


class NotAppliedYetError(BridgeError):
    """On a DB-less Kong, the change is stored but not yet applied to Kong."""

    wire_name = "PENDING"


GATEWAY_AWAY = (
    ControlPlaneAwayError,
    DatabaseDownError,
    EpochChangedError,
    ReadOnlyError,
    TransactionConflictError,
)
"""Errors whose cause is not in the data to write, so that the same write may work later."""

_BY_NAME = {
    each.wire_name: each
    for each in (
        DeclaredError,
        GroupTakenError,
        NamesTakenError,
        RowCountError,
        StatementTimeoutError,
        NotAppliedYetError,
        *GATEWAY_AWAY,
    )
}


def bridge_error(name: str, message: str, *, code: int = 0, **details: Any) -> BridgeError:
    """Return the error for a name on the wire, with the details that :class:`BridgeError` takes."""
    kind = _BY_NAME.get(name) or (EntityRefusedError if code else BridgeError)
    return kind(message, name=name, code=code, **details)
