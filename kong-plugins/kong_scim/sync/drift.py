"""Compares the consumer that a user should be with the consumer that Kong has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from kong_scim.bridge import Consumer
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.ports import UserState
from kong_scim.sync.plan import is_reserved
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.targets import TARGETS
from kong_scim.sync.wanted import SUSPENDED, USER_TAG, Wanted, wanted

Kind: TypeAlias = Literal[
    "consumer_missing",
    "consumer_renamed",
    "consumer_untagged",
    "consumer_taken",
    "group_missing",
    "group_extra",
    "not_suspended",
    "credentials_left",
    "consumer_orphaned",
    "mapping_changed",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

NAMING: frozenset[Kind] = frozenset({"consumer_missing", "consumer_renamed", "mapping_changed"})
"""Kinds that are mended by giving a consumer a name, which somebody else may have."""

_MENDS: dict[Kind, str] = {
    "consumer_missing": "Reconciling creates the consumer again with its groups; its credentials "
    "are lost, so give it new ones",
    "consumer_renamed": "Reconciling gives the consumer its name back",
    "consumer_untagged": "Reconciling sets the tags that SCIM gives, and leaves all others",
    "consumer_taken": "Rename one of the two",
    "group_missing": "Reconciling gives the groups again",
    "group_extra": "Reconciling takes these groups away",
    "not_suspended": "Reconciling suspends the consumer as `on_deactivate` says",
    "credentials_left": "Reconciling deletes the credentials",
    "consumer_orphaned": "Reconciling deletes the consumer",
    "mapping_changed": "Reconciling applies the present configuration",
}

_TAKEN = (
    "The consumer with the id of this user has the tags of somebody else, or is declared in the "
    "gateway's configuration: SCIM changes neither. Correct its tags, or remove it"
)


@dataclass(frozen=True)
class Difference:
    """One difference between what SCIM wants and what Kong has.

    :param wanted: What should be there, as text; None for nothing.
    :param found: What is there, as text; None for nothing.
    :param obstacle: Why it cannot be mended by reconciling, as a sentence; None if it can.
    """

    kind: Kind
    wanted: str | None
    found: str | None
    obstacle: str | None = None

    @property
    def mend(self) -> str:
        """A sentence that says what mends it."""
        return self.obstacle or _MENDS[self.kind]


def wanted_now(config: PluginConfig, user: UserState) -> tuple[KongUserRecord, Wanted]:
    """Return what was applied to Kong for a user, and the consumer that it should be now.

    :raises ~scim2_models.InvalidValueException: As :func:`.wanted`.
    """
    record = KongUserRecord.stored(user.doc)
    target = wanted(
        config,
        user.row,
        (group.display_name for group in user.groups),
        consumer_id=record.consumer_id,
        revoked_at=record.revoked_at,
    )
    return record, target


def compare(
    target: Wanted,
    record: KongUserRecord,
    present: Consumer | None,
    credentials: Collection[str] = (),
) -> list[Difference]:
    """Return the differences of one user, at most one of each kind.

    What Kong has is what SCIM applied last, and differs from what is wanted now: then the mapping
    changed. In any other case somebody changed the consumer in Kong.

    :param record: What SCIM applied to Kong last.
    :param present: The consumer with the wanted id, or None.
    :param credentials: The kinds of credentials that the consumer has.
    """
    if present is not None and _is_of_somebody_else(target, present):
        found = f"the consumer {named(present.username, present.custom_id)} of somebody else"
        return [Difference("consumer_taken", target.username, found, _TAKEN)]
    if not target.present:
        if present is None:
            return []
        applied = record.consumer_id is not None and SUSPENDED in present.tags
        kind: Kind = "mapping_changed" if applied else "not_suspended"
        return [Difference(kind, None, named(present.username, present.custom_id))]
    if present is None:
        never = record.consumer_id is None
        kind = "mapping_changed" if never else "consumer_missing"
        return [Difference(kind, named(target.username, target.custom_id), None)]
    return [
        *_names_and_groups(target, record, present),
        *_tags(target, present),
        *_credentials(target, credentials),
    ]


def orphaned(consumer: Consumer) -> Difference:
    """Return the difference of a consumer that SCIM made, and that has no user any more."""
    return Difference("consumer_orphaned", None, named(consumer.username, consumer.custom_id))


def _is_of_somebody_else(target: Wanted, present: Consumer) -> bool:
    own = {*target.owner_tags, f"{USER_TAG}{target.user_id}"}
    owners = {
        tag
        for tag in present.tags
        if tag.startswith(("scim:", USER_TAG)) and tag != SUSPENDED and tag not in own
    }
    return present.declared or bool(owners)


def _names_and_groups(
    target: Wanted, record: KongUserRecord, present: Consumer
) -> Iterator[Difference]:
    """Yield the differences that a changed mapping may have caused, and those of other causes."""
    new: list[str] = []
    old: list[str] = []
    renamed = present.username != target.username
    if renamed and present.username == record.username:
        new.append(str(target.username))
        old.append(str(present.username))
        renamed = False
    recoded = target.manages_custom_id and present.custom_id != target.custom_id
    if renamed or recoded:
        yield Difference(
            "consumer_renamed",
            named(target.username, target.custom_id if recoded else None),
            named(present.username, present.custom_id if recoded else None),
        )
    missing, extra = _groups(target, present)
    applied = frozenset(record.access_groups)
    by_mapping = [group for group in missing if group not in applied]
    new += by_mapping
    old += [group for group in extra if group in applied]
    if new or old:
        yield Difference("mapping_changed", _listed(new), _listed(old))
    if len(missing) > len(by_mapping):
        yield Difference("group_missing", _listed(g for g in missing if g in applied), None)
    unexpected = [group for group in extra if group not in applied]
    if unexpected:
        yield Difference("group_extra", None, _listed(unexpected))


def _groups(target: Wanted, present: Consumer) -> tuple[list[str], list[str]]:
    """Return the groups that are missing, and those that SCIM gave and that are not wanted."""
    held: set[str] = set()
    given: set[str] = set()
    for each in TARGETS:
        held.update(each.held(present).values())
        given.update(each.given(target, present))
    return sorted(set(target.groups) - held), sorted(given.difference(target.groups))


def _tags(target: Wanted, present: Consumer) -> Iterator[Difference]:
    expected = set(target.tags)
    found = {tag for tag in present.tags if is_reserved(tag)}
    if target.suspended and SUSPENDED not in found:
        yield Difference("not_suspended", SUSPENDED, None)
        found.add(SUSPENDED)
    if found != expected:
        yield Difference(
            "consumer_untagged",
            _listed(sorted(expected - found)),
            _listed(sorted(found - expected)),
        )


def _credentials(target: Wanted, credentials: Collection[str]) -> Iterator[Difference]:
    if target.suspended and not target.keeps_credentials and credentials:
        yield Difference("credentials_left", None, _listed(sorted(credentials)))


def named(username: str | None, custom_id: str | None) -> str:
    """Return the text that shows the names of a consumer."""
    return str(username) if custom_id is None else f"{username} (custom_id {custom_id})"


def _listed(names: Iterable[str]) -> str | None:
    return ", ".join(names) or None
