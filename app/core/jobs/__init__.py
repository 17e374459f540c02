"""Work without a request: what is done again and again. (A queue of jobs comes with its own issue.)"""

from app.core.jobs._periodic import Periodic
from app.core.jobs._runner import PeriodicRunner
from app.core.jobs._upkeep import upkeep

__all__ = ["Periodic", "PeriodicRunner", "upkeep"]
