"""The authenticator finds out who calls, before anything of a request is read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from scim2_models import ForbiddenException, UnauthorizedException

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
"""Names of credentials that are remembered for one tenant, since JWTs name clients that no
configuration lists. The one that was not used for longest is forgotten first."""


class Uses:
    """Remembers when credentials were last accepted, by tenant and the name of the credentials."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, datetime]] = {}

    def note(self, tenant: str, name: str) -> None:
        """Remember that these credentials were accepted just now."""
        with self._lock:
            names = self._latest.setdefault(tenant, {})
            names.pop(name, None)  # so that the last one stands last
            names[name] = self._now()
            if len(names) > MOST_NAMES:
                del names[next(iter(names))]

    def of(self, tenant: str) -> dict[str, datetime]:
        """Return what is known of a tenant."""
        with self._lock:
            return dict(self._latest.get(tenant, {}))


USES = Uses()
"""Those of the process: Kong's timer and its requests have instances of the plugin of their own."""


@dataclass(frozen=True)
class Caller:
    """The parts of a request that say who sent it.

    :param secrets: Live values by vault reference.
    :param consumer: The one that Kong authenticated, or None.
    """

    authorization: str | None
    client_ip: str
    secrets: Mapping[str, str | None]
    consumer: KongCaller | None = None


class Authenticator:
    """Finds out who calls, or refuses the request.

    :param references: The vault reference of each token that has one, by the token's name.
    :param rate_limits: Shared by every instance of the plugin in this process.
    :param uses: The same.
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
        """The vault references whose live values :meth:`admit` wants."""
        return self._tokens.secrets

    @property
    def trusts_kong(self) -> bool:
        """Whether :meth:`admit` wants the consumer that Kong authenticated."""
        return self._config.auth == "kong"

    def admit(self, caller: Caller) -> Identity:
        """Return who calls.

        :raises ~scim2_models.SCIMException: 401 without right credentials, 403 for right ones that
            do not count here, 429 after too many wrong ones or too many requests, 503 when an
            issuer's keys cannot be had.
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
        """Return when this process last let which credentials of the tenant in."""
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
        scheme, _, given = caller.authorization.strip().partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        # Right ones pass whatever others do, who may share the provider's address: credentials are
        # compared first, and only wrong ones are counted and refused.
        try:
            return self._identified(given, caller)
        except InvalidTokenException as refusal:
            if refusal.description is None:  # else they are known, and no guess
                source = (self._config.tenant, network_of(caller.client_ip))
                self._refuse_while_blocked(source)
                self._count(source, caller.client_ip)
            raise

    def _identified(self, given: str, caller: Caller) -> Identity:
        found = self._tokens.find(given, caller.secrets, caller.client_ip)
        if found is None and self._jwt is not None and self._jwt.looks_like_one(given):
            found = self._jwt.verify(given)
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
