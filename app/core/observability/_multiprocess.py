"""Metrics of several worker processes in one folder, as prometheus-client keeps them.

Each worker writes its numbers into files named after its pid; whichever worker is asked adds them all up.
Counters and histograms of a worker that is gone must stay, or the sums would fall; its live gauges must go.
"""

import os
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def multiprocess_dir() -> Path | None:
    """The folder that workers share, or None in a process of its own."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else None


def prepare_multiprocess_dir(folder: Path) -> None:
    """Make the folder, empty of an earlier run's numbers, and tell child processes about it.

    Call this in the parent before it starts workers. Importing prometheus_client decides once, so a process
    that has imported it already keeps counting for itself alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(folder)


def forget_dead_workers(folder: Path) -> None:
    """Drop the live gauges of workers that no longer run."""
    for pid in {_pid_of(file) for file in folder.glob("gauge_live*.db")} - {None, os.getpid()}:
        if pid is not None and not _is_alive(pid):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _pid_of(file: Path) -> int | None:
    digits = file.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
