import asyncio

from app.core.monitor import breathing


async def test_others_get_their_turn_after_each_part() -> None:
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(len(seen))
            await asyncio.sleep(0)

    seen: list[int] = []
    beside = asyncio.create_task(other())
    async for item in breathing(range(10), every=4):
        seen += [item]
    beside.cancel()
    assert seen == list(range(10))
    assert turns == [4, 8]
