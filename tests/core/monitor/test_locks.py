import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.core.monitor import Locks, LockSession, MonitorServer, locks
from app.core.monitor._locks import _queues

SECRET = "hunter2 of the lock tests"


@pytest.fixture
async def queue(postgres_url: str) -> AsyncIterator[tuple[int, int, int]]:
    """The pids of one that has locked a row, one that waits for the row, and one that waits for the table behind both."""
    url = postgres_url.replace("+asyncpg", "")
    holder, waiter, last = [await asyncpg.connect(url, server_settings={"application_name": name})
                            for name in ("holder", "waiter", "last")]  # fmt: skip
    await holder.execute(
        "CREATE TABLE lock_queue (id int PRIMARY KEY, name text); INSERT INTO lock_queue VALUES (1, 'a')"
    )
    begun = holder.transaction()
    await begun.start()
    await holder.execute(f"UPDATE lock_queue SET name = '{SECRET}'")
    first = asyncio.create_task(waiter.execute("UPDATE lock_queue SET name = 'b' WHERE id = 1"))
    async with asyncio.timeout(60):
        # Only then has it the table's own lock, for which the last one has to wait.
        while not await last.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1", waiter.get_server_pid()
        ):
            pass
    waiting = [first, asyncio.create_task(last.execute("TRUNCATE lock_queue"))]
    pids = tuple(each.get_server_pid() for each in (holder, waiter, last))
    yield pids
    await begun.rollback()
    await asyncio.gather(*waiting, return_exceptions=True)
    await holder.execute("DROP TABLE lock_queue")
    for each in (holder, waiter, last):
        await each.close()


async def seen(server: MonitorServer, pids: tuple[int, int, int], **limits: float) -> Locks:
    """What is found when all of them are where they shall be."""
    async with asyncio.timeout(60):
        while True:
            async with server.ask() as asked:
                found = await locks(asked, **limits)  # type: ignore[arg-type]
            if {session.pid for session in found.sessions} >= set(pids):
                return found


async def test_the_queue_is_told_from_its_head_with_times_modes_and_tables(
    server: MonitorServer, queue: tuple[int, int, int]
) -> None:
    found = await seen(server, queue, waiting_s=0.0, transaction_s=0.0)
    by_pid = {session.pid: session for session in found.sessions}
    head, middle, last = (by_pid[pid] for pid in queue)
    assert next(session.pid for session in found.sessions if session.pid in queue) == head.pid
    assert (head.application, head.blocked_by, head.depth, head.holds_up) == ("holder", (), 0, 2)
    assert (head.state, head.waits_for, head.statement) == (
        "idle in transaction",
        None,
        "UPDATE lock_queue SET name = ?",
    )
    assert (middle.blocked_by, middle.waits_for, middle.lock_mode) == (
        (head.pid,),
        "transactionid",
        "ShareLock",
    )
    assert middle.relation == "public.lock_queue"
    assert (last.lock_mode, last.relation) == ("AccessExclusiveLock", "public.lock_queue")
    assert last.statement == "TRUNCATE ..."
    assert middle.depth >= 1 <= last.depth
    assert all((each.transaction_s or 0) >= (each.waiting_s or 0) > 0 for each in (middle, last))
    assert SECRET not in repr(found)

    ours = {f"pid {pid}" for pid in queue}  # other tests' sessions may wait on the same server
    blocked = [one for one in found.findings if one.check == "locks.blocked" and one.subject in ours]
    assert [(finding.subject, finding.severity) for finding in blocked] == [(f"pid {head.pid}", "warning")]
    assert "public.lock_queue" in blocked[0].evidence
    long = {finding.subject for finding in found.findings if finding.check == "activity.long_transaction"}
    assert f"pid {head.pid}" in long
    assert {each.pid for each in found.transactions} >= set(queue)

    hours = await seen(server, queue, waiting_s=3600.0, statement_s=3600.0, transaction_s=3600.0)
    assert hours.findings == ()


def session(pid: int, *blocked_by: int) -> LockSession:
    return LockSession(pid, blocked_by, "", "", "", "", "", None, None, None, None, None, "")


@pytest.mark.parametrize(
    ("found", "ordered"),
    [
        ([session(1, 2), session(2), session(3, 1)], [(2, 0, 2), (1, 1, 1), (3, 2, 0)]),
        ([session(1, 2), session(2, 1)], [(1, 0, 1), (2, 1, 1)]),
        ([session(1, 2, 3), session(2), session(3), session(4, 3)], [(3, 0, 2), (1, 1, 0), (4, 1, 0), (2, 0, 1)]),
        ([], []),
    ],
    ids=["chain", "circle", "two blockers", "nobody"],
)  # fmt: skip
def test_every_session_is_told_once_below_one_that_it_waits_for(
    found: list[LockSession], ordered: list[tuple[int, int, int]]
) -> None:
    assert [(each.pid, each.depth, each.holds_up) for each in _queues(found)] == ordered
