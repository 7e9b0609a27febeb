"""Works out the subjects of users: how the tokens of an issuer name people without a consumer.

A subject is the digest of an issuer, a claim and a value. Kong has an entity ``scim_subjects`` for
each one whose tokens are not all accepted: tokens that were issued by its ``not_before`` are
refused. The entity stays when its user is deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from scim2_models import InvalidValueException, Path, Resource
from sqlalchemy import ColumnElement, bindparam, delete, literal, literal_column, select

from kong_scim.bridge import SUBJECTS, Param, Step, Upsert
from kong_scim.config.plugin import ConfigurationError, PluginConfig
from kong_scim.config.subjects import Subject
from kong_scim.directory.database import TenantDatabase
from kong_scim.directory.ports import REFUSED, UserChange, UserState
from kong_scim.directory.statements import Statement, insert_into
from kong_scim.directory.stored_row import StoredRow
from kong_scim.directory.tables import consumer_names
from kong_scim.directory.values import utc_now
from kong_scim.sync.wanted import values_of

FOREVER = 253_402_300_799
"""The last second of the year 9999: ``not_before`` of somebody whose tokens are all refused."""

MOST = 64
"""The most subjects of one user."""

_KIND = "subject"
"""The kind of the names that are subjects, in the table of names."""

_MARK = "subjects "
"""The prefix of the kind of a mark."""

_SHARED = (
    "Another user has a name already by which tokens would mean this one (`subjects` of the "
    "configuration): change one of the two, or map an attribute that is unique."
)


def check_subjects(subjects: Sequence[Subject], user_model: type[Resource[Any]]) -> None:
    """Refuse subjects that no user of this model can have.

    :raises ConfigurationError: For an attribute that the model does not have, or that is not text.
    """
    seen: set[tuple[str, str, str]] = set()
    for index, each in enumerate(subjects):
        field = f"config.subjects.{index}"
        binding = Path(each.attribute).resolve(user_model)
        if binding is None:
            problem = f"{each.attribute!r} cannot be used: no schema of a user has this attribute"
            raise ConfigurationError(f"{field}.attribute: {problem}")
        kind = binding.target_type
        if not (isinstance(kind, type) and issubclass(kind, str)):
            problem = f"{each.attribute!r} cannot be used: the attribute is not text"
            raise ConfigurationError(f"{field}.attribute: {problem}")
        known = (each.issuer, each.claim, each.attribute)
        if known in seen:
            raise ConfigurationError(f"{field}: the same as one before it")
        seen.add(known)


def digest(issuer: str, claim: str, value: str) -> str:
    """Return the digest of a subject, as scim-bridge makes it of a token (``claims.lua``)."""
    text = f"{issuer}\0{claim}\0{value}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def subjects_of(subjects: Iterable[Subject], user: StoredRow) -> list[str]:
    """Return the digests of a user's subjects, each once."""
    found: dict[str, None] = {}
    for each in subjects:
        for value in values_of(each.attribute, user):
            named = _lower(value) if each.ignore_case else value
            found[digest(each.issuer, each.claim, named)] = None
    return list(found)


class Subjects:
    """Works out the steps on a tenant's subjects.

    :param database: The database that stores which user has which subject.
    """

    def __init__(self, config: PluginConfig, database: TenantDatabase) -> None:
        self._config = config
        self._database = database

    def claims(self, change: UserChange) -> list[Step]:
        """Return the steps by which a user claims its subjects; they fail if another one has one.

        :raises ~scim2_models.InvalidValueException: For a user with too many subjects (400).
        """
        if not self._config.subjects or change.after is None:
            return []
        wanted = self._of(change.after)
        if len(wanted) > MOST:
            raise InvalidValueException(
                detail=f"This user has {len(wanted)} names by which tokens would mean it "
                f"(`subjects` of the configuration), and {MOST} are the most: remove some."
            )
        held = self._of(change.before)
        gone = [each for each in held if each not in wanted]
        steps: list[Step] = []
        if gone:
            steps.append(self._bind(_release, change.id, gone))
        if wanted:
            steps.append(self._bind(_hold, change.id, wanted))
            guard = self._bind(_held, change.id, wanted)
            steps.append(replace(guard, label=f"{REFUSED}{_SHARED}"))
        return steps

    @property
    def mark(self) -> str:
        """The kind of the row by which a user is known to have claimed its subjects under this
        configuration."""
        text = "\n".join(each.model_dump_json() for each in self._config.subjects)
        return f"{_MARK}{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def keeps(self, user: UserState) -> list[Step]:
        """Return the steps by which an existing user claims what nobody else has and is marked, and
        the steps for what Kong must refuse of it."""
        wanted, id_ = self._of(user)[:MOST], user.row.id
        bind = self._database.bind
        steps: list[Step] = [
            bind(_FORGET_MARKS, user=id_),
            bind(_SET_MARK, user=id_, kind=self.mark),
        ]
        if not wanted:
            return steps
        steps.append(self._bind(_hold, id_, wanted))
        if not user.is_active:
            steps += self._entities(id_, wanted, FOREVER, utc_now())
        return steps

    def steps(self, change: UserChange, moment: datetime) -> list[Step]:
        """Return the steps on Kong's entities for a user that is written.

        An entity is never deleted: a token that was refused once is never accepted.

        :param moment: The time of the change, by which tokens of a user who returns are issued.
        """
        if not self._config.subjects:
            return []
        before, after = change.before, change.after
        old, new = self._of(before), self._of(after)
        if after is None or not after.is_active:
            return list(self._entities(change.id, dict.fromkeys([*old, *new]), FOREVER, moment))
        now = int(moment.timestamp())
        if before is not None and not before.is_active:
            return list(self._entities(change.id, new, now, moment))
        # Somebody may have had the name before, whose tokens must not become this user's.
        added = [each for each in new if each not in old]
        return list(self._entities(change.id, added, now, moment, if_present=True))

    def _of(self, user: UserState | None) -> list[str]:
        return subjects_of(self._config.subjects, user.row) if user else []

    def _entities(
        self,
        user: str,
        subjects: Iterable[str],
        not_before: int,
        changed_at: datetime,
        *,
        if_present: bool = False,
    ) -> Iterator[Step]:
        scope = self._database.scope
        for subject in subjects:
            entity = {
                "id": str(uuid5(NAMESPACE_URL, f"{scope.workspace} {subject}")),
                "subject": subject,
                "tenant": scope.tenant,
                "user": user,
                "not_before": not_before,
                "changed_at": int(changed_at.timestamp() * 1000),
            }
            yield Upsert(SUBJECTS, entity, if_present=if_present)

    def _bind(self, statement: Any, user: str, keys: Sequence[str]) -> Any:
        values: dict[str, Param] = {"user": user}
        values |= {f"key{index}": key for index, key in enumerate(keys)}
        return self._database.bind(statement(len(keys)), **values)


def _lower(value: str) -> str:
    return "".join(each.lower() if each.isascii() else each for each in value)


# -- Statements -----------------------------------------------------------


def _keys(count: int) -> ColumnElement[bool]:
    keys: list[Any] = [bindparam(f"key{index}") for index in range(count)]
    return (consumer_names.c.kind == literal_column(f"'{_KIND}'")) & consumer_names.c.key.in_(keys)


_OF_USER = consumer_names.c.resource_id == bindparam("user")

_FORGET_MARKS = Statement(
    delete(consumer_names).where(_OF_USER, consumer_names.c.kind.startswith(literal(_MARK)))
)

_SET_MARK = Statement(
    insert_into(consumer_names)
    .values(
        workspace=bindparam("workspace"),
        kind=bindparam("kind"),
        key=bindparam("user"),
        resource_id=bindparam("user"),
    )
    .on_conflict_do_nothing()
)


@lru_cache(maxsize=MOST + 1)
def _release(count: int) -> Statement:
    return Statement(delete(consumer_names).where(_OF_USER, _keys(count)))


@lru_cache(maxsize=MOST + 1)
def _hold(count: int) -> Statement:
    rows: list[Mapping[str, Any]] = [
        {
            "workspace": bindparam("workspace"),
            "kind": literal_column(f"'{_KIND}'"),
            "key": bindparam(f"key{index}"),
            "resource_id": bindparam("user"),
        }
        for index in range(count)
    ]
    return Statement(insert_into(consumer_names).values(rows).on_conflict_do_nothing())


@lru_cache(maxsize=MOST + 1)
def _held(count: int) -> Statement:
    """Select the subjects that the user has, which must be all: the insertion passes over those of
    other users."""
    in_workspace = consumer_names.c.workspace == bindparam("workspace")
    return Statement(
        select(consumer_names.c.key).where(in_workspace, _keys(count), _OF_USER), rows=count
    )
