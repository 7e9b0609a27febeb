"""Makes names in Kong of groups, roles and entitlements, and refuses those that Kong could not use.

Kong itself takes any non-empty string for ``acls.group``, ``consumers.username`` and
``consumers.custom_id`` (``kong/plugins/acl/daos.lua``, ``kong/db/schema/entities/consumers.lua``).
It copies all three into headers for the upstream, which is where the stricter rules here come from.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from scim2_models import InvalidValueException

from kong_scim.config.plugin import GroupMapping, PluginConfig
from kong_scim.directory.stored_row import Document
from kong_scim.spelling import fold, format_character, has_control, one_spelling

MAX_NAME_BYTES = 2048
"""The longest name, in bytes of UTF-8. Kong's unique indexes are B-trees of PostgreSQL, where an
entry holds 2,704 bytes; an entry of ``acls.cache_key`` has two UUIDs beside the group."""

Rule: TypeAlias = Literal["map", "pattern", "name"]
"""What names an ACL group: ``groups.map``, ``groups.pattern``, or the group's own name."""

_SHOWN = 80
"""The most characters of a name that an error repeats."""


def acl_group(mapping: GroupMapping, display_name: str) -> str | None:
    """Return the ACL group of a SCIM group that is created or renamed, or None if it gives none.

    :raises ~scim2_models.InvalidValueException: When Kong or an upstream could take the name for
        another name or for none, or when ``unmatched`` refuses it.
    """
    refuse_hidden(display_name, "The group's name")
    return given_group(mapping, display_name, strict=True)


def given_group(mapping: GroupMapping, display_name: str, *, strict: bool = False) -> str | None:
    """Return the ACL group of an existing SCIM group, or None if it gives none.

    :param strict: Whether a name that ``unmatched: refuse`` refuses is an error. Otherwise it gives
        no ACL group, so that the members of such a group can be changed.
    :raises ~scim2_models.InvalidValueException: For a name that Kong or an upstream could take for
        another.
    """
    name, matched = _mapped(mapping, display_name)
    if matched or mapping.unmatched == "keep":
        return name
    if strict and mapping.unmatched == "refuse":
        raise _unmatched(mapping, f"The group {shown(display_name)}", name)
    return None


def refuse_reserved(config: PluginConfig, display_name: str) -> None:
    """Refuse a SCIM group whose name begins with a prefix of roles, unless it is configured.

    :raises ~scim2_models.InvalidValueException: Naming the prefix.
    """
    name = one_spelling(display_name)
    if name in config.groups.map:
        return
    named, roles = without_prefix(config.groups, display_name), config.roles
    for prefix in (roles.roles_prefix, roles.entitlements_prefix):
        if (
            prefix
            and named
            and fold(named).startswith(fold(prefix))
            and not config.groups.allows(config.groups.prefix + named)
        ):
            raise InvalidValueException(
                detail=f"The group {shown(display_name)} would become an ACL group that begins "
                f"with {prefix!r}, as those of roles and entitlements do: rename the group, or "
                "name it in `groups.map` or `groups.allow` of the configuration."
            )


def without_prefix(mapping: GroupMapping, display_name: str) -> str | None:
    """Return the name that ``pattern`` makes of a displayName, or the displayName itself."""
    name = one_spelling(display_name)
    match = re.fullmatch(mapping.pattern, name) if mapping.pattern else None
    return (match.expand(mapping.replacement) if match else name).strip()


def gives_scopes(config: PluginConfig, name: str) -> bool:
    """Tell whether an ACL group gives scopes of this endpoint, so that no provider may give it."""
    if config.auth != "kong" or config.groups.allows(name):
        return False
    return fold(name) in {fold(each) for each in config.group_scopes}


def access_groups(
    config: PluginConfig, doc: Document, group_names: Iterable[str]
) -> tuple[str, ...]:
    """Return the ACL groups of an active user, each once, in the order of their code points.

    :param doc: The document of the user.
    :param group_names: The displayName of each group the user is in, nested ones flattened.
    :raises ~scim2_models.InvalidValueException: As :func:`given_group` does.
    """
    found = {given_group(config.groups, name) for name in group_names}
    found.update(role_groups(config, doc))
    return tuple(sorted(name for name in found if name and not gives_scopes(config, name)))


def role_groups(config: PluginConfig, doc: Document, *, strict: bool = False) -> Iterator[str]:
    """Yield the ACL groups of a user's roles and entitlements.

    :param doc: The document of the user.
    :param strict: Whether format characters, and names that ``unmatched: refuse`` refuses, are
        errors.
    :raises ~scim2_models.InvalidValueException: For a name that cannot be used.
    """
    mapping = config.groups
    if not config.roles.enabled:
        return
    for value, attribute, name in named_roles(config, doc):
        subject = f"`{attribute}`"
        if strict:
            refuse_hidden(value, f"A value of {subject}")
        if mapping.allow and mapping.unmatched != "keep" and not mapping.allows(name):
            if strict and mapping.unmatched == "refuse":
                raise _unmatched(mapping, f"The value {shown(value)} of {subject}", name)
            continue
        yield name


def refuse_hidden(value: str, what: str) -> None:
    """Refuse a name with a format character, which is invisible wherever the name is shown.

    :param what: The subject of the sentence, which says what has the name.
    :raises ~scim2_models.InvalidValueException: Naming the character by its code point.
    """
    hidden = format_character(value)
    if hidden:
        raise InvalidValueException(
            detail=f"{what} holds the format character {hidden}, which is not shown: take it out."
        )


def legal(value: str, subject: str, remedy: str) -> str:
    """Return a name that fits into a unique index and a header, or refuse it.

    :param subject: The start of the error's sentence, which says what has the name.
    :param remedy: The end of the sentence, which says what to change.
    :raises ~scim2_models.InvalidValueException: For an empty, overlong or unprintable name.
    """
    problem = None
    if not value:
        problem = "which is empty"
    elif not value.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cs"} for character in value
    ):
        problem = "which has a control character, and Kong sends it on in a header"
    elif len(value.encode()) > MAX_NAME_BYTES:
        problem = f"which is longer than {MAX_NAME_BYTES} bytes"
    if problem:
        raise InvalidValueException(detail=f"{subject}, {problem}: {remedy}.")
    return value


def shown(value: str) -> str:
    """Return a name quoted and escaped for an error, and shortened if it is long."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."


def rule_of(mapping: GroupMapping, display_name: str) -> tuple[Rule, str]:
    """Return which rule names the ACL group of a displayName, and the name before the prefix.

    The name is not checked.
    """
    spelled = one_spelling(display_name) if not has_control(display_name) else display_name
    mapped = mapping.map.get(spelled)
    if mapped is not None:
        return "map", mapped
    match = re.fullmatch(mapping.pattern, spelled) if mapping.pattern else None
    return ("pattern", match.expand(mapping.replacement)) if match else ("name", spelled)


def _mapped(mapping: GroupMapping, display_name: str) -> tuple[str, bool]:
    """Return the ACL group's name, and whether ``allow`` (or without it the mapping) matches."""
    rule, mapped = rule_of(mapping, display_name)
    name = _legal_group(
        mapped,
        f"The group {shown(display_name)} becomes the ACL group {shown(mapped)}",
        "rename the group, or name it in `groups.map` of the configuration",
    )
    if mapping.prefix and rule != "map":
        name = mapping.prefix + name
        legal(
            name, f"With `groups.prefix` the group {shown(display_name)} has a name", "shorten it"
        )
    return name, mapping.allows(name) if mapping.allow else rule != "name"


def _unmatched(mapping: GroupMapping, subject: str, name: str) -> InvalidValueException:
    why = (
        "`groups.allow` has not"
        if mapping.allow
        else "neither `groups.map` nor `groups.pattern` has"
    )
    return InvalidValueException(
        detail=f"{subject} would become the ACL group {shown(name)}, which {why}, and "
        "`groups.unmatched` is refuse: rename it, or allow it there."
    )


def named_roles(
    config: PluginConfig, doc: Document
) -> Iterator[tuple[str, Literal["roles", "entitlements"], str]]:
    """Yield each role and entitlement of a user: its value, its attribute, and its ACL group.

    :raises ~scim2_models.InvalidValueException: For a name that cannot be used.
    """
    mapping = config.roles
    prefixes: dict[Literal["roles", "entitlements"], str] = {
        "roles": mapping.roles_prefix,
        "entitlements": mapping.entitlements_prefix,
    }
    for attribute, prefix in prefixes.items():
        for value in role_values(doc, attribute):
            name = f"{config.groups.prefix}{prefix}{_role(value)}"
            legal_name = _legal_group(
                name,
                f"The value {shown(value)} of `{attribute}` becomes the ACL group {shown(name)}",
                "change the value, or turn `roles.enabled` off in the configuration",
            )
            yield value, attribute, legal_name


def role_values(doc: Document, attribute: Literal["roles", "entitlements"]) -> Iterator[str]:
    """Yield the values of a user's roles or entitlements that are not empty."""
    for entry in doc.get(attribute) or ():
        if entry.get("value"):
            yield entry["value"]


def _role(value: str) -> str:
    """Return the name of a role: its value, or the ``value`` in the JSON text that is its value.

    Entra sends several roles as such texts: ``{"id":"...","value":"Admin","displayName":"A"}``.
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
    name = name.strip() if has_control(name) else one_spelling(name)
    if "," in name:
        # kong/plugins/acl/handler.lua joins the groups with ", " into X-Consumer-Groups.
        raise InvalidValueException(
            detail=f"{subject}, which has a comma, and upstreams would read it as several groups: "
            f"{remedy}."
        )
    return legal(name, subject, remedy)
