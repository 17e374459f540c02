"""Runs jobs: ``_worker`` keeps them and its place among the workers, ``_intake`` takes and claims them, ``_execution`` makes one attempt,
``_verdict`` says what follows from it, ``_finisher`` writes it; ``_relay`` sees to what others left behind.
"""

from app.core.jobs.worker._crew import Crew
from app.core.jobs.worker._execution import SYSTEM, Execution, Processes, RunReports
from app.core.jobs.worker._options import WorkerOptions
from app.core.jobs.worker._process import run_until_told
from app.core.jobs.worker._relay import Relay
from app.core.jobs.worker._submitters import KnownSubmitters, SubmitterGone, Submitters
from app.core.jobs.worker._worker import Worker

__all__ = [
    "SYSTEM",
    "Crew",
    "Execution",
    "KnownSubmitters",
    "Processes",
    "Relay",
    "RunReports",
    "SubmitterGone",
    "Submitters",
    "Worker",
    "WorkerOptions",
    "run_until_told",
]
