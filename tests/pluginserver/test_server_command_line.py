"""``python -m kong_scim.pluginserver``: start, stop, and what Kong asks before both."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path

import pytest
from kong_side import KongSide, is_scim_error
from served import PUPPET, answers, eventually, server_process, serving_process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plugin.sock"


def test_dump_prints_the_array_kong_reads_and_nothing_else():
    with server_process("--dump", "--plugin", str(PUPPET)) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    (info,) = json.loads(out)  # the plugin printed when it was loaded: that is not in here
    assert sorted(info) == ["Name", "Phases", "Priority", "Schema", "Version"]
    assert (info["Name"], info["Priority"]) == ("puppet", 755)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_runs_and_refuses_what_comes(path, number):
    with serving_process(path) as process:
        kong = KongSide(path)
        instance = kong.start("echo")
        event = kong.begin(instance)
        process.send_signal(number)
        refused = _refused(kong, instance)
        assert is_scim_error(refused, 503)
        assert kong.step(event["EventId"], "v")["Data"]["Args"][:2] == [200, "v"]
        assert process.wait(10) == 0
    assert not path.exists()


def _refused(kong: KongSide, instance: int) -> list:
    found = []

    def refused() -> bool:
        outcome = kong.handle(instance, pdk=lambda *_: "v").exit
        found.append(outcome)
        return outcome[0] == 503

    eventually(refused)
    return found[-1]


def test_a_stop_waits_no_longer_than_its_grace(path):
    with serving_process(path, "--grace", "0.2") as process:
        kong = KongSide(path)
        kong.begin(kong.start("echo"))
        process.terminate()
        assert process.wait(10) == 0
    assert not path.exists()


def test_the_socket_of_a_server_that_was_killed_is_replaced(path):
    with serving_process(path) as process:
        process.kill()
        process.wait()
    assert path.exists()
    with server_process("--socket", str(path), "--plugin", str(PUPPET)):
        eventually(lambda: answers(path))
        assert KongSide(path).status()["Events"] == 0


def test_a_second_server_at_the_same_socket_is_refused(path, tmp_path):
    log = tmp_path / "log"
    with serving_process(path):
        options = ("--socket", str(path), "--plugin", str(PUPPET))
        with server_process(*options, stderr=log) as second:
            assert second.wait(10) == 1
        assert "another server is listening" in log.read_text()
        assert KongSide(path).status()["Events"] == 0


@pytest.mark.parametrize(
    ("place", "reason"),
    [("file", "is no socket"), ("absent/s.sock", "cannot listen"), ("x" * 200, "cannot listen")],
)
def test_a_path_that_cannot_be_used_is_named(tmp_path, place, reason):
    (tmp_path / "file").write_text("keep me")
    log = tmp_path / "log"
    options = ("--socket", str(tmp_path / place), "--plugin", str(PUPPET))
    with server_process(*options, stderr=log) as process:
        assert process.wait(10) == 1
    (line,) = [line for line in log.read_text().splitlines() if "CRITICAL" in line]
    assert reason in line
    assert (tmp_path / "file").read_text() == "keep me"


def test_who_may_connect_is_the_mode_of_the_socket(path):
    with serving_process(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    path.unlink()
    with serving_process(path, "--socket-mode", "600"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["plugin.sock"]


def test_a_socket_somebody_put_in_the_place_of_ours_is_left_there(path):
    with serving_process(path) as process:
        path.unlink()
        path.write_text("another's")
        process.terminate()
        assert process.wait(10) == 0
    assert path.read_text() == "another's"


def test_check_tells_whether_a_serveranswers(path, tmp_path):
    check = ("--check", "--socket", str(path))
    with server_process(*check) as process:
        assert process.wait(10) == 1
    with serving_process(path), server_process(*check) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["Workers"] == 16


@pytest.mark.parametrize(
    "options",
    [
        *((), ("--workers", "0"), ("--queue", "0"), ("--bodies", "0"), ("--bodies", "1.5")),
        *(("--processes", "0"), ("--event-timeout", "nan"), ("--socket-mode", "9")),
    ],
)
def test_options_that_cannot_work_are_refused(path, options):
    given = ("--socket", str(path), *options) if options else ()
    with server_process(*given) as process:
        assert process.wait(10) == 2


def test_each_record_of_the_log_is_one_line(path, tmp_path):
    log = tmp_path / "log"
    with serving_process(path, stderr=log):
        kong = KongSide(path)
        instance = kong.start("raise_between")
        kong.handle(instance, pdk=lambda *_: "request-1")
        eventually(lambda: "hunter2 between" in log.read_text())
    (line,) = [line for line in log.read_text().splitlines() if "hunter2 between" in line]
    assert "Traceback" in line
    assert line.endswith("request_id='request-1'")


def test_a_data_directory_that_cannot_be_written_is_refused_at_the_start(path, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("")
    for data in (taken, Path("/proc/nowhere")):
        log = tmp_path / "log"
        options = ("--socket", str(path), "--data", str(data))
        with server_process(*options, stderr=log) as process:
            assert process.wait(20) == 1
        assert f"--data {data} cannot be written" in log.read_text()
    assert not path.exists()
