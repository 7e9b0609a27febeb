"""Says for each ACL group of a user why the user has it: by which group, role and rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from scim2_models import SCIMException

from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.stored_row import Document
from kong_scim.sync.names import Rule, given_group, named_roles, rule_of, shown

Cause: TypeAlias = Rule | Literal["role", "entitlement"]


@dataclass(frozen=True)
class Reason:
    """A reason why a user has an ACL group.

    :param via: The SCIM groups by which the user has it: first one that the user is a direct member
        of, then one that has this group as a member, and so on. Empty for a role.
    :param detail: A sentence on the rule.
    """

    via: tuple[str, ...]
    rule: Cause
    detail: str


def reasons(
    config: PluginConfig, doc: Document, ways: Iterable[tuple[str, ...]]
) -> dict[str, list[Reason]]:
    """Return the reasons for each ACL group, by its name.

    A group or a role that cannot have a name in Kong is there by its own name, and the reason says
    what is wrong with it.

    :param doc: The document of the user.
    :param ways: As in :meth:`.Graph.ways`, for each SCIM group that the user is in.
    """
    found: dict[str, list[Reason]] = {}
    for way in sorted(ways, key=lambda way: (len(way), way)):
        rule, _ = rule_of(config.groups, way[-1])
        try:
            name = given_group(config.groups, way[-1])
        except SCIMException as error:
            found.setdefault(way[-1], []).append(Reason(way, rule, str(error.detail)))
            continue
        if name is not None:
            found.setdefault(name, []).append(Reason(way, rule, _sentence(config, rule, way[-1])))
    try:
        for value, attribute, name in named_roles(config, doc) if config.roles.enabled else ():
            cause: Cause = "role" if attribute == "roles" else "entitlement"
            sentence = f"The {cause} {shown(value)} of the user gives it."
            found.setdefault(name, []).append(Reason((), cause, sentence))
    except SCIMException as error:
        found.setdefault("", []).append(Reason((), "role", str(error.detail)))
    return found


def _sentence(config: PluginConfig, rule: Rule, display_name: str) -> str:
    prefix = config.groups.prefix
    behind = f", behind the prefix {shown(prefix)}" if prefix and rule != "map" else ""
    match rule:
        case "map":
            return f"`groups.map` names it for the group {shown(display_name)}."
        case "pattern":
            return (
                f"`groups.pattern` {shown(config.groups.pattern or '')} matches the group "
                f"{shown(display_name)}{behind}."
            )
        case _:
            return f"It has the name of the group {shown(display_name)}{behind}."
