"""The log phase, which runs after a request is answered: file-log, and counts for ``/metrics``."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from starlette.types import Message, Send

from kong_scim_sandbox.exchange import Exchange
from kong_scim_sandbox.lua import facts
from kong_scim_sandbox.lua.workers import Workers
from kong_scim_sandbox.plugins import FileLogConfig
from kong_scim_sandbox.router import Match

_log = logging.getLogger(__name__)

_OF_CONSUMER = ("id", "username", "custom_id")


class Answering:
    """Sends an answer, and notes its status, size and begin.

    :ivar status: The HTTP status, or 0 without an answer.
    :ivar size: The size of the body in bytes.
    :ivar began: When the request began, in seconds since 1970.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.size = 0
        self.began = time.time()

    async def __call__(self, message: Message) -> None:
        """Send a message of the answer."""
        self.status = message.get("status", self.status)
        self.size += len(message.get("body", b""))
        await self._send(message)


def after(
    exchange: Exchange,
    answer: Answering,
    bridge: Workers,
    node_id: str,
) -> None:
    """Run the log phase of a request that was answered."""
    match = exchange.match
    if match is None:
        return
    for plugin in match.route.plugins:
        if plugin.name == "scim":
            request = facts.of_request(exchange, node_id)
            request["vars"]["request_time"] = str(time.time() - answer.began)
            # 499 is Nginx's status for a client that closed the connection.
            bridge.log(plugin.config["tenant"], {**request, "status": answer.status or 499})
        elif plugin.name == "file-log":
            _file_log(plugin.config, _record(exchange, match, answer))


def _file_log(config: FileLogConfig, record: dict[str, Any]) -> None:
    """Append a record (``kong/plugins/file-log/handler.lua``)."""
    try:
        with Path(config.path).open("a") as file:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")
    except OSError as error:
        _log.error("failed to write %s: %s", config.path, error)


def _record(exchange: Exchange, match: Match, answer: Answering) -> dict[str, Any]:
    """Return the main members of the record of Kong's log plugins (``kong/pdk/log.lua``)."""
    consumer = exchange.consumer
    record = {
        "started_at": round(answer.began * 1000),
        "client_ip": exchange.client_ip,
        "latencies": {"request": round((time.time() - answer.began) * 1000)},
        "request": {
            "id": exchange.request_id,
            "method": exchange.method,
            "uri": exchange.raw_path + (f"?{exchange.raw_query}" if exchange.raw_query else ""),
        },
        "response": {"status": answer.status, "size": answer.size},
        "route": {"id": match.route.id, "name": match.route.name},
        "service": match.route.service and match.route.service.model_dump(include={"id", "name"}),
        "consumer": consumer and {key: consumer.get(key) for key in _OF_CONSUMER},
        "scim": exchange.scim,
    }
    return {name: value for name, value in record.items() if value is not None}
