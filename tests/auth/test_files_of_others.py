"""A file with a secret counts only where nobody else may change it, or which file it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from access_support import client, plugin_with

from kong_scim.events import worker
from kong_scim.files import UntrustedFileError, WatchedFile, resolved
from scim_traffic import answered, refused

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with the token ``first`` in a directory of our own."""
    directory = tmp_path / "ours"
    directory.mkdir(mode=0o755)
    path = directory / "token"
    path.write_text("first\n")
    path.chmod(0o644)
    return path


def others_may_write_the_file(path: Path) -> Path:
    path.chmod(0o666)
    return path


def a_group_may_write_the_file(path: Path) -> Path:
    path.chmod(0o660)
    return path


def others_may_write_its_directory(path: Path) -> Path:
    path.parent.chmod(0o777)
    return path


def others_may_write_a_directory_above(path: Path) -> Path:
    path.parent.parent.chmod(0o777)
    return path


def a_link_into_a_directory_of_others(path: Path) -> Path:
    open_to_all = path.parent.parent / "open"
    open_to_all.mkdir()
    (open_to_all / "token").write_text("first\n")
    open_to_all.chmod(0o777)
    link = path.with_name("link")
    link.symlink_to(open_to_all / "token")
    return link


def a_link_by_way_of_a_directory_of_others(path: Path) -> Path:
    """Both ends are ours, and who may write the middle says where it goes."""
    middle = path.parent.parent / "middle"
    middle.mkdir()
    (middle / "on").symlink_to(path)
    middle.chmod(0o777)
    link = path.with_name("link")
    link.symlink_to("../middle/on")
    return link


def the_file_has_another_owner(path: Path) -> Path:
    os.chown(path, NOBODY, NOBODY)
    return path


def its_directory_has_another_owner(path: Path) -> Path:
    os.chown(path.parent, NOBODY, NOBODY)
    return path


def somebodys_link_in_a_sticky_directory(path: Path) -> Path:
    path.parent.parent.chmod(0o1777)
    link = path.parent.parent / "link"
    link.symlink_to(path)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    return link


def somebodys_file_in_a_sticky_directory(path: Path) -> Path:
    path.parent.chmod(0o1777)
    os.chown(path, NOBODY, NOBODY)
    return path


def a_second_name_in_a_sticky_directory(path: Path) -> Path:
    path.parent.parent.chmod(0o1777)
    name = path.parent.parent / "token"
    os.link(path, name)
    return name


def a_pipe(path: Path) -> Path:
    """Nobody writes into it: to open it would take for ever."""
    path.unlink()
    os.mkfifo(path, 0o600)
    return path


UNTRUSTED = [
    others_may_write_the_file,
    a_group_may_write_the_file,
    others_may_write_its_directory,
    others_may_write_a_directory_above,
    a_link_into_a_directory_of_others,
    a_link_by_way_of_a_directory_of_others,
    pytest.param(the_file_has_another_owner, marks=as_root),
    pytest.param(its_directory_has_another_owner, marks=as_root),
    pytest.param(somebodys_link_in_a_sticky_directory, marks=as_root),
    pytest.param(somebodys_file_in_a_sticky_directory, marks=as_root),
    a_second_name_in_a_sticky_directory,
    a_pipe,
]


@pytest.mark.parametrize("arrange", UNTRUSTED)
def test_a_token_file_that_others_may_change_lets_nobody_in_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    token_file: Path,
    arrange: Callable[[Path], Path],
) -> None:
    path = arrange(token_file)
    plugin, directory = plugin_with(monkeypatch, tokens=[{"name": "f", "file": str(path)}])
    for _ in range(3):
        refused(client(plugin, token="first").get("/Users"), 401)
    assert directory.reached == []
    (record,) = [each for each in caplog.records if str(path) in each.getMessage()]
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith(f"token file {path}: ")


def test_a_file_that_others_may_write_from_now_on_counts_no_longer(
    monkeypatch: pytest.MonkeyPatch, token_file: Path
) -> None:
    plugin, _ = plugin_with(monkeypatch, tokens=[{"name": "f", "file": str(token_file)}])
    answered(client(plugin, token="first").get("/Users"), 200)
    token_file.chmod(0o666)
    refused(client(plugin, token="first").get("/Users"), 401)
    token_file.chmod(0o644)
    answered(client(plugin, token="first").get("/Users"), 200)


def test_a_directory_that_others_may_write_from_now_on_is_seen_within_a_second(
    token_file: Path,
) -> None:
    seconds = [0.0]
    file = WatchedFile(str(token_file), "secret file", str, lambda: seconds[0])
    assert file.get() == "first\n"
    token_file.parent.chmod(0o777)
    seconds[0] = 1.0
    assert file.get() is None


def test_what_to_do_is_said(token_file: Path) -> None:
    token_file.chmod(0o666)
    with pytest.raises(UntrustedFileError, match=f"chmod go-w {token_file}"):
        resolved(str(token_file))


def test_keys_and_secrets_of_events_are_read_the_same_way() -> None:
    assert worker.WatchedFile is WatchedFile


# -- What orchestrators do -------------------------------------------------


def kubernetes_volume(root: Path, version: str, content: str) -> Path:
    """Lay out a secret volume as the kubelet does, or replace what is in one; return the token."""
    volume = root / "volume"
    volume.mkdir(exist_ok=True)
    volume.chmod(0o1777)
    data = volume / f"..{version}"
    data.mkdir(mode=0o755)
    (data / "token").write_text(content)
    (data / "token").chmod(0o644)
    new = volume / "..data_tmp"
    new.symlink_to(data.name)
    new.rename(volume / "..data")
    if not (volume / "token").is_symlink():
        (volume / "token").symlink_to("..data/token")
    return volume / "token"


def test_a_secret_of_kubernetes_works_and_is_rotated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = kubernetes_volume(tmp_path, "2026_11_01", "first\n")
    plugin, _ = plugin_with(monkeypatch, tokens=[{"name": "f", "file": str(path)}])
    answered(client(plugin, token="first").get("/Users"), 200)
    kubernetes_volume(tmp_path, "2026_11_02", "second\n")
    refused(client(plugin, token="first").get("/Users"), 401)
    answered(client(plugin, token="second").get("/Users"), 200)


def test_a_secret_of_docker_works(monkeypatch: pytest.MonkeyPatch, token_file: Path) -> None:
    """``/run/secrets/token``: for everybody to read, in a directory of root's."""
    token_file.chmod(0o444)
    plugin, _ = plugin_with(monkeypatch, tokens=[{"name": "f", "file": str(token_file)}])
    answered(client(plugin, token="first").get("/Users"), 200)


def test_a_file_of_ours_in_a_sticky_directory_works(token_file: Path) -> None:
    token_file.parent.chmod(0o1777)
    assert resolved(str(token_file)) == str(token_file)


@pytest.mark.parametrize("target", ["token", "./token", "../ours/token", "..//ours/../ours/token"])
def test_links_within_what_is_ours_work(token_file: Path, target: str) -> None:
    link = token_file.with_name("link")
    link.symlink_to(target)
    assert resolved(str(link)) == str(token_file)


def test_links_in_a_circle_are_no_file(token_file: Path) -> None:
    link = token_file.with_name("link")
    link.symlink_to("link")
    with pytest.raises(OSError, match="symbolic links"):
        resolved(str(link))
