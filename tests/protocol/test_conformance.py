"""``scim2 test``, the conformance client of scim2-cli, on a store without resources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCIM2 = Path(sys.executable).with_name("scim2")


@pytest.mark.every_host
def test_scim2_test_reports_no_error(gateway: Any) -> None:
    environment = {
        **os.environ,
        "SCIM_CLI_URL": str(gateway.scim_base),
        "SCIM_CLI_HEADERS": f"Authorization: Bearer {gateway.token}",
    }
    command = [str(SCIM2), "test"]
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    lines = ran.stdout.splitlines()
    assert [line for line in lines if line.startswith(("ERROR", "CRITICAL"))] == [], ran.stdout
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert sum(line.startswith("SUCCESS") for line in lines) > 100
