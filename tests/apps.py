"""Running an app in process, and asking it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI


@contextlib.asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[FastAPI]:
    """The app between its start and its stop, both in one task as under a real server."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.router.lifespan_context(app):
            started.set()
            await stop.wait()

    task = asyncio.create_task(live())
    waiter = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    if not started.is_set():
        waiter.cancel()
    try:
        if task.done():
            await task
        yield app
    finally:
        stop.set()
        if not task.done():
            await task


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[int]:
    """The app on a port of this machine, under uvicorn in this loop; without its lifespan, which ``running`` gives it."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        # Longer than any client's, which would otherwise send on a connection that is just being closed.
        timeout_keep_alive=75,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    ticker = asyncio.create_task(server.main_loop())
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await ticker
    await server.shutdown()


def client_of(app: FastAPI, address: str = "127.0.0.1") -> httpx2.AsyncClient:
    """A client that reaches the app from ``address``, without a socket."""
    transport = httpx2.ASGITransport(app=app, client=(address, 40000))
    return httpx2.AsyncClient(transport=transport, base_url="http://test")


def client_at(base_url: str | httpx2.URL, **options: Any) -> httpx2.AsyncClient:
    """A client of a server on this machine without TLS: it does not read the certificates of all authorities, which takes 40 ms."""
    return httpx2.AsyncClient(base_url=base_url, verify=False, **options)
