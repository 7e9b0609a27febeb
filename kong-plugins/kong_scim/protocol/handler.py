"""Serves a SCIM request: it calls the steps of the service and of the directory in turn.

Resources are documents: what a client sends becomes one, and answers are made of what is stored
(:mod:`kong_scim.protocol.answers`). Only PATCH and PUT requests that are not plain, and bulk
requests, are applied to models of scim2-models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from scim2_models import (
    BulkOperation,
    PatchOp,
    Resource,
    ResourceType,
    ResponseParameters,
)
from scim2_server.bulk import BulkPlan, BulkStep
from scim2_server.conditions import Conditions
from scim2_server.errors import MethodNotAllowedException
from scim2_server.handler import ScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation, Target
from scim2_server.utils import parametrize

from kong_scim.auth.scopes import BULK, require
from kong_scim.directory.directory import Directory
from kong_scim.directory.documents import Content, Found
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import Conflict
from kong_scim.directory.retries import retried
from kong_scim.directory.storage import SqlStorage, version_is
from kong_scim.directory.users import Precondition, Rewrite
from kong_scim.protocol import references
from kong_scim.protocol.answers import resource_response
from kong_scim.protocol.bulk import CircularPlan, JoinStep
from kong_scim.protocol.errors import ServiceUnavailableException
from kong_scim.protocol.members import MemberChanges, split_members
from kong_scim.protocol.parameters import choosing, has_choices
from kong_scim.protocol.plain import PlainPatch
from kong_scim.protocol.service import KongScimService

T = TypeVar("T")


class KongScimHandler(ScimHandler):
    """scim2-server's handler, for a directory that many clients write to at once."""

    service: KongScimService

    def __init__(self, service: KongScimService, directory: Directory) -> None:
        super().__init__(service, SqlStorage(directory))
        self._directory = directory

    def handle(self, request: ScimRequest) -> ScimResponse:
        """Serve a request. HEAD is served as GET, and Kong drops the body (RFC 9110 §9.3.2)."""
        if request.method == "OPTIONS":
            return self.options(request)
        if request.method == "HEAD":
            request = replace(request, method="GET")
        operation = self.service.match(request).operation
        serve: Callable[[ScimRequest], ScimResponse] = getattr(self, operation.value)
        with references.below(request.base_url), choosing():
            return _with_retries(lambda: serve(request))

    # -- One resource -----------------------------------------------------

    def create(self, request: ScimRequest) -> ScimResponse:
        """Create a resource, and answer with the requested attributes (RFC 7644 §3.9)."""
        kind, parameters, _ = self._target(request, Operation.create)
        content = self.service.read_content(kind, request.body, request.header("Content-Type"))
        created = self._directory.create(kind, content)
        return self._resource_response(request, created, parameters, HTTPStatus.CREATED)

    def query(self, request: ScimRequest) -> ScimResponse:
        """Read a resource (RFC 7644 §3.4.1)."""
        kind, parameters, resource_id = self._target(request, Operation.query)
        found = self._directory.get(kind, resource_id, parameters)
        if not self.service.read_conditions(request).check(found.row.etag, "GET"):
            # A 304 has the ETag that a 200 would have (RFC 9110 §15.4.5).
            return ScimResponse(HTTPStatus.NOT_MODIFIED, None, {"ETag": found.row.etag})
        return self._resource_response(request, found, parameters)

    def replace(self, request: ScimRequest) -> ScimResponse:
        """Replace a resource (RFC 7644 §3.5.1)."""
        kind, parameters, resource_id = self._target(request, Operation.replace)
        content_type = request.header("Content-Type")

        def rewrite(found: Found) -> Content | None:
            replacement = self.service.read_replacement_of(kind, request.body, content_type)
            self.service.read_conditions(request).check(found.row.etag, "PUT")
            return self.service.replaced(found, replacement)

        # The conditions are checked after the body is read, so that a wrong body is 400 also then.
        replaced = self._directory.change(kind, resource_id, rewrite, "replace", version_is(None))
        return self._resource_response(request, replaced, parameters)

    def patch(self, request: ScimRequest) -> ScimResponse:
        """Change attributes of a resource (RFC 7644 §3.5.2).

        The answer of a user is the user, which Okta reads, and that of a group is 204. If the
        client requests attributes of a group, they are read after it, as the members are many. See
        docs/providers/traffic.md#answers-to-a-patch.
        """
        kind, parameters, resource_id = self._target(request, Operation.patch)
        patch = self.service.read_patch_of(kind, request.body, request.header("Content-Type"))
        patched = self._patch(kind, resource_id, patch, self.service.read_conditions(request))
        if kind.role != "Group":
            return self._resource_response(request, patched, parameters)
        if parameters is None:
            return ScimResponse(HTTPStatus.NO_CONTENT, None, {"ETag": patched.row.etag})
        return self.query(replace(request, method="GET", headers={}))

    def delete(self, request: ScimRequest) -> ScimResponse:
        """Delete a resource (RFC 7644 §3.6)."""
        kind, _, resource_id = self._target(request, Operation.delete)
        conditions = self.service.read_conditions(request)
        self._directory.delete(kind, resource_id, _precondition(conditions, "DELETE"))
        return self.service.deletion_response()

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

    def _target(
        self, request: ScimRequest, operation: Operation
    ) -> tuple[Kind, ResponseParameters[Any] | None, str]:
        """Return what a request is about, if the caller may send it: the resource type, the
        requested attributes (None for the default ones), and the id in the path."""
        service = self.service
        target: Target = service.route(request, operation)
        resource_type = service.resource_type_at(str(target.endpoint))
        service.authorize(request, target, resource_type)
        parameters = service.requested_attributes(resource_type, request.query)
        return self._directory.kinds.of(resource_type), parameters, str(target.resource_id)

    def _resource_response(
        self,
        request: ScimRequest,
        found: Found,
        parameters: ResponseParameters[Any] | None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> ScimResponse:
        if has_choices() or found.kind.role is None:
            return self.service.model_response(request.base_url, found, parameters, status)
        return resource_response(found, request.base_url, parameters, status)

    # -- PATCH --------------------------------------------------------------

    def _patch(
        self,
        kind: Kind,
        resource_id: str,
        patch: PlainPatch | PatchOp[Any],
        conditions: Conditions,
    ) -> Found:
        """Apply a PATCH. Of a group's members, only those that it names are read and written."""
        precondition = _precondition(conditions, "PATCH")
        split = self._split_members(kind, patch) if kind.role == "Group" else None
        if split is None:
            rewrite = self._rewrite(patch)
            return self._directory.change(kind, resource_id, rewrite, "patch", precondition)
        members, others = split
        conditional = conditions.if_match or conditions.if_none_match
        return self._directory.patch_group(
            kind,
            resource_id,
            add=list(members.add),
            remove=list(members.remove),
            rewrite=None if others is None else self._rewrite(others),
            precondition=precondition if conditional else None,
        )

    @staticmethod
    def _split_members(
        kind: Kind, patch: PlainPatch | PatchOp[Any]
    ) -> tuple[MemberChanges, PlainPatch | PatchOp[Any] | None] | None:
        """Return the members that a PATCH of a group adds and removes, and the rest of it if there
        is any; None if it needs the present members."""
        if isinstance(patch, PlainPatch):
            return patch.members, patch if patch.changes else None
        split = split_members(kind.model, patch)
        if split is None:
            return None
        members, others = split
        return members, patch.model_copy(update={"operations": others}) if others else None

    def _rewrite(self, patch: PlainPatch | PatchOp[Any]) -> Rewrite:
        return lambda found: self.service.patched(found, patch)

    # -- Searches -----------------------------------------------------------

    def search(self, request: ScimRequest) -> ScimResponse:
        """Search with GET (RFC 7644 §3.4.2)."""
        target = self.service.route(request, Operation.search)
        alike = self._search_alike(request, target)
        return alike or self._search(
            request, target, lambda types: self.service.read_search_query(types, request.query)
        )

    def search_with_body(self, request: ScimRequest) -> ScimResponse:
        """Search with POST (RFC 7644 §3.4.3)."""
        target = self.service.route(request, Operation.search_with_body)
        content_type = request.header("Content-Type")
        return self._search(
            request,
            target,
            lambda types: self.service.read_search_body(types, request.body, content_type),
        )

    def _search_alike(self, request: ScimRequest, target: Target) -> ScimResponse | None:
        """Serve a search of a known shape; return None for any other."""
        service = self.service
        if target.endpoint is None or not request.query.get("filter"):
            return None
        resource_type = service.resource_type_at(target.endpoint)
        kind = self._directory.kinds.of(resource_type)
        alike = service.alike(kind, request.query)
        if alike is None:
            return None
        service.authorize(request, target, resource_type)
        page = self._directory.search_alike(alike.shape, alike.values, alike.start, alike.count)
        return service.page_response(
            request.base_url, [resource_type], page, alike.shape.request, start=alike.start
        )

    def _search(
        self,
        request: ScimRequest,
        target: Target,
        read: Callable[[list[ResourceType]], tuple[Any, Any]],
    ) -> ScimResponse:
        service = self.service
        with service.provider:
            types = service.searched_types(target.endpoint)
            authorized = service.authorized_types(request, target, types)
            search_request, position = read(types)
            kinds = [self._directory.kinds.of(each) for each in authorized]
            page = self._directory.search(kinds, search_request, position=position)
            return service.page_response(request.base_url, types, page, search_request)

    # -- Bulk -----------------------------------------------------------------

    def bulk(self, request: ScimRequest) -> ScimResponse:
        """Serve a bulk request, in which each operation has its own answer.

        :raises ~kong_scim.auth.errors.InsufficientScopeException: If the caller may not send bulk
            requests; its body is not read then.
        """
        require(request.subject, BULK)
        return super().bulk(request)

    def patch_resource(
        self,
        resource_type: ResourceType,
        resource_id: str,
        patch_op: PatchOp[Any],
        conditions: Conditions,
    ) -> Resource[Any]:
        """Apply a PATCH of a bulk request."""
        kind = self._directory.kinds.of(resource_type)
        return self._patch(kind, resource_id, patch_op, conditions).model()

    def delete_resource(
        self, resource_type: ResourceType, resource_id: str, conditions: Conditions
    ) -> None:
        """Apply a DELETE of a bulk request."""
        kind = self._directory.kinds.of(resource_type)
        self._directory.delete(kind, resource_id, _precondition(conditions, "DELETE"))

    def run_bulk_step(
        self, request: ScimRequest, plan: BulkPlan, step: BulkStep
    ) -> tuple[dict[str, Any], Resource[Any] | None]:
        """Apply one step of a bulk request. The last steps add missing members to groups."""
        if not isinstance(step, JoinStep) or not isinstance(plan, CircularPlan):
            return super().run_bulk_step(request, plan, step)
        outcome = dict(plan.results[step.index])
        operation = plan.operation(step)
        group = plan.created.get(str(operation.bulk_id))
        if group is None:
            return outcome, None  # the outcome says already that the group was not created
        try:
            resource_type = self.service.get_resource_type_of(group)
            model = self.service.get_model(resource_type)
            members = [{"value": each} for each in plan.ids_of(step)]
            add = {"op": "add", "path": "members", "value": members}
            patch_op = parametrize(PatchOp, model).model_validate({"Operations": [add]})
            joined = _with_retries(
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
            return _with_retries(lambda: apply(resource_type, operation))
        # A PUT changes its data (it adds kept values), so each attempt starts from a copy.
        model, sent = type(operation.data), operation.data.model_dump()
        kind = self._directory.kinds.of(resource_type)
        precondition = _precondition(Conditions(if_match=operation.version), "PUT")

        def rewrite(found: Found) -> Content | None:
            replacement: Resource[Any] = model.model_validate(sent)  # type: ignore[assignment]
            return self.service.replaced(found, replacement)

        return _with_retries(
            lambda: self._directory.change(
                kind, str(operation.resource_id), rewrite, "replace", precondition
            ).model()
        )


def _precondition(conditions: Conditions, method: str) -> Precondition:
    """Return the check of a request's conditional headers (RFC 7644 §3.14)."""

    def check(version: str) -> None:
        conditions.check(version, method)

    return check


def _with_retries(attempt: Callable[[], T]) -> T:
    """Run a request, and again from its first read after each conflict.

    With If-Match, the next attempt finds a newer version and answers 412 (RFC 7644 §3.14).

    :raises ServiceUnavailableException: When each of :data:`ATTEMPTS` ends in a conflict.
    """
    try:
        return retried(attempt)
    except Conflict:
        raise ServiceUnavailableException(
            detail="Others keep changing the same resource; nothing was written, send the request "
            "again"
        ) from None
