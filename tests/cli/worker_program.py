"""A worker whose only job never ends by itself, as ``python -m tests.cli.worker_program --fd NUMBER``."""

import asyncio
import socket
import sys

from pydantic import BaseModel

from app.builtin.health.service import provide_health
from app.builtin.jobs.models import TABLES
from app.builtin.jobs.service import provide_jobs
from app.core.jobs import JobRun, job
from app.registry import Feature
from app.settings import Settings
from app.worker import run_worker


class Nothing(BaseModel):
    pass


@job("sleep_long", attempts=2)
async def sleep_long(_arguments: Nothing, _run: JobRun) -> None:
    await asyncio.sleep(3600)


if __name__ == "__main__":
    features = (
        Feature(name="health", provides=provide_health),
        Feature(name="jobs", provides=provide_jobs, models=TABLES, jobs=(sleep_long,)),
    )
    listener = socket.socket(fileno=int(sys.argv[-1]))
    sys.exit(run_worker(Settings(), registry=features, listener=listener))
