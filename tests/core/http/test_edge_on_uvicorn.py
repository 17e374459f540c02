"""The edge under a real server: what a client on the wire sees."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from app.core.http._edge import EdgeMiddleware
from app.core.http._problem import install_problem_handlers
from app.core.http._traffic import TrafficControl
from app.core.observability import RequestRecord
from tests.apps import served

CAP = 1000


class Wire:
    """A served application, and raw conversations with it."""

    def __init__(self) -> None:
        self.records: list[RequestRecord] = []
        self.reported = asyncio.Semaphore(0)
        self.reached = asyncio.Semaphore(0)
        self.port = 0

    def report(self, record: RequestRecord) -> None:
        self.records.append(record)
        self.reported.release()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def talk(self, *parts: bytes) -> bytes:
        """Send all of it, then read until the server closes."""
        reader, writer = await self.connect()
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        await writer.wait_closed()
        return answer


def make_app(wire: Wire) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)

    @app.post("/echo")
    async def echo(body: dict[str, str]) -> dict[str, str]:
        return body

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first part"
            raise RuntimeError("kaputt")

        return StreamingResponse(parts())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"x"
            wire.reached.release()
            await asyncio.Event().wait()

        return StreamingResponse(parts())

    @app.post("/body")
    async def body(request: Request) -> int:
        wire.reached.release()
        return len(await request.body())

    app.add_middleware(
        EdgeMiddleware, traffic=TrafficControl(audited=True), max_body_bytes=CAP, report=wire.report
    )
    return app


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    async with served(make_app(wire)) as port:
        wire.port = port
        yield wire


def head(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *fields, "", ""]).encode()


def problem_of(answer: bytes) -> dict[str, object]:
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in headers.lower()
    document: dict[str, object] = json.loads(body)
    return document


JSON = "Content-Type: application/json"


async def test_an_oversized_declared_body_gets_its_413_and_a_closed_connection(wire: Wire) -> None:
    answer = await wire.talk(head("POST", "/echo", JSON, "Content-Length: 2000000"), b"x" * 2_000_000)
    assert answer.startswith(b"HTTP/1.1 413")
    assert problem_of(answer)["status"] == 413


async def test_an_oversized_chunked_body_gets_its_413(wire: Wire) -> None:
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    answer = await wire.talk(
        head("POST", "/echo", JSON, "Transfer-Encoding: chunked"), chunk * 500, b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert problem_of(answer)["title"] == "Content Too Large"
    assert wire.records[0].status == 413


async def test_a_client_that_waits_for_100_continue_is_refused_at_once(wire: Wire) -> None:
    answer = await wire.talk(head("POST", "/echo", JSON, "Content-Length: 5000", "Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 413")


async def test_the_next_request_on_the_connection_is_not_confused_by_an_unread_body(wire: Wire) -> None:
    first = head("POST", "/nowhere", "Content-Length: 500") + b"x" * 500
    answer = await wire.talk(
        first, head("POST", "/echo", JSON, "Content-Length: 9", "Connection: close") + b'{"a":"b"}'
    )
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 404" in answer
    assert answer.endswith(b'{"a":"b"}')


async def test_a_response_that_breaks_is_cut_and_not_ended(wire: Wire) -> None:
    answer = await wire.talk(head("GET", "/half"))
    assert b"first part" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert wire.records[0].status == 500


async def test_a_client_that_leaves_a_stream_is_499(wire: Wire) -> None:
    _, writer = await wire.connect()
    writer.write(head("GET", "/endless"))
    await asyncio.wait_for(wire.reached.acquire(), 10)
    writer.transport.abort()
    await asyncio.wait_for(wire.reported.acquire(), 10)
    assert wire.records[0].status == 499


async def test_a_client_that_leaves_while_sending_is_499(wire: Wire) -> None:
    _, writer = await wire.connect()
    writer.write(head("POST", "/body", "Content-Length: 500") + b"x" * 10)
    await asyncio.wait_for(wire.reached.acquire(), 10)
    writer.transport.abort()
    await asyncio.wait_for(wire.reported.acquire(), 10)
    assert wire.records[0].status == 499


async def test_a_header_value_cannot_be_smuggled_through_the_request_id(wire: Wire) -> None:
    answer = await wire.talk(head("GET", "/nowhere", "X-Request-ID: a b", "Connection: close"))
    assert b"HTTP/1.1 404" in answer
    assert b"a b" not in answer
