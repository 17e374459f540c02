"""The kill switch over real processes: how soon it holds, and what it survives."""

import asyncio
import time
from uuid import uuid4

import pytest

from app.core.valkey import ValkeyClient
from app.registry import FEATURES
from tests.processes import PATIENCE_S, Api, api_process, bearer
from tests.servers import PrivateServer

pytestmark = pytest.mark.usefixtures("clean_database")
WITHIN_S = 1.0
TRIES = 3  # one of them has to hold in time: a shared machine may be busy with something else
LOOKS_S = 1.0  # two looks of every process at Valkey, and some


async def is_off(api: Api) -> bool:
    answer = await api.client.get("/records", headers=bearer(uuid4()))
    if answer.status_code == 503:
        assert answer.json()["reason"] == "endpoint_disabled"
        assert answer.headers["retry-after"] == "60"
    else:
        assert answer.status_code == 200
    return answer.status_code == 503


async def switch(api: Api, *, enabled: bool) -> float:
    """Sets the switch; when that was answered."""
    body = {"enabled": enabled, "reason": "a test"}
    answer = await api.client.put("/policies/records_list/switch", json=body, headers=bearer(uuid4()))
    assert (answer.status_code, answer.json()["published"]) == (200, True)
    return time.monotonic()


async def becomes(api: Api, off: bool, since: float) -> float:
    """Seconds until it is so, counted from ``since``."""
    while await is_off(api) != off:
        assert time.monotonic() - since < PATIENCE_S
        await asyncio.sleep(0.01)
    return time.monotonic() - since


async def set_soon(here: Api, elsewhere: Api, *, off: bool) -> None:
    """Switch in one process: it holds there at once, and elsewhere within a second."""
    delays: list[float] = []
    while len(delays) < TRIES and min(delays, default=WITHIN_S) >= WITHIN_S:
        await becomes(elsewhere, not off, await switch(here, enabled=off))
        since = await switch(here, enabled=not off)
        assert await is_off(here) == off
        delays.append(await becomes(elsewhere, off, since))
    assert min(delays) < WITHIN_S, delays


async def stays_off(*apis: Api) -> None:
    end = time.monotonic() + LOOKS_S
    while time.monotonic() < end:
        for api in apis:
            assert await is_off(api)
        await asyncio.sleep(0.02)


async def test_it_holds_within_a_second_in_every_process_and_survives_flush_outage_and_restart(
    postgres_url: str, private_valkey: PrivateServer
) -> None:
    assert any(feature.name == "policies" for feature in FEATURES)
    # Generous: on a busy machine an answer may take longer than the usual budget, and then nothing is published.
    environment = {
        "DATABASE_URL": postgres_url,
        "VALKEY_URL": private_valkey.url,
        "VALKEY_TIMEOUT_MS": "5000",
    }
    async with api_process(environment) as one, api_process(environment) as two:
        assert not await is_off(one)
        assert not await is_off(two)

        await set_soon(one, two, off=True)

        client = ValkeyClient(private_valkey.url, timeout_s=2)
        await client.execute("FLUSHALL")
        await client.close()
        async with api_process(environment) as three:
            assert await is_off(three)
        await stays_off(one, two)

        private_valkey.kill()
        await stays_off(one, two)
        private_valkey.restart()
        await one.wait_ready()
        await stays_off(one, two)

        await set_soon(two, one, off=False)
