"""``python -m kong_scim.pluginserver``: the command line of the plugin server."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kong_scim import processes, worker_slots
from kong_scim.pluginserver import context
from kong_scim.pluginserver.context import request_id
from kong_scim.pluginserver.ids import Ids
from kong_scim.pluginserver.listener import Listener, ListeningSocket, SocketTakenError
from kong_scim.pluginserver.parent import END, STOP, STOPPED, Parent
from kong_scim.pluginserver.peers import Mailbox, Peers
from kong_scim.pluginserver.pluginfile import PluginFile
from kong_scim.pluginserver.server import PluginServer
from kong_scim.pluginserver.wire import status_at

DEFAULT_PLUGIN = Path(__file__).resolve().parents[2] / "scim.py"

SWITCH_INTERVAL = 0.0005
"""Seconds of Python's thread switch interval. Each step of the RPC switches threads, and waits for
one interval if a worker computes. Python's default, 5 ms, is thirty times the cost of a step."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

CORES = 2
"""By default there is one process for each so many cores; the others are for Kong's workers."""

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parse(arguments)
    log_to_stderr(options.log_level)
    if options.check:
        return _check(options.socket)
    if options.data is not None:
        try:
            options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=options.data).close()
            if options.processes > 1 and not options.dump:
                processes.share_lock(options.data)
        except OSError as error:
            log.critical("--data %s cannot be written: %s", options.data, error.strerror)
            return 1
        context.set_data_directory(options.data)
    plugin = PluginFile(options.plugin)
    if options.dump:
        print(json.dumps([plugin.info()]))
        return 0
    return _serve(plugin, options)


def _serve(plugin: PluginFile, options: argparse.Namespace) -> int:
    sys.setswitchinterval(SWITCH_INTERVAL)
    worker_slots.furnish(options.workers, options.bodies)
    try:
        listening = ListeningSocket(options.socket, mode=options.socket_mode)
    except SocketTakenError as error:
        log.critical("%s", error)
        return 1
    serve = _serve_here if options.processes == 1 else _serve_in_processes
    serve(plugin, listening, options)
    log.info("stopped")
    return 0


def _serve_here(
    plugin: PluginFile, listening: ListeningSocket, options: argparse.Namespace
) -> None:
    # Signals are blocked before any thread starts, since threads inherit that, and are then waited
    # for. So no signal handler interrupts other code.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    server = _server(plugin, options)
    listener = Listener(listening, server.handle, send_timeout=options.event_timeout)
    log.info("plugin %s is served at %s", plugin.name, options.socket)
    received = signal.sigwait(_SIGNALS)
    log.info("%s: finishing what runs", signal.Signals(received).name)
    server.stop(options.grace)
    listening.close()
    listener.close()


def _serve_in_processes(
    plugin: PluginFile, listening: ListeningSocket, options: argparse.Namespace
) -> None:
    mailboxes = [Mailbox() for _ in range(options.processes)]

    def run(number: int, to_parent: socket.socket) -> None:
        peers = Peers(number, mailboxes)
        server = _server(plugin, options, ids=Ids(number, options.processes), peers=peers)
        listener = Listener(listening, server.handle, send_timeout=options.event_timeout)
        peers.serve(lambda sock: listener.serve(sock, server.handle_peer))
        if to_parent.recv(1) == STOP:
            server.stop(options.grace)
            to_parent.sendall(STOPPED)
            if to_parent.recv(1) == END:
                listener.close()
        # Otherwise the parent has died, and its processes end with it.

    parent = Parent(options.processes, run)
    log.info("plugin %s is served at %s", plugin.name, options.socket)
    received = parent.serve(_SIGNALS)
    log.info("%s: finishing what runs", received.name)
    parent.stop(options.grace)
    listening.close()
    parent.end()


def _server(plugin: PluginFile, options: argparse.Namespace, **others: Any) -> PluginServer:
    return PluginServer(
        plugin,
        workers=options.workers,
        queue=options.queue,
        event_timeout=options.event_timeout,
        **others,
    )


def _check(path: Path) -> int:
    try:
        status = status_at(path)
    except OSError as failure:
        log.critical("no server answers at %s: %s", path, failure)
        return 1
    print(json.dumps(status))
    return 0


class OneLineFormatter(logging.Formatter):
    """Formats a record, with its traceback, as one line that ends with the request's id."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Escape line breaks, because input must not be able to forge a line of the log."""
        text = super().format(record).replace("\r", "\\r").replace("\n", "\\n")
        request = request_id.get()
        return f"{text} request_id={request!r}" if request else text


def log_to_stderr(level: str) -> None:
    """Write the records of all loggers at ``level`` or above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kong_scim.pluginserver",
        description="Serve a Python plugin to Kong. SIGTERM stops it cleanly.",
    )
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument(
        "--dump",
        action="store_true",
        help="print what Kong asks with pluginserver_NAME_query_cmd, and exit",
    )
    doing.add_argument(
        "--check",
        action="store_true",
        help="ask the server at --socket for its status, print it, and exit 0 if it answers",
    )
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="unix socket to listen at; Kong's image deletes those in its prefix at start, so "
        "give it a directory of its own",
    )
    parser.add_argument(
        "--socket-mode",
        type=lambda text: int(text, 8),
        default=0o660,
        metavar="OCTAL",
        help="permissions of the socket (default: 660)",
    )
    parser.add_argument(
        "--plugin",
        type=Path,
        default=DEFAULT_PLUGIN,
        metavar="FILE",
        help="plugin file of kong-pdk's format (default: scim.py)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=context.data_directory(),
        help="directory of what lasts, for a Kong without a database (default: $KONG_SCIM_DATA)",
    )
    parser.add_argument(
        "--processes",
        type=_at_least_one,
        default=os.environ.get("KONG_SCIM_PROCESSES", str(max(1, _cores() // CORES))),
        metavar="N",
        help="processes that share the requests, one for each two cores if nothing is said "
        "(default: %(default)s, or $KONG_SCIM_PROCESSES)",
    )
    parser.add_argument(
        "--workers",
        type=_at_least_one,
        default=os.environ.get("KONG_SCIM_WORKERS", "16"),
        metavar="N",
        help="requests that each process serves at a time (default: 16, or $KONG_SCIM_WORKERS)",
    )
    parser.add_argument(
        "--queue",
        type=_at_least_one,
        default=os.environ.get("KONG_SCIM_QUEUE", "256"),
        metavar="N",
        help="requests that may wait for a worker of each process; more get a 503 (default: 256, "
        "or $KONG_SCIM_QUEUE)",
    )
    parser.add_argument(
        "--bodies",
        type=_at_least_one,
        default=os.environ.get("KONG_SCIM_BODIES", str(worker_slots.BODIES)),
        metavar="MIB",
        help="of request bodies over 1 MiB, each process holds as many at once; more get a 503 "
        f"(default: {worker_slots.BODIES}, or $KONG_SCIM_BODIES)",
    )
    parser.add_argument(
        "--event-timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="drop a request when Kong does not go on with it for so long (default: %(default)g)",
    )
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=8.0,
        metavar="SECONDS",
        help="how long a stop waits for what runs (default: %(default)g, below Docker's 10)",
    )
    parser.add_argument(
        "--log-level",
        type=str.upper,
        choices=["DEBUG", "INFO", "WARNING", "ERROR"],
        default="INFO",
        help="least severe records to log, to stderr (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.socket is None and not options.dump:
        parser.error("--socket is needed")
    return options


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError("give a number of seconds above 0")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
