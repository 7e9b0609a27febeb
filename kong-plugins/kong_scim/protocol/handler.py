"""Serves a SCIM request: it calls the steps of the service and of the storage in turn."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from scim2_models import BulkOperation, PatchOp, Path, Resource, ResourceType, ResponseParameters
from scim2_server.bulk import BulkPlan, BulkStep
from scim2_server.conditions import Conditions
from scim2_server.errors import MethodNotAllowedException
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation as Route
from scim2_server.utils import parametrize

from kong_scim.auth.scopes import BULK, require
from kong_scim.directory.ports import Conflict, Operation
from kong_scim.directory.retries import retried
from kong_scim.protocol import references
from kong_scim.protocol.bulk import CircularPlan, JoinStep
from kong_scim.protocol.errors import ServiceUnavailableException
from kong_scim.protocol.members import split_members
from kong_scim.protocol.parameters import choosing
from kong_scim.protocol.service import KongScimService

T = TypeVar("T")


@runtime_checkable
class ProvisioningStorage(Protocol):
    """A storage with the functions that the directory has beyond scim2-server's."""

    def update(
        self,
        resource_type: ResourceType,
        resource: Resource[Any],
        *,
        expected_version: str | None = None,
        operation: Operation = "replace",
    ) -> Resource[Any]:
        """Replace a resource, and say in the outbox that the client asked for ``operation``."""

    def refresh(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        operation: Operation = "replace",
    ) -> Resource[Any] | None:
        """Do again what a resource entails elsewhere, and return it where it is another then."""

    def patch_members(
        self,
        resource_type: ResourceType,
        group_id: str,
        *,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        patch: Callable[[Resource[Any]], Resource[Any] | None] | None = None,
        expected_version: str | None = None,
    ) -> Resource[Any]:
        """Add and remove members and apply ``patch``; return the group without its members."""


class KongScimHandler(ScimHandler):
    """scim2-server's handler, for a storage that many clients write to at once."""

    def handle(self, request: ScimRequest) -> ScimResponse:
        """Serve a request; HEAD is a GET whose body the gateway leaves out (RFC 9110 §9.3.2)."""
        if request.method == "OPTIONS":
            return self.options(request)
        if request.method == "HEAD":
            request = replace(request, method="GET")
        serve = super().handle
        with references.below(request.base_url), choosing():
            return _retried(lambda: serve(request))

    def create(self, request: ScimRequest) -> ScimResponse:
        """Create a resource, and answer with the attributes asked for (RFC 7644 §3.9).

        scim2-server has no parameters for the answer to a creation.
        """
        service = self.service
        assert isinstance(service, KongScimService)  # noqa: S101 - Plugin makes them
        with service.provider:
            target = service.route(request, Route.create)
            resource_type = service.resource_type_at(str(target.endpoint))
            service.authorize(request, target, resource_type)
            parameters = service.read_response_parameters(resource_type, request.query)
            resource = service.read_creation(
                resource_type, request.body, request.header("Content-Type")
            )
            with self.storage.operation():
                created = self.storage.create(resource_type, resource)
            return service.creation_response(request.base_url, created, parameters)

    def options(self, request: ScimRequest) -> ScimResponse:
        """Answer with the methods of an endpoint (RFC 9110 §9.3.7).

        :raises ~scim2_models.NotFoundException: When there is no such endpoint.
        """
        allowed: list[str] = []
        try:
            self.service.match(request)
        except MethodNotAllowedException as exception:
            allowed = exception.allowed
        return ScimResponse(HTTPStatus.NO_CONTENT, None, {"Allow": ", ".join(allowed)})

    def bulk(self, request: ScimRequest) -> ScimResponse:
        """Serve a bulk request, for who may send one; each operation has its own answer.

        :raises ~kong_scim.auth.errors.InsufficientScopeException: Before its body is read.
        """
        require(request.subject, BULK)
        return super().bulk(request)

    def patch(self, request: ScimRequest) -> ScimResponse:
        """Serve a PATCH; where attributes of a group are asked for, they are read after it."""
        response = super().patch(request)
        endpoint = self.service.match(request).endpoint or ""
        if response.body is None or not self._patches_members(endpoint):
            return response
        return self.query(replace(request, method="GET", headers={}))

    def patch_resource(
        self,
        resource_type: ResourceType,
        resource_id: str,
        patch_op: PatchOp[Any],
        conditions: Conditions,
    ) -> Resource[Any]:
        """Apply a PATCH; of a group, only the members it names are read and written."""
        model = self.service.get_model(resource_type)
        split = None
        if self._patches_members(self.service.endpoint_of(resource_type)):
            split = split_members(model, patch_op)
        if split is None:
            return self._patch_whole(resource_type, resource_id, patch_op, conditions)
        changes, others = split

        def change(group: Resource[Any]) -> Resource[Any] | None:
            rest = patch_op.model_copy(update={"operations": others})
            return self.service.apply_patch(group, rest, Conditions())

        version = None
        if conditions.if_match or conditions.if_none_match:
            bare = parametrize(ResponseParameters, model)(excluded_attributes=[Path("members")])
            current = self.storage.get(resource_type, resource_id, response_parameters=bare)
            self.service.check_preconditions(current, "PATCH", conditions)
            assert current.meta is not None  # noqa: S101 - a rule of ScimStorage
            version = current.meta.version
        try:
            return cast(ProvisioningStorage, self.storage).patch_members(
                resource_type,
                resource_id,
                add=list(changes.add),
                remove=list(changes.remove),
                patch=change if others else None,
                expected_version=version,
            )
        except Conflict:
            if version is not None:
                raise
            raise overtaken() from None  # the storage has tried often enough

    def _patch_whole(
        self,
        resource_type: ResourceType,
        resource_id: str,
        patch_op: PatchOp[Any],
        conditions: Conditions,
    ) -> Resource[Any]:
        current = self.storage.get(resource_type, resource_id)
        assert current.meta is not None  # noqa: S101 - a rule of ScimStorage
        version = current.meta.version
        patched = self.service.apply_patch(current, patch_op, conditions)
        if patched is None:
            return self._as_it_is(resource_type, current, "patch")
        if isinstance(self.storage, ProvisioningStorage):
            return self.storage.update(
                resource_type, patched, expected_version=version, operation="patch"
            )
        return self.storage.update(resource_type, patched, expected_version=version)

    def replace_resource(
        self,
        resource_type: ResourceType,
        current: Resource[Any],
        replacement: Resource[Any],
        conditions: Conditions,
    ) -> Resource[Any]:
        """Apply a PUT."""
        replaced = super().replace_resource(resource_type, current, replacement, conditions)
        if replaced is current:
            return self._as_it_is(resource_type, current, "replace")
        return replaced

    def _as_it_is(
        self, resource_type: ResourceType, current: Resource[Any], operation: Operation
    ) -> Resource[Any]:
        """Answer a write that changes nothing.

        A provider that sends everything again wants it to be so: a consumer that somebody removed
        comes back, and a disabled user loses a key that somebody gave it meanwhile.
        """
        if isinstance(self.storage, ProvisioningStorage):
            again = self.storage.refresh(resource_type, str(current.id), operation=operation)
            return current if again is None else again
        return current

    def _patches_members(self, endpoint: str) -> bool:
        return endpoint.casefold() == "groups" and isinstance(self.storage, ProvisioningStorage)

    def run_bulk_step(
        self, request: ScimRequest, plan: BulkPlan, step: BulkStep
    ) -> tuple[dict[str, Any], Resource[Any] | None]:
        """Apply one step of a bulk request; the last ones close circles of groups."""
        if not isinstance(step, JoinStep) or not isinstance(plan, CircularPlan):
            return super().run_bulk_step(request, plan, step)
        outcome = dict(plan.results[step.index])
        operation = plan.operation(step)
        group = plan.created.get(str(operation.bulk_id))
        if group is None:
            return outcome, None  # which says already that it was not created
        try:
            resource_type = self.service.get_resource_type_of(group)
            model = self.service.get_model(resource_type)
            members = [{"value": each} for each in plan.ids_of(step)]
            add = {"op": "add", "path": "members", "value": members}
            patch_op = parametrize(PatchOp, model).model_validate({"Operations": [add]})
            joined = _retried(
                lambda: self.patch_resource(resource_type, str(group.id), patch_op, Conditions())
            )
        except Exception as exception:
            return self.service.bulk_failure(outcome, exception), None
        return self.service.bulk_success(request.base_url, operation, outcome, joined), joined

    def apply_bulk_operation(
        self, resource_type: ResourceType, operation: BulkOperation[Resource[Any]]
    ) -> Resource[Any] | None:
        """Apply one operation of a bulk request, in a commit of its own."""

        apply = super().apply_bulk_operation
        if operation.method != BulkOperation.Method.put or operation.data is None:
            return _retried(lambda: apply(resource_type, operation))
        # A PUT writes what it keeps into its data: each attempt starts from what was sent.
        model, sent = type(operation.data), operation.data.model_dump()

        def attempt() -> Resource[Any] | None:
            data = model.model_validate(sent)
            return apply(resource_type, operation.model_copy(update={"data": data}))

        return _retried(attempt)


def _retried(attempt: Callable[[], T]) -> T:
    """Run a request again from its first read when others wrote between that and its commit.

    With If-Match the next attempt finds the other version, and answers 412 (RFC 7644 §3.14).

    :raises ServiceUnavailableException: When it keeps being overtaken.
    """
    try:
        return retried(attempt)
    except Conflict:
        raise overtaken() from None


def overtaken() -> ServiceUnavailableException:
    """Return the error of a write that others kept overtaking."""
    return ServiceUnavailableException(
        detail="Others keep changing the same resource; nothing was written, send the request again"
    )
