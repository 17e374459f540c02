"""Jobs that wait until a test lets them go on, and what tests need around them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text

from app.core.context import Principal
from app.core.jobs import JobFailed, JobRun, job
from app.settings import Settings
from tests.core.jobs.workbench import Workbench, working

ANN, BOB = Principal("ann"), Principal("bob")
LATER = 3600.0


class Errand(BaseModel):
    """``word`` names the gate that it waits at; ``fails``: it says that it cannot succeed; ``breaks``: it cannot, and does not say so."""

    word: str = "go"
    fails: bool = False
    breaks: bool = False


class Gates:
    """Where errands wait, by word: ``began`` is set by the errand, ``open`` by the test."""

    began: ClassVar[defaultdict[str, asyncio.Event]] = defaultdict(asyncio.Event)
    open: ClassVar[defaultdict[str, asyncio.Event]] = defaultdict(asyncio.Event)


@job("errand", backoff_s=LATER, longest_backoff_s=LATER)
async def errand(arguments: Errand, run: JobRun) -> dict[str, str]:
    """Say that it began, wait to be let go, end as it was told."""
    run.progress(0.25, "waiting")
    Gates.began[arguments.word].set()
    await Gates.open[arguments.word].wait()
    if arguments.fails:
        raise JobFailed("It was told to fail.")
    if arguments.breaks:
        raise RuntimeError("broken")
    return {"word": arguments.word}


class Errands(Workbench):
    """A worker that runs errands."""

    async def submit(self, who: Principal | None = ANN, *, waits: bool = True, **options: Any) -> UUID:
        """A job of somebody's: one that waits for an hour, or one that begins now."""
        word = Errand(**{key: options.pop(key) for key in ("word", "fails", "breaks") if key in options})
        delay_s = LATER if waits else 0.0
        return (await self.enqueue(errand, word, submitter=who, delay_s=delay_s, **options)).id

    async def write(self, statement: str, **values: Any) -> None:
        """Change what the database has."""
        async with self.app.platform.database.session() as session:
            await session.execute(text(statement), values)
            await session.commit()


@asynccontextmanager
async def running_errands(settings: Settings) -> AsyncIterator[Errands]:
    """Errands at work; their rows are gone afterwards."""
    Gates.began.clear()
    Gates.open.clear()
    impatient = settings.jobs.model_copy(update={"grace_s": 0})  # Some still wait at their gates then.
    async with working(settings.model_copy(update={"jobs": impatient}), (errand,)) as bench:
        errands = Errands(bench.app)
        yield errands
    await errands.write("DELETE FROM jobs")
    await bench.app.platform.database.close()
