"""One set of indexes for the statements that cost most."""

import asyncio
from dataclasses import dataclass

from app.builtin.db_monitor.schemas.slow_queries import SlowQueriesQuery
from app.builtin.db_monitor.service.slow_queries import SlowQueries
from app.core.monitor import (
    MonitorServer,
    MonitorTimeout,
    NotSupported,
    Ran,
    WorkloadAdvice,
    advise_workload,
    statement_texts,
)

SUGGESTED = "suggested"
"""Under which name the answer is on the board; ``KEPT_S`` seconds, because it is dear."""
KEPT_S = 300.0
_MOST, _BUDGET_S = 20, 7.0


@dataclass(frozen=True, slots=True)
class Suggested:
    """The advice, and by what its milliseconds are multiplied to be those of a day."""

    advice: WorkloadAdvice
    per_day: float


async def suggested_indexes(server: MonitorServer, slow: SlowQueries) -> Suggested:
    """For the 20 statements that took most time in the last day. Raises NotSupported where the server does not count statements,
    MonitorTimeout when it takes over seven seconds, and as ``SlowQueries.report`` does.
    """
    report = await slow.report(SlowQueriesQuery(limit=_MOST))
    counted = report.counted
    if counted is None:
        raise NotSupported("The server does not count its statements (pg_stat_statements)")
    uses = {it.queryid: it.use for it in report.statements}
    texts = await server.put(lambda asked: statement_texts(asked, uses))
    ran = [
        Ran(queryid, texts[queryid].text, use.calls, use.mean_ms)
        for queryid, use in uses.items()
        if queryid in texts
    ]
    try:
        async with asyncio.timeout(_BUDGET_S):
            advice = await advise_workload(server, ran, most=_MOST)
    except TimeoutError as error:
        raise MonitorTimeout from error
    return Suggested(advice, counted.per_day or 0.0)
