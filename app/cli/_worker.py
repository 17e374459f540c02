"""Run jobs: the worker's process, from its options to its exit code."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from app.builtin.jobs.repository import JobRows
from app.cli._serve import listen, tune_collector
from app.cli._sessions import one_database
from app.core.errors import ConfigurationError
from app.registry import FEATURES
from app.settings import Settings


class UnknownQueue(ConfigurationError):
    """No job is declared for this queue, and none waits in it."""


def work(settings: Settings, *, fd: int | None = None) -> int:
    """Run jobs until SIGINT or SIGTERM; the exit code. ``fd``: a listening socket for probes, opened by whoever started us; otherwise
    ``JOBS__HEALTH_PORT`` says whether there is one.

    Raises UnknownQueue, and ConfigurationError when the address for probes cannot be had.
    """
    refuse_unknown(settings)
    host, port = settings.jobs.health_host, settings.jobs.health_port
    with ExitStack() as stack:
        listener = None
        if fd is not None or port is not None:
            hint = "set JOBS__HEALTH_HOST or JOBS__HEALTH_PORT"
            listener = stack.enter_context(listen(host, port or 0, fd=fd, hint=hint))
        code: int = import_module("app.worker").run_worker(
            settings, listener=listener, on_started=tune_collector
        )
    return code


def with_options(settings: Settings, **options: Any) -> Settings:
    """The settings with these of ``JOBS__*`` in their places; None leaves one as it is."""
    given = {name: value for name, value in options.items() if value is not None}
    return settings.model_copy(update={"jobs": settings.jobs.model_copy(update=given)})


def refuse_unknown(settings: Settings) -> None:
    """Raise UnknownQueue for a queue that has neither declared jobs nor open ones: a misspelt one would be listened to for ever."""
    declared = {job.options.queue for feature in FEATURES for job in feature.jobs}
    if strange := set(settings.jobs.queues) - declared:
        strange -= set(asyncio.run(_open_queues(settings)))
    if strange:
        known = ", ".join(sorted(declared)) or "none"
        raise UnknownQueue(f"No job uses the queue {', '.join(sorted(strange))}; declared are: {known}")


async def _open_queues(settings: Settings) -> Sequence[str]:
    async with one_database(settings) as database:
        return await JobRows(database).queues()
