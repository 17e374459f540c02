"""Real processes and real faults: what callers see while a server is gone, and after it is back."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from tests.apps import client_at
from tests.lock_waits import WAITING
from tests.processes import PATIENCE_S, Api, api_process, bearer
from tests.servers import PrivateServer

RECOVERY_S = 2.0
OUTAGES = 3  # one of them has to be over in time: a shared machine may be busy with something else
CALLERS = 8
FIRST_ADDRESS = IPv4Address("198.18.0.0")
FORM = {"username": "nobody@example.com", "password": "some password"}


class Load:
    """Callers who ask without pause, each for his own records: more often than the limit of one user allows."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stop = False
        self.answers: list[httpx2.Response] = []

    async def _call(self) -> None:
        headers = bearer(uuid4())
        while not self._stop:
            # From a new address each time: the limit per address would leave nothing else to see.
            headers["X-Forwarded-For"] = str(FIRST_ADDRESS + len(self.answers))
            self.answers.append(await self._api.client.get("/records", headers=headers))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._call())
            try:
                yield
            finally:
                self._stop = True

    async def until(self, wanted: Any, within_s: float) -> float:
        """Seconds until an answer that is still to come is as wanted."""
        started, seen = time.monotonic(), len(self.answers)
        while not any(wanted(answer) for answer in self.answers[seen:]):
            assert time.monotonic() - started < within_s, Counter(a.status_code for a in self.answers[seen:])
            await asyncio.sleep(0.005)
        return time.monotonic() - started

    def assert_only(self, *statuses: int) -> None:
        unexpected = [answer for answer in self.answers if answer.status_code not in statuses]
        assert not unexpected, (unexpected[0].status_code, unexpected[0].text)
        for answer in self.answers:
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["request_id"] == answer.headers["x-request-id"]
                assert int(answer.headers["retry-after"]) >= 1


def is_counted(answer: httpx2.Response) -> bool:
    """By the store: in degraded mode the answer has no ``RateLimit``."""
    return "ratelimit" in answer.headers


def is_degraded(answer: httpx2.Response) -> bool:
    return answer.status_code in (200, 429) and not is_counted(answer)


@pytest.fixture
def environment(postgres_url: str, valkey_url: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres_url, "VALKEY_URL": valkey_url, "TRUSTED_PROXIES": "127.0.0.1/32"}


@pytest.mark.parametrize(
    ("fault", "mend"), [("kill", "restart"), ("stop_signal", "cont")], ids=["killed", "frozen"]
)
async def test_without_the_store_limits_go_on_locally_and_sign_in_is_503_until_it_is_back(
    environment: dict[str, str], private_valkey: PrivateServer, fault: str, mend: str
) -> None:
    async with api_process(environment | {"VALKEY_URL": private_valkey.url}) as api:
        load = Load(api)
        async with load.running():
            await load.until(is_counted, PATIENCE_S)
            refusals: list[httpx2.Response] = []
            recoveries: list[float] = []
            while len(recoveries) < OUTAGES and min(recoveries, default=RECOVERY_S) >= RECOVERY_S:
                getattr(private_valkey, fault)()
                await load.until(is_degraded, PATIENCE_S)
                refusals.append(await api.client.post("/auth/token", data=FORM))
                await api.wait_ready(503)  # the answer of a moment ago is kept for a second
                getattr(private_valkey, mend)()
                recoveries.append(await load.until(is_counted, PATIENCE_S))
        assert min(recoveries) < RECOVERY_S, recoveries
        load.assert_only(200, 429)
        for refused in refusals:
            assert (refused.status_code, refused.json()["reason"]) == (503, "store_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
        assert (await api.client.post("/auth/token", data=FORM)).status_code == 401


async def test_without_the_database_it_is_503_until_it_is_back(
    environment: dict[str, str], private_postgres: PrivateServer, clean_store: None
) -> None:
    async with api_process(environment | {"DATABASE_URL": private_postgres.url}) as api:
        load = Load(api)
        async with load.running():
            await load.until(lambda answer: answer.status_code == 200, PATIENCE_S)
            private_postgres.kill()
            await load.until(lambda answer: answer.status_code == 503, PATIENCE_S)
            await api.wait_ready(503)
            live = await api.client.get("/live")
            health = await api.client.get("/health/db")
            private_postgres.restart()
            await load.until(lambda answer: answer.status_code == 200, PATIENCE_S)
        load.assert_only(200, 429, 503)
        assert (live.status_code, health.status_code) == (200, 503)
        await api.wait_ready()


async def test_a_process_that_is_told_to_stop_finishes_what_it_has_begun(
    environment: dict[str, str], postgres_url: str, clean_store: None
) -> None:
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    try:
        async with api_process(environment) as api:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("LOCK TABLE records IN ACCESS EXCLUSIVE MODE")
            begun = asyncio.create_task(api.client.get("/records", headers=bearer(uuid4())))
            while not await connection.fetchval(WAITING):
                assert not begun.done(), begun.result().text
            api.process.send_signal(signal.SIGTERM)
            while await is_open(api):
                assert api.process.poll() is None, "it did not wait for what it has begun"
            assert not begun.done()
            await transaction.rollback()
            assert (await begun).status_code == 200
            assert await asyncio.to_thread(api.process.wait, PATIENCE_S) == 0
    finally:
        await connection.close()


async def is_open(api: Api) -> bool:
    """Whether strangers are still let in; while they are, they are served or told that it is over."""
    try:
        async with client_at(api.client.base_url) as stranger:
            answer = await stranger.get("/users/me")
    except httpx2.TransportError:
        return False
    assert answer.status_code in (401, 503)
    return True


async def test_two_processes_on_one_store_let_exactly_the_limit_pass(
    environment: dict[str, str], clean_store: None
) -> None:
    quota = 5
    environment |= {
        "LOGIN__DELAY_AFTER": str(quota),
        "LOGIN__DELAY_S": "86400",
        "LOGIN__DELAY_MAX_S": "86400",
        "VALKEY_TIMEOUT_MS": "5000",
    }

    async def attempt(api: Api, number: int) -> int:
        # Each from an address of its own, so that only the limit of the account counts.
        headers = {"X-Forwarded-For": f"198.51.100.{number}"}
        return (await api.client.post("/auth/token", data=FORM, headers=headers)).status_code

    async with api_process(environment) as one, api_process(environment) as other:
        statuses = await asyncio.gather(
            *(attempt((one, other)[number % 2], number) for number in range(10 * quota))
        )
    assert Counter(statuses) == {401: quota, 429: 9 * quota}
