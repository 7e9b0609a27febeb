"""Calls the functions of ``kong.scim.*``, which scim-bridge puts on Kong's global table."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from kong_scim.bridge.answers import (
    BRIDGE_VERSION,
    admin_request_of,
    consumer_of,
    host_of,
    opening_of,
    result_of,
)
from kong_scim.bridge.errors import BridgeError
from kong_scim.bridge.messages import Credential, Epoch, Opening, Rows, Sample, Waking
from kong_scim.bridge.steps import Sql, Step, StepResult

Json: TypeAlias = dict[str, Any]

MOST_CREDENTIALS = 10_000
"""How many credentials one answer has at most (``scim-bridge/credentials.lua``)."""

PIECE = 1024 * 1024
"""The most bytes of a body that one step of the RPC fetches."""


PART = 128 * 1024
"""The most characters of an argument that are sent in one message."""


class Pdk(Protocol):
    """The part of kong-pdk's object that this module uses."""

    @property
    def scim(self) -> Any: ...


STATEMENT_TIMEOUT = 4.0
"""The default time limit of a statement, in seconds: less than the 5 s after which Kong gives
up."""


class Bridge:
    """Calls scim-bridge; each method is one step of the RPC.

    :param timeout: How many seconds one statement of ``query`` and ``commit`` may take.
    """

    def __init__(self, kong: Pdk, *, timeout: float = STATEMENT_TIMEOUT) -> None:
        self._kong = kong
        self._timeout = int(1000 * timeout)

    @property
    def timeout(self) -> float:
        """How many seconds one statement may take."""
        return self._timeout / 1000

    def begin(
        self,
        *,
        max_body_size: int,
        require_https: bool,
        secrets: Sequence[str] = (),
        caller: bool = False,
        ahead: bool = False,
    ) -> Opening:
        """Take the request over from Kong; a body over 8 KiB is left to :meth:`body`.

        :param max_body_size: In bytes. A larger body is not read.
        :param require_https: Whether to read no body of a request that did not come over TLS.
        :param secrets: Vault references, whose live values are returned.
        :param caller: Whether to return the consumer that Kong authenticated.
        :param ahead: Whether the next requests of this configuration may have the answer in their
            first message, for :meth:`opened`.
        :raises BridgeUnavailableError: When scim-bridge is not enabled, or has another version.
        """
        argument = {
            "max_body_size": max_body_size,
            "require_https": require_https,
            "secrets": list(secrets),
            "caller": caller,
        }
        if ahead:
            argument["ahead"] = True
        return opening_of(self._call("begin", argument))

    def opened(self, first_message: str) -> Opening:
        """Take the request over as :meth:`begin`, whose answer came with the first message.

        :raises BridgeError: As a step.
        """
        return opening_of(result_of(first_message))

    def body(self, size: int) -> bytes:
        """Fetch a body that :meth:`begin` did not return, in steps of :data:`PIECE` bytes each.

        :param size: The size of the whole body in bytes, as returned by ``begin``.
        :raises BridgeError: When Kong cannot read the body, or the body is shorter.
        """
        body = bytearray()
        while len(body) < size:
            part = {"from": len(body), "length": min(PIECE, size - len(body))}
            piece = base64.b64decode(self._call("body", part)["piece"])
            if not piece:
                raise BridgeError("Kong has less of the body than it said")
            body += piece
        return bytes(body)

    def wake(self, *, epoch: str | None = None, secrets: Sequence[str] = ()) -> Waking:
        """Begin a tick, in which there is no request of a client.

        :param epoch: The key of the :class:`Epoch` to read; None on a Kong with a database.
        :raises BridgeUnavailableError: As :meth:`begin`.
        """
        answer = self._call("wake", {"epoch": epoch, "secrets": list(secrets)})
        return Waking(
            host=host_of(answer["host"]),
            secrets=dict(answer["secrets"] or {}),
            epoch=answer["epoch"],
            admin_request=admin_request_of(answer["admin_request"]),
            observed=answer["observed"],
            guarded=answer.get("guarded") is True,
        )

    def answer_admin_request(self, refusal: BridgeError | None) -> None:
        """Answer the :class:`AdminRequest`: with the refusal, or with None if it was done."""
        fields = ("code", "name", "message", "fields") if refusal else ()
        self._call("answer_admin_request", {field: getattr(refusal, field) for field in fields})

    def exit(self, status: int, body: str, headers: Mapping[str, str], line: str) -> None:
        """Log a line in Kong, and end the request; nothing else may be called after this."""
        self._kong.scim.exit(status, body, dict(headers), line)

    def request_tick(self) -> None:
        """Request the next tick at once, because this one did not finish its work."""
        self._call("request_tick", {})

    def report(self, samples: Sequence[Sample]) -> None:
        """Show counters and gauges in Kong's ``/metrics``, if the prometheus plugin is enabled."""
        self._call("report", {"samples": [vars(sample) for sample in samples]})

    def diagnose(self) -> dict[str, Any]:
        """Return what `kong-scim doctor` asks about the node and the route of this request.

        The keys are those of ``kong/plugins/scim-bridge/diagnosis.lua``.

        :raises BridgeError: When Kong cannot answer.
        """
        return self._call("diagnose", {})

    def query(
        self,
        statements: Sequence[Sql] = (),
        *,
        consumer_ids: Sequence[str] = (),
        usernames: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
    ) -> Rows:
        """Read SCIM rows and Kong's consumers, in one step.

        A consumer that matches several times is returned once; a missing one is left out.

        :raises BridgeError: When the database refuses or does not answer; ``TIMEOUT`` when a
            statement took too long and was stopped.
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
                "timeout": self._timeout,
            },
        )
        return Rows(
            sql=[list(rows or []) for rows in answer["sql"] or []],
            consumers=[consumer_of(entity) for entity in answer["consumers"] or []],
        )

    def credentials(self, consumer_ids: Sequence[str]) -> list[Credential]:
        """Return the credentials of consumers, without what is secret about them.

        :param consumer_ids: 1000 at most.
        :raises BridgeError: As :meth:`query`.
        """
        argument = {"consumers": list(consumer_ids), "timeout": self._timeout}
        found = self._call("credentials", argument)["credentials"] or []
        half = len(consumer_ids) // 2
        if len(found) >= MOST_CREDENTIALS and half:  # some may be left out
            return self.credentials(consumer_ids[:half]) + self.credentials(consumer_ids[half:])
        return [
            Credential(
                kind=each["kind"],
                id=each["id"],
                consumer=each["owner"],
                created=each["created"],
                expires=each["expires"],
            )
            for each in found
        ]

    def tagged(self, tag: str) -> set[str]:
        """Return the ids of a DB-less Kong's consumers that have a tag and are not declared."""
        return set(self._call("query", {"tagged": tag})["tagged"] or [])

    def tagged_after(self, tag: str, after: str, size: int) -> list[tuple[str, str | None]]:
        """Return a page of the consumers that SCIM made with a tag, in the order of their ids.

        :param after: The id after which the page begins; empty for the first page.
        :return: The id of each consumer, and the user's id that its tags name.
        """
        wanted = {"tag": tag, "after": after, "size": size}
        answer = self._call("drift", {"tagged": wanted, "timeout": self._timeout})
        return [(each["id"], each.get("user")) for each in answer["consumers"] or []]

    def declared(self, entities: Literal["services", "routes", "plugins"]) -> Iterator[Json]:
        """Yield what Kong has of services, routes or plugins, a page for each step.

        A plugin has only those fields of its configuration that say who may pass
        (``scim-bridge/review.lua``).
        """
        offset = None
        while True:
            answer = self._call("review", {"entities": entities, "offset": offset})
            yield from answer["rows"] or []
            offset = answer["offset"]
            if offset is None:
                return

    def commit(
        self,
        steps: Sequence[Step],
        *,
        epoch: Epoch | None = None,
        check: bool = False,
        writers: Sequence[int] | None = None,
        draft: str | None = None,
    ) -> list[StepResult]:
        """Apply every step, or none, and then drop changed entities from Kong's caches.

        :param epoch: The epoch that a DB-less Kong must have, which takes steps on entities only.
        :param check: On a DB-less Kong: only find out whether the steps could be applied.
        :param writers: On a DB-less Kong: how many of the steps each writer of a group has; None
            for one writer. A :class:`.LastEventTag` tags what its own writer changed.
        :param draft: On a DB-less Kong: a name for what a check finds out. If the same request then
            commits the steps with this name, Kong need not check them again.
        :raises BridgeError: When a step failed, with its index; nothing was written.
        """
        # asdict() would copy every value of every row.
        argument: dict[str, Any] = {
            "steps": [vars(step) for step in steps],
            "timeout": self._timeout,
        }
        if epoch is not None:
            argument["epoch"] = vars(epoch)
        if check:
            argument["check"] = True
        if writers is not None:
            argument["writers"] = list(writers)
        if draft is not None:
            argument["draft"] = draft
        answer = self._call("commit", argument)
        return [
            StepResult(
                rows=result.get("rows") or 0,
                data=list(result.get("data") or []),
                entities=dict(result.get("entities") or {}),
            )
            for result in answer["results"]
        ]

    def write_rows(self, users: Sequence[str], epoch: Epoch) -> list[int]:
        """Write ready-made rows into a DB-less Kong's memory, without asking Kong's DAOs.

        :param users: For each user a JSON list of the rows ``[dao, entity, similar names]``.
        :return: The indices of the users that were not written, because somebody else has one of
            their ids or names.
        :raises BridgeError: When the epoch is another one, or Kong cannot write.
        """
        argument = {"steps": [], "rows": list(users), "epoch": vars(epoch)}
        return list(self._call("commit", argument)["refused"] or [])

    def _call(self, function: str, argument: dict[str, Any]) -> dict[str, Any]:
        argument["bridge_version"] = BRIDGE_VERSION
        # ASCII escapes would make the text longer.
        text = json.dumps(argument, separators=(",", ":"), ensure_ascii=False, default=vars)
        # Kong's mp_rpc.lua, which joins pieces of 4 KiB again for each one, takes four times as
        # long for a message of twice the length.
        sent = 0
        while len(text) - sent > PART:
            result_of(self._kong.scim.part(text[sent : sent + PART]))
            sent += PART
        return result_of(getattr(self._kong.scim, function)(text[sent:] if sent else text))
