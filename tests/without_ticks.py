"""``kong-scim``, whose sandbox ticks at its start and then only when it is asked."""

from __future__ import annotations

from kong_scim.cli.main import main
from kong_scim_sandbox.lua import workers

workers.INTERVAL_SCALE = 1e9

if __name__ == "__main__":
    main()
