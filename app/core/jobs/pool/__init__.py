"""Processes for jobs that need the processor: ``_pool`` keeps them, ``_process`` is one as the worker sees it, ``_child`` the same from
the inside, ``_frames`` what the two say to each other.
"""

from app.core.jobs.pool._pool import ProcessPool

__all__ = ["ProcessPool"]
