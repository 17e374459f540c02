"""Every slot that a request took comes back at its end, however it ends."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import BackgroundTasks
from fastapi.responses import StreamingResponse

from app.core.policies import Concurrency, JobConfig
from app.settings import Settings
from tests.core.http.workshop import FAILURES, Workshop, slotted, taken

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


class TestFreed:
    @pytest.mark.parametrize("failure", [None, *FAILURES])
    async def test_whatever_became_of_the_handler(self, settings: Settings, failure: str | None) -> None:
        shop = slotted()
        shop.outcome, status = FAILURES[failure] if failure else (None, 200)
        async with shop.open(settings):
            assert (await shop.get()).status_code == status
            assert await taken(shop) == 0

    async def test_after_a_wrong_body(self, settings: Settings) -> None:
        async with slotted().open(settings) as shop:
            assert (await shop.post_nonsense()).status_code == 422
            assert await taken(shop) == 0

    async def test_when_the_caller_leaves(self, settings: Settings) -> None:
        async with slotted().open(settings) as shop, shop.in_hand() as task:
            assert await taken(shop) == 1
            await shop.leave(task)
            assert await taken(shop) == 0

    async def test_when_the_time_is_over(self, settings: Settings) -> None:
        shop = slotted(timeout=0.01)
        shop.free.clear()
        async with shop.open(settings):
            assert (await shop.get()).status_code == 504
            assert await taken(shop) == 0

    async def test_before_background_tasks_run(self, settings: Settings) -> None:
        shop = slotted()
        seen: list[int] = []

        async def look() -> None:
            seen.append(await taken(shop))

        config = JobConfig(concurrency=Concurrency(max=1, name="own"))
        shop.added("/later", "later", config, _with_background(look))
        async with shop.open(settings):
            assert (await shop.get("/later")).status_code == 200
        assert seen == [0]


def _with_background(work: Callable[[], Any]) -> Callable[..., Any]:
    async def handler(tasks: BackgroundTasks) -> None:
        tasks.add_task(work)

    return handler


class TestStream:
    @staticmethod
    def streaming(*, fails: bool = False) -> tuple[Workshop, list[int]]:
        """A stream that notes how many slots are taken before each of its parts."""
        shop = slotted()
        seen: list[int] = []

        async def parts() -> AsyncIterator[bytes]:
            for part in (b"a", b"b"):
                seen.append(await taken(shop))
                await shop.work()
                yield part
            if fails:
                raise ZeroDivisionError

        async def handler() -> StreamingResponse:
            return StreamingResponse(parts())

        shop.added("/stream", "stream", JobConfig(concurrency=Concurrency(max=1)), handler)
        return shop, seen

    async def test_it_holds_its_slot_to_its_end(self, settings: Settings) -> None:
        shop, seen = self.streaming()
        async with shop.open(settings):
            assert (await shop.get("/stream")).content == b"ab"
            assert await taken(shop) == 0
        assert seen == [1, 1]

    async def test_one_that_breaks_off_frees_it(self, settings: Settings) -> None:
        shop, seen = self.streaming(fails=True)
        async with shop.open(settings):
            with pytest.raises(RuntimeError):
                await shop.get("/stream")
            assert await taken(shop) == 0
        assert seen == [1, 1]

    async def test_one_whose_reader_leaves_frees_it(self, settings: Settings) -> None:
        shop, _ = self.streaming()
        async with shop.open(settings), shop.in_hand("/stream") as task:
            assert await taken(shop) == 1
            await shop.leave(task)
            assert await taken(shop) == 0
