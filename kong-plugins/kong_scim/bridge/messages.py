"""The messages that travel between the plugin and scim-bridge, beside the steps of a commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from kong_scim.bridge.steps import Delete, Upsert

Dialect: TypeAlias = Literal["postgresql", "sqlite"]

ACLS = "acls"
CONSUMER_GROUPS = "consumer_group_consumers"
MEMBERSHIPS = frozenset({ACLS, CONSUMER_GROUPS})
"""The DAOs whose rows are memberships of consumers; each has a module in ``sync/targets``.

On the wire a membership has an ``id``, a ``consumer``, the name of its ``group`` and ``tags``,
whatever the fields of its DAO are (``targets.lua``).
"""

SUBJECTS = "scim_subjects"
"""The DAO of scim-bridge whose rows are the subjects of tokens that are refused."""


@dataclass(frozen=True)
class Acl:
    """A membership of a consumer, such as an ACL group, as Kong holds it."""

    id: str
    group: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Consumer:
    """A consumer as Kong holds it, with its ACL groups.

    :param memberships: Its memberships of other kinds, by their DAO.
    :param declared: Whether a DB-less Kong's configuration declares it, so that it can be changed
        only there, whatever its tags.
    """

    id: str
    username: str | None = None
    custom_id: str | None = None
    tags: tuple[str, ...] = ()
    acls: tuple[Acl, ...] = ()
    declared: bool = False
    memberships: Mapping[str, tuple[Acl, ...]] = field(default_factory=dict)

    @property
    def groups(self) -> frozenset[str]:
        """The names of all its groups, of every kind."""
        others = (each for rows in self.memberships.values() for each in rows)
        return frozenset(each.group for each in (*self.acls, *others))

    def members_of(self, dao: str) -> tuple[Acl, ...]:
        """Return the memberships of one DAO."""
        return self.acls if dao == ACLS else self.memberships.get(dao, ())


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
    channel: str
    """Where writes are made: ``here``, on the control plane (``cluster``), or nowhere, on a data
    plane without ``cluster_rpc`` (``off``) or of Konnect (``konnect``)."""
    kong_version: str
    node_id: str
    workspace: str
    targets: tuple[str, ...] = (ACLS,)
    """The DAOs of :data:`MEMBERSHIPS` that this Kong has."""


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
