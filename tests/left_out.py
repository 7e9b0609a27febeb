"""Which tests are left out of a run, and how many: those that nobody could run, or need not.

How a request is read and answered is decided by the plugin, which cannot know the host, and what
the demo says of a failure by the demo. So, without a Kong, the directories :data:`ONE_HOST` run on
one host, and of their tests those marked ``every_host`` on each. On a hybrid sandbox, which is
slower, only the files :data:`ON_HYBRID` run. With a Kong, or with ``--every-host``, all of them run
on each.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from kong_process import requires_kong

ONE_HOST = ("cli", "demo", "doctor", "endpoints", "hostile", "protocol", "providers", "review")
"""The directories of tests whose outcome no host can change."""

THE_HOST = "sandbox"

HYBRID = "sandbox-hybrid"
ON_HYBRID = (
    "contract/test_hybrid.py",
    "contract/test_logins.py",
    "contract/test_subjects.py",
    "contract/test_suspended_consumers.py",
)
"""The files of tests that run on :data:`HYBRID`: those of what a data plane does itself. All else
runs on its control plane as on a gateway with a database."""

NO_KONG = "need a real Kong: set KONG_SCIM_KONG to the path of its binary"
SAME_OUTCOME = f"have the same outcome on {THE_HOST}: --every-host runs them too"

_COUNTS = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-host",
        action="store_true",
        help=f"run {', '.join(ONE_HOST)} on every host, and not on {THE_HOST} only",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is left out, and count it by the reason."""
    reasons = {item: _reason(item, config) for item in items}
    left_out = [item for item in items if reasons[item]]
    config.stash[_COUNTS] = Counter(reason for reason in reasons.values() if reason)
    if left_out:
        items[:] = [item for item in items if not reasons[item]]
        config.hook.pytest_deselected(items=left_out)


def _reason(item: pytest.Item, config: pytest.Config) -> str:
    """Return why a test is left out; empty where it is not."""
    no_kong: bool = requires_kong.mark.args[0]
    if no_kong and requires_kong.mark in item.iter_markers("skipif"):
        return NO_KONG
    if not no_kong or config.getoption("--every-host"):
        return ""
    path = item.path.relative_to(Path(__file__).parent)
    room = path.parts[0]
    parameters = getattr(item, "callspec", None)
    host = parameters.params.get("host_name", THE_HOST) if parameters else THE_HOST
    if host == HYBRID:
        return "" if path.as_posix() in ON_HYBRID else SAME_OUTCOME
    is_of_one = room in ONE_HOST and not item.get_closest_marker("every_host")
    return SAME_OUTCOME if is_of_one and host != THE_HOST else ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the numbers from a worker of xdist to its controller: each worker collects all tests."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = dict(session.config.stash[_COUNTS])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take what a worker of xdist counted."""
    counted = getattr(node, "workeroutput", {}).get("left_out")
    if counted is not None:
        node.config.stash[_COUNTS] = Counter(counted)  # type: ignore[attr-defined]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many were left out, and why."""
    for reason, count in config.stash.get(_COUNTS, Counter()).items():
        terminalreporter.line(f"Left out: {count} tests that {reason}")
