"""What tests run on."""

import asyncio

import uvloop


async def test_tests_have_the_loop_of_the_service() -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
