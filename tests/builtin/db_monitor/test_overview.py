"""The overview: every check, each failing alone."""

import asyncio
from collections.abc import Sequence

import pytest

from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.overview import Check, Overview
from app.core.errors import GatehouseError
from app.core.monitor import Finding, MonitorError, MonitorLocked, MonitorServer
from app.core.resilience import SystemClock


def finding(severity: str, subject: str) -> Finding:
    return Finding(
        check="a.check", severity=severity, subject=subject, title="t", evidence="e", fix="f"  # type: ignore[arg-type]
    )  # fmt: skip


def check(name: str, *found: Finding, error: GatehouseError | None = None) -> Check:
    async def look() -> Sequence[Finding]:
        if error is not None:
            raise error
        return found

    return Check(name, name.title(), look)


async def test_the_worst_comes_first_and_the_first_three_are_what_to_do(server: MonitorServer) -> None:
    found = [finding("info", "a"), finding("warning", "b"), finding("warning", "c")]
    answer = await Overview(
        server,
        Board(SystemClock()),
        [check("one", *found), check("two", finding("critical", "d")), check("three")],
    ).look()
    assert [each.subject for each in answer.findings] == ["d", "b", "c", "a"]
    assert [each.subject for each in answer.actions] == ["d", "b", "c"]
    assert [(each.name, each.state, each.findings) for each in answer.checks] == [
        ("one", "warning", 3),
        ("two", "critical", 1),
        ("three", "ok", 0),
    ]


async def test_a_check_without_an_answer_is_unknown_and_the_others_stay(server: MonitorServer) -> None:
    answer = await Overview(
        server,
        Board(SystemClock()),
        [check("one", error=MonitorLocked()), check("two", finding("info", "a"))],
    ).look()
    assert [(each.state, each.reason) for each in answer.checks] == [
        ("unknown", "Not available while a table is locked"),
        ("info", None),
    ]


async def test_an_overview_in_which_no_check_has_an_answer_is_no_healthy_server(
    server: MonitorServer,
) -> None:
    with pytest.raises(MonitorError):
        await Overview(server, Board(SystemClock()), [check("one", error=MonitorLocked())]).look()


async def test_no_more_than_two_checks_ask_at_once(server: MonitorServer) -> None:
    asking, most = 0, 0

    async def look() -> Sequence[Finding]:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await asyncio.sleep(0)
        asking -= 1
        return ()

    await Overview(server, Board(SystemClock()), [Check(str(n), "t", look) for n in range(5)]).look()
    assert most == 2
