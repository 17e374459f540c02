"""api_worker with retry, breaker, bulkhead and deadline, through real requests."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from time import monotonic
from typing import Annotated, Any

import anyio.to_thread
import httpx2
import pytest
from fastapi import Depends
from sqlalchemy import text

from app.core.context import current_context
from app.core.db import AsyncSession, Database, get_db
from app.core.http import TrafficControl
from app.core.http._threads import limit_threads
from app.core.observability import Event, WorkEvent
from app.core.policies import Breaker, Bulkhead, JobConfig, Retry
from app.settings import Settings
from tests.core.http.gated import READER, as_
from tests.core.http.test_worker import serving_work

pytestmark = pytest.mark.usefixtures("clean_store")
AT_ONCE = Retry(retry_safe=True, attempts=3, base=0, cap=0)
Session = Annotated[AsyncSession, Depends(get_db)]


async def within(awaitable: Coroutine[Any, Any, Any]) -> None:
    """Not for ever: what is awaited may never come when something is broken."""
    async with asyncio.timeout(20):
        await awaitable


def outcomes(events: list[Event]) -> list[str]:
    return [event.outcome for event in events if isinstance(event, WorkEvent)]


async def get(client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.get("/work", headers=as_(READER))


class TestRetry:
    async def test_a_handler_that_fails_and_then_works_is_a_success(self, settings: Settings) -> None:
        calls = 0

        async def flaky() -> int:
            nonlocal calls
            calls += 1
            if calls < 3:
                raise ConnectionError
            return calls

        async with serving_work(settings, JobConfig(retry=AT_ONCE), flaky) as (client, events):
            assert (await get(client)).json() == 3
        assert len(events) == 1

    async def test_a_sync_handler_is_tried_again_in_its_thread(self, settings: Settings) -> None:
        threads: list[str] = []

        def flaky() -> str:
            threads.append(threading.current_thread().name)
            if len(threads) < 2:
                raise ConnectionError
            return "done"

        async with serving_work(settings, JobConfig(retry=AT_ONCE), flaky) as (client, _):
            assert (await get(client)).json() == "done"
        assert len(threads) == 2
        assert threading.main_thread().name not in threads


class TestBreaker:
    async def test_an_open_circuit_is_503_with_the_time_to_wait_and_nothing_runs(
        self, settings: Settings
    ) -> None:
        calls = 0

        async def broken() -> None:
            nonlocal calls
            calls += 1
            raise ConnectionError

        config = JobConfig(circuit_breaker=Breaker(dependency="weather", min_calls=2))
        async with serving_work(settings, config, broken) as (client, _):
            assert [(await get(client)).status_code for _ in range(2)] == [500, 500]
            answer = await get(client)
        assert (answer.status_code, calls) == (503, 2)
        assert 4 <= int(answer.headers["retry-after"]) <= 6
        assert (answer.json()["policy"], answer.json()["reason"]) == ("work", "circuit_open")

    async def test_three_clients_that_leave_do_not_open_it(self, settings: Settings) -> None:
        begun = asyncio.Event()

        async def slow() -> None:
            begun.set()
            await asyncio.Event().wait()

        config = JobConfig(circuit_breaker=Breaker(dependency="weather", min_calls=1))
        async with serving_work(settings, config, slow) as (client, events):
            for _ in range(3):
                begun.clear()
                request = asyncio.create_task(get(client))
                await within(begun.wait())
                request.cancel()
                await asyncio.wait([request])
            begun.clear()
            request = asyncio.create_task(get(client))
            await within(begun.wait())  # it was let in
            request.cancel()
            await asyncio.wait([request])
        assert outcomes(events) == ["cancelled"] * 4

    async def test_a_handler_that_is_cut_off_at_its_deadline_has_failed(self, settings: Settings) -> None:
        async def slow() -> None:
            await asyncio.Event().wait()

        config = JobConfig(timeout=0.02, circuit_breaker=Breaker(dependency="weather", min_calls=1))
        async with serving_work(settings, config, slow) as (client, events):
            assert [(await get(client)).status_code for _ in range(2)] == [504, 503]
        assert outcomes(events)[0] == "timeout"


class TestBulkhead:
    async def test_what_does_not_fit_is_503(self, settings: Settings) -> None:
        begun, release = asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            begun.set()
            await release.wait()
            return "done"

        async with serving_work(settings, JobConfig(bulkhead=Bulkhead(max=1)), slow) as (client, _):
            first = asyncio.create_task(get(client))
            await within(begun.wait())
            refused = await get(client)
            release.set()
            assert (await first).status_code == 200
            assert (await get(client)).status_code == 200
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("#temporary-reduced-capacity")
        assert 1 <= int(refused.headers["retry-after"]) <= 3

    @pytest.mark.parametrize("is_async", [True, False])
    async def test_a_stream_holds_its_place_until_it_ends(self, settings: Settings, is_async: bool) -> None:
        async def items() -> AsyncIterator[str]:
            yield "a"
            yield "b"

        def plain_items() -> Iterator[str]:
            yield "a"
            yield "b"

        handler: Any = items if is_async else plain_items
        config = JobConfig(bulkhead=Bulkhead(max=1))
        async with serving_work(settings, config, handler) as (client, events):
            for _ in range(2):
                assert (await get(client)).text.count('"') == 4
        assert outcomes(events) == ["ok", "ok"]


class TestDeadline:
    @pytest.mark.parametrize("options", [{}, {"retry": AT_ONCE}], ids=["plain", "resilient"])
    async def test_a_statement_ends_with_the_requests_time(
        self, settings: Settings, database: Database, options: dict[str, Any]
    ) -> None:
        """The driver, cancelled, tells the server to cancel: nothing has to be set per transaction for that."""
        mark = "SELECT pg_sleep(30) /* ends with the request */"

        async def slow(db: Session) -> None:
            await db.execute(text(mark))

        async def running() -> int:
            async with database.connect() as connection:
                found = await connection.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity WHERE query = :mark AND state = 'active' AND datname = current_database()"
                    ),
                    {"mark": mark},
                )
                return int(found or 0)

        async with serving_work(settings, JobConfig(timeout=1.0, **options), slow) as (client, _):
            request = asyncio.create_task(get(client))
            while not await running():
                assert not request.done()
            assert (await request).status_code == 504
            async with asyncio.timeout(20):
                while await running():
                    pass

    async def test_the_handler_sees_its_attempts_deadline(self, settings: Settings) -> None:
        seen: list[float] = []

        async def look() -> None:
            deadline = current_context().deadline
            assert deadline is not None
            seen.append(deadline - monotonic())

        config = JobConfig(retry=Retry(retry_safe=True, attempt_timeout=2), timeout=20)
        async with serving_work(settings, config, look) as (client, _):
            assert (await get(client)).status_code == 200
        assert 0 < seen[0] <= 2


class TestShedding:
    @pytest.mark.parametrize(
        ("in_flight", "admitted"),
        [(1, ["critical", "default", "sheddable"]), (80, ["critical", "default", "sheddable"]),
         (81, ["critical", "default"]), (95, ["critical", "default"]), (96, ["critical"]), (100, ["critical"])],
    )  # fmt: skip
    def test_the_least_important_are_refused_first(self, in_flight: int, admitted: list[str]) -> None:
        traffic = TrafficControl(max_in_flight=100)
        traffic.in_flight = in_flight
        assert [name for name in ("critical", "default", "sheddable") if traffic.admits(name)] == admitted

    @pytest.mark.parametrize("most", [1, 2, 3])
    def test_a_request_that_is_alone_is_never_refused(self, most: int) -> None:
        traffic = TrafficControl(max_in_flight=most)
        traffic.in_flight = 1
        assert traffic.admits("sheddable")


class TestThreads:
    async def test_sync_handlers_are_bounded(self, settings: Settings) -> None:
        before = anyio.to_thread.current_default_thread_limiter().total_tokens
        at_once, most, lock = 0, 0, threading.Lock()
        barrier = threading.Barrier(2)

        def work() -> None:
            nonlocal at_once, most
            with lock:
                at_once += 1
                most = max(most, at_once)
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(5)
            with lock:
                at_once -= 1

        try:
            async with serving_work(settings, JobConfig(), work) as (client, _):
                limit_threads(2)
                answers = await asyncio.gather(*(get(client) for _ in range(6)))
        finally:
            limit_threads(int(before))
        assert {answer.status_code for answer in answers} == {200}
        assert most == 2

    def test_fewer_than_one_thread_is_refused(self) -> None:
        with pytest.raises(ValueError, match="1 or more"):
            limit_threads(0)
