"""PostgreSQL dies when a commit is on its disk and before it has said so: nobody knows what became of it, and it is done once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.orders import Lost, insist
from tests.chaos.stage import Stage, until
from tests.processes import Api

Pair = tuple[Api, Api]


@asynccontextmanager
async def killed_after_commits(stage: Stage, commits: int) -> AsyncIterator[None]:
    """The commits of what is begun in the block wait, written, for a standby that does not exist; then the server dies with them."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    try:
        async with stage.sql() as sql:
            await sql.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            await sql.execute("SELECT pg_reload_conf()")
            try:
                yield

                async def all_are_written() -> bool:
                    return bool(await sql.fetchval(waiting) >= commits)

                await until(all_are_written, f"{commits} commits wait")
            finally:
                # It is read again at the next start only: whoever waits goes on waiting.
                await sql.execute("ALTER SYSTEM RESET synchronous_standby_names")
    finally:
        stage.postgres.kill()
        stage.postgres.restart()


async def test_what_was_committed_without_anybody_being_told_is_done_once(stage: Stage, pair: Pair) -> None:
    durable, quick, rerun = [await Lost.new(stage, path) for path in ("/durable", "/quick", "/rerun")]
    paid = await Lost.new(stage, "/paid")
    async with killed_after_commits(stage, 4):
        tasks = [asyncio.create_task(lost.send(pair[0])) for lost in (durable, quick, rerun)]
        tasks.append(asyncio.create_task(paid.caller.post(pair[0], "/paid")))
    answers = await asyncio.gather(*tasks)
    assert {answer.status_code for answer in answers} == {503}

    await pair[1].wait_ready()
    _, replayed = await insist(lambda: durable.send(pair[1]))
    assert (replayed.status_code, replayed.headers["idempotent-replayed"]) == (201, "true")
    _, unknown = await insist(lambda: quick.send(pair[1]))
    assert (unknown.status_code, unknown.json()["reason"]) == (409, "outcome_unknown")
    _, again = await insist(lambda: rerun.send(pair[1]))
    assert (again.status_code, "idempotent-replayed" in again.headers) == (201, False)

    assert await stage.rows(durable.caller.user, "durable") == ["tea"]
    assert await stage.rows(quick.caller.user, "quick") == ["tea"]
    assert await stage.rows(rerun.caller.user, "rerun") == ["tea", "tea"]
    for lost in (durable, quick, rerun, paid):
        assert await stage.debits(lost.caller.user) == 1
        await stage.check_account(lost.caller.user, 9)
    await stage.check_books()
