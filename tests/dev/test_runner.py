"""`make run` on real servers: whatever ends it, nothing is left behind and no data is lost."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

import asyncpg
import httpx2
import psutil
import pytest
import valkey.asyncio

from tests.dev.clones import data_outside_of, new_clone, prepare
from tests.dev.running import Run, readable_program
from tests.migrated import migrated


@pytest.fixture(scope="module")
async def clone(servers: Mapping[str, str]) -> AsyncIterator[Path]:
    """A clone that these tests start again and again, with tables since an earlier day."""
    with new_clone() as clone:
        prepare(clone, await migrated(servers["pattern"]))
        yield clone


@pytest.fixture
def fresh_clone() -> Iterator[Path]:
    """Nobody has started anything in it."""
    with new_clone() as clone:
        yield clone


async def keep(run: Run, word: str) -> None:
    """Write a word to both servers."""
    connection = await asyncpg.connect(run.values["DATABASE_URL"].replace("+asyncpg", ""))
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        await connection.execute("INSERT INTO kept VALUES ($1)", word)
    finally:
        await connection.close()
    async with valkey.asyncio.Valkey.from_url(run.values["VALKEY_URL"]) as client:
        await client.sadd("kept", word)


async def has_kept(run: Run, word: str) -> bool:
    connection = await asyncpg.connect(run.values["DATABASE_URL"].replace("+asyncpg", ""))
    try:
        in_postgres = await connection.fetchval("SELECT count(*) FROM kept WHERE word = $1", word)
    finally:
        await connection.close()
    async with valkey.asyncio.Valkey.from_url(run.values["VALKEY_URL"]) as client:
        return bool(in_postgres == 1 and await client.sismember("kept", word))


async def test_signal_stops_everything_and_data_and_passwords_survive(servers: Mapping[str, str]) -> None:
    """In a clone that is closed to root's servers, whose data are outside of it therefore."""
    with new_clone(mode=0o700) as clone, data_outside_of(clone) as outside:
        prepare(clone, await migrated(servers["pattern"]))
        passwords = set()
        for number, is_first in ((signal.SIGTERM, True), (signal.SIGINT, False)):
            with Run(clone) as run:
                run.wait_running()
                assert outside.exists() == (os.geteuid() == 0)
                place = str(outside if outside.exists() else clone)
                assert place in unquote(run.values["DATABASE_URL"])
                assert place in unquote(run.values["VALKEY_URL"])
                assert is_first or await has_kept(run, "first")
                await keep(run, "first" if is_first else "second")
                passwords.add((clone / ".local" / "credentials.json").read_text())
                run.send(number)
                assert run.wait() == 0
                assert run.left_over(0) == []
                assert run.errors == ""
        assert len(passwords) == 1
        assert stat.S_IMODE(clone.stat().st_mode) == 0o700


async def test_whatever_is_killed_nothing_is_left_and_the_next_run_finds_the_data(clone: Path) -> None:
    parts = {"postgres": "PostgreSQL", "valkey-server": "Valkey", "api": "The API", "worker": "The worker"}
    with Run(clone) as killed:
        await keep(killed.wait_running(), kept := "runner")
        killed.send(signal.SIGKILL)
        killed.wait()
        for (
            program,
            name,
        ) in parts.items():  # the first at once, while the old servers are still on their way out
            with Run(clone) as run:
                assert await has_kept(run.wait_running(), kept)
                assert killed.left_over() == []
                await keep(run, kept := program)
                run.member(program).kill()
                assert run.wait() == 1
                assert run.left_over() == []
                assert run.errors.startswith(f"make run: {name} stopped by itself")
                assert run.errors.count("\n") == 1


def test_hanging_api_is_ended_after_the_grace_time(clone: Path) -> None:
    with Run(clone, environment={"SHUTDOWN_GRACE_S": "0", "JOBS__GRACE_S": "0"}) as run:
        run.wait_running()
        run.member("api").suspend()
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert run.left_over(0) == []


def test_second_signal_does_not_wait_for_a_hanging_api(clone: Path) -> None:
    with Run(clone, environment={"SHUTDOWN_GRACE_S": "600"}) as run:
        run.wait_running()
        run.member("api").suspend()
        run.send_until_it_ends(signal.SIGINT)
        assert run.wait() == 0
        assert run.left_over(0) == []


def test_vanished_make_ends_the_run(clone: Path) -> None:
    with Run(clone, "--under-make") as run:
        run.wait_running()
        assert len(run.family) > 3  # the runner, two servers with their children, the API, the worker
        run.send(signal.SIGKILL)
        assert run.left_over() == []


def test_second_run_says_so_and_leaves_the_first_alone(clone: Path) -> None:
    with Run(clone) as first:
        first.wait_running()
        assert_secrets_are_for_the_owner_alone(first)
        with Run(clone) as second:
            assert second.wait() == 1
            assert (
                f"already running in this clone (process {first.process.pid}, http://127.0.0.1:"
                in second.errors
            )
            assert second.errors.count("\n") == 1
        assert len(first.left_over(0)) == len(first.family)


def assert_secrets_are_for_the_owner_alone(run: Run) -> None:
    local = run.clone / ".local"
    passwords = json.loads((local / "credentials.json").read_text())
    assert len(set(passwords.values())) == 3
    assert all(password in run.output for password in passwords.values())
    assert {path.name for path in local.rglob("*")} >= {
        "credentials.json", "keys.json", "env", "password", "run.lock",
    }  # fmt: skip
    for path in local.iterdir():
        assert not path.stat().st_mode & 0o077, path
    assert not local.stat().st_mode & 0o027
    secrets = [value for name, value in run.values.items() if "KEY" in name]
    for server in (run.member("postgres"), run.member("valkey-server")):
        shown = " ".join((*server.cmdline(), *server.environ().values()))
        assert not [secret for secret in secrets if secret in shown]


def test_taken_port_is_one_line_and_starts_nothing(fresh_clone: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Run(fresh_clone, environment={"PORT": str(port)}) as run:
            assert run.wait() == 1
            assert run.errors == (
                f"make run: Cannot listen on 127.0.0.1:{port}: Address already in use; choose another with PORT= or HOST=\n"
            )
    assert not (fresh_clone / ".local" / "postgres").exists()


def test_wrong_setting_is_one_line_that_names_it(fresh_clone: Path) -> None:
    with Run(fresh_clone, environment={"PORT": "high"}) as run:
        assert run.wait() == 1
        assert run.errors.startswith("make run: PORT: ")
        assert run.errors.count("\n") == 1


def test_given_servers_are_used_instead(
    fresh_clone: Path, postgres_url: str, valkey_url: str, clean_database: None
) -> None:
    given = {"DATABASE_URL": postgres_url, "VALKEY_URL": valkey_url}
    with Run(fresh_clone, environment=given) as run:
        run.wait_running()
        assert len(psutil.Process(run.process.pid).children()) == 2  # the API and the worker alone
        assert not {"DATABASE_URL", "VALKEY_URL", "EMBEDDED_SERVERS"} & run.values.keys()
    assert not (fresh_clone / ".local" / "postgres").exists()


def walk_through_the_readme(url: str, passwords: dict[str, str]) -> None:
    """Paste the README's walk through records into a shell."""
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    (walk,) = (
        block
        for block in re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
        if "create()" in block
    )
    given = f"URL={url}\nPASSWORD={passwords['admin@example.com']}\n"
    pasted = subprocess.run(
        ["/bin/sh"], input=given + walk, capture_output=True, text=True, check=True, timeout=60
    )
    statuses = re.findall(r"^HTTP/1.1 (\d{3})", pasted.stdout, re.MULTILINE)
    assert statuses[:6] == ["201", "201", "422", "200", "200", "200"]
    assert "429" in statuses[6:]
    assert re.findall(r"^idempotent-replayed: (.*?)\s*$", pasted.stdout, re.MULTILINE) == ["true"]
    first, second = re.findall(r"^cache-status: gatehouse; (.*?)\s*$", pasted.stdout, re.MULTILINE)
    assert (first, second.partition(";")[0]) == ("fwd=miss; stored", "hit")
    assert '"balance":998,' in pasted.stdout
    assert re.search(r"^retry-after: \d+", pasted.stdout, re.MULTILINE)


def assert_rights_are_as_printed(url: str, passwords: dict[str, str]) -> None:
    with httpx2.Client(base_url=url) as client:
        tokens = {}
        for email in ("analyst@example.com", "viewer@example.com"):
            answer = client.post("/auth/token", data={"username": email, "password": passwords[email]})
            tokens[email] = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert (client.get("/records", headers=tokens["analyst@example.com"])).status_code == 200
        assert (client.get("/records")).status_code == 401
        assert (client.get("/records", headers=tokens["viewer@example.com"])).status_code == 403


def assert_printed_lines_show_what_they_promise(run: Run) -> None:
    lines = re.findall(r"^  ((?:TOKEN|VIEWER|curl).*)$", run.output, re.MULTILINE)
    pasted = subprocess.run(
        ["/bin/sh"], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60
    )
    assert re.findall(r"^(\d{3})$", pasted.stdout, re.MULTILINE) == ["200", "401", "403"]
    assert re.search(r"^ +\d+ 429$", pasted.stdout, re.MULTILINE)


async def test_printed_lines_show_what_they_promise_to_an_ordinary_user(fresh_clone: Path) -> None:
    """The real API and worker, from nothing. Every test here runs for whoever runs the tests; when that is root, this one becomes
    `nobody`.
    """
    uid = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    if os.geteuid() == 0:
        os.chown(fresh_clone, uid, -1)
    with readable_program(uid) as program, Run(fresh_clone, "--real", program=program, uid=uid) as run:
        url = re.findall(r"API +(http://\S+)", run.wait_running().output)[0]
        assert {process.uids().real for process in run.family} == {uid}
        await keep(run, "user")
        passwords = json.loads((fresh_clone / ".local" / "credentials.json").read_text())
        assert_rights_are_as_printed(url, passwords)
        if shutil.which("curl"):
            assert_printed_lines_show_what_they_promise(run)
            walk_through_the_readme(url, passwords)
        run.send(signal.SIGTERM)
        assert run.wait() == 0
        assert run.left_over(0) == []
        assert [password for password in passwords.values() if run.output.count(password) > 2] == []
