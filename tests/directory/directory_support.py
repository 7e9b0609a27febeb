"""A service to store for, with extensions of every SCIM type, and small helpers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Union

from scim2_models import Extension, Resource, ResourceType, Schema, ScimProvider, SearchRequest
from scim2_server.utils import parametrize

from kong_scim.bridge import Dialect, Sql, Step, StepResult
from kong_scim.directory.database import Database, Scope
from kong_scim.directory.ports import Change, ConsumerSync, Outcome
from kong_scim.protocol.extensions import schemas_directory
from kong_scim.protocol.resources import EnterpriseUser, Group, User
from without_kong import Storage, storage_of

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
KONG = "urn:ietf:params:scim:schemas:extension:kong:2.0:User"
ACME = "urn:example:scim:schemas:extension:acme:2.0:User"
TEAM = "urn:example:scim:schemas:extension:team:2.0:Group"


def _attribute(name: str, type_: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "multiValued": False, **more}


def _extension(urn: str, name: str, *attributes: dict[str, Any]) -> type[Extension]:
    return Extension.from_schema(Schema(id=urn, name=name, attributes=list(attributes)))


Acme = _extension(
    ACME,
    "Acme",
    _attribute("badge", "string", uniqueness="server"),
    _attribute("code", "string", caseExact=True),
    _attribute("level", "integer"),
    _attribute("weight", "decimal"),
    _attribute("remote", "boolean"),
    _attribute("hired", "dateTime"),
    _attribute("blob", "binary"),
    _attribute("site", "reference", referenceTypes=["external"]),
    _attribute("tags", "string", multiValued=True),
    _attribute("scores", "integer", multiValued=True),
    _attribute(
        "desk",
        "complex",
        subAttributes=[_attribute("floor", "integer"), _attribute("room", "string")],
    ),
    _attribute(
        "projects",
        "complex",
        multiValued=True,
        subAttributes=[
            _attribute("value", "string"),
            _attribute("share", "decimal"),
            _attribute("labels", "string", multiValued=True),
            _attribute("primary", "boolean"),
        ],
    ),
)
Team = _extension(TEAM, "Team", _attribute("costs", "integer"), _attribute("lead", "string"))
KongUser = Extension.from_schema(
    Schema.model_validate_json((schemas_directory() / "kong-user.json").read_text())
)


def provider_of(*models: Any) -> ScimProvider:
    """Describe a service whose resource types have these models, extensions included."""
    bare = [User, Group]
    extensions = [each for model in models for each in model.get_extension_models().values()]
    return ScimProvider(
        models=[*bare, *extensions],
        resource_types=[ResourceType.from_resource(model) for model in models],
    )


PROVIDER = provider_of(User[EnterpriseUser | KongUser | Acme], Group[Team])
USERS, GROUPS = PROVIDER.resource_types
UserModel: Any = PROVIDER.model_for(USERS)
GroupModel: Any = PROVIDER.model_for(GROUPS)


_numbers = count()


def new_id() -> str:
    """Return an id that no resource has, and that is the same in the next run."""
    return f"00000000-0000-4000-8000-{next(_numbers):012}"


def new_scope() -> Scope:
    """A tenant that nobody else uses: what the others left must not matter."""
    return Scope("default", f"tenant-{next(_numbers)}")


def ticking() -> Callable[[], datetime]:
    """Return a clock on which no two moments are the same."""
    ticks, start = count(), datetime(2026, 1, 1, tzinfo=UTC)
    return lambda: start + timedelta(seconds=next(ticks))


def storage_on(
    db: Database,
    scope: Scope | None = None,
    consumer_sync: ConsumerSync | None = None,
    provider: ScimProvider = PROVIDER,
) -> Storage:
    return storage_of(
        db, scope or new_scope(), provider, consumer_sync, clock=ticking(), new_id=new_id
    )


def user(**attributes: Any) -> Resource[Any]:
    found: Resource[Any] = UserModel.model_validate(attributes)
    return found


def group(name: str, *members: str, **attributes: Any) -> Resource[Any]:
    values = [{"value": each} for each in members]
    found: Resource[Any] = GroupModel.model_validate(
        {"displayName": name, **({"members": values} if values else {}), **attributes}
    )
    return found


def create_user(storage: Storage, name: str, /, **attributes: Any) -> str:
    return str(storage.create(USERS, user(userName=name, **attributes)).id)


def create_group(storage: Storage, name: str, *members: str) -> str:
    return str(storage.create(GROUPS, group(name, *members)).id)


def request(types: Sequence[ResourceType] = (USERS,), **parameters: Any) -> SearchRequest[Any]:
    """Build a search request as the server builds it."""
    models = tuple(PROVIDER.model_for(each) for each in types)
    built: SearchRequest[Any] = parametrize(SearchRequest, Union[models])(**parameters)  # noqa: UP007
    return built


def found(
    storage: Storage, filter_: str, types: Sequence[ResourceType] = (USERS,)
) -> list[Resource[Any]]:
    return list(storage.search(list(types), request(types, filter=filter_)).resources)


def names(storage: Storage, filter_: str) -> set[str]:
    """Return the userNames that a filter finds."""
    return {str(each.user_name) for each in found(storage, filter_)}  # type: ignore[attr-defined]


def members_of(storage: Storage, group_id: str) -> set[str]:
    return {each.value for each in storage.get(GROUPS, group_id).members or ()}  # type: ignore[attr-defined]


def groups_of(storage: Storage, user_id: str) -> dict[str, str]:
    """Return whether a user is a direct or indirect member, by the group's name."""
    groups = storage.get(USERS, user_id).groups or ()  # type: ignore[attr-defined]
    return {each.display: each.type for each in groups}


class Recorder:
    """A database that notes what is run on it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.queries: list[list[Sql]] = []
        self.commits: list[list[Step]] = []

    @property
    def dialect(self) -> Dialect:
        return self._db.dialect

    def query(
        self, statements: Sequence[Sql], *, consumers: Sequence[str] = ()
    ) -> list[list[dict[str, Any]]]:
        del consumers
        self.queries.append(list(statements))
        return self._db.query(statements)

    def commit(self, steps: Sequence[Step]) -> list[StepResult]:
        self.commits.append(list(steps))
        return self._db.commit(steps)

    def steps(self) -> tuple[int, int]:
        """Return how many queries and commits there were since the last call."""
        counted = len(self.queries), len(self.commits)
        self.queries.clear()
        self.commits.clear()
        return counted


class RecordingEffects:
    """Effects that note each change and answer what a test says."""

    def __init__(self, answer: Callable[[Change], Outcome] | None = None) -> None:
        self.changes: list[Change] = []
        self._answer = answer

    def of(self, change: Change) -> Outcome:
        self.changes.append(change)
        return self._answer(change) if self._answer else Outcome()

    def last(self) -> Change:
        return self.changes[-1]
