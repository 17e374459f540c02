"""A worker for ``marking_jobs``: ``python -m tests.chaos.job_worker``. They are in a module of their own, where its processes find them.

Each of those processes imports the module that was started, and with it the whole service, unless its name is that of this file.
"""

from app.settings import Settings
from app.worker import run_worker
from tests.chaos.marking_jobs import FEATURES

if __name__ == "__main__":
    raise SystemExit(run_worker(Settings(), registry=FEATURES))
