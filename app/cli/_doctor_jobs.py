"""What the doctor asks about jobs."""

from app.builtin.jobs.repository import QueueRows
from app.core.db import Database
from app.settings import Settings

OLDEST_S = 300.0


async def examine_jobs(settings: Settings, database: Database) -> list[tuple[str, bool, str]]:
    """Whether somebody works on what waits, and whether dead jobs are left: name, whether all is well, words. For a schema at head.

    A service that has no jobs needs no worker. Raises our database errors.
    """
    rows = QueueRows(database)
    states = await rows.states((), settings.jobs.silent_s)
    workers = [worker for worker in await rows.workers() if worker.seen_s <= settings.jobs.silent_s]
    alone = [state.queue for state in states if state.waiting + state.running and not state.workers]
    late = [state for state in states if (state.oldest_s or 0) > OLDEST_S]
    if alone:
        said = f"no worker takes jobs from {', '.join(alone)}: python -m app worker"
    elif late:
        said = ", ".join(f"the oldest of {one.queue} waits for {one.oldest_s:.0f} s" for one in late)
    else:
        dead = sum(state.dead for state in states)
        said = (
            f"{len(workers)} workers, nothing waits for more than {OLDEST_S:.0f} s, {dead} dead jobs are kept"
        )
    return [("jobs", not alone and not late, said)]
