"""How soon a disabled user is refused while 32 clients of another tenant send what costs most."""

from __future__ import annotations

import os
from collections.abc import Callable

from siege import MOST, Siege

from bench.options import OPTIONS
from bench.timing import Ratio
from hosts import running_gateway

SECONDS = 60


def measure(say: Callable[[str], None]) -> list[Ratio]:
    """Compare the time from a deactivation to the refusal, for 99 of 100, with what is allowed."""
    names = ["sandbox", "sandbox-off"]
    if os.environ.get("KONG_SCIM_KONG"):
        names += ["kong-postgres", "kong-dbless"]
    return [_besiege(name, say) for name in names]


def _besiege(name: str, say: Callable[[str], None]) -> Ratio:
    with running_gateway(name) as gateway:
        report = Siege(gateway, people=300, others=1500).lay(OPTIONS.sized(SECONDS, 5))
    say(f"  {name}: {report.text()}")
    return Ratio(
        f"{name}: refused, 99 of 100",
        report.percentile(0.99),
        MOST,
        "what is allowed",
        len(report.seconds),
        1.0,
    )
