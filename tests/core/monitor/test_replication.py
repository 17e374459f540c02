from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.core.monitor import MonitorServer, Replication, Slot, Standby, replication
from app.core.monitor._replication import _server, _slot
from tests.standby import Pair

SLOT = "slot_of_the_monitor_tests"


@pytest.fixture
async def slot(database: Database) -> AsyncIterator[None]:
    async with database.connect() as connection:
        await connection.exec_driver_sql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
        yield
        await connection.exec_driver_sql(f"SELECT pg_drop_replication_slot('{SLOT}')")


def checks(found: Replication) -> dict[str, str]:
    return {each.check: each.severity for each in found.findings}


@pytest.mark.usefixtures("slot")
async def test_a_slot_that_nobody_reads_is_found_with_what_it_keeps(server: MonitorServer) -> None:
    async with server.ask() as asked:
        found = await replication(asked, retained_bytes=0, critical_bytes=2**60)
        critical = await replication(asked, retained_bytes=0, critical_bytes=0)
        usual = await replication(asked)
    ours = next(each for each in found.slots if each.name == SLOT)
    assert (ours.type, ours.is_active, ours.is_synced) == ("physical", False, False)
    # Which of them is decided by how much other tests write.
    assert ours.wal_status in ("reserved", "extended")
    assert (ours.retained_bytes or 0) >= 0
    finding = next(each for each in found.findings if each.subject == SLOT)
    assert (finding.check, finding.severity) == ("replication.slot_inactive", "warning")
    assert finding.ddl == (f"SELECT pg_drop_replication_slot('{SLOT}');",)
    assert checks(critical)["replication.slot_inactive"] == "critical"
    assert "replication.slot_inactive" not in checks(usual)
    assert (found.is_standby, found.own, found.standbys) == (False, None, ())


@pytest.mark.parametrize(
    ("status", "is_synced", "check"),
    [
        ("lost", False, "replication.slot_lost"),
        ("unreserved", False, "replication.slot_at_limit"),
        ("extended", False, "replication.slot_inactive"),
        ("extended", True, None),
    ],
)
def test_the_worst_of_a_slot_is_told(status: str, is_synced: bool, check: str | None) -> None:
    slot = Slot("s", "logical", "d", "p", False, False, is_synced, 1_000, status, None, None, None, None)
    assert [each.check for each in _slot(slot, 1_000, 10**9, is_unlimited=False)] == (
        [check] if check else []
    )


@pytest.mark.parametrize(
    ("sync_state", "checks"), [("async", ["replication.no_synchronous_standby"]), ("quorum", [])]
)
def test_commits_that_wait_for_nobody_are_found(sync_state: str, checks: list[str]) -> None:
    server = {"waits_for_standby": True, "is_standby": False, "archive_fails": False}
    standby = Standby("s", None, "streaming", sync_state, 0, 0, None, 0.1)
    assert [each.check for each in _server(server, (standby,))] == checks


def test_an_archive_that_refuses_is_found() -> None:
    server = {"waits_for_standby": False, "is_standby": False, "archive_fails": True, "archive_failures": 3}
    assert [(each.check, each.severity) for each in _server(server, ())] == [
        ("replication.archive", "critical")
    ]


async def test_both_sides_of_a_pair_tell_how_far_the_standby_is(pair: Pair) -> None:
    primary, standby = (
        MonitorServer(Database(pair.primary.url())),
        MonitorServer(Database(pair.standby.url())),
    )
    try:
        there = await primary.put(replication)
        here = await standby.put(replication)
        await pair.on_standby("SELECT pg_wal_replay_pause()")
        while (paused := await standby.put(replication)).own is None or not paused.own.is_paused:
            pass
        await pair.commit("INSERT INTO notes VALUES ('late')", is_shown=False)
        while not (await primary.put(lambda asked: replication(asked, lag_bytes=1))).standbys[0].lag_bytes:
            pass
        behind = await primary.put(lambda asked: replication(asked, lag_bytes=1))
    finally:
        await pair.on_standby("SELECT pg_wal_replay_resume()")
        await primary.close()
        await standby.close()
    assert [(each.state, each.sync_state) for each in there.standbys] == [("streaming", "sync")]
    assert (there.waits_for_standby, there.findings) == (
        False,
        (),
    )  # These servers commit without waiting for a disk.
    assert here.is_standby
    assert here.own is not None
    assert (here.own.receiver, here.own.is_paused, here.findings) == ("streaming", False, ())
    assert checks(paused) == {"replication.paused": "warning"}
    assert checks(behind) == {"replication.lag": "warning"}
