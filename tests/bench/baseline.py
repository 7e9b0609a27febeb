"""scim2-server's own in-memory server, behind the HTTP server that the sandbox uses too.

``python -m bench.baseline PORT``
"""

from __future__ import annotations

import sys

import uvicorn
from scim2_server.applications.asgi import ASGIApplication
from scim2_server.memory import AsyncInMemoryStorage
from scim2_server.service import ScimService
from scim2_server.utils import load_default_provider


def main() -> None:
    """Serve until the process is stopped."""
    provider = load_default_provider()
    application = ASGIApplication(
        AsyncInMemoryStorage(), provider, ScimService(provider, secret="bench")
    )
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()
