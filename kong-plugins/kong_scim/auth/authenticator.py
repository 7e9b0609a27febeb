"""The authenticator finds out who calls, before anything of a request is read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from scim2_models import ForbiddenException, UnauthorizedException

from kong_scim import processes
from kong_scim.auth.errors import SEND_A_TOKEN, InvalidTokenException, TooManyRequestsException
from kong_scim.auth.jwt import JwtVerifier
from kong_scim.auth.rate_limit import RATE_LIMITS, RateLimits, network_of
from kong_scim.auth.scopes import Identity
from kong_scim.auth.tokens import Tokens
from kong_scim.bridge import KongCaller
from kong_scim.config.plugin import ConfigurationError, PluginConfig
from kong_scim.counts import Failures

log = logging.getLogger(__name__)

MOST_NAMES = 1000
"""Credentials whose last use is remembered for one tenant, the least recently used being dropped
first. JWTs name clients that no configuration lists, so there must be a limit."""


class Uses:
    """Remembers when credentials were last accepted, by tenant and the name of the credentials."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, datetime]] = {}

    def note(self, tenant: str, name: str) -> None:
        """Remember that the credentials of this name were accepted just now."""
        with self._lock:
            names = self._latest.setdefault(tenant, {})
            names.pop(name, None)  # keeps the names in the order of their use
            names[name] = self._now()
            if len(names) > MOST_NAMES:
                del names[next(iter(names))]

    def of(self, tenant: str) -> dict[str, datetime]:
        """Return the last uses of a tenant's credentials in all processes, by their name."""
        latest = self._of_this_process(tenant)
        for others in processes.ask_others("uses", tenant):
            for name, seconds in others.items():
                used = datetime.fromtimestamp(seconds, UTC)
                latest[name] = max(latest.get(name, used), used)
        return latest

    def timestamps(self, tenant: str) -> dict[str, float]:
        """Return the last uses in this process, in seconds since 1970, by their name."""
        return {name: at.timestamp() for name, at in self._of_this_process(tenant).items()}

    def _of_this_process(self, tenant: str) -> dict[str, datetime]:
        with self._lock:
            return dict(self._latest.get(tenant, {}))


USES = Uses()
"""The uses of this process, shared by all instances of the plugin: requests and ticks have
different ones."""

processes.offer("uses", USES.timestamps)


@dataclass(frozen=True)
class Caller:
    """The parts of a request that say who sent it.

    :param authorization: The header ``Authorization``, or None.
    :param secrets: Live values by vault reference.
    :param consumer: The consumer that Kong authenticated, or None.
    """

    authorization: str | None
    client_ip: str
    secrets: Mapping[str, str | None]
    consumer: KongCaller | None = None


class Authenticator:
    """Authenticates the caller of a request, or refuses the request.

    :param references: The vault reference of each token that has one, by the token's name.
    :param rate_limits: Shared by every instance of the plugin in this process.
    :param uses: Shared likewise.
    :raises ~kong_scim.config.plugin.ConfigurationError: When ``jwt.public_key`` is no public key.
    """

    def __init__(
        self,
        config: PluginConfig,
        references: Mapping[str, str],
        rate_limits: RateLimits = RATE_LIMITS,
        *,
        uses: Uses = USES,
    ) -> None:
        self._config = config
        self._uses = uses
        self._tokens = Tokens(config.tokens, references)
        try:
            failures = Failures(config.tenant, "they are asked for again")
            self._jwt = JwtVerifier(config.jwt, failures=failures) if config.jwt.issuer else None
        except ValueError as error:
            raise ConfigurationError(f"config.jwt.public_key: {error}") from None
        self._rate_limits = rate_limits

    @property
    def secrets(self) -> list[str]:
        """The vault references whose live values :meth:`admit` needs."""
        return self._tokens.secrets

    @property
    def trusts_kong(self) -> bool:
        """Whether :meth:`admit` needs the consumer that Kong authenticated."""
        return self._config.auth == "kong"

    def admit(self, caller: Caller) -> Identity:
        """Return the caller's identity.

        :raises ~scim2_models.SCIMException: 401 without valid credentials, 403 for valid ones that
            are not accepted here, 429 after too many wrong ones or too many requests, 503 when the
            issuer's keys cannot be fetched.
        """
        if self.trusts_kong:
            identity = self._of_consumer(caller.consumer)
        else:
            identity = self._of_credentials(caller)
        wait = self._rate_limits.over_limit(
            (self._config.tenant, identity.token), self._config.limits.requests_per_minute
        )
        if wait is not None:
            raise TooManyRequestsException(
                detail="These credentials sent too many requests: send fewer, and this one again",
                retry_after=wait,
            )
        self._uses.note(self._config.tenant, identity.token)
        return identity

    def last_used(self) -> dict[str, datetime]:
        """Return when this server last accepted each of the tenant's credentials, by name."""
        return self._uses.of(self._config.tenant)

    # -- Kong's own authentication --------------------------------------------

    def _of_consumer(self, consumer: KongCaller | None) -> Identity:
        if consumer is None or consumer.anonymous:
            raise UnauthorizedException(
                detail="Kong authenticated nobody on this route: auth is kong, so one of its "
                "authentication plugins must be on the route too"
            )
        scopes: set[str] = set()
        for group in consumer.groups:
            scopes.update(self._config.group_scopes.get(group, ()))
        if not scopes:
            raise ForbiddenException(
                detail="This consumer is in no ACL group that may use this endpoint"
            )
        return Identity(f"kong:{consumer.name}", frozenset(scopes))

    # -- Credentials of our own -----------------------------------------------

    def _of_credentials(self, caller: Caller) -> Identity:
        if not caller.authorization or not caller.authorization.strip():
            raise UnauthorizedException(detail=SEND_A_TOKEN)
        scheme, _, token = caller.authorization.strip().partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        # Credentials are compared before the limit is checked: an attacker who shares the
        # provider's address must not get its valid credentials refused.
        try:
            return self._identify(token, caller)
        except InvalidTokenException as refusal:
            if refusal.description is None:  # credentials with one are known, so not a guess
                source = (self._config.tenant, network_of(caller.client_ip))
                self._refuse_while_blocked(source)
                self._count(source, caller.client_ip)
            raise

    def _identify(self, token: str, caller: Caller) -> Identity:
        found = self._tokens.find(token, caller.secrets, caller.client_ip)
        if found is None and self._jwt is not None and self._jwt.looks_like_one(token):
            found = self._jwt.verify(token)
        if found is None:
            raise InvalidTokenException
        return found

    def _count(self, source: Hashable, client_ip: str) -> None:
        limit = self._config.limits.failed_attempts
        self._rate_limits.slow_down(self._rate_limits.failed(source, limit))
        if self._rate_limits.blocked(source, limit) is not None:
            log.warning(
                "tenant %s: %d wrong credentials within a minute from %s, which is refused for now",
                *(self._config.tenant, limit, client_ip),
            )

    def _refuse_while_blocked(self, source: Hashable) -> None:
        wait = self._rate_limits.blocked(source, self._config.limits.failed_attempts)
        if wait is not None:
            raise TooManyRequestsException(
                detail="Too many wrong credentials from this address: wait before the next try",
                retry_after=wait,
            )
