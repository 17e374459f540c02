"""All checks at once, each failing alone: what somebody should look at first."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.overview import CheckOut, PerformanceOut, ServerOut, State
from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.parts import require_any
from app.core.monitor import MonitorServer, Panel, ranked

_ACTIONS = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the overview. ``title`` is what is looked at, ``look`` gives what it found (``Finding`` or what has its members)."""

    name: str
    title: str
    look: Callable[[], Awaitable[Iterable[object]]]


class Overview:
    """Puts all ``checks`` on ``board``, which asks two at a time and gives the same answers for a few seconds."""

    def __init__(self, server: MonitorServer, board: Board, checks: Sequence[Check]) -> None:
        self._server = server
        self._board = board
        self._checks = tuple(checks)

    async def look(self) -> PerformanceOut:
        """What every check found. One without an answer is ``unknown`` with its reason; the others stay.

        Raises as ``MonitorServer.facts``, and MonitorError (503) when no check has an answer.
        """
        facts = (
            await self._server.facts()
        )  # Without a server every check would wait for a failure of its own.
        answers = await asyncio.gather(*(self._answer(check) for check in self._checks))
        require_any({check.name: each for check, each in zip(self._checks, answers, strict=True)})
        findings = ranked(finding for each in answers for finding in each.value or ())
        return PerformanceOut(
            server=ServerOut.model_validate(facts),
            checks=[_shown(check, each) for check, each in zip(self._checks, answers, strict=True)],
            actions=[finding for finding in findings if finding.severity != "info"][:_ACTIONS],
            findings=findings,
        )

    async def _answer(self, check: Check) -> Panel[list[FindingOut]]:
        async def found() -> list[FindingOut]:
            return [FindingOut.model_validate(finding) for finding in await check.look()]

        return await self._board.look(("check", check.name), found)


def _shown(check: Check, answer: Panel[list[FindingOut]]) -> CheckOut:
    found = answer.value or []
    return CheckOut(
        name=check.name,
        title=check.title,
        state=_state(answer.value),
        reason=answer.reason,
        findings=len(found),
        took_ms=answer.took_ms,
    )


def _state(found: list[FindingOut] | None) -> State:
    if found is None:
        return "unknown"
    worst = ranked(found)[:1]
    return worst[0].severity if worst else "ok"
