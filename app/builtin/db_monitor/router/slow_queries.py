"""Statements by what they cost."""

from typing import Annotated

from fastapi import Depends, Path, Query

from app.builtin.db_monitor.router.gates import LOOK, REFUSALS
from app.builtin.db_monitor.schemas.slow_queries import (
    SlowQueriesOut,
    SlowQueriesQuery,
    StatementOut,
    StatementQuery,
)
from app.builtin.db_monitor.service import SlowQueries, answer_of, answer_of_one
from app.core import APIRouter, api_worker, enforce_all_policies, provided

router = APIRouter(prefix="/db-monitor", tags=["database"], responses=REFUSALS)
Statements = Annotated[SlowQueries, Depends(provided(SlowQueries))]
QueryId = Annotated[
    str,
    Path(pattern=r"^-?[0-9]{1,19}$", description="`queryid` of the list: a number of 64 bits with its sign"),
]


@router.get("/slow-queries", dependencies=[enforce_all_policies("monitor_slow_queries", LOOK)])
@api_worker(LOOK)
async def list_slow_queries(
    query: Annotated[SlowQueriesQuery, Query()], statements: Statements
) -> SlowQueriesOut:
    """The statements that cost most, by the server's counters (pg_stat_statements) and by what this process measured."""
    return answer_of(await statements.report(query))


@router.get(
    "/slow-queries/{queryid}",
    dependencies=[enforce_all_policies("monitor_slow_query", LOOK)],
    responses={404: {"description": "Nobody knows this statement, or the server does not count any"}},
)
@api_worker(LOOK)
async def read_slow_query(
    queryid: QueryId, query: Annotated[StatementQuery, Query()], statements: Statements
) -> StatementOut:
    """One statement: its text without values, what it cost over time, who sends it, and the tables that it uses."""
    return answer_of_one(await statements.one(int(queryid), query.window))
