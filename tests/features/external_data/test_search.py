"""What the other service may do to us, and what it becomes."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.context import RequestContext, reset_context, set_context
from app.core.errors import ConfigurationError
from app.core.http import Platform
from app.features.external_data.service import (
    ExternalSearch,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamNotConfigured,
    UpstreamRejected,
    UpstreamTimeout,
    is_failure,
    provide_external_data,
)
from app.settings import ExternalDataSettings
from tests.upstream import FOUND, Upstream, reply


class _Platform:
    def __init__(self) -> None:
        self.on_stop: list[Callable[[], Any]] = []


def provide(stop: AsyncExitStack, **values: Any) -> ExternalSearch:
    platform: Any = _Platform()
    settings: Any = SimpleNamespace(external_data=ExternalDataSettings(**values))
    search: ExternalSearch = provide_external_data(platform, settings)[ExternalSearch]
    for close in platform.on_stop:
        stop.push_async_callback(close)
    return search


@pytest.fixture
async def stop() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stop:
        yield stop


@pytest.fixture
def search(upstream: Upstream, stop: AsyncExitStack) -> ExternalSearch:
    return provide(stop, url=SecretStr(upstream.url + "?key=k1"), allow_private=True)


async def test_what_is_found_is_passed_on_and_nothing_else(
    search: ExternalSearch, upstream: Upstream
) -> None:
    upstream.answers(reply({**FOUND, "secret": 1, "items": [{"id": "1", "title": "one", "internal": True}]}))
    found = await search.search("a&b=c é")
    assert found.model_dump() == {"query": "a&b=c é", "items": [{"id": "1", "title": "one"}]}
    head = upstream.requests[0]
    assert (
        head.startswith("GET /search?key=k1&query=a%26b%3Dc%20%C3%A9 HTTP/1.1")
        or "query=a%26b%3Dc+%C3%A9" in head
    )
    assert "accept-encoding: identity" in head.lower()


async def test_cookies_of_one_call_are_not_sent_with_the_next(
    search: ExternalSearch, upstream: Upstream
) -> None:
    upstream.answers(reply(FOUND, set_cookie="session=of-somebody"))
    await search.search("x")
    await search.search("x")
    assert len(upstream.requests) == 2
    assert "cookie" not in upstream.requests[1].lower()


@pytest.mark.parametrize(
    "answer",
    [
        reply(status=500), reply(status=502), reply(status=302, location="http://169.254.169.254/"), reply(FOUND, status=201), b"",
        b"not http at all\r\n\r\n", reply(body=b"{"), reply(body=b"not json"), reply([]), reply({"items": None}), reply({"items": [{}]}),
        reply({"items": [{"id": 1, "title": "x"}]}), reply({"items": [{"id": "x" * 201, "title": "x"}]}),
        reply(body=json.dumps(FOUND).encode()[:-1]), reply(FOUND, content_length="9999", connection="close"),
        reply(body=gzip.compress(json.dumps(FOUND).encode()), content_encoding="gzip"),
        reply({"items": [{"id": "1", "title": "x" * 1000}] * 1001}), reply({"padding": "x" * 1_048_576, **FOUND}),
        reply(body=b'{"items": [{"id": "\\ud800", "title": "x"}]}'), reply(body=b"[" * 100_000),
    ],
    ids=lambda answer: repr(answer[:40]),
)  # fmt: skip
async def test_what_makes_no_sense_has_failed_and_its_words_stay_here(
    search: ExternalSearch, upstream: Upstream, answer: bytes
) -> None:
    upstream.always(answer)
    with pytest.raises(UpstreamFailed) as failure:
        await search.search("x")
    assert failure.value.status == 502
    assert str(failure.value).startswith("The source of external data ")
    assert is_failure(failure.value)


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_it_does_not_take_is_no_failure_of_its(
    search: ExternalSearch, upstream: Upstream, status: int
) -> None:
    upstream.answers(reply(status=status))
    with pytest.raises(UpstreamRejected) as failure:
        await search.search("x")
    assert failure.value.status == 502
    assert not is_failure(failure.value)


@pytest.mark.parametrize(
    ("said", "understood"),
    [("7", 7), ("99999999", 3600), ("", None), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("1" * 5000, None)],
)  # fmt: skip
@pytest.mark.parametrize("status", [429, 503])
async def test_busy_says_for_how_long(
    search: ExternalSearch, upstream: Upstream, status: int, said: str, understood: int | None
) -> None:
    upstream.answers(reply(status=status, retry_after=said))
    with pytest.raises(UpstreamBusy) as failure:
        await search.search("x")
    assert (failure.value.status, failure.value.retry_after) == (503, understood)
    assert failure.value.headers["Retry-After"] == str(understood or 1)


async def test_silence_is_a_timeout_by_what_is_left_of_the_request(
    search: ExternalSearch, upstream: Upstream
) -> None:
    upstream.always(None)
    token = set_context(RequestContext(deadline=monotonic() + 0.05))
    try:
        with pytest.raises(UpstreamTimeout) as failure:
            await search.search("x")
    finally:
        reset_context(token)
    assert failure.value.status == 504


async def test_nobody_there_is_a_failure(stop: AsyncExitStack) -> None:
    search = provide(stop, url=SecretStr("http://127.0.0.1:1/"), allow_private=True)
    with pytest.raises(UpstreamFailed):
        await search.search("x")


async def test_a_private_address_is_refused_unless_allowed(upstream: Upstream, stop: AsyncExitStack) -> None:
    search = provide(stop, url=SecretStr(upstream.url))
    with pytest.raises(UpstreamRejected):
        await search.search("x")
    assert upstream.connections == 0


async def test_without_a_url_it_says_so(stop: AsyncExitStack) -> None:
    with pytest.raises(UpstreamNotConfigured) as refusal:
        await provide(stop).search("x")
    assert (refusal.value.status, is_failure(refusal.value)) == (503, False)


@pytest.mark.parametrize("url", ["ftp://key:word@host/", "/search", "http://", "http://[::1", "key-word"])
async def test_a_url_that_is_none_stops_the_start_and_is_not_shown(stop: AsyncExitStack, url: str) -> None:
    with pytest.raises(ConfigurationError, match="EXTERNAL_DATA__URL must be") as refusal:
        provide(stop, url=SecretStr(url))
    assert "word" not in str(refusal.value)


def test_a_platform_has_what_the_feature_asks_of_it() -> None:
    assert "on_stop" in Platform.__dataclass_fields__
