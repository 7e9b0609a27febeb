"""The messages that travel between the plugin and scim-bridge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
Dialect: TypeAlias = Literal["postgresql", "sqlite"]


MEMBERSHIPS = frozenset({"acls"})
"""The DAOs whose rows are memberships of consumers; each has a module in ``sync/targets``."""


@dataclass(frozen=True)
class EntityCounts:
    """A parameter whose value the bridge fills in: the entities that this commit has written so
    far.

    It stands for a JSON text that counts what the entity steps before it did in this commit, by
    operation and DAO, such as ``{"revoke": {"keyauth_credentials": 2}, "upsert": {"acls": 1}}``;
    what a step did nothing to is left out. So a row can say, in the same commit, how many
    credentials were revoked with it. On the wire it is ``{"value": "written"}``.
    """

    value: Literal["written"] = "written"


Param: TypeAlias = Scalar | EntityCounts


@dataclass(frozen=True)
class Sql:
    """A statement on the SCIM tables, as text with ``$1``, ``$2``, ... and their values.

    As a step of a commit, ``rows`` is how many rows it must touch (or return, for a SELECT):
    any other number aborts the whole commit with ``ROW_COUNT``. ``label`` says what the guard
    protects, and comes back in the error.
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

    With ``unless_present`` the step does nothing where an entity with the same cache key exists
    (an ACL group that an administrator gave the consumer already).
    """

    dao: str
    entity: Mapping[str, Any]
    unless_present: bool = False
    op: Literal["upsert"] = "upsert"


@dataclass(frozen=True)
class Delete:
    """Deletes an entity by its id, with what Kong's schema cascades. It may be absent."""

    dao: str
    id: str
    op: Literal["delete"] = "delete"


@dataclass(frozen=True)
class Revoke:
    """Deletes every credential of a consumer, of any kind Kong knows; the result counts them by
    kind.

    What OAuth clients were given on behalf of the consumer's person goes as well.

    :param issued: Keep the credentials, and delete only what was issued to them (an OAuth client's
        tokens and codes).
    """

    consumer: str
    issued: bool = False
    op: Literal["revoke"] = "revoke"


@dataclass(frozen=True)
class LastEventTag:
    """Tags consumers with the event that changed them last; the result has their ids as ``data``.

    It changes nothing of what :class:`EntityCounts` counts.

    :param event: Its id; empty to take the tag away.
    :param consumers: Their ids, of whom some may be gone; None for those that the steps before it
        in this commit wrote, or of which they wrote a group or a credential.
    """

    event: str
    consumers: tuple[str, ...] | None = None
    op: Literal["stamp"] = "stamp"


@dataclass(frozen=True)
class RollbackDryRun:
    """Takes back what the steps before it wrote. Steps behind it, SQL only, are kept.

    So a dry run meets every guard and constraint, and its event is written with what
    :class:`EntityCounts` counted. A scim-bridge that does not know it refuses the whole commit.
    """

    op: Literal["undo"] = "undo"


@dataclass(frozen=True)
class Claim:
    """Refuses the commit (``GROUP_TAKEN``) where only others give one of the ACL groups.

    That is: consumers are in it, and none of them by whom the tag stands for. Until the end of the
    transaction nobody else can claim the same; who gives a group already waits for nobody who does
    so too. It writes nothing, and comes before whatever gives those groups.

    :param groups: For each its ``name``, and the ``key`` that all names have which look the same.
    :param tag: Of the ACL groups that the tenant gives.
    """

    groups: tuple[Mapping[str, str], ...]
    tag: str
    op: Literal["claim"] = "claim"


Step: TypeAlias = Sql | Upsert | Delete | Revoke | LastEventTag | Claim | RollbackDryRun


@dataclass(frozen=True)
class StepResult:
    """The result of one step: rows that a statement touched and returned, or entities by DAO
    name."""

    rows: int = 0
    data: list[dict[str, Any]] = field(default_factory=list)
    entities: dict[str, int] = field(default_factory=dict)


class EntityCounter:
    """Counts the entities that the steps of one commit write: the value of
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
        only there, whatever tags it carries.
    """

    id: str
    username: str | None = None
    custom_id: str | None = None
    tags: tuple[str, ...] = ()
    acls: tuple[Acl, ...] = ()
    declared: bool = False


@dataclass(frozen=True)
class Host:
    """What ``begin`` and ``wake`` tell of the gateway."""

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
    """The client's request, as Kong judges it (``trusted_ips`` applied)."""

    method: str
    path: str
    """The raw path below the route's prefix, still percent-encoded, such as ``/Users/a%2Fb``."""
    query: str
    """The raw query string, without ``?``."""
    headers: Mapping[str, str]
    """Names in lower case; the first value where a header is repeated."""
    body: bytes
    """The whole body where it is small (8 KiB at most, as ``body.lua`` says); else nothing of it,
    and :meth:`.Bridge.body` fetches it."""
    body_size: int
    """Bytes of the whole body."""
    body_too_large: bool
    """Whether the body was over ``max_body_size`` and therefore not read."""
    https: bool
    """Whether the client came over TLS, or a trusted proxy says so with ``X-Forwarded-Proto``."""
    base_url: str
    """Public scheme, host, port and route prefix, such as ``https://gw.example/scim/v2``."""
    client_ip: str
    request_id: str


@dataclass(frozen=True)
class Opening:
    """The answer of ``begin``: the host, the request, and the live secrets by vault reference.

    ``secrets`` maps a reference such as ``{vault://env/scim-token}`` to its value at this moment,
    or to None where the vault has none.
    """

    host: Host
    request: Request
    secrets: Mapping[str, str | None]
    caller: KongCaller | None = None
    """Whom Kong authenticated on the route, if that was asked for."""
    guarded: bool = False
    """Whether scim-bridge guards every route of the workspace."""


@dataclass(frozen=True)
class KongCaller:
    """The consumer that one of Kong's authentication plugins found, with its ACL groups."""

    name: str
    """Its username, or its id."""
    groups: tuple[str, ...]
    anonymous: bool
    """Whether it stands for whoever gave no credentials (the plugin's ``anonymous``)."""


@dataclass(frozen=True)
class Waking:
    """The answer of ``wake``: the host, the live secrets, and the epoch of a DB-less Kong.

    :param admin_request: What an administrator asked for through the Admin API (``api.lua``), where
        that is why the plugin server was called.
    """

    host: Host
    secrets: Mapping[str, str | None]
    epoch: str | None
    admin_request: AdminRequest | None = None
    observed: bool = False
    """Whether anybody may look at Kong's ``/metrics``: the prometheus plugin is enabled."""
    guarded: bool = False
    """As in :class:`Opening`."""


@dataclass(frozen=True)
class Sample:
    """A value for Kong's ``/metrics`` (``kong/plugins/scim-bridge/metrics.lua`` has the names).

    :param metric: Our word for it.
    :param labels: In the order in which they stand there.
    :param value: Of a counter, what is added; of a gauge, what it is.
    """

    metric: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True)
class AdminRequest:
    """What an administrator asked for through Kong's Admin API: a consumer's credential is made or
    deleted."""

    step: Upsert | Delete
    user: str
    """The id of the consumer's user."""
    address: str
    """The address of the administrator."""
    request_id: str
    """Kong's own."""


@dataclass(frozen=True)
class Epoch:
    """A text in the memory of a DB-less Kong, which is lost when Kong loads a configuration.

    It is kept in LMDB beside Kong's entities, and dropped with them at a start, a ``kong reload``
    and a ``POST /config``: as long as it is there, so are the rows that were written under it.

    :param expected: What it must be for a commit to be made; None for absent.
    :param becomes: What it is after the commit; None to leave it.
    """

    key: str
    expected: str | None
    becomes: str | None = None


@dataclass(frozen=True)
class Rows:
    """The answer of ``query``: rows by statement, and the consumers asked for."""

    sql: list[list[dict[str, Any]]]
    consumers: list[Consumer]
