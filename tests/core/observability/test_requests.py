"""Finished requests travel in batches, and none is lost."""

import asyncio
from collections.abc import Sequence

from app.core.observability import RequestRecord, RequestReports
from tests.garbage import own_garbage


def record(number: int = 0) -> RequestRecord:
    return RequestRecord(0.0, "GET", "/", 200, 0.0, number, "r", None, None, None, None)


class Consumer:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, records: Sequence[RequestRecord]) -> None:
        self.batches.append([item.size for item in records])


class TestRequestReports:
    async def test_what_comes_together_is_handed_on_together_by_the_timer(self) -> None:
        seen = asyncio.Event()
        consumer = Consumer()
        reports = RequestReports(consumer, lambda records: seen.set(), delay_s=0.001)
        for number in range(3):
            reports(record(number))
        assert consumer.batches == []
        await asyncio.wait_for(seen.wait(), 5)
        assert consumer.batches == [[0, 1, 2]]

    async def test_a_second_batch_gets_its_own_timer(self) -> None:
        consumer = Consumer()
        seen = asyncio.Semaphore(0)
        reports = RequestReports(consumer, lambda records: seen.release(), delay_s=0.001)
        for number in range(2):
            reports(record(number))
            await asyncio.wait_for(seen.acquire(), 5)
        assert consumer.batches == [[0], [1]]

    async def test_a_full_batch_does_not_wait(self) -> None:
        consumer = Consumer()
        reports = RequestReports(consumer, delay_s=3600, max_waiting=2)
        for number in range(5):
            reports(record(number))
        assert consumer.batches == [[0, 1], [2, 3]]
        reports.flush()
        assert consumer.batches[2:] == [[4]]

    async def test_without_delay_each_passes_at_once(self) -> None:
        consumer = Consumer()
        RequestReports(consumer, delay_s=0)(record(1))
        assert consumer.batches == [[1]]

    def test_outside_a_loop_each_passes_at_once(self) -> None:
        consumer = Consumer()
        RequestReports(consumer, delay_s=3600)(record(1))
        assert consumer.batches == [[1]]

    def test_a_loop_that_ended_keeps_nothing_back(self) -> None:
        consumer = Consumer()
        reports = RequestReports(consumer, delay_s=3600)

        async def one() -> None:
            reports(record(1))

        asyncio.run(one())
        reports(record(2))
        assert consumer.batches == [[1, 2]]

    def test_what_waits_survives_the_object(self) -> None:
        consumer = Consumer()

        async def one() -> None:
            RequestReports(consumer, delay_s=3600)(record(1))

        with own_garbage() as collect:
            asyncio.run(one())
            collect()
        assert consumer.batches == [[1]]
