"""The messages that travel between the plugin and scim-bridge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
Dialect: TypeAlias = Literal["postgresql", "sqlite"]


MEMBERSHIPS = frozenset({"acls"})
"""The DAOs whose rows are memberships of consumers; each has a module in ``sync/targets``."""


@dataclass(frozen=True)
class EntityCounts:
    """A parameter whose value the bridge fills in: the entities that this commit has written so
    far.

    Its value is a JSON text with the counts of the entity steps before it in this commit, by
    operation and DAO, such as ``{"revoke": {"keyauth_credentials": 2}, "upsert": {"acls": 1}}``,
    without counts of zero. So a row can say how many credentials the same commit revoked. On the
    wire it is ``{"value": "written"}``.
    """

    value: Literal["written"] = "written"


Param: TypeAlias = Scalar | EntityCounts


@dataclass(frozen=True)
class Sql:
    """A statement on the SCIM tables, as text with ``$1``, ``$2``, ... and their values.

    :param rows: As a step of a commit, how many rows it must touch (or return, for a SELECT). Any
        other number aborts the whole commit with ``ROW_COUNT``.
    :param label: What the guard protects; the error repeats it.
    """

    sql: str
    params: tuple[Param, ...] = ()
    rows: int | None = None
    label: str | None = None
    op: Literal["sql"] = "sql"


@dataclass(frozen=True)
class Upsert:
    """Inserts an entity, or replaces the given fields of the one with its ``id``, through Kong's
    DAO.

    :param unless_present: Whether to do nothing if an entity with the same cache key exists (an ACL
        group that an administrator gave the consumer already).
    """

    dao: str
    entity: Mapping[str, Any]
    unless_present: bool = False
    op: Literal["upsert"] = "upsert"


@dataclass(frozen=True)
class Delete:
    """Deletes an entity by its id, with all that Kong's schema cascades to. It may be missing."""

    dao: str
    id: str
    op: Literal["delete"] = "delete"


@dataclass(frozen=True)
class Revoke:
    """Deletes the credentials of a consumer, of any kind that Kong knows; the result counts them by
    kind.

    The tokens that OAuth clients have on behalf of the consumer's user are deleted as well.

    :param issued: Whether to keep the credentials, and delete only what was issued to them (an
        OAuth client's tokens and codes).
    """

    consumer: str
    issued: bool = False
    op: Literal["revoke"] = "revoke"


@dataclass(frozen=True)
class LastEventTag:
    """Tags consumers with the event that changed them last; the result has their ids as ``data``.

    :class:`EntityCounts` does not count it.

    :param event: The id of the event; empty to remove the tag.
    :param consumers: The ids of the consumers, some of which may be deleted. None means those that
        an earlier step of this commit wrote, or of which it wrote a group or a credential.
    """

    event: str
    consumers: tuple[str, ...] | None = None
    op: Literal["stamp"] = "stamp"


@dataclass(frozen=True)
class RollbackDryRun:
    """Rolls back what the steps before it wrote. Steps after it, SQL only, are kept.

    So a dry run meets every guard and constraint, and its event is written with the counts of
    :class:`EntityCounts`. A scim-bridge that does not know this step refuses the whole commit.
    """

    op: Literal["undo"] = "undo"


@dataclass(frozen=True)
class Claim:
    """Refuses the commit (``GROUP_TAKEN``) if only others give one of the ACL groups.

    That is so if the group has consumers, and none of its rows has the tag. Until the end of the
    transaction nobody else can claim the same group; tenants that give it already do not wait for
    each other. The step writes nothing, and must come before the steps that give the groups.

    :param groups: For each group its ``name``, and the ``key`` that all names share which look the
        same.
    :param tag: The tag of the ACL groups that the tenant gives.
    """

    groups: tuple[Mapping[str, str], ...]
    tag: str
    op: Literal["claim"] = "claim"


@dataclass(frozen=True)
class Vacant:
    """Refuses the commit (``NAMES_TAKEN``) if a consumer has one of these ids or names.

    The step writes nothing. A change that was planned without reading Kong's consumers begins with
    it.
    """

    id: tuple[str, ...] = ()
    username: tuple[str, ...] = ()
    custom_id: tuple[str, ...] = ()
    op: Literal["vacant"] = "vacant"


Step: TypeAlias = Sql | Upsert | Delete | Revoke | LastEventTag | Claim | Vacant | RollbackDryRun


@dataclass(frozen=True)
class StepResult:
    """The result of one step: the rows that a statement touched and returned, or the number of
    entities by DAO."""

    rows: int = 0
    data: list[dict[str, Any]] = field(default_factory=list)
    entities: dict[str, int] = field(default_factory=dict)


class EntityCounter:
    """Counts the entities that the steps of one commit write, as the value of
    :class:`EntityCounts`."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, int]] = {}

    def add(self, op: str, entities: Mapping[str, int]) -> None:
        """Count the entities that a step wrote, by DAO."""
        for dao, count in entities.items():
            of_op = self._counts.setdefault(op, {})
            of_op[dao] = of_op.get(dao, 0) + count

    def text(self) -> str:
        """Return the counts as JSON."""
        return json.dumps(self._counts, separators=(",", ":"))


@dataclass(frozen=True)
class Acl:
    """An ACL group of a consumer, as Kong holds it."""

    id: str
    group: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Consumer:
    """A consumer as Kong holds it, with its ACL groups.

    :param declared: Whether a DB-less Kong's configuration declares it, so that it can be changed
        only there, whatever its tags.
    """

    id: str
    username: str | None = None
    custom_id: str | None = None
    tags: tuple[str, ...] = ()
    acls: tuple[Acl, ...] = ()
    declared: bool = False


@dataclass(frozen=True)
class Credential:
    """A credential of a consumer, without what is secret about it.

    :param kind: The name of its DAO, such as ``keyauth_credentials``.
    :param consumer: The id of its consumer.
    :param created: In seconds since 1970, as ``expires``; None if Kong does not have it.
    """

    kind: str
    id: str
    consumer: str
    created: float | None = None
    expires: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the credential as the endpoints show it."""
        return {
            "kind": self.kind,
            "id": self.id,
            "created": _moment(self.created),
            "expires": _moment(self.expires),
        }


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Host:
    """The facts about the gateway that ``begin`` and ``wake`` return."""

    dialect: Dialect
    database: str
    """``postgres``, ``off`` (DB-less) or ``sqlite`` (the sandbox)."""
    role: str
    """``traditional``, ``control_plane`` or ``data_plane`` (``kong.configuration.role``)."""
    kong_version: str
    node_id: str
    workspace: str


@dataclass(frozen=True)
class Request:
    """The client's request, as Kong reads it (with ``trusted_ips`` applied)."""

    method: str
    path: str
    """The raw path below the route's prefix, still percent-encoded, such as ``/Users/a%2Fb``."""
    query: str
    """The raw query string, without ``?``."""
    headers: Mapping[str, str]
    """The first value of each header, by its name in lower case."""
    body: bytes
    """The whole body if it is small (8 KiB at most, see ``body.lua``); else it is empty, and
    :meth:`.Bridge.body` fetches the body."""
    body_size: int
    """The size of the whole body in bytes."""
    body_too_large: bool
    """Whether the body was over ``max_body_size`` and therefore not read."""
    https: bool
    """Whether the client came over TLS, or a trusted proxy says so with ``X-Forwarded-Proto``."""
    base_url: str
    """The public scheme, host, port and route prefix, such as ``https://gw.example/scim/v2``."""
    client_ip: str
    request_id: str


@dataclass(frozen=True)
class Opening:
    """The answer of ``begin``: the host, the request, and the live secrets by vault reference.

    :param secrets: Maps a reference such as ``{vault://env/scim-token}`` to its value at this
        moment, or to None if the vault has none.
    """

    host: Host
    request: Request
    secrets: Mapping[str, str | None]
    caller: KongCaller | None = None
    """The consumer that Kong authenticated on the route, if that was asked for."""
    guarded: bool = False
    """Whether scim-bridge guards every route of the workspace."""


@dataclass(frozen=True)
class KongCaller:
    """The consumer that one of Kong's authentication plugins found, with its ACL groups."""

    name: str
    """Its username, or else its id."""
    groups: tuple[str, ...]
    anonymous: bool
    """Whether it is the plugin's ``anonymous`` consumer, for requests without credentials."""


@dataclass(frozen=True)
class Waking:
    """The answer of ``wake``: the host, the live secrets, and the epoch of a DB-less Kong.

    :param admin_request: The request to the Admin API (``api.lua``) for which the plugin server was
        called, if there is one.
    """

    host: Host
    secrets: Mapping[str, str | None]
    epoch: str | None
    admin_request: AdminRequest | None = None
    observed: bool = False
    """Whether the prometheus plugin is enabled, so that somebody may read Kong's ``/metrics``."""
    guarded: bool = False
    """As in :class:`Opening`."""


@dataclass(frozen=True)
class Sample:
    """A value for Kong's ``/metrics`` (``kong/plugins/scim-bridge/metrics.lua`` has the names).

    :param metric: The metric's key in ``metrics.lua``.
    :param labels: The values of its labels, in the order of their names in ``metrics.lua``.
    :param value: The amount to add to a counter, or the value of a gauge.
    """

    metric: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class AdminRequest:
    """A request to Kong's Admin API by which an administrator creates or deletes a credential of a
    consumer."""

    step: Upsert | Delete
    user: str
    """The id of the consumer's user."""
    address: str
    """The IP address of the administrator."""
    request_id: str
    """Kong's id of the request."""


@dataclass(frozen=True)
class Epoch:
    """A text in the memory of a DB-less Kong, which is lost when Kong loads a configuration.

    It is stored in LMDB beside Kong's entities, and dropped with them at a start, a ``kong reload``
    and a ``POST /config``. So while it is there, the entities written under it are there too.

    :param expected: The value that a commit requires; None if it must be absent.
    :param becomes: The value after the commit; None to leave it unchanged.
    """

    key: str
    expected: str | None
    becomes: str | None = None


@dataclass(frozen=True)
class Rows:
    """The answer of ``query``: the rows of each statement, and the consumers asked for."""

    sql: list[list[dict[str, Any]]]
    consumers: list[Consumer]
