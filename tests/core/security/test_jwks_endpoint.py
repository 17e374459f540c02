"""Fetching a key set from a server that behaves badly."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest

from app.core.security._jwk_set import KeysNotRead
from app.core.security._jwks_endpoint import MAX_BYTES, JwksEndpoint
from tests.upstream import Upstream, reply, serving_upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving_upstream() as upstream:
        yield upstream


async def fetched(upstream: Upstream, *, timeout_s: float = 30.0) -> bytes:
    endpoint = JwksEndpoint(f"http://127.0.0.1:{upstream.port}/keys", timeout_s=timeout_s)
    try:
        return await endpoint.fetch()
    finally:
        await endpoint.aclose()


async def reason(upstream: Upstream, *, timeout_s: float = 30.0) -> str:
    with pytest.raises(KeysNotRead) as refused:
        await fetched(upstream, timeout_s=timeout_s)
    return refused.value.reason


async def test_the_document_is_asked_for_plainly_and_without_credentials(upstream: Upstream) -> None:
    upstream.always(reply({"keys": []}))
    assert json.loads(await fetched(upstream)) == {"keys": []}
    head = upstream.requests[0].lower()
    assert head.startswith("get /keys http/1.1")
    assert "accept-encoding: identity" in head
    assert "authorization" not in head
    assert "cookie" not in head


async def test_a_document_of_the_largest_size_is_read_and_one_byte_more_is_not(upstream: Upstream) -> None:
    upstream.answers(reply(body=b" " * MAX_BYTES), reply(body=b" " * (MAX_BYTES + 1)))
    assert len(await fetched(upstream)) == MAX_BYTES
    assert await reason(upstream) == "size"


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
async def test_another_status_is_no_key_set_and_a_redirect_is_not_followed(
    upstream: Upstream, status: int
) -> None:
    elsewhere = f"http://127.0.0.1:{upstream.port}/elsewhere"
    body = b"" if status == 204 else b'{"keys": []}'
    upstream.answers(reply(body=body, status=status, location=elsewhere))
    assert await reason(upstream) == "status"
    assert len(upstream.requests) == 1


async def test_a_compressed_document_is_not_read(upstream: Upstream) -> None:
    upstream.answers(reply(body=gzip.compress(b'{"keys": []}'), content_encoding="gzip"))
    assert await reason(upstream) == "encoding"


async def test_a_silent_server_is_left_after_the_time_in_all(upstream: Upstream) -> None:
    upstream.always(None)
    assert await reason(upstream, timeout_s=0.05) == "timeout"


async def test_a_server_that_drips_is_left_after_the_time_in_all() -> None:
    """Each byte comes in time; together they would take for ever."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    endpoint = JwksEndpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_s=0.2)
    try:
        with pytest.raises(KeysNotRead, match="timeout"):
            await endpoint.fetch()
    finally:
        await endpoint.aclose()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{"]
)
async def test_a_server_that_breaks_off_or_talks_nonsense_cannot_be_reached(
    upstream: Upstream, answer: bytes
) -> None:
    upstream.answers(answer)
    assert await reason(upstream) == "unreachable"


async def test_nobody_listening_cannot_be_reached(upstream: Upstream) -> None:
    endpoint = JwksEndpoint("http://127.0.0.1:1/keys")
    with pytest.raises(KeysNotRead, match="unreachable"):
        await endpoint.fetch()
    await endpoint.aclose()
