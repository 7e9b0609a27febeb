"""Passes over all users of a tenant in the background, which look for drift and may mend it.

A pass is done a part at a time, in the tick, by the one node that has the lease. The row of
``scim_drift_passes`` says how far it is, so that another node goes on where a node stopped.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from kong_scim.bridge import Param, RowCountError, Sql
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.administration_tables import drift_passes, drifts
from kong_scim.directory.queries import in_scope
from kong_scim.directory.statements import Statement, insert_into, parameters
from kong_scim.directory.values import instant, to_the_second, utc_now
from kong_scim.events.outbox import INSERT_EVENT, EventOutbox, Origin
from kong_scim.events.webhooks.formats import DRIFT
from kong_scim.json_text import to_text
from kong_scim.sync.drift_search import DriftSearch, Position
from kong_scim.sync.drift_state import PASS, DriftState
from kong_scim.sync.reconcile import Reconciler

ACTOR = Origin("reconcile", "", "")
"""The origin of what a pass mends, and of its events."""

BATCH = 50
"""Users that are looked at in one part, about 10 ms of a processor."""

MENDED = 5
"""Users that are mended in one part."""

CPU = 0.02
"""Seconds of a processor after which a tick begins no further part."""

SHARE = 0.04
"""The share of a processor that a pass may take: it rests for so long after each tick."""

LEASE = timedelta(seconds=60)
"""How long other nodes leave a pass alone whose node does not go on."""

LOOK = 30.0
"""Seconds after which an instance looks again whether a pass is due, at the latest."""


@dataclass(frozen=True)
class Tools:
    """What a pass works with, over the bridge of one tick.

    :param node: The id of this node.
    """

    search: DriftSearch
    reconciler: Reconciler
    state: DriftState
    node: str


@dataclass(frozen=True)
class _Progress:
    """How far a pass is.

    :param begun: When it began.
    :param counts: How many ``people`` were looked at, and how many were ``mended``, ``held`` back
        by the quarantine, or ``failed``.
    """

    begun: str
    position: Position = field(default_factory=Position)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> _Progress | None:
        """Return the stored progress, or None if it is not in the form that this release writes."""
        try:
            stored = json.loads(row["progress"])
            position = Position(stored["stage"], stored["after"])
            return cls(row["begun"], position, Counter(stored["counts"]))
        except (ValueError, KeyError, TypeError):
            return None

    def text(self) -> str:
        """Return the text that is stored."""
        stage, after = self.position.stage, self.position.after
        return to_text({"stage": stage, "after": after, "counts": dict(self.counts)})

    def plus(self, position: Position, counts: Counter[str]) -> _Progress:
        """Return the progress after one more part."""
        return replace(self, position=position, counts=self.counts + counts)


class DriftPass:
    """Runs the passes of one plugin instance.

    The first time that an instance looks, it begins a pass if the last one had another mapping:
    Kong makes a new instance for a changed configuration.

    :param clock: Returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        config: PluginConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._config = config
        self._clock = clock
        self._now = now
        self._next = 0.0
        self._is_new = True

    @property
    def is_due(self) -> bool:
        """Whether there may be something to do."""
        return self._config.reconcile.every > 0 and self._clock() >= self._next

    def run(self, tools: Tools) -> None:
        """Do some parts of the pass that is due, if one is.

        :raises ~kong_scim.bridge.BridgeError: When the gateway does not answer.
        """
        began = time.thread_time()
        self._next = self._clock() + LOOK
        row = self._row(tools)
        progress = self._due(row, tools.node)
        if progress is None:
            return
        try:
            self._lease(tools, row, progress)
            self._is_new = False
            while progress is not None and time.thread_time() - began < CPU:
                progress = self._part(tools, progress)
        except RowCountError:
            return  # another node took it over
        if progress is not None:
            self._next = self._clock() + (time.thread_time() - began) / SHARE

    def _row(self, tools: Tools) -> dict[str, Any]:
        rows = tools.state.database.rows(PASS)
        if rows:
            return rows[0]
        return dict.fromkeys((column.name for column in drift_passes.c), "")

    def _due(self, row: Mapping[str, Any], node: str) -> _Progress | None:
        """Return the progress of the pass that this node must do, or None if it must do none."""
        now = self._now()
        running, changed = bool(row["begun"]), row["mapping"] != self._config.mapping_digest
        # A lease that is far in the future was written by a clock that was wrong.
        leased = instant(now) < row["leased"] <= instant(now + 2 * LEASE)
        if running and row["node"] != node and leased:
            return None
        if changed and self._is_new:
            return _Progress(instant(now))
        progress = _Progress.read(row) if running else None
        if progress is not None:
            return progress
        every = timedelta(minutes=self._config.reconcile.every)
        ended = datetime.fromisoformat(row["ended"]) if row["ended"] else now - every
        if not now - every < ended <= now + every:
            return _Progress(instant(now))
        self._is_new = False
        self._next = min(self._next, self._clock() + (ended + every - now).total_seconds())
        return None

    def _lease(self, tools: Tools, row: Mapping[str, Any], progress: _Progress) -> None:
        """Take the lease, unless this node has it already."""
        stored = (row["node"], row["begun"], row["progress"])
        if stored != (tools.node, progress.begun, progress.text()):
            bind = tools.state.database.bind
            advance = self._advance(tools, (row["begun"], row["progress"]), progress)
            tools.state.database.commit([bind(_INSERT), *advance])

    def _part(self, tools: Tools, progress: _Progress) -> _Progress | None:
        """Look at some users, and mend them where that is configured.

        :return: The progress after that, or None if the pass is complete.
        :raises RowCountError: When another node took the pass over.
        """
        part = tools.search.page(progress.position, BATCH)
        found, after, users = part.found, part.next, part.users
        counts: Counter[str] = Counter()
        if self._config.reconcile.mode == "mend" and not self._config.dry_run and found:
            if len(found) > MENDED:  # the others are looked at again
                found = found[:MENDED]
                after = found[-1].position
                users = [each for each in users if each <= after.after]
            results = list(tools.reconciler.mend(found))
            mended = {each.user for each in results if each.result == "mended"}
            counts.update(each.result for each in results)
            found = [each for each in found if each.user not in mended]
            tools.state.forget(sorted(mended))
        counts["people"] = len(users)
        old = (progress.begun, progress.text())
        if after is None:  # nobody was left to look at
            self._finish(tools, old, progress)
            return None
        progress = progress.plus(after, counts)
        advance = self._advance(tools, old, progress)
        tools.state.database.commit([*advance, *tools.state.noted(found, progress.begun)])
        return progress

    def _advance(self, tools: Tools, old: tuple[str, str], new: _Progress) -> list[Sql]:
        """Return the statement that stores the progress, if nobody else stored any meanwhile."""
        values = {
            "mapped": self._config.mapping_digest,
            "begins": new.begun,
            "reached": new.text(),
            "by": tools.node,
            "until": instant(self._now() + LEASE),
        }
        return [tools.state.database.bind(_ADVANCE, **_known(old), **values)]

    def _finish(self, tools: Tools, old: tuple[str, str], progress: _Progress) -> None:
        """Store that a pass is complete, with the events of what it found and mended."""
        database, begun, now = tools.state.database, progress.begun, self._now()
        counts = dict.fromkeys(("people", "mended", "held", "failed"), 0) | dict(progress.counts)
        last = {
            "begun": to_the_second(begun),
            "ended": to_the_second(instant(now)),
            **counts,
            "by": tools.node,
        }
        new = {row["kind"]: int(row["total"]) for row in database.rows(_NEW, begun=begun)}
        notices = {}
        if new:
            listed = ", ".join(f"{count} {kind}" for kind, count in sorted(new.items()))
            notices["found"] = f"A pass over all users found new differences: {listed}"
        if counts["mended"]:
            notices["mended"] = (
                f"A pass over all users mended {counts['mended']} differences; {counts['held']} "
                f"are held back by the quarantine, and {counts['failed']} cannot be mended"
            )
        outbox, tenant = EventOutbox(database, ACTOR), database.scope.tenant
        database.commit(
            [
                database.bind(_END, **_known(old), now=instant(now), about=to_text(last)),
                database.bind(_GONE, begun=begun),
                *(
                    database.bind(INSERT_EVENT, **outbox.notice(DRIFT, tenant, what, detail=detail))
                    for what, detail in notices.items()
                ),
            ]
        )


def _known(old: tuple[str, str]) -> dict[str, Param]:
    return {"old_begun": old[0], "old_progress": old[1]}


_INSERT = Statement(
    insert_into(drift_passes)
    .values(
        {
            **{column.name: "" for column in drift_passes.c},
            **parameters("workspace", "tenant"),
        }
    )
    .on_conflict_do_nothing()
)

_AS_READ = (
    in_scope(drift_passes),
    drift_passes.c.begun == bindparam("old_begun"),
    drift_passes.c.progress == bindparam("old_progress"),
)

_ADVANCE = Statement(
    update(drift_passes)
    .where(*_AS_READ)
    .values(
        mapping=bindparam("mapped"),
        begun=bindparam("begins"),
        progress=bindparam("reached"),
        node=bindparam("by"),
        leased=bindparam("until"),
    ),
    rows=1,
    label="lease",
)
"""Stores how far a pass is, unless another node did so since it was read."""

_END = Statement(
    update(drift_passes)
    .where(*_AS_READ)
    .values(begun="", progress="", leased="", ended=bindparam("now"), last=bindparam("about")),
    rows=1,
    label="lease",
)

_GONE = Statement(delete(drifts).where(in_scope(drifts), drifts.c.seen < bindparam("begun")))
"""Deletes known differences that a pass, which is complete, did not find any more."""

_NEW = Statement(
    select(drifts.c.kind, func.count().label("total"))
    .where(in_scope(drifts), drifts.c.since == bindparam("begun"))
    .group_by(drifts.c.kind)
)
"""Counts the differences that a pass found and none before it, as ``total`` by ``kind``."""
