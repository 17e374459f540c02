"""What stands in the store was not written by this version, or is broken: answered as unknown or missing, never as an error of ours."""

import pytest

from app.core.policies import Idempotency, JobConfig, ResponseCache
from app.settings import Settings
from tests.core.http.workshop import Workshop

pytestmark = pytest.mark.usefixtures("clean_store")

BLOBS = [
    b"",
    b"5\nxx",
    b"null\nxx",
    b'"abc"\n',
    b"[999,[],true]\nxx",
    b"[100,[],true]\nxx",
    b"[true,[],true]\nxx",
    b"[200.5,[],true]\nxx",
    b'["200",[],true]\nxx',
    b"[200,5,true]\nxx",
    b"[200,[[1,2]],true]\nxx",
    '[200,[["x","€"]],true]\nxx'.encode(),
    b"[200,[]]\nxx",
    b"\xff\xfe\x00",
]
"""In place of an answer."""


@pytest.mark.parametrize("blob", BLOBS)
async def test_a_result_that_cannot_be_read_is_a_conflict_and_not_done_again(
    settings: Settings, blob: bytes
) -> None:
    shop = Workshop(JobConfig(idempotency=Idempotency(), rate_limit=None))
    async with shop.open(settings):
        await shop.post(Idempotency_Key="k")
        (key,) = await shop.keys("*:v1:i:*")
        head, _, _ = (await shop.stored("GET", key)).partition(b"\n")
        await shop.stored("SET", key, head + b"\n" + blob, "PX", "60000")
        response = await shop.post(Idempotency_Key="k")
        assert response.status_code == 409
        assert response.json()["reason"] == "result_not_retained"
        assert shop.runs == 1


@pytest.mark.parametrize("lease", [b"notanumber", b"", b"-1"])
async def test_a_claim_whose_lease_cannot_be_read_has_an_unknown_outcome(
    settings: Settings, lease: bytes
) -> None:
    shop = Workshop(JobConfig(idempotency=Idempotency(), rate_limit=None))
    async with shop.open(settings):
        await shop.post(Idempotency_Key="k")
        (key,) = await shop.keys("*:v1:i:*")
        fingerprint = (await shop.stored("GET", key)).split(b" ")[1]
        await shop.stored("SET", key, b"P " + fingerprint + b" 1 " + lease + b" rid", "PX", "60000")
        assert (await shop.post(Idempotency_Key="k")).status_code == 409
        assert shop.runs == 1


@pytest.mark.parametrize("stale", [0.0, 60.0])
@pytest.mark.parametrize("blob", [*BLOBS, b"[200,[],false]\n"])
async def test_a_cached_answer_that_cannot_be_read_is_as_good_as_missing(
    settings: Settings, blob: bytes, stale: float
) -> None:
    shop = Workshop(JobConfig(cache=ResponseCache(ttl=60, stale=stale), rate_limit=None))
    async with shop.open(settings):
        await shop.get()
        (key,) = await shop.keys("*:v1:e:*")
        head, _, _ = (await shop.stored("GET", key)).partition(b"\n")
        await shop.stored("SET", key, head + b"\n" + blob, "PX", "60000")
        response = await shop.get()
        assert (response.status_code, response.json()) == (200, {"run": 2})
        await shop.settled()
        assert (await shop.get()).json() == {"run": 2}  # and the broken one was replaced
