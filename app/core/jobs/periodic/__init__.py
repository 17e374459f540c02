"""Work that nobody submits: done again and again, by one leader or by every process."""

from app.core.jobs.periodic._periodic import Periodic
from app.core.jobs.periodic._runner import PeriodicRunner
from app.core.jobs.periodic._upkeep import upkeep

__all__ = ["Periodic", "PeriodicRunner", "upkeep"]
