"""Works out which steps on Kong's consumers a change of the directory needs."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from scim2_models import SCIMException

from kong_scim import cpu
from kong_scim.auth.errors import InsufficientScopeException
from kong_scim.auth.scopes import GROUPS
from kong_scim.bridge import Consumer, Delete, Rows, Sql, Step, Upsert, Vacant
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory.ports import Access, Change, Outcome, UserChange, UserState
from kong_scim.directory.values import utc_now
from kong_scim.spelling import fold
from kong_scim.sync.left_groups import left_groups
from kong_scim.sync.name_conflicts import Names, by_name, claim, taken
from kong_scim.sync.names import access_groups, refuse_hidden, role_values, shown
from kong_scim.sync.ownership import Ownership
from kong_scim.sync.plan import plan, stage
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.subjects import Subjects
from kong_scim.sync.targets import TARGETS
from kong_scim.sync.wanted import Wanted, gone, names_of, wanted


class ConsumerReader(Protocol):
    """Reads consumers of Kong, such as :class:`~kong_scim.sync.gateway.ConsumersReadAhead`."""

    def query(
        self,
        *,
        consumer_ids: Sequence[str] = (),
        usernames: Sequence[str] = (),
        custom_ids: Sequence[str] = (),
    ) -> Rows:
        """Return the consumers that match, each once."""


class KongConsumerSync:
    """Works out the steps on Kong's consumers and groups for each user that a change affects.

    Kong is read once for all users, and a second time only if a consumer is missing that the user
    had. The steps lead from what Kong has, not from what was written last, to what is wanted. So
    they repair a difference that somebody else made.

    :param gateway: The gateway whose consumers are read.
    :param ownership: The names in Kong that the tenant has claimed.
    :param declared: Whether consumers that SCIM did not create belong to a declarative
        configuration, and must not be changed (a DB-less Kong).
    :param may_give_roles: Whether the caller may change roles and entitlements, which become ACL
        groups.
    """

    def __init__(
        self,
        config: PluginConfig,
        gateway: ConsumerReader,
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
        self._subjects = Subjects(config, ownership.database)
        self._may_give_roles = may_give_roles

    def of(self, change: Change) -> Outcome:
        """Return what to commit with the change.

        :raises ~scim2_models.InvalidValueException: For a name that cannot be used in Kong (400).
        :raises ~scim2_models.UniquenessException: For a name that another consumer has, or an ACL
            group that somebody else gives (409).
        :raises ~kong_scim.auth.errors.InsufficientScopeException: For roles that the caller may
            not change (403).
        :raises ~kong_scim.bridge.BridgeError: When Kong cannot be read.
        """
        claims: list[Step] = []
        if change.group_name is not None:
            claims += self._ownership.of_group(change)
        moment = self._clock()
        cases = [self._case(user, moment) for user in change.users]
        left = left_groups(self._config, change, {case.change.id: case.wanted for case in cases})
        if not cases:
            return Outcome(tuple(left), claims=tuple(claims))
        for case in cases:
            cpu.give_way()
            self._refuse_roles(case.change)
            if case.change.id == change.resource_id:
                for attribute, value in self._new_names(case, case.wanted):
                    refuse_hidden(value, f"`{attribute}`")
            if case.change.after is not None:
                claims += self._ownership.of_user(case.change.before, case.change.after)
        unread = change.names_are_free
        claims += _vacant(case.wanted for case in cases if unread)
        present = [] if unread else self._present(cases)
        by_id = {consumer.id: consumer for consumer in present}
        names = by_name(present)
        steps: list[Step] = []
        records: dict[str, dict[str, Any]] = {}
        accesses: dict[str, Access] = {}
        for case in cases:
            cpu.give_way()
            written = change.resource_id == case.change.id
            if case.is_made_again(by_id):
                # The new consumer has the same id, so old sessions would be valid for it.
                case = replace(case, wanted=replace(case.wanted, revoked_at=moment))  # noqa: PLW2901
            target, user_steps = self._plan(case, by_id, names, written=written)
            if written:
                claims += self._claim_names(case, target)
                claims += self._subjects.claims(case.change)
                steps += self._subjects.steps(case.change, moment)
            steps.extend(user_steps)
            if user_steps:
                accesses[case.change.id] = _access(target, by_id.get(target.id), user_steps)
            record = case.record(target, changed=bool(user_steps), moment=moment)
            if record is not None:
                records[case.change.id] = record.to_scim()
        lost = sum(self._lost_groups(case) for case in cases)
        if change.operation == "reconcile":
            lost = sum(len(each.removed) for each in accesses.values() if each.suspended is False)
        # Steps of one kind follow each other, so that the bridge writes them as one set.
        ordered = (*sorted(steps, key=stage), *left)
        return Outcome(ordered, records, accesses, tuple(claims), lost, unread)

    def reapply(self, users: Sequence[UserState]) -> list[Reapplication]:
        """Return the steps that apply each user to Kong again, though no user changes.

        :raises ~kong_scim.bridge.BridgeError: When Kong cannot be read.
        """
        found: list[Reapplication] = []
        cases: list[_Case] = []
        for user in users:
            try:
                cases.append(self._case(UserChange(user.row.id, user, user)))
            except SCIMException as error:
                found.append(Reapplication(user.row.id, refused=error))
        present = self._present(cases)
        by_id = {consumer.id: consumer for consumer in present}
        names = by_name(present)
        for case in cases:
            try:
                target, steps = self._plan(case, by_id, names, written=False)
            except SCIMException as error:
                found.append(Reapplication(case.change.id, refused=error))
                continue
            consumer = target.id if target.present else None
            found.append(Reapplication(case.change.id, consumer, steps=tuple(steps)))
        return found

    def _refuse_roles(self, change: UserChange) -> None:
        """Refuse a change of roles by a caller who may not change groups.

        Such a caller may remove roles of a user who is not active.
        """
        if self._may_give_roles or not self._config.roles.enabled or change.after is None:
            return
        old_roles = _role_values(change.before) if change.before else frozenset()
        new_roles = _role_values(change.after)
        if new_roles - old_roles or (old_roles - new_roles and change.after.is_active):
            raise InsufficientScopeException(GROUPS)

    def _claim_names(self, case: _Case, target: Wanted) -> list[Sql]:
        """Return the steps by which a user claims the names that it is to have."""
        before, after = case.change.before, case.change.after
        if after is None:
            return []
        ownership = self._ownership
        held = ownership.held(before, case.stored) if before else {}
        named = [f"the {name} {shown(value)}" for name, value in self._new_names(case, target)]
        names = ownership.wanted(after, target)
        return ownership.of_names(case.change.id, held, names, list(dict.fromkeys(named)))

    def _new_names(self, case: _Case, target: Wanted) -> Iterator[tuple[str, str]]:
        """Yield each attribute that gives a user or its consumer a new name, with its value."""
        before, after, mapping = case.change.before, case.change.after, self._config.consumer
        if after is None:
            return
        old_id = names_of(mapping, before.row)[1] if before else None
        for attribute, value, old in (
            ("userName", _user_name(after), _user_name(before)),
            (mapping.username, target.username, case.stored.username),
            (mapping.custom_id, target.custom_id, old_id),
        ):
            if attribute and value and value != old:
                yield attribute, value

    def _lost_groups(self, case: _Case) -> int:
        """Return how many ACL groups a user loses who stays active.

        Both states are mapped with the current configuration: a changed mapping is no loss.
        """
        before, after = case.change.before, case.change.after
        if before is None or after is None or not (before.is_active and after.is_active):
            return 0
        if before.groups == after.groups and _role_values(before) == _role_values(after):
            return 0
        try:
            held = access_groups(
                self._config, before.doc, (group.display_name for group in before.groups)
            )
        except SCIMException:  # it was stored under another mapping
            return 0
        return len(set(held).difference(case.wanted.groups))

    def _plan(
        self, case: _Case, by_id: Mapping[str, Consumer], names: Names, *, written: bool
    ) -> tuple[Wanted, list[Step]]:
        target = case.wanted
        first = target.id not in by_id
        if target.present and (case.claims or first):
            target = claim(self._config, target, names, first=first, declared=self._declared)
        present = by_id.get(target.id)
        self._refuse_declared(present)
        return target, plan(target, present, written=written)

    def _refuse_declared(self, present: Consumer | None) -> None:
        if present and present.declared:
            raise taken(
                self._config, "username", present.username, present, first=False, declared=True
            )

    def _case(self, change: UserChange, moment: datetime | None = None) -> _Case:
        """Return the case of one user, with the consumer that is wanted.

        :param moment: The time of the change; None if nothing changes.
        """
        cpu.give_way()
        config, before, after = self._config, change.before, change.after
        stored = KongUserRecord.stored(before.doc) if before else KongUserRecord()
        if after is None:
            return _Case(change, stored, gone(config, change.id, stored.consumer_id), claims=False)
        target = wanted(
            config,
            after.row,
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
            and names_of(config.consumer, before.row)[1] == target.custom_id
        )
        return _Case(change, stored, target, claims=target.present and not same)

    def _present(self, cases: Sequence[_Case]) -> list[Consumer]:
        """Read the users' consumers, and the consumers that have a name which a user claims."""
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
            usernames=with_folded(each.username for each in claiming),
            custom_ids=with_folded(each.custom_id for each in claiming),
        ).consumers


def _vacant(claiming: Iterable[Wanted]) -> Iterator[Step]:
    """Yield the step by which the commit refuses a consumer whose id or name another one has."""
    for each in claiming:
        if each.present:
            yield Vacant(
                id=(each.id,),
                username=tuple(with_folded([each.username])),
                custom_id=tuple(with_folded([each.custom_id])),
            )


def with_folded(names: Iterable[str | None]) -> list[str]:
    """Return the names and the form of each that all names share which look the same."""
    return list(dict.fromkeys(each for name in names if name for each in (name, fold(name))))


def _role_values(user: UserState) -> frozenset[tuple[str, str]]:
    return frozenset(
        [("roles", value) for value in role_values(user.doc, "roles")]
        + [("entitlements", value) for value in role_values(user.doc, "entitlements")]
    )


def _user_name(state: UserState | None) -> str | None:
    return state.doc.get("userName") if state else None


@dataclass(frozen=True)
class Reapplication:
    """The steps that apply a user to Kong again.

    :param user: The id of the user.
    :param consumer: The id of the consumer that the user should have, or None for no consumer.
    :param refused: Why it cannot be applied, such as a name that another consumer has; or None.
    """

    user: str
    consumer: str | None = None
    steps: tuple[Step, ...] = ()
    refused: SCIMException | None = None


@dataclass(frozen=True)
class _Case:
    """One user that a change affects.

    :param stored: The Kong extension of the user before the change.
    :param wanted: The consumer that the user should have after it.
    :param claims: Whether that consumer has a name which the user did not have before.
    """

    change: UserChange
    stored: KongUserRecord
    wanted: Wanted
    claims: bool

    def is_made_again(self, present: Container[str]) -> bool:
        """Whether the user had a consumer, and somebody else deleted it.

        :param present: The ids of the consumers in Kong.
        """
        had = self.stored.consumer_id is not None
        return had and self.wanted.present and self.wanted.id not in present

    def record(self, target: Wanted, *, changed: bool, moment: datetime) -> KongUserRecord | None:
        """Return the new Kong extension of the user, or None if it does not change."""
        if self.change.after is None:
            return None
        record = KongUserRecord.of(target)
        if self.change.before is self.change.after and record == self.stored.at(None):
            return None  # nothing changes, so the user gets no new version
        changed = changed or record != self.stored.at(None)
        record = record.at(moment if changed else self.stored.last_change)
        return None if record == KongUserRecord.stored(self.change.after.doc) else record


def _access(wanted_: Wanted, present: Consumer | None, steps: Sequence[Step]) -> Access:
    """Return the change of one user's access that its steps make."""
    daos = [target.dao for target in TARGETS]
    held: dict[str, str] = {}
    if present is not None:
        for target in TARGETS:
            held |= target.held(present)
    deleted = {step.id for step in steps if isinstance(step, Delete) and step.dao in daos}
    added = [
        str(step.entity["group"]) for step in steps if isinstance(step, Upsert) and step.dao in daos
    ]
    removed = {name for id_, name in held.items() if id_ in deleted or not wanted_.present}
    return Access(
        consumer=wanted_.id,
        added=tuple(dict.fromkeys(added)),  # a group may be of two targets
        removed=tuple(sorted(removed)),
        suspended=wanted_.suspended if wanted_.present else None,
    )
