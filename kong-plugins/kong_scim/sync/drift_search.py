"""Searches all users of a tenant for differences between what SCIM wants and what Kong has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from scim2_models import NotFoundException, SCIMException
from sqlalchemy import Select, bindparam, select

from kong_scim import cpu
from kong_scim.bridge import Bridge, Consumer, Dialect
from kong_scim.config.plugin import PluginConfig
from kong_scim.directory import queries
from kong_scim.directory.every_user import EveryUser
from kong_scim.directory.ports import UserState
from kong_scim.directory.statements import Statement, is_one_of_rows, json_rows
from kong_scim.directory.tables import resources
from kong_scim.sync.consumers import with_folded
from kong_scim.sync.drift import NAMING, Difference, compare, orphaned, wanted_now
from kong_scim.sync.gateway import Gateway
from kong_scim.sync.name_conflicts import by_name, claim
from kong_scim.sync.record import KongUserRecord
from kong_scim.sync.wanted import Wanted

TAGGED = 5000
"""How many consumers are looked at in one step when those without a user are searched."""

LOOKS = 3
"""How often a user is looked at that others change at the same moment. After that it is left out,
because whoever changes a user repairs its consumer."""

Stage: TypeAlias = Literal["users", "consumers"]


@dataclass(frozen=True)
class Position:
    """How far a search is: first it looks at all users, and then at all consumers of the tenant.

    :param after: The id of the last user or consumer that it looked at; empty at the beginning.
    """

    stage: Stage = "users"
    after: str = ""


@dataclass(frozen=True)
class UserDrift:
    """The differences of one user.

    :param user: The id of the user.
    :param user_name: Its userName; None if it does not exist.
    :param orphan: Its consumer, if the user does not exist.
    """

    user: str
    user_name: str | None
    differences: tuple[Difference, ...]
    orphan: Consumer | None = None

    @property
    def position(self) -> Position:
        """The position right behind it in a search."""
        if self.orphan is not None:
            return Position("consumers", self.orphan.id)
        return Position("users", self.user)

    @property
    def obstacle(self) -> str | None:
        """Why none of the differences can be mended by reconciling; None if they can."""
        return next((each.obstacle for each in self.differences if each.obstacle), None)


@dataclass(frozen=True)
class DriftPage:
    """A part of a search.

    :param users: The ids of the users that were looked at.
    :param next: Where the search goes on; None at its end.
    """

    found: list[UserDrift]
    users: list[str]
    next: Position | None


@dataclass
class _Look:
    """A user with the consumer that it should be, and the one that Kong has."""

    user: UserState
    target: Wanted
    present: Consumer | None
    differences: list[Difference]

    @property
    def drift(self) -> UserDrift:
        """The differences, in the form that is returned."""
        return _of(self.user, self.differences)


@dataclass(frozen=True)
class DriftSearch:
    """Finds the differences of a tenant.

    A user is read before its consumer, and again after it if they differ. Only if the user has
    still the same version they belong together, since each change of a user or of its groups
    raises the version in the commit that changes the consumer.

    :param gateway: Reads consumers.
    :param bridge: Reads what the gateway does not: credentials, and consumers by their tag.
    :param declared: Whether a declarative configuration may declare consumers (a DB-less Kong).
    """

    config: PluginConfig
    users: EveryUser
    gateway: Gateway
    bridge: Bridge
    declared: bool

    def page(self, position: Position, size: int) -> DriftPage:
        """Look at the next users, or consumers.

        :param size: How many users are looked at.
        """
        if position.stage == "consumers":
            return self._orphans(position.after)
        users, last = self.users.after(position.after, size)
        if last is None:
            return DriftPage([], [], Position("consumers"))
        ids = [user.row.id for user in users]
        return DriftPage(self.of_users(users), ids, Position("users", last))

    def of_user(self, user_id: str) -> list[UserDrift]:
        """Return the differences of one user, in a list that is empty if there are none.

        :raises ~scim2_models.NotFoundException: When there is neither a user nor a consumer of it.
        """
        users = self.users.some([user_id])
        if users:
            return self.of_users(users)
        left = self.gateway.query(consumer_ids=[user_id]).consumers
        found = self._without_user([(each.id, each.id) for each in left if self._is_ours(each)])
        if not found:
            raise NotFoundException(detail=f"User {user_id[:200]!r} not found")
        return found

    def of_users(self, users: Sequence[UserState]) -> list[UserDrift]:
        """Return the differences of users, in the order of their ids."""
        found: list[UserDrift] = []
        for _ in range(LOOKS):
            differing = self._look(users)
            if not differing:
                break
            versions = self._versions([user.row.id for user, _ in differing])
            changed = []
            for user, drift in differing:
                version = versions.get(user.row.id)  # None if it was deleted meanwhile
                if version == user.row.version:
                    found.append(drift)
                elif version is not None:
                    changed.append(user.row.id)
            if not changed:
                break
            users = self.users.some(changed)
        return sorted(found, key=lambda each: each.user)

    def _look(self, users: Sequence[UserState]) -> list[tuple[UserState, UserDrift]]:
        differing: list[tuple[UserState, UserDrift]] = []
        expected: list[tuple[UserState, KongUserRecord, Wanted]] = []
        for user in users:
            cpu.check()
            try:
                expected.append((user, *wanted_now(self.config, user)))
            except SCIMException as error:  # it has no consumer under this mapping
                applied = KongUserRecord.stored(user.doc).username
                cannot = Difference("mapping_changed", None, applied, str(error.detail))
                differing.append((user, _of(user, [cannot])))
        if not expected:
            return differing
        consumers = self.gateway.query(consumer_ids=[target.id for *_, target in expected])
        present = {consumer.id: consumer for consumer in consumers.consumers}
        credentials = self._credentials(target for *_, target in expected)
        looks = []
        for user, record, target in expected:
            consumer = present.get(target.id)
            found = compare(target, record, consumer, credentials.get(target.id, ()))
            if found:
                looks.append(_Look(user, target, consumer, found))
        self._note_taken_names([each for each in looks if _is_about_names(each.differences)])
        return differing + [(each.user, each.drift) for each in looks]

    def _credentials(self, targets: Iterable[Wanted]) -> Mapping[str, Collection[str]]:
        """Return the credentials of those who must not have any."""
        without = [each.id for each in targets if each.suspended and not each.keeps_credentials]
        kinds: dict[str, set[str]] = {}
        for each in self.bridge.credentials(without) if without else ():
            kinds.setdefault(each.consumer, set()).add(each.kind)
        return kinds

    def _note_taken_names(self, looks: Sequence[_Look]) -> None:
        """Find out whether another consumer has the name that is wanted."""
        if not looks:
            return
        rows = self.gateway.query(
            usernames=with_folded(each.target.username for each in looks),
            custom_ids=with_folded(each.target.custom_id for each in looks),
        )
        names = by_name(rows.consumers)
        for each in looks:
            first = each.present is None
            try:
                claim(self.config, each.target, names, first=first, declared=self.declared)
            except SCIMException as error:
                found = None if each.present is None else each.present.username
                taken = Difference("consumer_taken", each.target.username, found, str(error.detail))
                rest = [other for other in each.differences if other.kind not in NAMING]
                each.differences = [taken, *rest]

    def _versions(self, ids: Sequence[str]) -> dict[str, int]:
        statement = self.users.database.bind(
            _VERSIONS, rows=json_rows([(each,) for each in ids]), type=self.users.kind.name
        )
        (rows,) = self.users.database.query([statement])
        return {row["id"]: int(row["version"]) for row in rows}

    # -- Consumers without a user -----------------------------------------

    def _orphans(self, after: str) -> DriftPage:
        tagged = self.bridge.tagged_after(self.config.tag(), after, TAGGED)
        if not tagged:
            return DriftPage([], [], None)
        return DriftPage(self._without_user(tagged), [], Position("consumers", tagged[-1][0]))

    def _without_user(self, tagged: Sequence[tuple[str, str | None]]) -> list[UserDrift]:
        """Return those of some consumers whose user does not exist.

        :param tagged: The id of each consumer, and of the user that its tags name.
        """
        users = self._versions([user for _, user in tagged if user])
        candidates = {consumer: user for consumer, user in tagged if user not in users}
        if not candidates:
            return []
        # Who is gone by now was deleted together with the user.
        rows = self.gateway.query(consumer_ids=list(candidates))
        found = []
        for consumer in rows.consumers:
            user = candidates[consumer.id]
            if not self._is_ours(consumer):
                continue
            difference = orphaned(consumer)
            if consumer.id != user:
                difference = replace(difference, obstacle=_NOT_MADE)
            found.append(UserDrift(user or consumer.id, None, (difference,), consumer))
        return sorted(found, key=lambda each: each.position.after)

    def _is_ours(self, consumer: Consumer) -> bool:
        return self.config.tag() in consumer.tags and not consumer.declared


_NOT_MADE = (
    "SCIM did not make this consumer, but its tags say that it belongs to a user of SCIM who does "
    "not exist: remove the tags that begin with `scim`, or the consumer"
)


def _of(user: UserState, differences: Sequence[Difference]) -> UserDrift:
    return UserDrift(user.row.id, user.doc.get("userName"), tuple(differences))


def _is_about_names(differences: Iterable[Difference]) -> bool:
    return any(each.kind in NAMING and each.wanted for each in differences)


def _existing(dialect: Dialect) -> Select[Any]:
    return select(resources.c.id, resources.c.version).where(
        queries.IN_SCOPE_BY_ID,
        resources.c.type == bindparam("type"),
        is_one_of_rows(dialect, resources.c.id),
    )


_VERSIONS = Statement(_existing)
"""Selects the versions of resources of a ``type``."""
