"""Works out which groups in Kong a change may leave without a member."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from scim2_models import SCIMException

from kong_scim.bridge import Step
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.ports import Change
from kong_scim.sync.names import given_group, role_groups
from kong_scim.sync.targets import TARGETS
from kong_scim.sync.wanted import Wanted


def left_groups(config: PluginConfig, change: Change, wanted: Mapping[str, Wanted]) -> list[Step]:
    """Return the steps for the group of a deleted or renamed SCIM group, and for those of roles
    that users lose.

    :param wanted: By the id of each user of the change, the consumer that it should be.
    """
    names: dict[str, None] = {}
    with suppress(SCIMException):  # a name that cannot be used gave no group
        if change.old_group_name is not None:
            names[given_group(config.groups, change.old_group_name) or ""] = None
    for user in change.users:
        with suppress(SCIMException):
            if user.before is not None and user.before.is_active:
                lost = set(role_groups(config, user.before.doc))
                names |= dict.fromkeys(sorted(lost.difference(wanted[user.id].groups)))
    return [
        step
        for name in names
        for target in TARGETS
        if name and config.groups.targets.has(name, target.kind)
        for step in target.left(name, config.tag())
    ]
