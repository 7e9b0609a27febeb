"""A SCIM service on a database, without HTTP: for thousands of requests."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from scim2_models import ScimProvider
from scim2_server.requests import ScimRequest

from kong_scim.auth.scopes import ADMIN, Identity
from kong_scim.directory.database import Database, Scope
from kong_scim.protocol.answers import TextResponse
from kong_scim.protocol.handler import KongScimHandler
from kong_scim.protocol.requests import decoded_query
from kong_scim.protocol.service import KongScimService
from without_kong import directory_of

BASE = "https://gw.example/scim/v2"


class Served:
    """Answers requests as the plugin does.

    :param tenant: Whose resources; nobody else may use it on this database.
    """

    def __init__(self, db: Database, provider: ScimProvider, tenant: str = "served") -> None:
        self.service = KongScimService(provider, tenant=tenant, max_operations=100)
        directory = directory_of(db, Scope("default", tenant), provider)
        self.handler = KongScimHandler(self.service, directory)

    def send(
        self, method: str, path: str, body: Any = None, query: str = ""
    ) -> tuple[int, dict[str, Any]]:
        request = ScimRequest(
            method=method,
            base_url=BASE,
            path=path,
            query=decoded_query(query),
            body=json.dumps(body).encode(),
            subject=Identity("test", frozenset({ADMIN})),
        )
        try:
            response = self.handler.handle(request)
        except Exception as exception:  # as the plugin does
            response = self.service.error_response(exception)
        if isinstance(response, TextResponse):
            return int(response.status), json.loads(response.text)
        return int(response.status), response.body or {}

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, created = self.send("POST", path, body)
        assert status == HTTPStatus.CREATED, created
        return created

    def found(self, endpoint: str, expression: str) -> set[str] | None:
        """Return the ids of what a filter finds, or None where it is refused."""
        status, page = self.send("POST", f"{endpoint}/.search", {"filter": expression})
        if status == HTTPStatus.BAD_REQUEST:
            assert page["scimType"] == "invalidFilter", page
            return None
        assert status == HTTPStatus.OK, page
        return {each["id"] for each in page["Resources"]}
