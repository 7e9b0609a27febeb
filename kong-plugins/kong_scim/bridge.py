"""The typed client of ``kong.scim.*``: the only module that knows the wire of scim-bridge.

The bridge (``kong/plugins/scim-bridge``) puts its functions on Kong's global table, which the
plugin server reaches with the ordinary PDK object: ``kong.scim.begin``, or ``kong.scim.wake`` (and
``kong.scim.answer``) where there is no request of a client, ``kong.scim.query`` and
``kong.scim.commit``. Each takes one JSON text and
answers one JSON text, because every other value is changed on the way (an empty table becomes
``[]``, integers become floats, trailing nulls vanish). An answer is ``{"ok": ...}`` or
``{"error": {"code", "name", "message", "fields", "step", "label"}}``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

BRIDGE_VERSION = 2
"""The version of this wire. Both sides send theirs, and refuse another."""

Scalar: TypeAlias = str | int | float | bool | None
Dialect: TypeAlias = Literal["postgresql", "sqlite"]


@dataclass(frozen=True)
class Written:
    """A parameter of a step whose value only the bridge knows: the entities written so far.

    It stands for a JSON text that counts what the entity steps before it did in this commit, by
    operation and DAO, such as ``{"revoke": {"keyauth_credentials": 2}, "upsert": {"acls": 1}}``;
    what a step did nothing to is left out. So a row can say, in the same commit, how many
    credentials were revoked with it. On the wire it is ``{"value": "written"}``.
    """

    value: Literal["written"] = "written"


Param: TypeAlias = Scalar | Written


# -- What travels ---------------------------------------------------------


@dataclass(frozen=True)
class Sql:
    """A statement of the SCIM tables, as text with ``$1``, ``$2``, ... and its values.

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
    """Insert or replace the given fields of an entity by its ``id``, through Kong's DAO.

    With ``unless_present`` the step does nothing where an entity with the same cache key exists
    (an ACL group that an administrator gave the consumer already).
    """

    dao: str
    entity: Mapping[str, Any]
    unless_present: bool = False
    op: Literal["upsert"] = "upsert"


@dataclass(frozen=True)
class Delete:
    """Delete an entity by its id, with everything Kong's schema cascades. Absent is fine."""

    dao: str
    id: str
    op: Literal["delete"] = "delete"


@dataclass(frozen=True)
class Revoke:
    """Delete every credential of a consumer, of any kind Kong knows; answers how many by kind."""

    consumer: str
    op: Literal["revoke"] = "revoke"


Step: TypeAlias = Sql | Upsert | Delete | Revoke


@dataclass(frozen=True)
class StepResult:
    """What one step did: rows a statement touched and returned, or entities by DAO name."""

    rows: int = 0
    data: list[dict[str, Any]] = field(default_factory=list)
    entities: dict[str, int] = field(default_factory=dict)


class Tally:
    """Counts what the steps of one commit do to entities: the value of :class:`Written`."""

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
    """A consumer as Kong holds it, with its ACL groups."""

    id: str
    username: str | None = None
    custom_id: str | None = None
    tags: tuple[str, ...] = ()
    acls: tuple[Acl, ...] = ()


@dataclass(frozen=True)
class Host:
    """What the gateway says of itself at ``begin``."""

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
    """The whole client request, as Kong judges it (``trusted_ips`` applied)."""

    method: str
    path: str
    """The raw path below the route's prefix, still percent-encoded, such as ``/Users/a%2Fb``."""
    query: str
    """The raw query string, without ``?``."""
    headers: Mapping[str, str]
    """Names in lower case; the first value where a header is repeated."""
    body: bytes
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
    """The answer of ``wake``: the host, live secrets, and the mark of a DB-less Kong.

    ``asked`` is a step on one credential, which an administrator asked for (``api.lua``).
    """

    host: Host
    secrets: Mapping[str, str | None]
    mark: str | None
    asked: Upsert | Delete | None = None


@dataclass(frozen=True)
class Mark:
    """A text in the memory of a DB-less Kong that is gone when it loads a configuration.

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
    """The answer of ``query``: rows by statement, and consumers asked for by id or by name."""

    sql: list[list[dict[str, Any]]]
    consumers: list[Consumer]


# -- What can go wrong ----------------------------------------------------


class BridgeUnavailableError(Exception):
    """scim-bridge does not answer: not enabled on this Kong, or of another version."""


class BridgeError(Exception):
    """The bridge refused a query or rolled a commit back; nothing of it was written.

    :param name: Kong's own error name (``kong/db/errors.lua``), of an entity or of a SQL step, such
        as ``unique constraint violation``; or one of the bridge's: ``ROW_COUNT`` (a guard did not
        hold), ``MARK`` (a :class:`Mark` is not as expected), ``CONFLICT`` (serialization failure or
        deadlock: run the request again), ``DATABASE`` (the database is away), ``READ_ONLY`` (this
        node cannot write: a standby, or a data plane), ``BAD_REQUEST`` (a defect of the caller,
        such as SQL that PostgreSQL refuses), ``INTERNAL`` (see Kong's log). Where the connection
        breaks during COMMIT itself, ``DATABASE`` without a step, nobody knows whether it was
        written.
    :param code: Kong's DAO error code, or 0: 3 and 5 say that something is taken already.
    :param step: Index of the step that failed, from 0, or None.
    :param fields: Field errors of a DAO, such as ``{"username": "alice"}``.
    """

    def __init__(
        self,
        name: str,
        message: str,
        *,
        code: int = 0,
        step: int | None = None,
        label: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.code = code
        self.step = step
        self.label = label
        self.fields = dict(fields or {})


# -- The client -----------------------------------------------------------


class Pdk(Protocol):
    """The part of kong-pdk's object this module uses."""

    @property
    def scim(self) -> Any: ...


class Bridge:
    """``begin`` or ``wake``, ``query`` and ``commit``, each one step of the RPC."""

    def __init__(self, kong: Pdk) -> None:
        self._kong = kong

    def begin(
        self,
        *,
        max_body_size: int,
        require_https: bool,
        secrets: Sequence[str] = (),
        caller: bool = False,
    ) -> Opening:
        """Take the request over from Kong.

        :param max_body_size: In bytes. A larger body is not read.
        :param require_https: Where the client did not come over TLS, read nothing.
        :param secrets: Vault references whose live values are wanted.
        :param caller: Whether the consumer that Kong authenticated is wanted.
        :raises BridgeUnavailableError: When scim-bridge is not enabled, or is of another version.
        """
        answer = self._call(
            "begin",
            {
                "max_body_size": max_body_size,
                "require_https": require_https,
                "secrets": list(secrets),
                "caller": caller,
            },
        )
        request, authenticated = answer["request"], answer.get("caller")
        return Opening(
            host=Host(**answer["host"]),
            request=Request(
                method=request["method"],
                path=request["path"],
                query=request["query"],
                headers=dict(request["headers"] or {}),
                body=base64.b64decode(request["body"]),
                body_too_large=request["body_too_large"],
                https=request["https"],
                base_url=request["base_url"],
                client_ip=request["client_ip"],
                request_id=request["request_id"],
            ),
            secrets=dict(answer["secrets"] or {}),
            caller=authenticated
            and KongCaller(
                name=authenticated["name"],
                groups=tuple(authenticated["groups"] or ()),
                anonymous=authenticated["anonymous"],
            ),
        )

    def wake(self, *, mark: str | None = None, secrets: Sequence[str] = ()) -> Waking:
        """Begin a tick, where there is no request to take over.

        :param mark: The key of the :class:`Mark` that is wanted; a Kong with a database has none.
        :raises BridgeUnavailableError: As :meth:`begin`.
        """
        answer = self._call("wake", {"mark": mark, "secrets": list(secrets)})
        return Waking(
            host=Host(**answer["host"]),
            secrets=dict(answer["secrets"] or {}),
            mark=answer["mark"],
            asked=_step(answer["asked"]),
        )

    def answer(self, refusal: BridgeError | None) -> None:
        """Say what became of what was asked: done, or refused."""
        fields = ("code", "name", "message", "fields") if refusal else ()
        self._call("answer", {field: getattr(refusal, field) for field in fields})

    def query(
        self,
        statements: Sequence[Sql] = (),
        *,
        consumer_ids: Sequence[str] = (),
        usernames: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
    ) -> Rows:
        """Read SCIM rows and Kong's consumers, in one step.

        A consumer that matches several times is answered once; one that is not there, not at all.

        :raises BridgeError: When the database refuses or is away.
        """
        answer = self._call(
            "query",
            {
                "sql": [{"sql": s.sql, "params": list(s.params)} for s in statements],
                "consumers": {
                    "id": list(consumer_ids),
                    "username": list(usernames),
                    "custom_id": list(custom_ids),
                },
            },
        )
        return Rows(
            sql=[list(rows or []) for rows in answer["sql"] or []],
            consumers=[_consumer(entity) for entity in answer["consumers"] or []],
        )

    def tagged(self, tag: str) -> set[str]:
        """Return the ids of a DB-less Kong's consumers that carry a tag."""
        return set(self._call("query", {"tagged": tag})["tagged"] or [])

    def commit(
        self, steps: Sequence[Step], *, mark: Mark | None = None, check: bool = False
    ) -> list[StepResult]:
        """Apply every step, or none, and drop Kong's caches of what changed afterwards.

        :param mark: What a DB-less Kong must have in its memory; it has steps on entities only.
        :param check: On a DB-less Kong: only find out whether the steps could be applied.
        :raises BridgeError: When a step failed, with its index; nothing was written.
        """
        # not asdict(), which copies every value of every row one by one
        argument: dict[str, Any] = {"steps": [vars(step) for step in steps]}
        if mark is not None:
            argument["mark"] = {"key": mark.key, "is": mark.expected, "becomes": mark.becomes}
        if check:
            argument["check"] = True
        answer = self._call("commit", argument)
        return [
            StepResult(
                rows=result.get("rows") or 0,
                data=list(result.get("data") or []),
                entities=dict(result.get("entities") or {}),
            )
            for result in answer["results"]
        ]

    def _call(self, function: str, argument: dict[str, Any]) -> dict[str, Any]:
        argument["bridge_version"] = BRIDGE_VERSION
        text = getattr(self._kong.scim, function)(
            # Not in ASCII: Kong's mp_rpc.lua reads in pieces of 4 KiB that it puts together each
            # time, so that a message twice as long takes four times as long.
            json.dumps(argument, separators=(",", ":"), ensure_ascii=False, default=vars)
        )
        if isinstance(text, tuple):  # the stock server's lua style answers (value, error)
            text = text[0]
        if isinstance(text, bytes):
            text = text.decode()
        if not isinstance(text, str):
            raise BridgeUnavailableError(
                "scim-bridge does not answer on this Kong: add it to `plugins` in kong.conf "
                "(KONG_PLUGINS=bundled,scim,scim-bridge) and restart"
            )
        answer: dict[str, Any] = json.loads(text)
        error = answer.get("error")
        if error is not None and error.get("name") == "BRIDGE_VERSION":
            raise BridgeUnavailableError(error["message"])
        if error is not None:
            raise BridgeError(
                error.get("name") or "INTERNAL",
                error.get("message") or "the bridge gave no message",
                code=error.get("code") or 0,
                step=error.get("step"),
                label=error.get("label"),
                fields=error.get("fields") or {},
            )
        result: dict[str, Any] = answer["ok"]
        if result.get("bridge_version", BRIDGE_VERSION) != BRIDGE_VERSION:
            raise BridgeUnavailableError(
                f"scim-bridge speaks version {result['bridge_version']!r} of the wire and this "
                f"plugin server version {BRIDGE_VERSION}: install both from one release"
            )
        return result


def _step(asked: Mapping[str, Any] | None) -> Upsert | Delete | None:
    if asked is None:
        return None
    return Upsert(**asked) if asked["op"] == "upsert" else Delete(**asked)


def _consumer(entity: Mapping[str, Any]) -> Consumer:
    return Consumer(
        id=entity["id"],
        username=entity.get("username"),
        custom_id=entity.get("custom_id"),
        tags=tuple(entity.get("tags") or ()),
        acls=tuple(
            Acl(id=acl["id"], group=acl["group"], tags=tuple(acl.get("tags") or ()))
            for acl in entity.get("acls") or []
        ),
    )
