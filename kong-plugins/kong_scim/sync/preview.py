"""Works out what another configuration of the plugin would change in Kong, without changing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scim2_models import SCIMException

from kong_scim import cpu
from kong_scim.config.plugin import MAPPING, PluginConfig, parse
from kong_scim.directory.ports import UserState
from kong_scim.sync.drift import named, wanted_now
from kong_scim.sync.wanted import Wanted

_ANY_TOKEN = {"name": "preview", "value": "a token that is never used"}


@dataclass(frozen=True)
class Preview:
    """What another configuration would change for one user.

    :param before: The name of its consumer with the present configuration; None for no consumer.
    :param after: The same with the other one.
    :param gains: The ACL groups that it would get, sorted.
    :param loses: The ACL groups that it would lose, sorted.
    :param error: Why the user could not be applied to Kong, as a sentence; None if it could.
    """

    user: str
    user_name: str | None
    before: str | None
    after: str | None
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    error: str | None = None


def other_config(present: PluginConfig, given: Mapping[str, Any]) -> PluginConfig:
    """Return a configuration with those fields of ``given`` that decide on consumers and groups.

    :param given: The configuration of the plugin as it stands in a declarative file.
    :raises ~kong_scim.config.plugin.ConfigurationError: When it cannot work.
    """
    fields = {name: value for name, value in given.items() if name in MAPPING}
    return parse({**fields, "tenant": present.tenant, "tokens": [_ANY_TOKEN]})


def preview(
    users: Iterable[UserState], present: PluginConfig, other: PluginConfig
) -> Iterator[Preview]:
    """Yield what another configuration would change, for each user that it changes."""
    for user in users:
        cpu.check()
        before, _ = _target(present, user)
        after, error = _target(other, user)
        old, new = _groups(before), _groups(after)
        names = (_name(before), _name(after))
        if old == new and names[0] == names[1] and error is None:
            continue
        yield Preview(
            user.row.id,
            user.doc.get("userName"),
            *names,
            gains=tuple(sorted(new - old)),
            loses=tuple(sorted(old - new)),
            error=error,
        )


def _target(config: PluginConfig, user: UserState) -> tuple[Wanted | None, str | None]:
    try:
        return wanted_now(config, user)[1], None
    except SCIMException as error:
        return None, str(error.detail)


def _groups(target: Wanted | None) -> set[str]:
    return set(target.groups) if target is not None else set()


def _name(target: Wanted | None) -> str | None:
    if target is None or not target.present:
        return None
    return named(target.username, target.custom_id if target.manages_custom_id else None)
