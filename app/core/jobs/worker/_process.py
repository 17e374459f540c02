"""A worker's process between two signals."""

import asyncio
import signal
from collections.abc import Callable
from typing import Protocol


class Beside(Protocol):
    """Runs beside the work, from before its start until after its end: an HTTP server for probes."""

    async def start(self) -> None:
        """Once."""

    async def stop(self) -> None:
        """Once."""


class Stoppable(Beside, Protocol):
    """The work of a process. ``stop`` may be called while ``start`` waits, which is cancelled before."""

    def hurry(self) -> None:
        """While ``stop`` waits: what is in work gets no more time."""


async def run_until_told(work: Stoppable, *, beside: Beside | None, on_started: Callable[[], None]) -> None:
    """Start, and stop at SIGINT or SIGTERM; another signal does not wait for what is in work. ``on_started`` is called once.

    For the main thread of a process that does nothing else. Raises what ``start`` raises.
    """
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            work.hurry()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    if beside is not None:
        await beside.start()
    starting = asyncio.create_task(_start(work, on_started))
    told = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, told), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await told
    finally:
        for task in (starting, told):
            task.cancel()
        await asyncio.gather(starting, told, return_exceptions=True)
        await work.stop()
        if beside is not None:
            await beside.stop()


async def _start(work: Stoppable, on_started: Callable[[], None]) -> None:
    await work.start()
    on_started()
