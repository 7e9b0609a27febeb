"""Names in Kong: how groups, roles and entitlements are called there, and what no name may hold.

Kong itself takes any non-empty string for ``acls.group``, ``consumers.username`` and
``consumers.custom_id`` (``kong/plugins/acl/daos.lua``, ``kong/db/schema/entities/consumers.lua``).
It copies all three into headers for the upstream, which is where the stricter rules here come from.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from scim2_models import InvalidValueException, Resource

from kong_scim.config import GroupMapping, PluginConfig, RoleMapping

MAX_NAME_BYTES = 2048
"""In UTF-8. Kong's unique indexes are B-trees of Postgres, where an entry holds 2,704 bytes; the
one on ``acls.cache_key`` has two UUIDs beside the group."""

_SHOWN = 80
"""How many characters of a name an error repeats."""


def acl_group(mapping: GroupMapping, display_name: str) -> str:
    """Return the ACL group of a SCIM group: map first, then pattern, then the name as it is.

    Blanks around the result are dropped, because a header's reader drops them too.

    :raises ~scim2_models.InvalidValueException: When Kong or an upstream could not tell the name
        from another, or from no name at all.
    """
    mapped = mapping.map.get(display_name)
    if mapped is None and mapping.pattern:
        match = re.fullmatch(mapping.pattern, display_name)
        mapped = match and match.expand(mapping.replacement)
    if mapped is None:
        mapped = display_name
    return _legal_group(
        mapped,
        f"The group {shown(display_name)} becomes the ACL group {shown(mapped)}",
        "rename the group, or name it in `groups.map` of the configuration",
    )


def access_groups(
    config: PluginConfig, user: Resource[Any], group_names: Iterable[str]
) -> tuple[str, ...]:
    """Return every ACL group of an active user, each once, in the order of their code points.

    :param group_names: The displayName of each group the user is in, nested ones flattened.
    :raises ~scim2_models.InvalidValueException: As :func:`acl_group` does.
    """
    found = {acl_group(config.groups, name) for name in group_names}
    if config.roles.enabled:
        found.update(_role_groups(config.roles, user))
    return tuple(sorted(found))


def legal(value: str, subject: str, remedy: str) -> str:
    """Return a name that fits into a unique index and a header, or refuse it.

    :param subject: The start of the sentence, which says what has the name.
    :param remedy: Its end, which says what to change.
    :raises ~scim2_models.InvalidValueException: For an empty, overlong or unprintable name.
    """
    problem = None
    if not value:
        problem = "which is empty"
    elif any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        problem = "which has a control character, and Kong sends it on in a header"
    elif len(value.encode()) > MAX_NAME_BYTES:
        problem = f"which is longer than {MAX_NAME_BYTES} bytes"
    if problem:
        raise InvalidValueException(detail=f"{subject}, {problem}: {remedy}.")
    return value


def shown(value: str) -> str:
    """Quote a name for an error: escaped, and cut where it is long."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."


def _role_groups(mapping: RoleMapping, user: Resource[Any]) -> Iterable[str]:
    for attribute, prefix in (
        ("roles", mapping.roles_prefix),
        ("entitlements", mapping.entitlements_prefix),
    ):
        for entry in getattr(user, attribute, None) or ():
            if entry.value:
                name = f"{prefix}{_role(entry.value)}"
                yield _legal_group(
                    name,
                    f"The value {shown(entry.value)} of `{attribute}` becomes the ACL group "
                    f"{shown(name)}",
                    "change the value, or turn `roles.enabled` off in the configuration",
                )


def _role(value: str) -> str:
    """Return the name of a role: its value, or what is the value in there.

    Entra assigns several roles as JSON text: ``{"id":"...","value":"Admin","displayName":"A"}``.
    """
    if value.lstrip().startswith("{"):
        try:
            named = json.loads(value)
        except ValueError:
            return value
        if isinstance(named, dict) and isinstance(named.get("value"), str):
            return str(named["value"])
    return value


def _legal_group(name: str, subject: str, remedy: str) -> str:
    name = name.strip()
    if "," in name:
        # kong/plugins/acl/handler.lua joins the groups with ", " into X-Consumer-Groups.
        raise InvalidValueException(
            detail=f"{subject}, which has a comma, and upstreams would read it as several groups: "
            f"{remedy}."
        )
    return legal(name, subject, remedy)
