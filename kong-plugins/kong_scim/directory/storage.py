"""The directory as the storage of scim2-server's handler, which works with models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scim2_models import Resource, ResourceType, ResponseParameters, SearchRequest
from scim2_server.storage import ScimStorage, SearchPage

from kong_scim.directory.directory import Directory
from kong_scim.directory.documents import content
from kong_scim.directory.kinds import Kind
from kong_scim.directory.ports import Conflict, Operation


class SqlStorage(ScimStorage):
    """Reads and writes the resources of a directory as models of scim2-models.

    :param directory: The directory, which its callers may use directly too.
    """

    supports_cursors = True

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """Return a resource, as :meth:`.Directory.get`."""
        return self.directory.get(
            self._kind(resource_type), resource_id, response_parameters
        ).model()

    def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        """Return a page, as :meth:`.Directory.search`."""
        kinds = [self._kind(each) for each in resource_types]
        page = self.directory.search(kinds, search_request, position=position)
        resources = [found.model() for found in page.found]
        return SearchPage(page.total, resources, previous=page.previous, next=page.next)

    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """Store a new resource, as :meth:`.Directory.create`."""
        kind = self._kind(resource_type)
        return self.directory.create(kind, content(kind, resource)).model()

    def update(
        self,
        resource_type: ResourceType,
        resource: Resource[Any],
        *,
        expected_version: str | None = None,
        operation: Operation = "replace",
    ) -> Resource[Any]:
        """Replace a resource.

        :param operation: The client's operation that led to the new state.
        :raises Conflict: When it does not have the expected version, or changes meanwhile.
        """
        kind = self._kind(resource_type)
        new, expected = content(kind, resource), version_is(expected_version)
        return self.directory.change(
            kind, str(resource.id), lambda _: new, operation, expected
        ).model()

    def delete(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        expected_version: str | None = None,
    ) -> None:
        """Delete a resource and its memberships.

        :raises Conflict: When it does not have the expected version, or changes meanwhile.
        """
        kind = self._kind(resource_type)
        self.directory.delete(kind, resource_id, version_is(expected_version))

    def _kind(self, resource_type: ResourceType) -> Kind:
        return self.directory.kinds.of(resource_type)


def version_is(expected: str | None) -> Callable[[str], None]:
    """Return the precondition that a resource has a version.

    :param expected: The version, or None for any.
    """

    def check(version: str) -> None:
        if expected is not None and version != expected:
            raise Conflict(detail="The resource was changed by somebody else: read it again")

    return check
