"""Are the answers right? Make each index, look at the plan, and measure."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.advice._case import Case
from bench.advice._measure import Effort, effort, effort_with

HELPS_TIMES, HELPS_MS = 2.0, 0.5
"""An index helps when the statement takes at most half of what it takes; where none is wanted, when that also saves half a millisecond."""
MAY_LOSE = 0.1
"""Of what the best of the accepted answers saves, another may lose a tenth, or half a millisecond."""
_NOTICED_MS, _NOTICED_BLOCKS = 0.1, 20


@dataclass(slots=True)
class Verdict:
    """What was measured of a case; ``wrong`` says in words what does not hold."""

    case: Case
    without: Effort
    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def verify(connection: Any, cases: Sequence[Case]) -> AsyncIterator[Verdict]:
    """Each case in turn. The tables are as before afterwards."""
    await connection.execute("SET jit = off")
    for case in cases:
        verdict = Verdict(case, await effort(connection, case))
        best = await _best_answer(connection, verdict) if case.answers else None
        if best is not None:
            await _near_misses(connection, verdict, best)
        if not case.answers:
            await _needs_none(connection, verdict)
        yield verdict


def helps(case: Case, without: Effort, measured: Effort) -> bool:
    """At most half the time, and at most half the blocks, since the next time they may not be in memory."""
    in_blocks = case.is_unseen_by_plan or without.blocks >= HELPS_TIMES * measured.blocks
    return in_blocks and without.ms >= HELPS_TIMES * measured.ms


def is_clearly_better(one: Effort, other: Effort) -> bool:
    """Half the time or half the blocks, and enough to be noticed."""
    in_time = other.ms >= HELPS_TIMES * one.ms and other.ms - one.ms >= _NOTICED_MS
    in_blocks = other.blocks >= HELPS_TIMES * one.blocks and other.blocks - one.blocks >= _NOTICED_BLOCKS
    return in_time or in_blocks


async def _best_answer(connection: Any, verdict: Verdict) -> Effort | None:
    """The best of the accepted; each must be in the plan, help, and save nearly what the best saves."""
    kept: dict[str, Effort] = {}
    for answer in verdict.case.answers:
        specs = (answer,) if isinstance(answer, str) else tuple(answer)
        name = " + ".join(specs)
        result = await effort_with(connection, verdict.case, specs)
        if isinstance(result, str):
            verdict.wrong.append(f"cannot be made: {name}: {result}")
            continue
        measured, is_used = result
        verdict.lines.append(line(name, verdict.without, measured, is_used=is_used))
        if not is_used or not helps(verdict.case, verdict.without, measured):
            verdict.wrong.append(f"accepted but {'does not help' if is_used else 'not in the plan'}: {name}")
        else:
            kept[name] = measured
    best = min(kept.values(), key=lambda one: one.ms, default=None)
    for name, measured in kept.items():
        if best and measured.ms - best.ms > max(HELPS_MS, MAY_LOSE * (verdict.without.ms - best.ms)):
            verdict.wrong.append(f"accepted but much worse than the best: {name}")
    return best


async def _near_misses(connection: Any, verdict: Verdict, best: Effort) -> None:
    for name in verdict.case.narrow:
        result = await effort_with(connection, verdict.case, (name,))
        if isinstance(result, str):
            verdict.wrong.append(f"cannot be made: {name}: {result}")
        else:
            verdict.lines.append("narrow: " + line(name, verdict.without, result[0], is_used=result[1]))
            if (
                result[1]
                and helps(verdict.case, verdict.without, result[0])
                and not is_clearly_better(best, result[0])
            ):
                verdict.wrong.append(f"said to be narrow, but as good as the best: {name}")
    for name in verdict.case.wide:
        result = await effort_with(connection, verdict.case, (name,))
        if isinstance(result, str):
            verdict.wrong.append(f"cannot be made: {name}: {result}")
        else:
            verdict.lines.append("wide: " + line(name, verdict.without, result[0], is_used=result[1]))
            if result[0].ms * HELPS_TIMES <= best.ms and best.ms - result[0].ms > HELPS_MS:
                verdict.wrong.append(f"said to be wide, but clearly better: {name}")


async def _needs_none(connection: Any, verdict: Verdict) -> None:
    for name in verdict.case.tries:
        result = await effort_with(connection, verdict.case, (name,))
        if isinstance(result, str):
            verdict.wrong.append(f"cannot be made: {name}: {result}")
            continue
        measured, is_used = result
        verdict.lines.append("try: " + line(name, verdict.without, measured, is_used=is_used))
        saved = verdict.without.ms - measured.ms
        if is_used and helps(verdict.case, verdict.without, measured) and saved >= HELPS_MS:
            verdict.wrong.append(f"said to need none, but this helps: {name}")


def line(name: str, without: Effort, measured: Effort, *, is_used: bool) -> str:
    """One measurement."""
    gain = without.ms / max(measured.ms, 0.001)
    used = "used" if is_used else "not used"
    return f"{gain:8.1f}x {measured.ms:9.3f} ms {measured.blocks:7} blocks  {used:8}  {name}"
