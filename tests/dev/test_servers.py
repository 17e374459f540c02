import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import valkey.asyncio

from app.dev import EmbeddedPostgres, EmbeddedValkey, ServerFailed, server_account
from tests.servers import PrivateServer, new_folder, remove_left_overs


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the servers' account can enter."""
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def postgres_folder(spare_postgres: EmbeddedPostgres) -> Path:
    """Of a PostgreSQL that does not run at present: to make its data takes far longer than to start it."""
    spare_postgres.kill()
    return spare_postgres.folder


async def test_shared_postgres_answers_with_its_settings(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    try:
        assert await connection.fetchval("SHOW shared_preload_libraries") == "pg_stat_statements"
        assert await connection.fetchval("SHOW listen_addresses") == ""
    finally:
        await connection.close()


async def test_shared_valkey_answers_with_its_settings(valkey_url: str) -> None:
    async with valkey.asyncio.Valkey.from_url(valkey_url, decode_responses=True) as client:
        assert await client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


async def test_private_valkey_comes_back_on_its_url_after_a_kill(private_valkey: PrivateServer) -> None:
    before = private_valkey.pid
    private_valkey.kill()
    private_valkey.restart()
    assert private_valkey.pid != before
    async with valkey.asyncio.Valkey.from_url(private_valkey.url) as client:
        assert await client.ping()


def memory_of(creator: int) -> list[str]:
    """The pieces of System V shared memory that this process has made."""
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return [line for line in lines if int(line.split()[4]) == creator]


async def test_private_postgres_comes_back_on_its_url_after_a_kill(private_postgres: PrivateServer) -> None:
    before = private_postgres.pid
    assert memory_of(before)
    private_postgres.kill()
    assert not memory_of(before), "the kernel has room for some thousands of these, and keeps them"
    private_postgres.restart()
    assert private_postgres.pid != before
    connection = await asyncpg.connect(private_postgres.url.replace("+asyncpg", ""))
    assert await connection.fetchval("SELECT 7") == 7
    await connection.close()


async def test_server_that_outlived_its_runner_is_replaced_with_its_data(postgres_folder: Path) -> None:
    """Where the kernel does not end it with its parent: the next start does."""
    orphan = EmbeddedPostgres(postgres_folder, durable=False)
    orphan.start()
    connection = await asyncpg.connect(orphan.url().replace("+asyncpg", ""))
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    following = EmbeddedPostgres(postgres_folder, durable=False)
    try:
        following.start()
        assert not orphan.is_running
        connection.terminate()
        connection = await asyncpg.connect(following.url().replace("+asyncpg", ""))
        assert await connection.fetchval("SELECT number FROM kept") == 7
        await connection.execute("DROP TABLE kept")
        await connection.close()
    finally:
        following.kill()
        orphan.kill()


async def test_valkey_that_outlived_its_runner_is_replaced_with_its_data(folder: Path) -> None:
    orphan = EmbeddedValkey(folder / "valkey")
    orphan.start()
    async with valkey.asyncio.Valkey.from_url(orphan.url()) as client:
        await client.set("kept", 7)
    following = EmbeddedValkey(folder / "valkey")
    try:
        following.start()
        assert not orphan.is_running
        async with valkey.asyncio.Valkey.from_url(following.url()) as client:
            assert await client.get("kept") == b"7"
    finally:
        following.kill()
        orphan.kill()


def test_process_id_in_a_left_over_lock_that_is_another_programs_by_now_is_no_obstacle(
    folder: Path, postgres_folder: Path
) -> None:
    server = EmbeddedPostgres(postgres_folder, durable=False)
    server.start()
    lock = postgres_folder / "data" / "postmaster.pid"
    text = lock.read_text()
    server.kill()
    stranger = EmbeddedValkey(
        folder / "valkey", durable=False
    )  # of the same account: the process id looks like a PostgreSQL's
    stranger.start()
    try:
        lock.write_text(text.replace(str(server.pid), str(stranger.pid), 1))
        server.account.own(lock)
        server.start()
        assert server.is_running
        assert stranger.is_running
    finally:
        server.kill()
        stranger.kill()


@pytest.fixture
def deep_folder(folder: Path) -> Path:
    """Of the servers' account, with a name that is too long for a socket."""
    deep = folder / ("long" * 30)
    server_account().make_folder(deep)
    return deep


def assert_short_socket_goes_away(server: EmbeddedPostgres | EmbeddedValkey) -> None:
    server.start()
    short = server.socket_folder if isinstance(server, EmbeddedPostgres) else server.socket_path.parent
    try:
        assert short.parent == Path("/tmp")
        assert short.lstat().st_uid == server.account.uid
        assert stat.S_IMODE(short.lstat().st_mode) == 0o700
    finally:
        server.stop()
    assert not short.exists()


def test_postgres_in_a_long_path_gets_a_short_socket_that_goes_away_again(
    deep_folder: Path, postgres_folder: Path
) -> None:
    moved = postgres_folder.rename(deep_folder / "server")
    try:
        assert_short_socket_goes_away(EmbeddedPostgres(moved, durable=False))
    finally:
        moved.rename(postgres_folder)


def test_valkey_in_a_long_path_gets_a_short_socket_that_goes_away_again(deep_folder: Path) -> None:
    assert_short_socket_goes_away(EmbeddedValkey(deep_folder / "server", durable=False))


def test_postgres_that_cannot_start_says_what_it_logged(postgres_folder: Path) -> None:
    control = postgres_folder / "data" / "global" / "pg_control"
    away = control.rename(control.with_name("away"))
    server = EmbeddedPostgres(postgres_folder, durable=False)
    try:
        with pytest.raises(ServerFailed, match="could not find the database system"):
            server.start()
        assert not server.is_running
    finally:
        away.rename(control)


def test_valkey_that_cannot_start_says_what_it_logged(folder: Path) -> None:
    server = EmbeddedValkey(folder / "server", durable=True)
    server.account.make_folder(server.folder)
    server.account.make_folder(server.data)
    (server.data / "appendonlydir").write_text("a file where a folder must be")
    with pytest.raises(ServerFailed, match="append-only dir"):
        server.start()
    assert not server.is_running


async def test_wrong_password_is_refused_although_the_socket_is_open_to_root(postgres_url: str) -> None:
    password = postgres_url.partition("@")[0].rpartition(":")[2]
    assert len(password) > 20
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_url.replace("+asyncpg", "").replace(password, "wrong"))


def test_server_that_was_never_started_has_no_process(folder: Path) -> None:
    server = EmbeddedValkey(folder / "valkey")
    server.stop()
    server.kill()
    assert not server.is_running
    with pytest.raises(ServerFailed, match="was not started"):
        _ = server.pid


def test_folder_of_a_killed_test_run_is_removed_and_one_in_use_is_not(folder: Path) -> None:
    program = "import os; from tests.servers import new_folder; print(new_folder(), flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    forgotten = Path(killed.stdout.strip())
    assert forgotten.exists()
    remove_left_overs()
    assert not forgotten.exists()
    assert folder.exists()
