"""scim2-server's own in-memory storage on waitress: ``python -m bench.peers.scim2_server PORT``."""

from __future__ import annotations

import sys

import waitress
from scim2_server.applications.wsgi import WSGIApplication
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.utils import load_default_provider


def main() -> None:
    """Serve until the process is stopped."""
    provider = load_default_provider()
    application = WSGIApplication(
        InMemoryStorage(), provider, ScimService(provider, secret="bench")
    )
    waitress.serve(application, host="127.0.0.1", port=int(sys.argv[1]))


if __name__ == "__main__":
    main()
