"""The endpoints of drift: what Kong has that SCIM does not want, and what it lacks.

``GET /Drift``, with ``kind``, ``user``, ``count`` and ``cursor``
    Looks at the next users, and answers ``pass`` (the last complete pass in the background, or
    null), ``differences``, and ``next``: the cursor of the next part, or null at the end. ``total``
    and ``byKind`` count the differences from the first part to this one. A part may have fewer
    differences than ``count``, or none, because the number of users that a request looks at is
    limited.
``POST /Drift`` with ``{"dryRun": false, "user": null, "cursor": null}``
    Mends the differences of the next users, or of one. It answers ``mended``, ``held`` and
    ``failed``, each a number of differences, ``results``, and ``next``.
``POST /Drift/preview`` with ``{"config": {...}, "count": 100, "cursor": null}``
    Answers who would get another name or other groups with another configuration of the plugin:
    ``people``, how many users this part is about, ``changes``, and ``next``. The fields that decide
    on consumers and groups are taken from ``config``, and its others ignored. In place of
    ``config`` there may be ``groups``, as for ``POST /Mapping``: what is missing is as configured.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scim2_models import InvalidValueException
from scim2_server.responses import ScimResponse

from kong_scim.auth.scopes import ADMIN
from kong_scim.config.plugin import ConfigurationError, PluginConfig
from kong_scim.directory.values import to_the_second
from kong_scim.endpoints.call import (
    Call,
    Endpoint,
    json_answer,
    json_object,
    page_size,
    query_of,
    require_method,
)
from kong_scim.endpoints.mapping import changed_groups, try_out
from kong_scim.sync.drift import KINDS
from kong_scim.sync.drift_search import DriftPage, DriftSearch, Position, UserDrift
from kong_scim.sync.drift_state import DriftState
from kong_scim.sync.preview import Preview, other_config, preview
from kong_scim.tenant import Provisioning, check

COUNT = 100
"""The default number of differences in an answer."""

MOST = 1000
"""The most differences that an answer has, unless one user has more."""

LOOKED_AT = 1000
"""Users that one request looks at."""

MENDED = 50
"""Users that one request mends, each in a commit of its own."""

BATCH = 250
"""Users that are read in one step."""


@dataclass
class _Progress:
    """How far a client has read: its cursor."""

    position: Position = field(default_factory=Position)
    kinds: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, text: str | None) -> _Progress:
        """Return the progress in a cursor.

        :raises ~scim2_models.InvalidValueException: It is no cursor of ours.
        """
        if not text:
            return cls()
        try:
            stage, after, kinds = json.loads(base64.urlsafe_b64decode(text.encode()))
            counted = Counter[str]({KINDS[int(key)]: int(each) for key, each in kinds.items()})
        except (ValueError, TypeError, AttributeError, IndexError):
            raise _bad_cursor() from None
        if stage not in ("users", "consumers") or not isinstance(after, str) or len(after) > 64:
            raise _bad_cursor()
        return cls(Position(stage, after), counted)

    def cursor(self, after: Position | None) -> str | None:
        """Return the cursor with which the client goes on, or None at the end."""
        if after is None:
            return None
        counted = {each: self.kinds[kind] for each, kind in enumerate(KINDS) if self.kinds[kind]}
        parts = [after.stage, after.after, counted]
        return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode()


def _bad_cursor() -> InvalidValueException:
    return InvalidValueException(
        detail="cursor is none of this endpoint: send the `next` of the answer before, or none"
    )


def _parts(search: DriftSearch, begin: Position) -> Iterator[DriftPage]:
    """Yield parts of a search until enough users were looked at, or the search is at its end."""
    position: Position | None = begin
    looked_at = 0
    while position is not None and looked_at < LOOKED_AT:
        part = search.page(position, BATCH)
        looked_at += len(part.users) or BATCH
        position = part.next
        yield part


def _drift(call: Call) -> ScimResponse:
    if call.request.method in {"GET", "HEAD"}:
        return json_answer(_show(call))
    require_method(call.request, "POST", also=("GET", "HEAD"))
    return json_answer(_mend(call))


def _show(call: Call) -> dict[str, Any]:
    query = query_of(call.request)
    kind, count = query.get("kind"), page_size(query, COUNT, MOST)
    if kind and kind not in KINDS:
        kinds = ", ".join(f'"{each}"' for each in KINDS)
        raise InvalidValueException(detail=f"kind is one of {kinds}")
    progress = _Progress.read(query.get("cursor"))
    search = call.provisioning.drift()
    shown, after = _found(search, query.get("user"), progress.position, count, kind=kind)
    progress.kinds.update(one.kind for each in shown for one in each.differences)
    state = DriftState(call.provisioning.database())
    since = {key: to_the_second(date) for key, date in state.since(shown).items()}
    return {
        "pass": state.last_pass(),
        "total": progress.kinds.total(),
        "byKind": dict(sorted(progress.kinds.items())),
        "differences": [
            {
                "user": each.user,
                "userName": each.user_name,
                "kind": one.kind,
                "wanted": one.wanted,
                "found": one.found,
                "since": since.get((each.user, one.kind)),
                "mend": one.mend,
            }
            for each in shown
            for one in each.differences
        ],
        "next": progress.cursor(after),
    }


def _found(
    search: DriftSearch, user: str | None, begin: Position, count: int, *, kind: str | None = None
) -> tuple[list[UserDrift], Position | None]:
    """Return users with differences, and where the search goes on.

    :param user: The id of the only user to look at; None for all.
    :param count: After how many differences to stop.
    """
    if user:
        return _of_kind(search.of_user(user), kind), None
    shown: list[UserDrift] = []
    total, after = 0, None
    for part in _parts(search, begin):
        after = part.next
        for each in _of_kind(part.found, kind):
            if total >= count:
                return shown, shown[-1].position
            shown.append(each)
            total += len(each.differences)
    return shown, after


def _of_kind(found: Iterable[UserDrift], kind: str | None) -> list[UserDrift]:
    """Return users with their differences of a kind, or with all."""
    if not kind:
        return list(found)
    only = (
        replace(each, differences=tuple(one for one in each.differences if one.kind == kind))
        for each in found
    )
    return [each for each in only if each.differences]


def _mend(call: Call) -> dict[str, Any]:
    body = json_object(call.request.body)
    dry_run, user, cursor = body.get("dryRun", False), body.get("user"), body.get("cursor")
    if type(dry_run) is not bool or not all(
        isinstance(each, str | None) for each in (user, cursor)
    ):
        raise InvalidValueException(
            detail='dryRun is true or false; user is the id of a user, and cursor the "next" of '
            "the answer before, or they are null"
        )
    progress = _Progress.read(cursor)
    search = call.provisioning.drift()
    found, after = _found(search, user, progress.position, COUNT if dry_run else MENDED)
    reconciler = call.provisioning.reconciler(call.origin)
    results = list(reconciler.mend(found, dry_run=dry_run))
    if not dry_run:
        mended = [each.user for each in results if each.result == "mended"]
        DriftState(call.provisioning.database()).forget(mended)
    counts = Counter(each.result for each in results)
    return {
        **{what: counts[what] for what in ("mended", "held", "failed")},
        "results": [
            {
                "user": each.user,
                "userName": each.user_name,
                "kind": each.kind,
                "result": each.result,
                "detail": each.detail,
            }
            for each in results
        ],
        "next": progress.cursor(after),
    }


def _preview(call: Call) -> ScimResponse:
    require_method(call.request, "POST")
    body = json_object(call.request.body)
    count, cursor = body.get("count", COUNT), body.get("cursor")
    if type(count) is not int or not isinstance(cursor, str | None):
        raise InvalidValueException(
            detail='count is a number, and cursor the "next" of the answer before, or null'
        )
    provisioning = call.provisioning
    other = _other(provisioning, body)
    users, after = provisioning.drift().users, _Progress.read(cursor).position.after
    changes: list[Preview] = []
    people, last = 0, None
    while people < LOOKED_AT and len(changes) < max(1, min(count, MOST)):
        some, last = users.after(after, BATCH)
        if last is None:
            break
        people, after = people + len(some), last
        names = {group.display_name for user in some for group in user.groups}
        try_out(provisioning.config, other.groups, sorted(names))
        changes += preview(some, provisioning.config, other)
    return json_answer(
        {
            "people": people,
            "changes": [
                {
                    "user": each.user,
                    "userName": each.user_name,
                    "before": each.before,
                    "after": each.after,
                    "gains": list(each.gains),
                    "loses": list(each.loses),
                    **({"error": each.error} if each.error else {}),
                }
                for each in changes
            ],
            "next": _Progress().cursor(Position("users", last) if last else None),
        }
    )


def _other(provisioning: Provisioning, body: Mapping[str, Any]) -> PluginConfig:
    """Return the configuration that a preview is about.

    :raises ~scim2_models.InvalidValueException: The plugin would refuse it, or there is none.
    """
    given, groups, present = body.get("config"), body.get("groups"), provisioning.config
    if (given is None) == (groups is None) or not isinstance(given, dict | None):
        raise InvalidValueException(
            detail="config is an object with the fields of the plugin's configuration; in its "
            "place there may be groups, with fields of that section"
        )
    if given is None:
        return present.model_copy(update={"groups": changed_groups(present, groups)})
    try:
        other = other_config(present, given)
        check(other, provisioning.kinds)
    except ConfigurationError as error:
        raise InvalidValueException(detail=str(error)) from None
    return other


ENDPOINTS: Mapping[str, Endpoint] = {
    "/Drift": Endpoint(ADMIN, _drift),
    "/Drift/preview": Endpoint(ADMIN, _preview),
}
