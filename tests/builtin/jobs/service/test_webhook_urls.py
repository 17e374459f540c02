import asyncio
from collections.abc import Sequence

import pytest

from app.builtin.jobs.service.webhook_urls import WebhookUrls
from app.core.errors import Unprocessable
from tests.builtin.jobs.names import Names
from tests.cases import each_case

PUBLIC = "93.184.215.14"


@each_case(
    "url",
    [
        "", "hook", "/hook", "http://hook.example/", "ftp://hook.example/", "https://", "https:///path", "javascript:alert(1)",
        "https://hook.example/#part", "https://hook.example/#", "https://user:password@hook.example/", "https://user@hook.example/",
        "https://hook.example/a b", "https://hook.example\\@127.0.0.1/", "https://hook.example/\n", "https://hook.example:99999/",
        "https://hook.example:22/", "https://hook.example:0/", "https://hook.example:25/", "https://[::1/", "https://hook.example:x/",
        "https://\x00/", "//hook.example/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_a_url_of_another_form_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        WebhookUrls().parse(url)
    assert "password" not in str(refused.value)
    assert str(refused.value).startswith("url ")


@each_case(
    "url", ["https://hook.example/a?key=1", "https://hook.example:8443/", "https://hook.example:443/", "https://dän.example/"]
)  # fmt: skip
async def test_a_good_one_is_kept(url: str) -> None:
    kept = await WebhookUrls(resolve=Names([PUBLIC])).check(url)
    assert kept.startswith("https://")


async def test_http_is_for_development() -> None:
    assert (
        await WebhookUrls(allow_http=True, resolve=Names([PUBLIC])).check("http://hook.example/")
        == "http://hook.example/"
    )


async def test_where_the_host_leads_is_looked_at() -> None:
    for answer in (["127.0.0.1"], ["10.0.0.1"], [PUBLIC, "::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]):
        with pytest.raises(Unprocessable, match="may be called"):
            await WebhookUrls(resolve=Names(answer)).check("https://hook.example/")
    with pytest.raises(Unprocessable, match="may be called"):
        await WebhookUrls(allow_private=True, resolve=Names(["169.254.169.254"])).check(
            "https://hook.example/"
        )
    await WebhookUrls(allow_private=True, resolve=Names(["127.0.0.1"])).check("https://hook.example/")


@each_case(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]", "[::ffff:7f00:1]"]
)
async def test_this_machine_is_found_out_however_it_is_written(host: str) -> None:
    with pytest.raises(Unprocessable):
        await WebhookUrls().check(f"https://{host}/")


async def test_a_host_that_cannot_be_found_is_refused() -> None:
    async def stuck(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    for urls in (
        WebhookUrls(resolve=Names([])),
        WebhookUrls(resolve=Names(OSError())),
        WebhookUrls(resolve=stuck, limit_s=0.01),
    ):
        with pytest.raises(Unprocessable, match="cannot be found"):
            await urls.check("https://hook.example/")
    with pytest.raises(Unprocessable):
        await WebhookUrls().check(f"https://{'a' * 64}.example/")
