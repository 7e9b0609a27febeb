"""A sandbox whose routes and plugins a test may change while it runs, as a real Kong's.

It has the consumer groups of Kong Enterprise too, unless the environment says otherwise.

``python -m with_variants sandbox ...`` is ``kong-scim sandbox ...`` with one more path on its
Admin API: it takes a declarative configuration, and of it the routes and plugins. What it has of
consumers and of SCIM stays.
"""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

import consumer_groups
from kong_scim.cli.main import main
from kong_scim_sandbox import gateway
from kong_scim_sandbox.admin import admin_api
from kong_scim_sandbox.declarative import load

PATH = "/routes-and-plugins"


def _admin_api(store: Any, status: Any, node: Any, configure: Any, metrics: Any) -> Starlette:
    api = admin_api(store, status, node, configure, metrics)

    async def change(request: Request) -> Response:
        configure(load((await request.body()).decode()))
        return Response(status_code=204)

    api.add_route(PATH, change, methods=["POST"])
    consumer_groups.add_routes(api, store)
    return api


if __name__ == "__main__":
    consumer_groups.add()
    gateway.admin_api = _admin_api
    main()
