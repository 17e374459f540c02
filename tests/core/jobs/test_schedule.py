"""Jobs that run at times of their own."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from app.core.jobs import JobRun, Schedule, job
from app.settings import Settings
from tests.core.jobs.workbench import working

pytestmark = pytest.mark.usefixtures("own_jobs")


class Nothing(BaseModel):
    """All that they need."""


def _broken(_arguments: Any) -> str:
    raise ZeroDivisionError


@job("cron_broken", queue="cron_broken", cron="* * * * *", unique=_broken)
async def cron_broken(_arguments: Nothing, _run: JobRun) -> None: ...


@job("cron_sound", queue="cron_sound", cron="* * * * *")
async def cron_sound(_arguments: Nothing, _run: JobRun) -> str:
    return "on time"


async def test_one_that_cannot_be_submitted_keeps_nobody_and_two_leaders_submit_once(
    settings: Settings,
) -> None:
    async with working(settings, (cron_broken, cron_sound)) as bench:
        parts = bench.app.platform.database, bench.store, bench.queue
        leaders = [Schedule(*parts), Schedule(*parts)]
        submitted = [
            one for some in await asyncio.gather(*(leader.submit() for leader in leaders)) for one in some
        ]
        assert len(set(submitted)) == len(submitted) >= 1
        row = await bench.ended(submitted[0])
        assert (row.name, row.status, row.result) == ("cron_sound", "succeeded", "on time")
        for one in submitted:
            await bench.drop(one)
