import asyncio
import threading

import pytest

from app.core.resilience import Places, ThreadPlaces


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class TestPlaces:
    async def test_places_are_limited(self) -> None:
        places = Places(2)
        assert [await places.acquire(1) for _ in range(3)] == [True, True, False]
        places.release()
        assert await places.acquire(1)

    async def test_who_waits_gets_the_place_in_order(self) -> None:
        places, order = Places(1, queue=2), list[str]()

        async def work(name: str) -> None:
            assert await places.acquire(60)
            order.append(name)

        await work("first")
        tasks = [asyncio.create_task(work(name)) for name in ("second", "third")]
        await settle()
        assert places.waiting == 2
        assert not await places.acquire(60)  # the queue is full: at once
        for _ in range(2):
            places.release()
            await settle()
        await asyncio.gather(*tasks)
        assert order == ["first", "second", "third"]
        places.release()
        assert (places.in_use, places.waiting) == (0, 0)

    async def test_waiting_ends(self) -> None:
        places = Places(1, queue=1)
        assert await places.acquire(1)
        assert not await places.acquire(0.001)
        assert not await places.acquire(0)
        assert (places.in_use, places.waiting) == (1, 0)

    async def test_who_is_cancelled_leaves_the_queue(self) -> None:
        places = Places(1, queue=1)
        await places.acquire(1)
        waiting = asyncio.create_task(places.acquire(60))
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert places.waiting == 0
        places.release()
        assert places.in_use == 0

    async def test_a_place_given_to_who_is_cancelled_in_that_moment_goes_on(self) -> None:
        places = Places(1, queue=2)
        await places.acquire(1)
        gone, next_one = asyncio.create_task(places.acquire(60)), asyncio.create_task(places.acquire(60))
        await settle()
        places.release()
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        assert await next_one
        places.release()
        assert places.in_use == 0

    @pytest.mark.parametrize(("most", "queue"), [(0, 0), (1, -1)])
    def test_numbers_that_make_no_sense_are_refused(self, most: int, queue: int) -> None:
        with pytest.raises(ValueError, match="must be"):
            Places(most, queue=queue)


class TestThreads:
    def test_places_are_limited(self) -> None:
        places = ThreadPlaces(1)
        assert places.acquire(1)
        assert not places.acquire(60)
        places.release()
        assert places.acquire(1)

    def test_a_thread_may_wait_for_its_turn(self) -> None:
        places = ThreadPlaces(1, queue=1)
        assert places.acquire(1)
        got: list[bool] = []
        thread = threading.Thread(target=lambda: got.append(places.acquire(60)))
        thread.start()
        while places._waiting == 0:
            assert thread.is_alive()
        assert not places.acquire(60)
        places.release()
        thread.join()
        assert got == [True]
        assert not places.acquire(0.001)
