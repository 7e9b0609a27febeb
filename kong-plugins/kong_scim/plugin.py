"""One instance of the plugin: configuration in, requests in, answers out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from scim2_models import (
    ForbiddenException,
    NotImplementedException,
    PayloadTooLargeException,
    SCIMException,
)
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from kong_scim import __version__, cpu
from kong_scim.access.door import Caller, Door
from kong_scim.access.scopes import Identity
from kong_scim.bridge import Bridge, BridgeError, BridgeUnavailableError, Host, Opening, Waking
from kong_scim.config import ConfigurationError, event_references, parse, references
from kong_scim.cpu import CpuSpentError
from kong_scim.directory.local import BusyError, StoreError
from kong_scim.endpoints import KEYS, Endpoints, keys
from kong_scim.lifecycle.callers import Callers, Expiring, last_uses
from kong_scim.lifecycle.deliveries import Deliveries
from kong_scim.lifecycle.events import Origin
from kong_scim.lifecycle.trail import Trail
from kong_scim.pluginserver import context
from kong_scim.pluginserver.event import KongGoneError
from kong_scim.provisioning import Afterwards, NoDataError, Provisioning, check, mark_key
from kong_scim.scim.errors import ServiceUnavailableException, error_response
from kong_scim.scim.handler import KongScimHandler
from kong_scim.scim.openapi import description
from kong_scim.scim.requests import scim_request
from kong_scim.scim.resources import provider
from kong_scim.scim.revocations import is_revocation
from kong_scim.scim.service import KongScimService

log = logging.getLogger(__name__)

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

DRY_RUN = "Kong-SCIM-Dry-Run"
"""The header of every answer of a dry run."""


class Plugin:
    """The plugin as kong-pdk knows it: built with a configuration, called for each request.

    A configuration that cannot work does not stop the instance, because Kong would log that and go
    on without the plugin (kong-facts 5): it is logged here, and each request is answered with 503.

    :param config: As Kong hands it over, with Kong's own keys among it (kong-facts 12).
    """

    share: str | None = None
    """The tenant: its requests take its share of the plugin server's workers."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._defect: str | None = None
        try:
            self.config = parse(config)
            self.share = self.config.tenant
            # Building models takes tenths of a second: once, and not for each request.
            self.provider = provider(self.config)
            check(self.config, self.provider)
            self._door = Door(self.config, references(config))
        except ConfigurationError as error:
            self._defect = f"The plugin scim cannot work: {error}"
            log.error("%s", self._defect)  # noqa: TRY400 - no traceback: not ours
            return
        self._failures: dict[str, str | None] = {}
        self._afterwards = Afterwards(self.config, event_references(config))
        self._callers = Callers(
            [
                Expiring(token.name, token.expires, token.expiry())
                for token in self.config.tokens
                if token.expires and self.config.auth == "bearer"
            ]
        )
        self._service = KongScimService(
            self.provider,
            tenant=self.config.tenant,
            max_operations=self.config.max_operations,
            failures=_of_gateway,
        )

    def access(self, kong: Any) -> None:
        """Answer a request, whatever it is; none ever goes on to an upstream.

        :param kong: The PDK object of this request.
        """
        opened = self._open(kong)
        if isinstance(opened, ScimResponse):
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
                self._exit(kong, self._answer(kong, bridge, opening, identity))

        context.later(serve, member=identity.token, urgent=urgent)

    def _exit(self, kong: Any, response: ScimResponse) -> None:
        # Personal data: no cache but the client's own may keep it, and that one asks each time.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        if self._defect is None and self.config.dry_run:
            response.headers[DRY_RUN] = "true"
        body = "" if response.body is None else json.dumps(response.body, separators=(",", ":"))
        # Terminal: a call of the PDK after it waits for ever (kong-facts 7).
        kong.response.exit(int(response.status), body, response.headers)

    def tick(self, kong: Any) -> None:
        """Do what is to be done without a request; Kong calls this about once a second.

        :param kong: The PDK object of Kong's timer.
        """
        if self._defect is not None:
            return
        bridge = Bridge(kong)
        try:
            waking = bridge.wake(
                mark=mark_key(self.config.tenant), secrets=self._afterwards.secrets
            )
        except BridgeUnavailableError as error:
            self._tell("the tick", str(error))
            return
        provisioning = self._provisioning(bridge, waking.host)
        jobs: dict[str, Callable[[], object]] = {
            "Kong's memory": lambda: provisioning.keep_kong_applied(waking.mark),
            "tokens": lambda: self._callers.run(*provisioning.events()[:2], self._door.last_used),
            "events": lambda: self._pass_on(provisioning, waking, bridge),
        }
        if waking.observed:
            jobs["metrics"] = lambda: self._afterwards.measure(
                *provisioning.events()[:2], bridge.report
            )
        for name, job in jobs.items():
            try:
                job()
            except (BridgeError, BusyError, NoDataError, StoreError) as error:
                self._tell(name, str(error))
            else:
                self._tell(name, None)

    def _pass_on(self, provisioning: Provisioning, waking: Waking, bridge: Bridge) -> None:
        if self._afterwards.run(*provisioning.events(), waking.secrets):
            bridge.soon()

    def _tell(self, job: str, failure: str | None) -> None:
        """Log what a job of the tick fails with, once: it would be a line a second."""
        if failure == self._failures.get(job):
            return
        self._failures[job] = failure
        if failure is None:
            log.info("tenant %s: %s: all is well again", self.config.tenant, job)
        else:
            log.warning(
                "tenant %s: %s: %s; it is tried again with each tick",
                *(self.config.tenant, job, failure),
            )

    def credential(self, kong: Any) -> None:
        """Give a consumer a credential or take one away, as asked at Kong's Admin API (DB-less).

        :param kong: The PDK object of that request.
        """
        bridge = Bridge(kong)
        waking = bridge.wake()
        if self._defect is not None or waking.asked is None:
            bridge.answer(BridgeError("INTERNAL", self._defect or "nothing was asked"))
            return
        try:
            self._provisioning(bridge, waking.host).change_credential(waking.asked)
        except BridgeError as error:
            bridge.answer(error)
        except (NoDataError, StoreError) as error:
            bridge.answer(BridgeError("DATABASE", str(error)))
        else:
            bridge.answer(None)

    def _provisioning(self, bridge: Bridge, host: Host) -> Provisioning:
        return Provisioning(self.config, bridge, host, self.provider, context.data_directory())

    def _open(self, kong: Any) -> ScimResponse | tuple[Bridge, Opening, Identity]:
        """Find out what is asked and by whom; return the answer where there is one already."""
        if self._defect is not None:
            return error_response(
                ServiceUnavailableException(detail=self._defect, retry_after=None)
            )
        try:
            bridge = Bridge(kong, timeout=self.config.limits.statement_seconds)
            opening = bridge.begin(
                max_body_size=self.config.max_body_size,
                require_https=self.config.require_https,
                secrets=[*self._door.secrets, *self._afterwards.key_secrets],
                caller=self._door.trusts_kong,
            )
            context.request_id.set(opening.request.request_id)
            if opening.request.path == KEYS:  # for anybody: they are public
                return keys(opening.request, self._afterwards.issuer(opening.secrets))
            return bridge, opening, self._admit(opening)
        except Exception as exception:
            return self._service.error_response(exception)

    def _answer(
        self, kong: Any, bridge: Bridge, opening: Opening, identity: Identity
    ) -> ScimResponse:
        """Do what is asked, which may take its time: others of the tenant's wait for a worker."""
        response = self._serve(bridge, opening, identity)
        if opening.request.method in WRITES:
            kong.log.notice(_record(opening, identity, response, dry_run=self.config.dry_run))
        return response

    def _admit(self, opening: Opening) -> Identity:
        """Return who calls, before anything of the request is read.

        :raises ~scim2_models.SCIMException: 403 for plain HTTP, 413 for a large body, and as
            :meth:`Door.admit <kong_scim.access.door.Door.admit>`.
        """
        request = opening.request
        if self.config.require_https and not request.https:
            raise ForbiddenException(
                detail="Use https: this endpoint takes tokens and personal data over TLS only"
            )
        identity = self._door.admit(
            Caller(
                authorization=request.headers.get("authorization"),
                client_ip=request.client_ip,
                secrets=opening.secrets,
                consumer=opening.caller,
            )
        )
        if request.body_too_large or len(request.body) > self.config.max_body_size:
            raise PayloadTooLargeException(
                detail=f"The body is over {self.config.max_body_size} bytes: send less at once"
            )
        return identity

    def _serve(self, bridge: Bridge, opening: Opening, identity: Identity) -> ScimResponse:
        try:
            provisioning = self._provisioning(bridge, opening.host)
            origin = Origin(identity.token, opening.request.client_ip, opening.request.request_id)
            other = self._beside(opening, provisioning, identity, origin)
            if other is not None:
                return other
            request = self._scim_request(opening, identity)
            return KongScimHandler(self._service, provisioning.storage(origin)).handle(request)
        except Exception as exception:
            return self._service.error_response(exception)

    def _beside(
        self, opening: Opening, provisioning: Provisioning, identity: Identity, origin: Origin
    ) -> ScimResponse | None:
        """Return the answer to a request that is none for SCIM, or None."""
        endpoints = Endpoints(
            lambda: Trail(*provisioning.events()),
            lambda: Deliveries(*provisioning.events()[:2]),
            lambda: provisioning.quarantine(origin),
            lambda: self._listed_callers(provisioning),
            lambda: self._description(opening),
            issuer=self._afterwards.issuer(opening.secrets) if self.config.events.poll else None,
            audience=opening.request.base_url,
        )
        return endpoints.answer(opening.request, identity)

    def _listed_callers(self, provisioning: Provisioning) -> list[dict[str, Any]]:
        used = last_uses(*provisioning.events()[:2], self._door.last_used())
        listed = []
        for token in self.config.tokens if self.config.auth == "bearer" else ():
            said = token.model_dump(include={"name", "scopes", "expires", "networks"})
            listed.append({**said, "lastUsed": used.pop(token.name, None)})
        # Those of an issuer, of Kong, and of former configurations.
        others = [{"name": name, "lastUsed": at} for name, at in sorted(used.items())]
        return listed + others

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


def _of_gateway(exception: Exception) -> SCIMException | None:
    """Return what a failure of the bridge is in SCIM's terms, or None for a defect."""
    if isinstance(exception, BridgeUnavailableError | NoDataError | StoreError):
        return ServiceUnavailableException(detail=str(exception), retry_after=None)
    if isinstance(exception, KongGoneError):  # nobody reads it; the server has a line of it
        return ServiceUnavailableException(detail="Kong gave the request up")
    if isinstance(exception, CpuSpentError):
        return PayloadTooLargeException(
            detail=f"The request took more than {exception.seconds:g} s of a processor and was "
            "stopped; nothing of it was written. Send less at once, or narrow the filter"
        )
    if not isinstance(exception, BridgeError):
        return None
    if exception.name == "TIMEOUT":
        return ServiceUnavailableException(
            detail="A statement took too long in the gateway's database and was stopped "
            "(config.limits.statement_seconds); nothing was written. Send less at once, or this "
            "again when others are done",
            retry_after=5,
        )
    if exception.name == "DATABASE":
        return ServiceUnavailableException(
            # Not that nothing was written: a connection may break while COMMIT is under way.
            detail="The gateway's database does not answer; read what you wrote before you write "
            "it again",
            retry_after=5,
        )
    if exception.name == "CONFLICT":
        return ServiceUnavailableException(
            detail="Too many changes at once; nothing was written, send the request again"
        )
    if exception.name == "MARK":
        return ServiceUnavailableException(
            detail="The gateway was started or configured anew and is being given its consumers "
            "again; nothing was written, send the request again",
            retry_after=2,
        )
    if exception.name == "READ_ONLY":
        return NotImplementedException(detail=exception.message)
    return None


def _record(opening: Opening, identity: Identity, response: ScimResponse, *, dry_run: bool) -> str:
    """Return the log line of a write: who did what to which resource, and nothing about people."""
    request = opening.request
    resource = request.path.strip("/")
    if response.status >= 400:
        resource = resource.partition("/")[0]  # what is no id of ours may be anything
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
