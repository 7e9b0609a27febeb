"""The plugin as Kong runs it: one instance takes a configuration, and answers each request."""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from typing import Any

from kong_pdk.pdk import non_return_methods
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from kong_scim import __version__, cpu, endpoints
from kong_scim.admission import WRITES, admit, with_body
from kong_scim.auth.authenticator import Authenticator
from kong_scim.auth.scopes import ADMIN, GROUPS, Identity
from kong_scim.bridge import (
    Bridge,
    BridgeError,
    DatabaseDownError,
    Host,
    Opening,
)
from kong_scim.config.plugin import (
    ConfigurationError,
    PluginConfig,
    event_references,
    parse,
    references,
    secrets_in_clear,
)
from kong_scim.counts import Failures
from kong_scim.dbless.local_store import StoreError
from kong_scim.directory.kinds import Kinds
from kong_scim.events.credential_uses import last_uses
from kong_scim.events.outbox import Origin
from kong_scim.events.worker import EventWorker
from kong_scim.gateway_failures import scim_error_of
from kong_scim.pluginserver import context
from kong_scim.protocol.answers import TextResponse
from kong_scim.protocol.errors import ServiceUnavailableException, error_response
from kong_scim.protocol.handler import KongScimHandler
from kong_scim.protocol.openapi import description
from kong_scim.protocol.requests import scim_request
from kong_scim.protocol.resources import provider
from kong_scim.protocol.revocations import MAX_BODY, is_revocation
from kong_scim.protocol.rights import DRY_RUN, asks_for_dry_run
from kong_scim.protocol.service import KongScimService
from kong_scim.provider_log.waiting import Visit, waiting_of
from kong_scim.tenant import NoDataError, Provisioning, check
from kong_scim.tick import Tick

log = logging.getLogger(__name__)

non_return_methods.add("kong.scim.exit")  # so that kong-pdk's object does not wait for an answer

GUARD = "Kong-SCIM-Guard"
"""The header that answers have while the guard is off, where it is optional."""


class Plugin:
    """The plugin as kong-pdk knows it: it is built with a configuration, and called for each
    request.

    A configuration that cannot work does not stop the instance, because Kong would log that and go
    on without the plugin (docs/kong.md#kong-fails-open): it is logged here, and each request is
    answered with 503.

    :param config: The configuration as Kong sends it, which has keys of Kong's own
        (docs/kong.md#kong-adds-keys-to-the-configuration).
    """

    share: str | None = None
    """The tenant, whose requests use its share of the plugin server's workers."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._defect: str | None = None
        try:
            self.config = parse(config)
            self.share = self.config.tenant
            # Building the models takes tenths of a second, so it is not done for each request.
            self.provider = provider(self.config)
            self._kinds = Kinds(self.provider)
            check(self.config, self._kinds)
            self._authenticator = Authenticator(self.config, references(config))
            self._secrets_in_clear = secrets_in_clear(config)
            self._failures = Failures(self.config.tenant)
            self._event_worker = EventWorker(self.config, event_references(config), self._failures)
        except ConfigurationError as error:
            self._defect = f"The plugin scim cannot work: {error}"
            log.error("%s", self._defect)  # noqa: TRY400 - no traceback: not ours
            return
        self._tick = Tick(
            self.config,
            self._provisioning,
            self._event_worker,
            self._authenticator.last_used,
            self._failures,
        )
        self._service = KongScimService(
            self.provider,
            tenant=self.config.tenant,
            max_operations=self.config.max_operations,
            failures=scim_error_of,
        )

    def access(self, kong: Any) -> None:
        """Answer a request. No request of this route is passed on to an upstream.

        :param kong: The PDK object of this request.
        """
        visit = Visit()
        opened = self._open(kong, visit)
        if isinstance(opened, ScimResponse):
            self._note(visit, opened)
            self._exit(kong, opened)
            return
        bridge, opening, identity = opened
        request = opening.request
        urgent = is_revocation(request.method, request.path, request.body)

        def serve() -> None:
            with (
                cpu.urgent() if urgent else nullcontext(),
                cpu.allowed(self.config.limits.cpu_seconds, gives_way=not urgent),
            ):
                self._answer(kong, bridge, opening, identity, visit)

        context.later(serve, member=identity.token, urgent=urgent)

    def _exit(self, kong: Any, response: ScimResponse, line: str | None = None) -> None:
        """End the request.

        :param line: A line for Kong's log, or None.
        """
        # Answers have personal data: only the client's own cache may keep one, and must revalidate.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        if self._defect is None and self.config.dry_run:
            response.headers[DRY_RUN] = "true"
        body = ""
        if isinstance(response, TextResponse):
            body = response.text
        elif response.body is not None:
            body = json.dumps(response.body, separators=(",", ":"))
        # This must be the last call: with kong-pdk's server, a call of the PDK after it never
        # returns (docs/kong.md#the-server-of-kong-pdk-hangs).
        if line is None:
            kong.response.exit(int(response.status), body, response.headers)
        else:
            Bridge(kong).exit(int(response.status), body, response.headers, line)

    def tick(self, kong: Any) -> None:
        """Do the work that needs no request. Kong calls this about once a second.

        :param kong: The PDK object of Kong's timer.
        """
        if self._defect is None:
            self._tick.run(Bridge(kong))

    def credential(self, kong: Any) -> None:
        """Make or delete a consumer's credential for an administrator of a DB-less Kong.

        :param kong: The PDK object of that request.
        """
        bridge = Bridge(kong)
        waking = bridge.wake()
        if self._defect is not None or waking.admin_request is None:
            bridge.answer_admin_request(
                BridgeError(self._defect or "there is no request of an administrator")
            )
            return
        try:
            self._provisioning(bridge, waking.host).change_credential(waking.admin_request)
        except BridgeError as error:
            bridge.answer_admin_request(error)
        except (NoDataError, StoreError) as error:
            bridge.answer_admin_request(DatabaseDownError(str(error)))
        else:
            bridge.answer_admin_request(None)

    def _provisioning(
        self, bridge: Bridge, host: Host, config: PluginConfig | None = None
    ) -> Provisioning:
        data = context.data_directory()
        return Provisioning(config or self.config, bridge, host, self._kinds, data)

    def _note(self, visit: Visit, response: ScimResponse) -> None:
        """Keep a SCIM request for the provider log, which the tick writes."""
        request = visit.request
        if request is None or not self.config.requests.keep_days or not endpoints.is_scim(request):
            return
        keep_body = self.config.requests.keep_bodies
        entry = visit.entry(request, int(response.status), response.body, keep_body=keep_body)
        waiting_of(self.config.tenant).add(entry)

    def _open(self, kong: Any, visit: Visit) -> ScimResponse | tuple[Bridge, Opening, Identity]:
        """Read the request and authenticate its caller.

        Returns the answer if there is one already: a refusal, or the public keys.
        """
        if self._defect is not None:
            return error_response(
                ServiceUnavailableException(detail=self._defect, retry_after=None)
            )
        try:
            bridge = Bridge(kong, timeout=self.config.limits.statement_seconds)
            first_message = context.first_message()
            opening = (
                bridge.opened(first_message)
                if first_message
                else bridge.begin(
                    max_body_size=self.config.max_body_size,
                    require_https=self.config.require_https,
                    secrets=[*self._authenticator.secrets, *self._event_worker.key_secrets],
                    caller=self._authenticator.trusts_kong,
                    ahead=first_message is not None,
                )
            )
            visit.request = opening.request
            context.request_id.set(opening.request.request_id)
            if opening.request.path == endpoints.KEYS:  # public: no credentials are needed
                return endpoints.keys(opening.request, self._event_worker.issuer(opening.secrets))
            identity = admit(self.config, self._authenticator, opening)
            visit.token = identity.token
            # A small body is read now, because it decides in which queue the request waits.
            if len(opening.request.body) < opening.request.body_size <= MAX_BODY:
                with with_body(self.config, bridge, opening) as whole:
                    opening = whole
        except Exception as exception:
            return self._service.error_response(exception)
        return bridge, opening, identity

    def _answer(
        self, kong: Any, bridge: Bridge, opening: Opening, identity: Identity, visit: Visit
    ) -> None:
        """Serve the request in one of the tenant's workers. This may take seconds."""
        config = self.config
        try:
            if asks_for_dry_run(opening.request.headers, identity):
                config = config.model_copy(update={"dry_run": True})
            with with_body(self.config, bridge, opening) as whole:
                if self.config.requests.keep_bodies:
                    visit.request = whole.request
                response = self._serve(bridge, whole, identity, config)
        except Exception as exception:
            response = self._service.error_response(exception)
            self._note(visit, response)
            self._exit(kong, response)
            return
        self._note(visit, response)
        if not opening.guarded:
            response.headers[GUARD] = "off"
        if config.dry_run:
            response.headers[DRY_RUN] = "true"
        line = None
        if opening.request.method in WRITES:
            line = _log_line(opening, identity, response, dry_run=config.dry_run)
        self._exit(kong, response, line)

    def _serve(
        self, bridge: Bridge, opening: Opening, identity: Identity, config: PluginConfig
    ) -> ScimResponse:
        try:
            provisioning = self._provisioning(bridge, opening.host, config)
            origin = Origin(identity.token, opening.request.client_ip, opening.request.request_id)
            other = self._other_endpoint(opening, provisioning, identity, origin)
            if other is not None:
                return other
            request = self._scim_request(opening, identity)
            may_give_roles = not identity.scopes.isdisjoint({GROUPS, ADMIN})
            directory = provisioning.directory(origin, may_give_roles=may_give_roles)
            self._service.share_cursors(request, directory)
            return KongScimHandler(self._service, directory).handle(request)
        except Exception as exception:
            return self._service.error_response(exception)

    def _other_endpoint(
        self, opening: Opening, provisioning: Provisioning, identity: Identity, origin: Origin
    ) -> ScimResponse | None:
        """Return the answer of an endpoint that is not SCIM, or None if the request is SCIM."""
        call = endpoints.Call(
            opening.request,
            identity,
            origin,
            provisioning,
            callers=lambda: self._callers(provisioning),
            describe=lambda: self._description(opening),
            issuer=self._event_worker.issuer(opening.secrets),
            audience=self._event_worker.poll_audience,
            secrets_in_clear=self._secrets_in_clear,
        )
        return endpoints.answer(call)

    def _callers(self, provisioning: Provisioning) -> list[dict[str, Any]]:
        used = last_uses(provisioning.database(), self._authenticator.last_used())
        callers = []
        for token in self.config.tokens if self.config.auth == "bearer" else ():
            entry = token.model_dump(include={"name", "scopes", "expires", "networks"})
            callers.append({**entry, "lastUsed": used.pop(token.name, None)})
        # JWT clients, consumers of Kong, and tokens of former configurations.
        others = [{"name": name, "lastUsed": at} for name, at in sorted(used.items())]
        return callers + others

    def _description(self, opening: Opening) -> dict[str, Any]:
        base_url = self.config.base_url or opening.request.base_url
        return description(self.provider, base_url=base_url, version=__version__)

    def _scim_request(self, opening: Opening, identity: Identity) -> ScimRequest:
        request = opening.request
        return scim_request(
            method=request.method,
            base_url=self.config.base_url or request.base_url,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=request.body,
            subject=identity,
        )


def _log_line(
    opening: Opening, identity: Identity, response: ScimResponse, *, dry_run: bool
) -> str:
    """Return the log line of a write: caller, operation and resource, without personal data."""
    request = opening.request
    resource = request.path.strip("/")
    if response.status >= 400:
        resource = resource.partition("/")[0]  # the id in the path was not checked
    elif "Location" in response.headers:
        resource = "/".join(response.headers["Location"].split("/")[-2:])
    return "scim " + json.dumps(
        {
            "operation": request.method,
            "resource": resource[:80],
            "status": int(response.status),
            "token": identity.token,
            "request_id": request.request_id,
            **({"dry_run": True} if dry_run else {}),
        }
    )
