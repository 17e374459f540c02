"""The `.local` folder of a clone."""

import json
import os
import stat
from pathlib import Path

import pytest

from app.core.errors import ConfigurationError
from app.dev._account import Account, refuse_foreign
from app.dev._local import AlreadyRunning, LocalFolder

OURS = Account(os.geteuid(), os.getegid())
STRANGER = Account(61_234, 61_234)


def test_only_one_holds_the_lock_and_the_other_hears_who(tmp_path: Path) -> None:
    first = LocalFolder(tmp_path)
    first.lock()
    first.announce("process 12, http://127.0.0.1:8000")
    with pytest.raises(AlreadyRunning, match=r"\(process 12, http://127\.0\.0\.1:8000\)"):
        LocalFolder(tmp_path).lock()


def test_passwords_are_made_once_and_new_names_are_added(tmp_path: Path) -> None:
    local = LocalFolder(tmp_path)
    first = local.credentials(["a@example.com"])
    both = LocalFolder(tmp_path).credentials(["a@example.com", "b@example.com"])
    assert both["a@example.com"] == first["a@example.com"] != both["b@example.com"]
    assert json.loads((local.path / "credentials.json").read_text()) == both


def test_files_are_readable_by_the_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        local = LocalFolder(tmp_path)
        local.keys()
        local.write_environment({"DATABASE_URL": "postgresql://x:it's@/y"})
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in local.path.iterdir()} == {0o600}
    assert stat.S_IMODE(local.path.stat().st_mode) & 0o027 == 0
    assert (local.path / "env").read_text() == "export DATABASE_URL='postgresql://x:it'\"'\"'s@/y'\n"


def test_keys_are_long_enough_and_stay(tmp_path: Path) -> None:
    keys = LocalFolder(tmp_path).keys()
    assert len(keys["SECRET_KEY"]) >= 32
    assert LocalFolder(tmp_path).keys() == keys


def test_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".local").symlink_to("elsewhere")
    with pytest.raises(ConfigurationError, match="not a folder of ours"):
        LocalFolder(tmp_path)


def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a folder of ours"):
        refuse_foreign(tmp_path, {os.geteuid() + 1})


@pytest.mark.parametrize(
    ("mode", "reachable"), [(0o700, False), (0o710, False), (0o701, True), (0o755, True)]
)
def test_stranger_reaches_what_is_open_to_all(
    mode: int, reachable: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path("/tmp") / f"gatehouse-reach-{os.getpid()}-{mode:o}"
    folder.mkdir()
    try:
        folder.chmod(mode)
        assert STRANGER.can_reach(folder) == reachable
        assert OURS.can_reach(folder)
    finally:
        folder.rmdir()


def test_group_is_judged_by_the_groups_bits() -> None:
    folder = Path("/tmp") / f"gatehouse-reach-{os.getpid()}-group"
    folder.mkdir()
    try:
        folder.chmod(0o701)
        assert not Account(STRANGER.uid, folder.stat().st_gid).can_reach(folder)
        folder.chmod(0o710)
        assert Account(STRANGER.uid, folder.stat().st_gid).can_reach(folder)
    finally:
        folder.rmdir()


def test_data_in_a_clone_that_has_been_closed_is_not_silently_left(tmp_path: Path) -> None:
    local = LocalFolder(tmp_path)
    local.account = STRANGER
    (local.path / "postgres").mkdir()
    local.path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="cannot enter"):
        local.servers()
