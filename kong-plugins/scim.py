"""The plugin ``scim`` as kong-pdk knows it: for this project's server and the stock one alike."""

from __future__ import annotations

import sys
from pathlib import Path

# Beside this file, where the package is not installed; the stock server looks nowhere else.
sys.path.append(str(Path(__file__).parent))

from kong_scim import __version__ as version  # noqa: F401
from kong_scim.app import Plugin  # noqa: F401
from kong_scim.config.kong_schema import fields

Schema = fields()
# After every guard, before plugins that answer for an upstream (docs/kong.md#priorities).
priority = 755
