"""`jobs ...`: what people on call look at and do, on real servers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.cli import _jobs
from app.core.db import Database
from app.settings import Settings
from tests.builtin.jobs.rows import insert_jobs, insert_worker
from tests.cli.test_commands import SAFE, UNREACHABLE, Command, command, servers_environment

__all__ = ["command", "servers_environment"]
Insert = Callable[..., list[str]]


@pytest.fixture
def insert(postgres_url: str, clean_database: None) -> Insert:
    """Jobs, and workers, from a test that has no loop."""

    def run(status: str, count: int = 1, **changes: Any) -> list[str]:
        async def work() -> list[UUID]:
            database = Database(postgres_url, pool_size=1)
            try:
                if status == "worker":
                    await insert_worker(database, "host:1", "quiet")
                    return []
                return await insert_jobs(database, status, count, **changes)
            finally:
                await database.close()

        return list(map(str, asyncio.run(work())))

    return run


def test_jobs_are_listed_and_filtered(command: Command, insert: Insert) -> None:
    first, second = insert("dead", 2, name="send", queue="mails", error="[red]no\x1b[31m")
    (third,) = insert("queued", name="other", owner="me", tenant_id="acme")
    listed = command("jobs", "list", "--json").json
    assert [job["id"] for job in listed["items"]] == [third, second, first]
    assert set(listed) == {"items", "next_cursor"}
    for option in ("--status=dead", "--name=send", "--queue=mails"):
        found = command("jobs", "list", option, "--since=1h", "--json").json["items"]
        assert [job["id"] for job in found] == [second, first]
    assert [job["id"] for job in command("jobs", "list", "--owner=me", "--json").json["items"]] == [third]
    page = command("jobs", "list", "--limit=1", "--json").json
    assert (
        command("jobs", "list", f"--cursor={page['next_cursor']}", "--limit=1", "--json").json["items"][0][
            "id"
        ]
        == second
    )
    table = command("jobs", "list", "--status=dead", COLUMNS="250").output
    assert "[red]no\\u001b[31m" in table
    assert "\x1b" not in table
    narrow = command("jobs", "list", COLUMNS="60").output.splitlines()
    assert "[red]no\\u001b[31m" in narrow[2]
    assert [line.split()[:3] for line in narrow[1:]] == [
        [third, "other", "default"],
        [second, "send", "mails"],
        [first, "send", "mails"],
    ]
    assert command("jobs", "list", "--since=2999-01-01T00:00:00Z", "--json").json["items"] == []


def test_one_is_shown_cancelled_and_run_again(command: Command, insert: Insert) -> None:
    (job_id,) = insert("queued", due_s=3600)
    assert command("jobs", "show", job_id, "--json").json["status"] == "queued"
    assert "queued" in command("jobs", "show", job_id).output
    assert command("jobs", "cancel", job_id, "--json").json["status"] == "cancelled"
    assert command("jobs", "show", job_id, "--watch").code == 1
    again = command("jobs", "retry", job_id, "--json").json
    assert (again["status"], again["attempts"]) == ("queued", 0)
    refused = command("jobs", "retry", job_id)
    assert (refused.code, refused.errors.count("\n")) == (1, 1)
    (done,) = insert("succeeded")
    watched = command("jobs", "show", done, "--watch", "--json")
    assert (watched.code, watched.json["status"]) == (0, "succeeded")
    assert command("jobs", "cancel", done).code == 1
    missing = command("jobs", "show", str(UUID(int=7)))
    assert (missing.code, missing.errors) == (1, "error: Job not found\n")


def test_many_are_run_again_after_a_question(command: Command, insert: Insert) -> None:
    ids = insert("dead", 3, queue="mails")
    (failed,) = insert("failed", queue="mails")
    assert command("jobs", "retry", "--queue=mails", stdin="n\n").code == 1
    asked = command("jobs", "retry", "--queue=mails", "--json", stdin="y\n")
    assert (asked.code, asked.json) == (0, {"retried": 3, "refused": {}})
    for job_id in ids:
        assert command("jobs", "show", job_id, "--json").json["status"] == "queued"
    assert command("jobs", "show", failed, "--json").json["status"] == "failed"
    assert command("jobs", "retry", "--status=failed", "--since=1d", "--yes").output == "1 jobs run again\n"
    assert command("jobs", "retry", "--status=dead", "--yes").output == "0 jobs run again\n"


async def test_a_job_that_cannot_run_again_is_named_and_keeps_no_other_from_it(
    settings: Settings, database: Database, clean_database: None
) -> None:
    (dead,) = await insert_jobs(database, "dead")
    (open_one,) = await insert_jobs(database, "queued")
    seen: list[tuple[str, int, int]] = []
    done = await _jobs.retry_all(settings, [open_one, dead], lambda *told: seen.append(told))
    assert (done["retried"], list(done["refused"])) == (1, [str(open_one)])
    assert seen == [("retry", 1, 2), ("retry", 2, 2)]


async def test_watching_tells_how_far_a_job_is_until_it_ends(
    settings: Settings, database: Database, clean_database: None
) -> None:
    (job_id,) = await insert_jobs(database, "queued", due_s=3600)
    seen: list[tuple[str, int, int]] = []

    async def end(_seconds: float) -> None:
        await _jobs.cancel(settings, job_id)

    job = await _jobs.watch(settings, job_id, lambda *told: seen.append(told), sleep=end)
    assert (job["status"], seen) == ("cancelled", [("any", 0, 100)] * 2)


def test_the_doctor_finds_jobs_that_nobody_does(command: Command, insert: Insert) -> None:
    insert("queued", queue="quiet", due_s=-1000)
    for said in ("no worker takes jobs from quiet", "the oldest of quiet waits for 1"):
        report = command("doctor", "--json", **SAFE)
        assert report.code == 1
        (found,) = [finding for finding in report.json["findings"] if not finding["ok"]]
        assert found["name"] == "jobs"
        assert said in found["detail"]
        insert("worker")


def test_queues_and_workers_are_shown(command: Command, insert: Insert) -> None:
    insert("queued", 2, queue="quiet", due_s=-90)
    assert "no worker is there" in command("jobs", "queues").output
    insert("worker")
    found = command("jobs", "queues", "--json").json
    (quiet,) = [state for state in found["queues"] if state["queue"] == "quiet"]
    assert (quiet["waiting"], quiet["workers"], quiet["broker"]) == (
        2,
        1,
        {"waiting": 0, "unacked": 0, "dead": 0},
    )
    assert quiet["oldest_s"] >= 90
    assert [worker["name"] for worker in found["workers"]] == ["host:1"]
    assert "worker host:1: 2 in work, takes quiet" in command("jobs", "queues", COLUMNS="200").output
    away = command("jobs", "queues", "--json", VALKEY_URL="valkey://127.0.0.1:1/0")
    assert (away.code, away.json["queues"][-1]["broker"]) == (0, None)
    assert command("jobs", "replay-dead", "quiet", "--json").json == {"queue": "quiet", "replayed": 0}


@pytest.mark.parametrize(
    "arguments",
    [["retry"], ["retry", str(UUID(int=1)), "--queue=a"], ["retry", "--status=queued"], ["show", "x"], ["list", "--limit=0"]],
)  # fmt: skip
def test_what_makes_no_sense_is_wrong_usage(command: Command, arguments: list[str]) -> None:
    assert command("jobs", *arguments).code == 2


@pytest.mark.parametrize(
    "option", ["--since=yesterday", "--since=99999d", "--status=strange", "--name=No Name", "--queue=\x1b"]
)
def test_filters_that_make_no_sense_are_wrong_usage_by_name(command: Command, option: str) -> None:
    refused = command("jobs", "list", option)
    assert (refused.code, option.partition("=")[0] in refused.errors, "\x1b" in refused.errors) == (
        2,
        True,
        False,
    )


def test_a_database_that_is_away_fails_in_one_line(command: Command, tmp_path: Path) -> None:
    for url in (UNREACHABLE, ""):
        failed = command("jobs", "list", DATABASE_URL=url)
        assert (failed.code, failed.errors.count("\n"), "hidden-word" in failed.errors) == (1, 1, False)
