"""Works out which steps on Kong's consumers a change of the directory needs."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from scim2_models import Resource, SCIMException

from kong_scim.auth.errors import InsufficientScopeException
from kong_scim.auth.scopes import GROUPS
from kong_scim.bridge import Consumer, Delete, Sql, Step, Upsert
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.ports import Access, Change, Outcome, UserChange, UserState
from kong_scim.directory.values import utc_now
from kong_scim.spelling import fold
from kong_scim.sync.gateway import Gateway
from kong_scim.sync.name_conflicts import Names, by_name, claim, taken
from kong_scim.sync.names import access_groups, refuse_hidden, shown
from kong_scim.sync.ownership import Ownership
from kong_scim.sync.plan import plan
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.targets import TARGETS
from kong_scim.sync.wanted import Wanted, gone, names_of, wanted


class KongConsumerSync:
    """Works out the steps on Kong's consumers and groups for each user that a change affects.

    However many users there are, Kong is read once, and a second time only where a consumer is gone
    that was there before. What is there is compared with what is wanted, and not with what was
    written last: a difference that somebody else made is repaired on the way.

    :param gateway: Where Kong's consumers are read.
    :param ownership: Whose ACL groups and names are.
    :param declared: Whether consumers that SCIM did not create are those of a declarative
        configuration, and not to be touched (a DB-less Kong).
    :param may_give_roles: Whether the caller may change roles and entitlements, which become ACL
        groups.
    """

    def __init__(
        self,
        config: PluginConfig,
        gateway: Gateway,
        ownership: Ownership,
        *,
        clock: Callable[[], datetime] = utc_now,
        declared: bool = False,
        may_give_roles: bool = True,
    ) -> None:
        self._config = config
        self._gateway = gateway
        self._clock = clock
        self._declared = declared
        self._ownership = ownership
        self._may_give_roles = may_give_roles

    def of(self, change: Change) -> Outcome:
        """Return what to commit with the change.

        :raises ~scim2_models.InvalidValueException: For a name that cannot be used in Kong (400).
        :raises ~scim2_models.UniquenessException: For a name that is another consumer's (409), or
            an ACL group that somebody else gives.
        :raises ~kong_scim.auth.errors.InsufficientScopeException: For roles that the caller may
            not change (403).
        :raises ~kong_scim.bridge.BridgeError: When Kong cannot be read.
        """
        claims: list[Step] = []
        if change.group_name is not None:
            claims += self._ownership.of_group(change)
        moment = self._clock()
        cases = [self._case(user, moment) for user in change.users]
        if not cases:
            return Outcome(claims=tuple(claims))
        for case in cases:
            self._refuse_roles(case.change)
            if case.change.id == change.resource_id:
                for attribute, value in self._new_names(case, case.wanted):
                    refuse_hidden(value, f"`{attribute}`")
            if case.change.after is not None:
                claims += self._ownership.of_user(case.change.before, case.change.after)
        present = self._present(cases)
        by_id = {consumer.id: consumer for consumer in present}
        names = by_name(present)
        steps: list[Step] = []
        records: dict[str, dict[str, Any]] = {}
        accesses: dict[str, Access] = {}
        for case in cases:
            written = change.resource_id == case.change.id
            if case.is_made_again(by_id):
                # Sessions know it by its id, which it gets again.
                case = replace(case, wanted=replace(case.wanted, revoked_at=moment))  # noqa: PLW2901
            target, own = self._planned(case, by_id, names, written=written)
            if written:
                claims += self._named(case, target)
            steps.extend(own)
            if own:
                accesses[case.change.id] = _access(target, by_id.get(target.id), own)
            record = case.record(target, changed=bool(own), moment=moment)
            if record is not None:
                records[case.change.id] = record.to_scim()
        lost = sum(self._lost(case) for case in cases)
        return Outcome(tuple(steps), records, accesses, tuple(claims), lost)

    def again(self, users: Sequence[UserState]) -> list[Reapplication]:
        """Return for each user what Kong lacks of it, though nothing changes.

        :raises ~kong_scim.bridge.BridgeError: When Kong cannot be read.
        """
        found: list[Reapplication] = []
        cases: list[_Case] = []
        for user in users:
            try:
                cases.append(self._case(UserChange(str(user.user.id), user, user)))
            except SCIMException as error:
                found.append(Reapplication(str(user.user.id), refused=error))
        present = self._present(cases)
        by_id = {consumer.id: consumer for consumer in present}
        names = by_name(present)
        for case in cases:
            try:
                target, steps = self._planned(case, by_id, names, written=False)
            except SCIMException as error:
                found.append(Reapplication(case.change.id, refused=error))
                continue
            consumer = target.id if target.present else None
            found.append(Reapplication(case.change.id, consumer, steps=tuple(steps)))
        return found

    def _refuse_roles(self, change: UserChange) -> None:
        """Refuse a change of roles by a caller who may not change groups; one who leaves may lose
        them.
        """
        if self._may_give_roles or not self._config.roles.enabled or change.after is None:
            return
        held = _role_values(change.before.user) if change.before else frozenset()
        wanted_ = _role_values(change.after.user)
        if wanted_ - held or (held - wanted_ and change.after.is_active):
            raise InsufficientScopeException(GROUPS)

    def _named(self, case: _Case, target: Wanted) -> list[Sql]:
        """Return the steps by which a user holds the names that it wants."""
        before, after = case.change.before, case.change.after
        if after is None:
            return []
        ownership = self._ownership
        held = ownership.held(before, case.stored) if before else {}
        said = [f"the {name} {shown(value)}" for name, value in self._new_names(case, target)]
        wanted_ = ownership.wanted(after, target)
        return ownership.of_names(case.change.id, held, wanted_, list(dict.fromkeys(said)))

    def _new_names(self, case: _Case, target: Wanted) -> Iterator[tuple[str, str]]:
        """Yield the attributes that name a user or its consumer anew, with their values."""
        before, after, mapping = case.change.before, case.change.after, self._config.consumer
        if after is None:
            return
        old_id = names_of(mapping, before.user)[1] if before else None
        for attribute, value, old in (
            ("userName", _user_name(after), _user_name(before)),
            (mapping.username, target.username, case.stored.username),
            (mapping.custom_id, target.custom_id, old_id),
        ):
            if attribute and value and value != old:
                yield attribute, value

    def _lost(self, case: _Case) -> int:
        """Return how many ACL groups a change takes from a user who stays.

        Both sides are by the configuration of now: what follows from another one is no loss.
        """
        before, after = case.change.before, case.change.after
        if before is None or after is None or not (before.is_active and after.is_active):
            return 0
        if before.groups == after.groups and _role_values(before.user) == _role_values(after.user):
            return 0
        try:
            held = access_groups(
                self._config, before.user, (group.display_name for group in before.groups)
            )
        except (
            SCIMException
        ):  # it was stored under another mapping, and has nothing to lose by this
            return 0
        return len(set(held).difference(case.wanted.groups))

    def _planned(
        self, case: _Case, by_id: Mapping[str, Consumer], names: Names, *, written: bool
    ) -> tuple[Wanted, list[Step]]:
        target = case.wanted
        first = target.id not in by_id
        if target.present and (case.claims or first):
            target = claim(self._config, target, names, first=first, declared=self._declared)
        present = by_id.get(target.id)
        self._leave_declared(present)
        return target, plan(target, present, written=written)

    def _leave_declared(self, present: Consumer | None) -> None:
        if present and present.declared:
            raise taken(
                self._config, "username", present.username, present, first=False, declared=True
            )

    def _case(self, change: UserChange, moment: datetime | None = None) -> _Case:
        """Return what a user is to be.

        :param moment: When it changes; None where nothing changes.
        """
        config, before, after = self._config, change.before, change.after
        stored = KongUserRecord.stored(before.user) if before else KongUserRecord()
        if after is None:
            return _Case(change, stored, gone(config, change.id, stored.consumer_id), claims=False)
        target = wanted(
            config,
            after.user,
            (group.display_name for group in after.groups),
            consumer_id=stored.consumer_id,
            returning=stored.suspended,
        )
        inactive = target.suspended or not target.present
        changes = moment is not None and inactive != stored.suspended
        target = replace(target, revoked_at=moment if changes else stored.revoked_at)
        same = (
            before is not None
            and stored.consumer_id is not None
            and stored.username == target.username
            and names_of(config.consumer, before.user)[1] == target.custom_id
        )
        return _Case(change, stored, target, claims=target.present and not same)

    def _present(self, cases: Sequence[_Case]) -> list[Consumer]:
        """Read the users' consumers, and whoever has a name that one of them claims."""
        present = self._read(
            [case.wanted.id for case in cases], [c.wanted for c in cases if c.claims]
        )
        found = {consumer.id for consumer in present}
        removed = [
            case.wanted
            for case in cases
            if case.wanted.present and not case.claims and case.wanted.id not in found
        ]
        return present + self._read([], removed) if removed else present

    def _read(self, ids: Sequence[str], claiming: Sequence[Wanted]) -> list[Consumer]:
        return self._gateway.query(
            consumer_ids=ids,
            usernames=_with_folded(one.username for one in claiming),
            custom_ids=_with_folded(one.custom_id for one in claiming),
        ).consumers


def _with_folded(names: Iterable[str | None]) -> list[str]:
    """Return names, each with the plain form of all that look the same."""
    return list(dict.fromkeys(each for name in names if name for each in (name, fold(name))))


def _role_values(user: Resource[Any]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (attribute, str(entry.value))
        for attribute in ("roles", "entitlements")
        for entry in getattr(user, attribute, None) or ()
        if entry.value
    )


def _user_name(state: UserState | None) -> str | None:
    return getattr(state.user, "user_name", None) if state else None


@dataclass(frozen=True)
class Reapplication:
    """The steps that give Kong what it lacks of a user.

    :param consumer: The id of the consumer it is to have, or None for none.
    :param refused: Why it cannot be applied, such as a name that is another consumer's.
    """

    user: str
    consumer: str | None = None
    steps: tuple[Step, ...] = ()
    refused: SCIMException | None = None


@dataclass(frozen=True)
class _Case:
    """One user that a change affects.

    :param stored: What it shows of its consumer before the change.
    :param claims: Whether it wants a name for its consumer that it did not have.
    """

    change: UserChange
    stored: KongUserRecord
    wanted: Wanted
    claims: bool

    def is_made_again(self, present: Container[str]) -> bool:
        """Whether the user had a consumer, and somebody else deleted it.

        :param present: The ids of the consumers that are there.
        """
        had = self.stored.consumer_id is not None
        return had and self.wanted.present and self.wanted.id not in present

    def record(self, target: Wanted, *, changed: bool, moment: datetime) -> KongUserRecord | None:
        """Return what the user must show from now on, or None where it does already."""
        if self.change.after is None:
            return None
        record = KongUserRecord.of(target)
        if self.change.before is self.change.after and record == self.stored.at(None):
            return None  # the user is not written
        changed = changed or record != self.stored.at(None)
        record = record.at(moment if changed else self.stored.last_change)
        return None if record == KongUserRecord.stored(self.change.after.user) else record


def _access(wanted_: Wanted, present: Consumer | None, steps: Sequence[Step]) -> Access:
    """Return what the steps of one user do to its access."""
    targets = {target.dao: target for target in TARGETS}
    held: dict[str, str] = {}
    if present is not None:
        for target in TARGETS:
            held |= target.held(present)
    deleted = {step.id for step in steps if isinstance(step, Delete) and step.dao in targets}
    return Access(
        consumer=wanted_.id,
        added=tuple(
            targets[step.dao].group_of(step)
            for step in steps
            if isinstance(step, Upsert) and step.dao in targets
        ),
        removed=tuple(
            sorted(name for id_, name in held.items() if id_ in deleted or not wanted_.present)
        ),
        suspended=wanted_.suspended if wanted_.present else None,
    )
