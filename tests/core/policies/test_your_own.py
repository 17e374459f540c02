"""The policy of docs/policies/your-own.md, taken out of the page: it runs, refuses, is charged and is told about."""

from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI

from app.core.context import Principal
from app.core.errors import PolicyRejected
from app.core.observability import PolicyEvent
from app.core.policies import Caller, CostRequest, JobConfig, RateLimit
from app.settings import Settings
from tests.core.http.gated import NOBODY, READER, as_, routed

pytestmark = pytest.mark.usefixtures("clean_store")
PAGE = Path(__file__).parents[3] / "docs/policies/your-own.md"
REQUEST = CostRequest("GET", {}, {}, None)
CLOCK = "datetime.now(UTC)"


def page_at(*hours: int, limit: int = 100) -> ModuleType:
    """The example of the page as a module, at these hours one after the other, with so many attempts for each caller."""
    _, _, rest = PAGE.read_text().partition("```python\n")
    source, _, _ = rest.partition("```\n")
    assert source.count(CLOCK) == 1
    made = ModuleType("desk")
    times = iter([datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in hours])
    bound = "JobConfig(rate_limit=LIMIT, "
    source = source.replace(CLOCK, "next(TIMES)").replace("JobConfig(", bound)
    attempts = RateLimit.fixed_window(limit=limit, window=86_400.0 * 300)
    made.__dict__.update(TIMES=times, LIMIT=attempts)
    exec(compile(source, str(PAGE), "exec"), made.__dict__)
    return made


async def test_it_lets_in_from_its_opening_to_its_closing_and_refuses_outside(settings: Settings) -> None:
    async with routed(settings, page_at(7, 8, 16, 17).router) as client:
        answers = [await client.get("/desk", headers=as_(READER)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [403, 200, 200, 403]
    assert answers[1].json() == {"caller": "reader"}
    refused = answers[3]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["violated-policies"] == ["office_hours"]
    assert refused.json()["detail"] == "Open from 8 to 17 UTC."


async def test_it_is_asked_after_authentication(settings: Settings) -> None:
    async with routed(settings, page_at().router) as client:
        answer = await client.get("/desk")
    assert answer.status_code == 401


async def test_its_refusals_are_charged_to_the_attempt_limits(settings: Settings) -> None:
    async with routed(settings, page_at(20, 20, 20, limit=2).router) as client:
        statuses = [(await client.get("/desk", headers=as_(NOBODY))).status_code for _ in range(3)]
    assert statuses == [403, 403, 429]


async def test_its_refusals_are_told_under_its_name(settings: Settings) -> None:
    events: list[Any] = []

    def listen(app: FastAPI) -> None:
        app.state.gatehouse.hub.subscribe(PolicyEvent, events.append)

    async with routed(settings, page_at(20).router, change=listen) as client:
        await client.get("/desk", headers=as_(READER))
    (event,) = events
    assert (event.policy, event.verdict, event.cause) == ("desk_get", "office_hours", "OfficeClosed")


@pytest.mark.parametrize(("opens", "closes"), [(17, 8), (8, 8), (-1, 8), (8, 25)])
def test_it_checks_its_options(opens: int, closes: int) -> None:
    with pytest.raises(ValueError, match="opens < closes"):
        page_at().OfficeHours(opens=opens, closes=closes)


def test_it_can_be_tested_without_a_server() -> None:
    page = page_at(12, 22)
    rule = page.OfficeHours(opens=8, closes=17)
    caller = Caller(Principal("ada"), "192.0.2.1")
    assert rule.refusal(caller, REQUEST) is None
    assert isinstance(rule.refusal(caller, REQUEST), PolicyRejected)


def test_two_rules_of_one_name_are_refused() -> None:
    rule = page_at().OfficeHours(opens=8, closes=17)
    with pytest.raises(ValueError, match="names must differ"):
        JobConfig(extra=(rule, rule))
