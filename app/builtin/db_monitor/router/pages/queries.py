"""Statements by what they cost, and one of them."""

import asyncio
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import model_validator
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import SEE, WITH_CHARTS, Shown, answer, look_for
from app.builtin.db_monitor.router.pages.sorting import Sorting, asked_for
from app.builtin.db_monitor.router.queries import PLANNED
from app.builtin.db_monitor.router.slow_queries import QueryId, Statements
from app.builtin.db_monitor.schemas.slow_queries import WINDOWS, SlowQueriesQuery, StatementQuery
from app.builtin.db_monitor.service.plan_page import advice_on_known, plan_of_known
from app.builtin.db_monitor.service.statement_lines import charts_of
from app.core import PageRouter, api_worker, enforce_all_policies

router = PageRouter(prefix="/ui/db-monitor")


class QueriesPage(SlowQueriesQuery):
    """As of the API; a field of the form that was left empty is not asked for."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        return (
            {name: value for name, value in values.items() if value != ""}
            if isinstance(values, dict)
            else values
        )


@router.get("/queries", dependencies=[enforce_all_policies("ui_monitor_queries", SEE)])
@api_worker(SEE)
async def queries_page(
    query: Annotated[QueriesPage, Query()], request: Request, statements: Statements, board: Shown
) -> Response:
    """The statements that cost most, and how long statements took over time."""
    asked = asked_for(query)
    report, trend = await asyncio.gather(
        board.look(("queries", *asked.items()), lambda: statements.report(query)),
        board.look(("trend", query.window), lambda: statements.trend(query.window)),
    )
    sort = Sorting("queries", query.sort, asked)
    return answer(
        request, "queries.html", scripts=WITH_CHARTS, report=report, trend=trend, query=query, sort=sort, windows=WINDOWS,
        chart_of=charts_of(trend.value.points if trend.value is not None else ()),
    )  # fmt: skip


@router.get("/queries/{queryid}", dependencies=[enforce_all_policies("ui_monitor_query", PLANNED)])
@api_worker(PLANNED)
async def query_page(
    *,
    queryid: QueryId,
    query: Annotated[StatementQuery, Query()],
    request: Request,
    statements: Statements,
    server: Server,
    board: Shown,
) -> Response:
    """One statement: what it costs over time, who sends it, its plan, and what would make it cheaper."""
    number = int(queryid)
    found, plan, advice = await asyncio.gather(
        look_for(board, ("query", number, query.window), lambda: statements.one(number, query.window)),
        board.look(("plan", number), lambda: plan_of_known(server, number)),
        board.look(("advice", number), lambda: advice_on_known(server, number)),
    )
    status = 200 if found.value is not None else 503
    return answer(
        request, "query.html", tab="/queries", status=status, scripts=WITH_CHARTS, queryid=queryid, query=query, found=found,
        plan=plan, advice=advice, windows=WINDOWS,
        chart_of=charts_of(found.value.series.points if found.value is not None else ()),
    )  # fmt: skip
