"""The endpoint that previews another mapping of groups, which changes nothing.

``POST /Mapping`` with ``{"groups": {"pattern": "kong-(.*)"}, "count": 100, "cursor": null}``
    What each SCIM group becomes in Kong, in the order of their creation: ``{"groups": [{"id",
    "displayName", "now", "then", "error"}], "next"}``. ``groups`` has fields of the configuration's
    section ``groups``; a field that is missing is as configured, and null is its default. ``then``
    is null for a group that gives no ACL group, and ``error`` says why a group would be refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from scim2_models import InvalidValueException, SCIMException
from scim2_server.responses import ScimResponse

from kong_scim import cpu
from kong_scim.auth.scopes import ADMIN
from kong_scim.config.groups import GroupMapping
from kong_scim.config.plugin import PluginConfig, sentences
from kong_scim.directory.listing import Place, in_order_of_creation
from kong_scim.endpoints.call import Call, Endpoint, json_answer, json_object, require_method
from kong_scim.spelling import one_spelling
from kong_scim.sync.names import acl_group, given_group, gives_scopes, refuse_reserved

MOST = 200
"""Groups of one page at most."""

MOST_RULES = 1000
"""Entries of ``map`` at most."""

LONGEST_TRIAL = 1.0
"""Seconds that the expressions of a mapping may take for the names of a page."""


def _preview(call: Call) -> ScimResponse:
    require_method(call.request, "POST")
    body = json_object(call.request.body)
    count, cursor = body.get("count", MOST), body.get("cursor")
    if type(count) is not int or count < 1 or not isinstance(cursor, str | None):
        raise InvalidValueException(
            detail="count is a number above 0, and cursor what the answer before gave as next"
        )
    config = call.provisioning.config
    mapping = changed_groups(config, body.get("groups"))
    kind = call.provisioning.kinds.in_role("Group")
    page, following = in_order_of_creation(
        call.provisioning.database(), kind, Place.of(cursor), min(count, MOST)
    )
    names = {row.id: row.display or "" for row in page}
    try_out(config, mapping, names.values())
    changed = config.model_copy(update={"groups": mapping})
    groups = []
    for group_id, name in names.items():
        cpu.check()
        then, error = _named(changed, name)
        groups.append(
            {
                "id": group_id,
                "displayName": name,
                "now": _now(config, name),
                "then": then,
                "error": error,
            }
        )
    return json_answer({"groups": groups, "next": following.cursor() if following else None})


def changed_groups(config: PluginConfig, fields: Any) -> GroupMapping:
    """Return the configured mapping with some fields replaced.

    :raises ~scim2_models.InvalidValueException: For a field that the configuration would refuse.
    """
    known = GroupMapping.model_fields
    if not isinstance(fields, dict) or not fields.keys() <= known.keys():
        raise InvalidValueException(
            detail=f"groups is an object with some of the fields {', '.join(known)}"
        )
    named = {name for name, value in fields.items() if value is not None}
    kept = config.groups.model_dump(exclude=set(fields))
    try:
        mapping = GroupMapping.model_validate({**kept, **{name: fields[name] for name in named}})
    except ValidationError as error:
        raise InvalidValueException(detail=sentences("groups", error)) from None
    if len(mapping.map) > MOST_RULES:
        raise InvalidValueException(detail=f"groups.map has over {MOST_RULES} entries here")
    return mapping


def _now(config: PluginConfig, name: str) -> str | None:
    """Return the ACL group that an existing group gives now."""
    try:
        given = given_group(config.groups, name)
    except SCIMException:
        return None
    return None if given is None or gives_scopes(config, given) else given


def _named(config: PluginConfig, name: str) -> tuple[str | None, str | None]:
    """Return the ACL group of a group, and the sentence by which it would be refused, or None."""
    try:
        refuse_reserved(config, name)
        given = acl_group(config.groups, name)
    except SCIMException as error:
        return None, error.detail
    if given is not None and gives_scopes(config, given):
        return None, (
            f"The ACL group {given!r} gives scopes of this endpoint (`group_scopes`): allow it in "
            "`groups.allow`, or name another one."
        )
    return given, None


_TRIAL = """
import json, re, sys
given = json.load(sys.stdin)
allowed = [re.compile(each) for each in given["allow"]]
pattern = re.compile(given["pattern"]) if given["pattern"] else None
for name in given["names"]:
    match = pattern.fullmatch(name) if pattern else None
    named = match.expand(given["replacement"]) if match else name
    for each in allowed:
        each.fullmatch(given["prefix"] + named.strip())
        each.fullmatch(named.strip())
"""


def try_out(config: PluginConfig, mapping: GroupMapping, names: Iterable[str]) -> None:
    """Refuse regular expressions that take too long for some names.

    Python cannot end a match, during which no other request runs. So the expressions are tried in
    a process of their own, which can be ended. Those of the configuration are not tried.

    :raises ~scim2_models.InvalidValueException: When they take too long.
    """
    if (mapping.pattern, mapping.allow) == (config.groups.pattern, config.groups.allow):
        return
    given = json.dumps(
        {
            **mapping.model_dump(include={"pattern", "replacement", "prefix", "allow"}),
            "names": [one_spelling(name) for name in names],
        }
    )
    try:
        with cpu.waiting():
            subprocess.run(  # noqa: S603 - our own text, which gets the expressions as data
                [sys.executable, "-I", "-S", "-c", _TRIAL],
                input=given.encode(),
                timeout=LONGEST_TRIAL,
                check=False,
                capture_output=True,
            )
    except subprocess.TimeoutExpired:
        raise InvalidValueException(
            detail="groups.pattern or groups.allow takes too long for these names: avoid a "
            "repetition within a repetition, such as (a+)+"
        ) from None


ENDPOINTS: Mapping[str, Endpoint] = {"/Mapping": Endpoint(ADMIN, _preview)}
