"""Serves what clients ask about the service itself: its endpoints, schemas and resource types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from scim2_models import (
    Mutability,
    NotImplementedException,
    ResourceType,
    Returned,
)
from scim2_server.errors import MethodNotAllowedException
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Target, match
from scim2_server.service import DiscoveryResourceT, ScimService


@lru_cache(maxsize=256)
def _matched(method: str, path: str) -> Target:
    # Each step of a request asks for it again.
    return match(method.upper(), path)


class DiscoveryService(ScimService):
    """The routes of scim2-server, and its discovery endpoints as provisioning clients need them."""

    @staticmethod
    def match(request: ScimRequest) -> Target:
        """Return the endpoint and the operation that a request names.

        :raises MethodNotAllowedException: With the methods that the endpoint takes.
        """
        try:
            return _matched(request.method, request.path)
        except MethodNotAllowedException as exception:
            allowed = {*exception.allowed, "OPTIONS"}
            if request.path.strip("/").partition("/")[0].casefold() == "events":
                allowed -= {"PUT", "PATCH", "DELETE"}
                allowed -= set() if request.path.endswith("/.search") else {"POST"}
            if "GET" in allowed:
                allowed.add("HEAD")
            raise MethodNotAllowedException(
                detail=f"This endpoint takes {', '.join(sorted(allowed))} only", allowed=allowed
            ) from None

    def me_target(self, request: ScimRequest) -> tuple[ResourceType, str]:  # noqa: ARG002
        """Refuse ``/Me``, since a caller is a provisioning client and not a user.

        :raises NotImplementedException: Always.
        """
        raise NotImplementedException(
            detail="/Me is not served: a token of this endpoint stands for an identity provider, "
            "not for a user; ask for /Users/{id}"
        )

    def locate(  # type: ignore[override]
        self, resource: DiscoveryResourceT, location: str
    ) -> DiscoveryResourceT:
        """Return a discovery resource with its meta.

        A resource type does not list an extension that is read-only and returned only on request;
        /Schemas has it. Some clients (such as scim2-tester) write every listed extension, and
        expect it back.
        """
        located = ScimService.locate(resource, location)
        if isinstance(located, ResourceType):
            located.schema_extensions = [
                each
                for each in located.schema_extensions or ()
                if not _on_request(self.provider.model_for(str(each.schema_)))
            ] or None
        return located

    def resource_types(self, location: str, query: Mapping[str, str]) -> ScimResponse:
        """Return the list of the resource types that a client may write.

        Events are not in it, but at /ResourceTypes/Event and in /Schemas. Some clients (such as
        scim2-tester) create a resource of each listed type, and would be refused.
        """
        response = super().resource_types(location, query)
        assert response.body is not None  # noqa: S101 - a list always has one
        listed = [each for each in response.body["Resources"] if each["name"] != "Event"]
        response.body |= {
            "Resources": listed,
            "totalResults": len(listed),
            "itemsPerPage": len(listed),
        }
        return response


def _on_request(model: type[Any] | None) -> bool:
    """Tell whether all attributes of an extension are read-only and returned only on request."""
    return model is not None and all(
        model.get_field_annotation(name, Mutability) == Mutability.read_only
        and model.get_field_annotation(name, Returned) == Returned.request
        for name in model.model_fields
        if name != "schemas"
    )
