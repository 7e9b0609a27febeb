"""Serves what clients ask about the service itself: its endpoints, schemas and resource types."""

from __future__ import annotations

from collections.abc import Mapping
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
from scim2_server.routing import Target
from scim2_server.service import DiscoveryResourceT, ScimService


class DiscoveryService(ScimService):
    """The routes of scim2-server, and its discovery endpoints as provisioning clients need them."""

    @staticmethod
    def match(request: ScimRequest) -> Target:
        """Return what a request asks for.

        :raises MethodNotAllowedException: Naming the methods of the endpoint.
        """
        try:
            return ScimService.match(request)
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
        """Refuse ``/Me``: the callers are provisioning clients, which are nobody's user.

        :raises NotImplementedException: Always.
        """
        raise NotImplementedException(
            detail="/Me is not served: a token of this endpoint stands for an identity provider, "
            "not for a user; ask for /Users/{id}"
        )

    def locate(  # type: ignore[override]
        self, resource: DiscoveryResourceT, location: str
    ) -> DiscoveryResourceT:
        """Return a discovery resource with its meta; of a resource type, what a client may meet.

        An extension that is only read, and only where it is asked for, is in /Schemas alone: a
        client that writes every extension a resource type lists, and wants it back, would find
        nothing (so does scim2-tester), and a strict one gets no attribute it does not expect.
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
        """Return what a client may provision.

        Events are at /ResourceTypes/Event and in /Schemas, and not in the list: a client that makes
        one of everything that is listed (scim2-tester does) would be refused.
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
    """Tell whether all of an extension is only read, and only where it is asked for."""
    return model is not None and all(
        model.get_field_annotation(name, Mutability) == Mutability.read_only
        and model.get_field_annotation(name, Returned) == Returned.request
        for name in model.model_fields
        if name != "schemas"
    )
