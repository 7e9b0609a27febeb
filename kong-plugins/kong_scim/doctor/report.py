"""The findings of an examination, each of which belongs to one check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

CHECKS: Mapping[str, str] = MappingProxyType(
    {
        "address": "the host has an address, and its port takes connections",
        "tls": "the certificate is trusted and lasts",
        "route": "a SCIM endpoint answers at the URL",
        "https": "Kong sees that the request came over TLS",
        "base-url": "the gateway calls itself by the URL that is used",
        "front": "no other plugin of Kong refuses the request first",
        "token": "the token is accepted",
        "scopes": "tokens may do what they are for, and no more",
        "expiry": "no token has expired, or is about to",
        "configuration": "the plugin's configuration is valid",
        "secrets": "no secret is in the configuration itself",
        "guard": "scim-bridge is enabled for every route, and runs before acl",
        "service": "the SCIM route has no service",
        "versions": "Kong, both Lua plugins and the plugin server fit together",
        "plugins": "Kong has loaded both Lua plugins",
        "plugin-server": "the plugin server answers and is not overloaded",
        "socket": "Kong may open the plugin server's socket, and nobody else",
        "database": "the database answers, and can be written",
        "migrations": "all migrations were run and finished",
        "store": "the plugin server's store of a DB-less Kong can be used",
        "memory": "a DB-less Kong has SCIM's consumers",
        "node": "this node can be written to",
        "clock": "the clocks agree",
        "body-size": "Nginx and the plugin take bodies of the size that providers send",
        "dry-run": "changes are really made",
        "quarantine": "the tenant is not in quarantine",
        "deliveries": "webhooks take the events",
        "drift": "Kong has what the provider said",
        "last-request": "the provider still sends requests",
        "requests": "the provider's requests succeed",
        "routes": "each route of an API knows who calls",
        "logs": "the logs have no known problem",
        "admin-api": "the Admin API answers",
        "provider": "the provider's first requests would succeed",
    }
)
"""What each check holds, by its name, in the order in which findings are shown."""


class State(StrEnum):
    """How a check ended, the worst first."""

    FAILED = "failed"
    WARNING = "warning"
    SKIPPED = "skipped"
    OK = "ok"


_WORST = list(State)


@dataclass(frozen=True)
class Finding:
    """What one look found about a check.

    :param found: What was found, in a sentence.
    :param mend: What mends it, in a sentence; empty if nothing is wrong.
    """

    check: str
    state: State
    found: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding in the form of ``--json``."""
        return {
            "check": self.check,
            "state": str(self.state),
            "found": self.found,
            **({"mend": self.mend} if self.mend else {}),
        }


class Report:
    """Collects findings. What was found wrong with a check replaces that it is fine or skipped.

    :ivar unreachable: Whether nothing could be looked at.
    """

    def __init__(self) -> None:
        self.unreachable = False
        self._findings: dict[str, list[Finding]] = {name: [] for name in CHECKS}

    def ok(self, check: str, found: str) -> None:
        """Note that a check is fine."""
        self._add(Finding(check, State.OK, found))

    def skip(self, check: str, why: str) -> None:
        """Note that a check could not be made."""
        self._add(Finding(check, State.SKIPPED, why))

    def skip_all(self, checks: set[str] | frozenset[str], why: str) -> None:
        """Note that some checks could not be made."""
        for check in CHECKS:
            if check in checks:
                self.skip(check, why)

    def warn(self, check: str, found: str, mend: str) -> None:
        """Note what works, and should be changed."""
        self._add(Finding(check, State.WARNING, found, mend))

    def fail(self, check: str, found: str, mend: str) -> None:
        """Note what does not work."""
        self._add(Finding(check, State.FAILED, found, mend))

    def state(self, check: str) -> State | None:
        """Return the worst state of a check so far, or None without a finding."""
        return min((each.state for each in self._findings[check]), key=_WORST.index, default=None)

    def findings(self) -> list[Finding]:
        """Return all findings in the order of :data:`CHECKS`."""
        return [finding for check in CHECKS for finding in self._of(check)]

    def exit_status(self, *, strict: bool = False) -> int:
        """Return 0 if nothing failed, 1 if something did, and 2 if nothing could be looked at.

        :param strict: Whether a warning counts as a failure.
        """
        if self.unreachable:
            return 2
        bad = {State.FAILED, State.WARNING} if strict else {State.FAILED}
        return int(any(each.state in bad for each in self.findings()))

    def _add(self, finding: Finding) -> None:
        if finding not in self._findings[finding.check]:
            self._findings[finding.check].append(finding)

    def _of(self, check: str) -> Iterator[Finding]:
        """Yield what is wrong; if nothing is, the first that is fine, or else the first skipped."""
        findings = sorted(self._findings[check], key=lambda each: _WORST.index(each.state))
        wrong = [each for each in findings if each.mend]
        if wrong:
            yield from wrong
        elif findings:
            yield next((each for each in findings if each.state is State.OK), findings[0])
