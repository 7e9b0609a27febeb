"""Judges who gets through on a route, as Kong's authentication plugins, guard and acl do.

It judges what these plugins take from Kong's entities: the credentials and ACL groups of consumers,
and their suspension. What else may decide is a :class:`NotJudged` line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kong_scim.review.configuration import AnonymousConsumer, KongConfiguration, Plugin, Route

GUARD = "scim-bridge"
"""The plugin that refuses suspended consumers."""

CERTIFICATES = "mtls-auth"

KINDS: Mapping[str, str] = {
    CERTIFICATES: CERTIFICATES,
    "jwt": "jwt_secrets",
    "oauth2": "oauth2_credentials",
    "key-auth": "keyauth_credentials",
    "key-auth-enc": "keyauth_enc_credentials",
    "basic-auth": "basicauth_credentials",
    "hmac-auth": "hmacauth_credentials",
}
"""The kind of credential by the plugin that authenticates with it, in the order in which Kong runs
them. Certificates are no entities of Kong: everybody is taken to have one."""

_OWN_RULE = "decides by a rule of its own, and not by consumers and their credentials in Kong"

_OWN_RULES: Mapping[str, str] = {
    name: f"{name} {_OWN_RULE}"
    for name in (
        "application-registration",
        "header-cert-auth",
        "jwt-signer",
        "ldap-auth",
        "ldap-auth-advanced",
        "oauth2-introspection",
        "openid-connect",
        "saml",
        "upstream-oauth",
        "vault-auth",
    )
}
"""Why a route with one of these plugins is not judged."""

_SETS_GROUPS = frozenset({"ldap-auth-advanced", "openid-connect", "pre-function"})
"""Plugins that may set groups which acl takes instead of those of the consumer."""

_MAY_REFUSE: Mapping[str, str] = {
    "bot-detection": "refuses clients by their user agent",
    "ip-restriction": "refuses clients by their address",
    "post-function": "runs code, which may admit or refuse anybody",
    "pre-function": "runs code, which may admit or refuse anybody",
    "request-termination": "answers itself, so that nobody reaches the upstream",
}

_RUNS_CODE = frozenset({"post-function", "pre-function"})

_HARMLESS = frozenset(
    {
        *("acl", "acme", "ai-prompt-decorator", "ai-prompt-guard", "ai-prompt-template"),
        *("ai-proxy", "ai-request-transformer", "ai-response-transformer", "aws-lambda"),
        *("azure-functions", "correlation-id", "cors", "datadog", "file-log", "grpc-gateway"),
        *("grpc-web", "http-log", "loggly", "opentelemetry", "prometheus", "proxy-cache"),
        *("rate-limiting", "redirect", "request-size-limiting", "request-transformer"),
        *("response-ratelimiting", "response-transformer", "scim", "session"),
        *("standard-webhooks", "statsd", "syslog", "tcp-log", "udp-log", "zipkin", GUARD),
    }
)
"""Plugins of Kong that neither authenticate nor refuse somebody for who it is."""

_STREAMS = frozenset({"tcp", "tls", "tls_passthrough", "udp"})


@dataclass(frozen=True)
class Person:
    """What Kong knows of a person when it judges a request.

    :param consumer: The id of the consumer, or None without one.
    :param held: The kinds of the credentials that the consumer has.
    """

    consumer: str | None
    groups: frozenset[str] = frozenset()
    suspended: bool = False
    held: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """What becomes of a person's requests to a route.

    :param status: 200 if they pass, 401 without a credential that the route takes, or 403.
    :param by: The ACL groups that the route allows and the person has. Empty if it allows none of
        them; (None,) if it needs none.
    """

    status: int
    by: tuple[str | None, ...]


@dataclass(frozen=True)
class RouteRule:
    """Who may pass on a route.

    :param not_judged: Why nobody is judged here; None if everybody is.
    :param remarks: What may decide besides, one sentence each.
    :param required: The kinds of credentials that a request must all have.
    :param optional: Kinds of which one is enough if none is required.
    :param guarded: Whether suspended people are refused.
    :param acl: The acl plugin for consumers without one of their own; None without one.
    :param own_acl: The acl plugins of single consumers, by the consumer's id.
    :param without_credential: The status of a request without a credential that the route takes.
    """

    not_judged: str | None = None
    remarks: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    guarded: bool = False
    acl: Plugin | None = None
    own_acl: Mapping[str, Plugin | None] = field(default_factory=dict)
    without_credential: int = 401

    def judge(self, person: Person) -> Verdict:
        """Return what becomes of a person's requests with every credential that the person has."""
        acl = self.acl
        if person.consumer is not None and person.consumer in self.own_acl:
            acl = self.own_acl[person.consumer]
        by = _opened(acl, person.groups)
        if not self._authenticates(person):
            return Verdict(self.without_credential, by)
        if (person.suspended and self.guarded) or not by:
            return Verdict(403, by)
        return Verdict(200, by)

    def _authenticates(self, person: Person) -> bool:
        if person.consumer is None:
            return False
        held = person.held | {CERTIFICATES}
        return self.required <= held if self.required else bool(self.optional & held)


def rule_of(
    configuration: KongConfiguration, route: Route, anonymous: Mapping[str, AnonymousConsumer]
) -> RouteRule:
    """Return who may pass on a route.

    :param anonymous: The consumers that plugins name as ``anonymous``, by that name or id.
    """
    names = configuration.names_on(route)
    reason = _unjudged(configuration, route, names)
    if reason is not None:
        return RouteRule(reason)
    plugins = {
        name: plugin for name in KINDS if (plugin := configuration.plugin(name, route)) is not None
    }
    required = {name for name, plugin in plugins.items() if not plugin.config.get("anonymous")}
    acl = configuration.plugin("acl", route)
    remarks, status = list(_remarks(configuration, route, names, plugins)), 401
    if not required:
        # Each plugin that finds no credential sets its own anonymous consumer: the last one holds.
        name, plugin = list(plugins.items())[-1]
        nobody = str(plugin.config["anonymous"])
        if nobody in anonymous:
            status = _status_of(acl, anonymous[nobody].groups)
        else:
            status = 500
            remarks.append(f"there is no consumer {nobody}, which {name} names as anonymous")
        if status == 200:
            return RouteRule(
                f"whoever has no credential for {name} is the consumer {anonymous[nobody].name}, "
                "who gets through: anybody reaches it"
            )
    return RouteRule(
        remarks=tuple(remarks),
        required=frozenset(KINDS[name] for name in required),
        optional=frozenset(KINDS[name] for name in plugins),
        guarded=configuration.plugin(GUARD, route) is not None,
        acl=acl,
        own_acl={
            consumer: configuration.plugin("acl", route, consumer)
            for consumer in configuration.consumers_of("acl")
        },
        without_credential=status,
    )


def _unjudged(configuration: KongConfiguration, route: Route, names: Iterable[str]) -> str | None:
    """Return why a route is not judged, or None."""
    present = {name for name in names if configuration.plugin(name, route) is not None}
    service = configuration.by_id.get(route.service or "")
    if service is not None and not service.enabled:
        return "its service is disabled: Kong answers 404 to everybody"
    if "scim" in present:
        return "the plugin scim answers here, and takes tokens of its own: kong-scim token list"
    if _STREAMS.intersection(route.protocols):
        return "it passes streams, and the plugins that authenticate are for HTTP"
    for name in sorted(present & set(_OWN_RULES)):
        return _OWN_RULES[name]
    acl = configuration.plugin("acl", route)
    if acl is not None and acl.config.get("always_use_authenticated_groups"):
        for name in sorted(present & _SETS_GROUPS):
            return f"acl takes the groups that {name} sets, and not those of the consumer"
    if not present & set(KINDS):
        if "session" in present:
            return "only session authenticates: who has a session of another route is a caller"
        if acl is not None:
            return "acl is without a plugin that authenticates: Kong answers 401 to everybody"
        unknown = sorted(present - _HARMLESS - (set(_MAY_REFUSE) - _RUNS_CODE))
        if unknown:
            return f"{_and(unknown)}: not known here whether it authenticates"
        return "no plugin authenticates: anybody reaches it"
    return None


def _remarks(
    configuration: KongConfiguration,
    route: Route,
    names: Iterable[str],
    plugins: Mapping[str, Plugin],
) -> Iterable[str]:
    if route.service is None:
        yield "it has no service: Kong answers 503 to whoever gets through"
    if CERTIFICATES in plugins:
        yield f"who has a certificate for {CERTIFICATES} is not known to Kong"
    if configuration.plugin(GUARD, route) is None:
        yield f"{GUARD} is not enabled here: suspended people are not refused"
    for name in names:
        if name in _MAY_REFUSE:
            yield f"{name} {_MAY_REFUSE[name]}"
        elif name not in _HARMLESS and name not in KINDS:
            yield f"{name} is not known here, and may refuse more"
        if name in {"acl", *KINDS} and configuration.grouped_on(name, route):
            yield f"{name} has another configuration for a consumer group, which is not judged"


def _opened(acl: Plugin | None, groups: Iterable[str]) -> tuple[str | None, ...]:
    """Return the groups by which an acl plugin lets somebody pass, as :attr:`Verdict.by`."""
    if acl is None:
        return (None,)
    denied = acl.config.get("deny")
    if denied:
        return () if set(denied).intersection(groups) else (None,)
    # Kong takes an empty list of `deny` for one of `allow`, in which nobody is.
    return tuple(sorted(set(acl.config.get("allow") or ()).intersection(groups)))


def _status_of(acl: Plugin | None, groups: frozenset[str]) -> int:
    """Return what acl answers to an anonymous consumer (``kong/plugins/acl/handler.lua``)."""
    if _opened(acl, groups):
        return 200
    is_deny = acl is not None and bool(acl.config.get("deny"))
    return 403 if groups or is_deny else 401


def _and(names: list[str]) -> str:
    return " and ".join(names)
