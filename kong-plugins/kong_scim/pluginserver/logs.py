"""Logging to stderr, one line for each record: stdout belongs to ``--dump``."""

from __future__ import annotations

import logging
import sys

from kong_scim.pluginserver.context import request_id


class OneLineFormatter(logging.Formatter):
    """Puts a record, traceback included, on one line, with the id of the request it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Escape line breaks: collectors read lines, and input must not be able to forge one."""
        text = super().format(record).replace("\r", "\\r").replace("\n", "\\n")
        request = request_id.get()
        return f"{text} request_id={request!r}" if request else text


def log_to_stderr(level: str) -> None:
    """Send what every logger says at ``level`` or above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
