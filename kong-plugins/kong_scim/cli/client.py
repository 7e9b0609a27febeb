"""Reads and changes a tenant's data over the gateway's SCIM route, as every command does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
import httpx

from kong_scim import __version__
from kong_scim.cli.printing import failure

F = TypeVar("F", bound=Callable[..., Any])

PAGE = 200
"""Resources that are requested for one page; the gateway may return fewer."""


def gateway_options(command: F) -> F:
    """Add the options of a command that calls a gateway: its URL and its token."""
    for option in (
        click.option("--token", envvar="SCIM_TOKEN", show_envvar=True, help="Its SCIM token."),
        click.option(
            "--scim-url",
            envvar="SCIM_URL",
            show_envvar=True,
            help="SCIM base URL of the gateway, such as https://gw.example.com/scim/v2.",
        ),
    ):
        command = option(command)
    return command


def url_and_token(scim_url: str | None, token: str | None) -> tuple[str, str]:
    """Return both, which a command needs.

    :raises ~click.UsageError: Without a URL or a token.
    """
    if not scim_url or not token:
        raise click.UsageError("--scim-url and --token are needed, or SCIM_URL and SCIM_TOKEN")
    return scim_url, token


class Client:
    """Reads a tenant's resources.

    :raises ~click.UsageError: Without a URL or a token.
    """

    def __init__(self, scim_url: str | None, token: str | None) -> None:
        scim_url, token = url_and_token(scim_url, token)
        self._http = httpx.Client(
            base_url=scim_url.rstrip("/"),
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": f"kong-scim/{__version__}",  # the provider log shows who asked
            },
            timeout=60,
        )

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Send a GET request, and return the JSON body of the answer.

        :raises ~click.ClickException: When there is no answer, or its status is not 200; with the
            answer's ``detail``.
        """
        return self._answer("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a POST request, and return the JSON body of the answer; raises like :meth:`get`."""
        return self._answer("POST", path, json=body)

    def _answer(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise failure(f"{self._http.base_url}: {error}") from error
        if answer.status_code != 200:
            raise failure(f"{path}: {answer.status_code}: {_detail(answer)}")
        try:
            found: dict[str, Any] = answer.json()
        except json.JSONDecodeError as error:
            raise failure(f"{path}: this is no SCIM endpoint") from error
        return found

    def events(self, filter_: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the events that match a filter, in the order of the audit trail."""
        query: dict[str, Any] = {"sortBy": "sequence", "count": PAGE, "cursor": ""}
        if filter_ is not None:
            query["filter"] = filter_
        while True:
            page = self.get("/Events", **query)
            yield from page.get("Resources", [])
            if not page.get("nextCursor"):
                return
            query["cursor"] = page["nextCursor"]

    def deliveries(self, state: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the deliveries with a state, or all of them, in the order of their ids."""
        query: dict[str, Any] = {} if state is None else {"state": state}
        after = 0
        while True:
            page = self.get("/Events/deliveries", after=after, count=PAGE, **query)["deliveries"]
            yield from page
            if not page:
                return
            after = page[-1]["id"]

    def user_id(self, name: str) -> str:
        """Return the id of the user with a userName; if there is none, ``name`` is itself an id."""
        found = self.get("/Users", filter=f"userName eq {json.dumps(name)}", attributes="id")
        resources = found.get("Resources") or [{"id": name}]
        return str(resources[0]["id"])


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", ""))[:500]
    except (json.JSONDecodeError, AttributeError):
        return answer.reason_phrase
