"""The plan of a text that an operator writes."""

from typing import Annotated

from fastapi import Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.builtin.db_monitor.router.gates import Server
from app.builtin.db_monitor.router.pages.look import answer
from app.builtin.db_monitor.service.plan_page import plan_of_text
from app.core import Bulkhead, JobConfig, PageRouter, RateLimit, Security, api_worker, enforce_all_policies
from app.core.monitor import advise, panel

ASK = JobConfig(security=Security(scopes=("write:monitor",)))
PLAN = JobConfig(
    security=Security(scopes=("write:monitor",)),
    rate_limit=RateLimit(name="user", algorithm="token_bucket", quota=60, window=60, burst=20),
    bulkhead=Bulkhead(max=2, queue=8),
    max_body=393_216,  # 100,000 bytes of SQL in the spelling of a form
    timeout=15,
)

router = PageRouter(prefix="/ui/db-monitor")


class ExplainForm(BaseModel):
    """``csrf_token`` has been compared before anything else was read."""

    model_config = ConfigDict(extra="forbid")

    csrf_token: Annotated[str, Field(max_length=100)] = ""
    sql: Annotated[str, Field(min_length=1, max_length=100_000)]
    analyze: bool = False


@router.get("/explain", dependencies=[enforce_all_policies("ui_monitor_explain_form", ASK)])
@api_worker(ASK)
async def explain_form(request: Request) -> Response:
    """The form."""
    return answer(request, "explain.html", scripts=("copy",), sql="", analyze=False, plan=None, advice=None)


@router.post("/explain", dependencies=[enforce_all_policies("ui_monitor_explain", PLAN)])
@api_worker(PLAN)
async def explain(form: Annotated[ExplainForm, Form()], request: Request, server: Server) -> Response:
    """The plan, or the form with what is wrong; the text goes back to who wrote it and nowhere else."""
    plan = await panel("explain", lambda: plan_of_text(server, form.sql, analyze=form.analyze))
    status, advice = 422, None
    if plan.value is not None:
        status, advice = 200, await panel("advice", lambda: advise(server, form.sql))
    return answer(
        request, "explain.html", status=status, scripts=("copy",), sql=form.sql, analyze=form.analyze, plan=plan, advice=advice
    )  # fmt: skip
