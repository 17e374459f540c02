"""A real HTTP server on this machine that tests tell how to behave: it answers, fails, stalls, breaks off and recovers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

FOUND = {"items": [{"id": "1", "title": "one"}]}


class Upstream:
    """``requests`` are the heads of what it was asked, ``bodies`` what came with them. Without being told otherwise it answers with
    ``FOUND``.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._script: list[bytes | None] = []
        self._usual: bytes | None = reply(FOUND)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/search"

    def answers(self, *answers: bytes | None) -> None:
        """The next answers, as bytes on the wire: ``reply(...)``; empty to break off, None to say nothing. Then as usual."""
        self._script[:] = answers

    def always(self, answer: bytes | None) -> None:
        """What it answers usually from now on."""
        self._usual = answer

    def recover(self) -> None:
        """As at the beginning."""
        self._script.clear()
        self._usual = reply(FOUND)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._one(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.bodies.append(await reader.readexactly(int(fields_of(head).get("content-length", "0"))))
        self.requests.append(head)
        answer = self._script.pop(0) if self._script else self._usual
        if answer is None:
            await asyncio.Event().wait()
        if not answer:
            return False
        writer.write(answer)
        await writer.drain()
        return b"connection: close" not in answer.lower()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reply(content: Any = None, status: int = 200, *, body: bytes | None = None, **headers: str) -> bytes:
    """An answer on the wire; ``content`` is sent as JSON unless there is a ``body``. Underscores in names are hyphens."""
    sent = json.dumps(content).encode() if body is None else body
    lines = {"content-type": "application/json", "content-length": str(len(sent))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n").encode() + sent


def fields_of(head: str) -> dict[str, str]:
    """The fields of a request, their names in lower case."""
    lines = (line.partition(":") for line in head.split("\r\n")[1:] if line)
    return {name.lower(): value.strip() for name, _, value in lines}


@contextlib.asynccontextmanager
async def serving_upstream() -> AsyncIterator[Upstream]:
    """One on a free port of 127.0.0.1."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        await upstream.stop()
        await server.wait_closed()
