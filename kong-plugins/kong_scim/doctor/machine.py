"""Looks at the gateway's machine: the plugin server's socket, and logs."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections import Counter
from pathlib import Path

from kong_scim.doctor.report import Report, State
from kong_scim.doctor.symptoms import Symptom, symptom_of
from kong_scim.pluginserver.wire import status_at

TAIL = 4 * 1024 * 1024
"""Bytes at the end of a log that are read."""

LONGEST_LINE = 8 * 1024
"""Characters of a line that are compared with the symptoms."""


def look_at_socket(path: Path, report: Report) -> None:
    """Look at the plugin server's socket: who may open it, and who answers."""
    try:
        found = path.stat()
    except OSError as error:
        report.fail(
            "socket",
            f"{path}: {error.strerror}",
            "start the plugin server with this --socket; KONG_PLUGINSERVER_SCIM_SOCKET names the "
            "same path",
        )
        return
    if not stat.S_ISSOCK(found.st_mode):
        report.fail("socket", f"{path} is no socket", "give the path that --socket has")
        return
    _look_at_modes(path, found, report)
    try:
        status = status_at(path)
    except PermissionError:
        report.skip("plugin-server", f"this user may not open {path}: run it as Kong's user")
    except OSError as error:
        report.fail(
            "plugin-server",
            f"Nobody answers at {path}: {error}",
            "start the plugin server, and let a supervisor start it again when it ends",
        )
    else:
        queued, workers = status.get("Queued", 0), status.get("Workers", 0)
        if queued > workers:
            report.warn(
                "plugin-server",
                f"{queued} requests wait for {workers} workers",
                "this is normal during a first import; otherwise raise --workers or --processes",
            )
        report.ok("plugin-server", f"it answers, and {queued} requests wait")


def _look_at_modes(path: Path, found: os.stat_result, report: Report) -> None:
    mode = stat.S_IMODE(found.st_mode)
    owner, group = _user(found.st_uid), _group(found.st_gid)
    if mode & stat.S_IWOTH and not _is_private(path.parent):
        report.fail(
            "socket",
            f"{path} has mode {mode:04o}: everybody on this machine can act as Kong",
            "start the plugin server with --socket-mode 660, or keep the socket in a directory "
            "that only Kong's group may enter",
        )
    elif (mode & 0o060) != 0o060 and not _answered(report):
        report.fail(
            "socket",
            f"{path} has mode {mode:04o}: only {owner} may open it, and Kong runs as another user",
            f"start the plugin server with --socket-mode 660, and put Kong's user into the group "
            f"{group}",
        )
    elif not _may_enter(path.parent) and not _answered(report):
        report.fail(
            "socket",
            f"The group of {path.parent} may not enter it, so Kong cannot reach the socket",
            f"chmod g+x {path.parent}, and put Kong's user into its group",
        )
    else:
        report.ok("socket", f"mode {mode:04o}, of {owner}:{group}, where Kong's user must be")


def _answered(report: Report) -> bool:
    """Tell whether the plugin answered over the route: then Kong may open the socket."""
    return report.state("token") is State.OK


def _is_private(directory: Path) -> bool:
    return not stat.S_IMODE(directory.stat().st_mode) & stat.S_IXOTH


def _may_enter(directory: Path) -> bool:
    return bool(stat.S_IMODE(directory.stat().st_mode) & (stat.S_IXGRP | stat.S_IXOTH))


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def look_at_log(path: Path, report: Report) -> None:
    """Look for known symptoms at the end of a log: Kong's, the plugin server's, or an access
    log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TAIL))
            lines = log.read(TAIL).decode(errors="replace").splitlines()
    except OSError as error:
        report.fail("logs", f"{path}: {error.strerror}", "give a file that this user may read")
        return
    seen: Counter[Symptom] = Counter()
    for line in lines:
        symptom = symptom_of(None, line[:LONGEST_LINE])
        if symptom is not None:
            seen[symptom] += 1
    for symptom, count in seen.items():
        report.warn(
            symptom.check,
            f"{path.name} has {count} lines that say: {symptom.quoted}",
            symptom.advice,
        )
    report.ok("logs", f"{path.name} has no known problem in its last {len(lines)} lines")
