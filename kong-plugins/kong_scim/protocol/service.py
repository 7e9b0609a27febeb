"""The SCIM protocol of this service: scim2-server's, with the steps that real providers need
changed.

There is no input or output in this module: :mod:`kong_scim.protocol.handler` calls the storage
between the steps.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol, Union, cast, runtime_checkable

from scim2_models import (
    BulkOperation,
    BulkRequest,
    BulkResponse,
    Context,
    Error,
    InvalidSyntaxException,
    ListResponse,
    PatchOp,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    ScimProvider,
    SearchRequest,
)
from scim2_server.bulk import BulkPlan
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Target
from scim2_server.utils import parametrize

from kong_scim.auth.errors import (
    InsufficientScopeException,
    InvalidTokenException,
    WrongAddressException,
)
from kong_scim.directory.directory import Page
from kong_scim.directory.documents import Found
from kong_scim.directory.kinds import Kind
from kong_scim.protocol import references
from kong_scim.protocol.answers import TextResponse, page_text
from kong_scim.protocol.bulk import CircularPlan, failure_of_operation, lenient_bulk
from kong_scim.protocol.errors import bounded
from kong_scim.protocol.parameters import MAX_INDEX, choose, has_choices, parameter, refuse_both
from kong_scim.protocol.payloads import PayloadService
from kong_scim.protocol.rights import authorize
from kong_scim.protocol.search_shapes import Alike, Shapes
from kong_scim.protocol.wording import detail_of, in_our_words, validated

log = logging.getLogger(__name__)


@runtime_checkable
class SecretStorage(Protocol):
    """A storage that keeps secrets for all nodes."""

    def secret(self, name: str) -> bytes:
        """Return the secret of this name, which is the same at every node."""


class KongScimService(PayloadService):
    """The SCIM protocol, lenient towards requests of real providers, and strict in its answers.

    :param tenant: The tenant, for whom cursors are sealed and requests are counted.
    :param failures: Returns the SCIM error of a failure of the storage, or None for a defect.
    """

    def __init__(
        self,
        provider: ScimProvider,
        *,
        tenant: str,
        max_operations: int,
        failures: Callable[[Exception], SCIMException | None] = lambda _: None,
    ) -> None:
        # The secret of cursors is random until :meth:`share_cursors` gets the one of all nodes.
        super().__init__(provider, tenant=tenant, max_operations=max_operations)
        self._cursors_are_shared = False
        self._failures = failures
        self._shapes = self._make_shapes()
        # pydantic has only weak references to the classes of generic messages. Without these, each
        # would be built again, in 10 ms, after a garbage collection.
        every = self._every_model()
        self._messages = [
            *(parametrize(each, every) for each in (BulkRequest, BulkResponse, SearchRequest)),
            *(
                parametrize(each, model)
                for each in (PatchOp, SearchRequest, ResponseParameters)
                for model in self.get_models()
            ),
        ]

    def _every_model(self) -> Any:
        return Union[tuple(self.get_models())]  # noqa: UP007 - the form scim2-server asks for

    def share_cursors(self, request: ScimRequest, storage: object) -> None:
        """Make every node accept the cursors of every other node, also after a restart.

        Cursors are sealed with a random secret of the tenant. It is read at the first request with
        a cursor.
        """
        if self._cursors_are_shared or not isinstance(storage, SecretStorage):
            return
        searches = request.path.endswith("/.search") and b"cursor" in request.body.lower()
        if searches or "cursor" in request.query:
            secret = hmac.digest(storage.secret("cursors"), self._tenant.encode(), "sha256")
            self._cursors = self._build_cursors(secret)
            self._cursors_are_shared = True

    # -- Routes ---------------------------------------------------------

    def authorize(self, request: ScimRequest, target: Target, resource_type: ResourceType) -> None:
        """Check the caller's scopes for an operation (:mod:`kong_scim.protocol.rights`)."""
        endpoint = self.endpoint_of(resource_type)
        authorize(request.subject, target, name=str(resource_type.name), endpoint=endpoint)

    # -- Bulk -----------------------------------------------------------

    def read_bulk(self, body: bytes, content_type: str | None) -> BulkPlan:
        """Validate a bulk request, and normalise each operation like a single request."""
        self.ensure_bulk_payload_size(len(body))
        payload, failures = lenient_bulk(
            self.provider, self.decode_body(body, content_type), self.max_operations
        )
        request = validated(
            parametrize(BulkRequest, self._every_model()), payload, Context.BULK_REQUEST
        )
        operations = cast(list[BulkOperation[Resource[Any]]], request.operations or [])
        for index, operation in enumerate(operations):
            if index not in failures and isinstance(operation.response, Error):
                failures[index] = failure_of_operation(self.provider, operation, payload, index)
        for index, exception in failures.items():
            error = self.error_of(exception)
            operations[index] = operations[index].model_copy(
                update={"status": error.status, "response": error, "data": None}
            )
        return CircularPlan(operations, request.fail_on_errors)

    # -- Search ---------------------------------------------------------

    def alike(self, kind: Kind, query: Mapping[str, str]) -> Alike | None:
        """Return a search in terms of its shape, or None if it must be read as a whole."""
        return self._shapes.of(kind, query)

    def _make_shapes(self) -> Shapes:
        def read(kind: Kind, query: Mapping[str, Any]) -> SearchRequest[Any]:
            with self.provider:
                return self.read_search([self.resource_type_at(kind.endpoint)], query)[0]

        pages = SearchRequest[Any]()
        self._bound_count(pages)
        largest = SearchRequest[Any](count=MAX_INDEX)
        self._bound_count(largest)
        return Shapes(read, default=int(pages.count or 0), most=int(largest.count or 0))

    def read_search(
        self, resource_types: list[ResourceType], payload: Any
    ) -> tuple[SearchRequest[Any], Any]:
        """Read the parameters of a search.

        Empty parameters are ignored, except a cursor (RFC 9865 §2), and a filter, which is refused
        because it would find everybody.
        """
        models = self.search_models(resource_types)
        parameters = {
            name: parameter(models, name, value)
            for name, value in payload.items()
            if value is not None and (value not in ("", []) or name.lower() in ("cursor", "filter"))
        }
        refuse_both(parameters)
        try:
            return super().read_search(resource_types, parameters)
        except SCIMException as exception:
            raise in_our_words(exception) from None

    def read_response_parameters(
        self, resource_type: ResourceType, query: Mapping[str, str]
    ) -> ResponseParameters[Any]:
        """Read ``attributes`` and ``excludedAttributes``, which may have a bounded length."""
        models = [self.get_model(resource_type)]
        read = {
            name: parameter(models, name, query[name])
            for name in ("attributes", "excludedAttributes")
            if name in query
        }
        refuse_both(read)
        try:
            return super().read_response_parameters(resource_type, read)
        except SCIMException as exception:
            raise in_our_words(exception) from None

    def requested_attributes(
        self, resource_type: ResourceType, query: Mapping[str, str]
    ) -> ResponseParameters[Any] | None:
        """Return the attributes that a client requests of a resource; None for the default."""
        if not query.get("attributes") and not query.get("excludedAttributes"):
            return None
        with self.provider:
            return self.read_response_parameters(resource_type, query)

    # -- Answers --------------------------------------------------------

    def publish(self, base_url: str, resource: Resource[Any]) -> Resource[Any]:
        """Return a stored resource in the form for the client.

        scim2-server would make a deep copy first, but a storage returns a copy already.
        """
        assert resource.meta is not None  # noqa: S101 - a rule of ScimStorage, as the next
        assert resource.id is not None  # noqa: S101
        location = self.resource_location(
            base_url, self.get_resource_type_of(resource), resource.id
        )
        meta = resource.meta.model_copy(update={"location": location})
        published = resource.model_copy(update={"meta": meta})
        choose(published)
        self._publish_references(base_url, published)
        return published

    def reference_location(self, base_url: str, reference: str) -> str:
        """Return the URL of a stored reference, with which a filter's value is compared."""
        if references.is_absolute(reference):
            return reference
        return f"{base_url.rstrip('/')}/{reference}"

    def model_response(
        self,
        base_url: str,
        found: Found,
        parameters: ResponseParameters[Any] | None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> ScimResponse:
        """Return the response with a resource, of which entries of lists may be chosen."""
        with self.provider:
            resource = self.publish(base_url, found.model())
            response = self.resource_response(
                resource, Context.RESOURCE_QUERY_RESPONSE, parameters, status
            )
        if status == HTTPStatus.CREATED:
            response.headers["Location"] = response.headers["Content-Location"]
        return response

    def page_response(
        self,
        base_url: str,
        resource_types: list[ResourceType],
        page: Page,
        search_request: SearchRequest[Any],
        *,
        start: int | None = None,
    ) -> ScimResponse:
        """Return a page of a search (RFC 7644 §3.4.2, RFC 9865 §2).

        :param start: The index of its first resource, if it is not in the request.
        """
        by_cursor = search_request.cursor is not None
        more: dict[str, Any] = {"totalResults": page.total}
        if not by_cursor:
            more["startIndex"] = start or search_request.start_index
        elif search_request.count != 0:
            for name, position in (("nextCursor", page.next), ("previousCursor", page.previous)):
                cursor = self._seal(resource_types, search_request, position)
                if cursor is not None:
                    more[name] = cursor
        if not has_choices() and all(found.kind.role is not None for found in page.found):
            return TextResponse(
                HTTPStatus.OK, page_text(page.found, base_url, search_request, more), {}
            )
        resources = [
            self.publish(base_url, found.model()).model_dump(
                scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=search_request
            )
            for found in page.found
        ]
        message = {"schemas": [str(ListResponse.__schema__)], "itemsPerPage": len(resources)}
        return ScimResponse(HTTPStatus.OK, {**message, **more, "Resources": resources})

    # -- Errors ---------------------------------------------------------

    def scim_exception_of(self, exception: Exception) -> SCIMException | None:
        """Return the SCIM error of a failure, or None for a defect of this service."""
        if isinstance(exception, SCIMException):
            return exception
        if isinstance(exception, RecursionError):
            # The limits should prevent this.
            return InvalidSyntaxException(detail="The request nests too deeply")
        return self._failures(exception)

    def error_of(self, exception: Exception) -> Error:  # type: ignore[override]
        """Return the SCIM error of any exception. A defect is logged, and its error has no
        detail."""
        known = self.scim_exception_of(exception)
        if known is None:
            log.error("A defect of this service", exc_info=exception)
            return Error(status=500, detail="Internal server error")
        return bounded(known.to_error().model_copy(update={"detail": detail_of(known)}))

    def error_response(self, exception: Exception) -> ScimResponse:
        """Return the answer to a failed request, with the headers that its status needs."""
        known = self.scim_exception_of(exception)
        response = super().error_response(known or exception)
        if isinstance(known, InsufficientScopeException | WrongAddressException):
            response.headers["WWW-Authenticate"] = self.www_authenticate(known) or "Bearer"
        retry_after = getattr(known, "retry_after", None)
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        return response

    def www_authenticate(self, exception: SCIMException) -> str | None:
        """Return the challenge of a 401, or of a 403 that a token caused (RFC 6750 §3)."""
        challenge = super().www_authenticate(exception)
        if challenge and isinstance(exception, InvalidTokenException):
            described = exception.description
            more = f', error_description="{described}"' if described else ""
            return f'{challenge}, error="invalid_token"{more}'
        if challenge and isinstance(exception, InsufficientScopeException):
            return f'{challenge}, error="insufficient_scope", scope="{exception.scope}"'
        return challenge
