"""Advice on indexes: what the server's own plan and statistics say would make a statement faster, and when nothing would."""

from app.core.monitor.advice._advise import advise, advise_over
from app.core.monitor.advice._findings import advisor_with, findings_of
from app.core.monitor.advice._suggestions import Advice, Rewrite, Suggestion
from app.core.monitor.advice._workload import (
    MAX_STATEMENTS,
    Ran,
    WorkloadAdvice,
    WorkloadIndex,
    advise_workload,
)

__all__ = [
    "MAX_STATEMENTS",
    "Advice",
    "Ran",
    "Rewrite",
    "Suggestion",
    "WorkloadAdvice",
    "WorkloadIndex",
    "advise",
    "advise_over",
    "advise_workload",
    "advisor_with",
    "findings_of",
]
