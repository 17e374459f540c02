"""One connection: time, and answers that a healthy server does not give. A scripted peer plays the latter; it fakes no Valkey."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvloop
import valkey

from app.core.valkey import Script, StoreDown, StoreReplyError, StoreTimeout, ValkeyClient
from tests.processes import PATIENCE_S

ONE = Script("one", "return 1")
HANG_UP = b"hang up"
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    runner: Run = request.param
    return runner


async def until(is_reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_reached():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def peer(folder: Path, *answers: bytes, delay_s: float = 0.0) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Greets every connection, then gives one of ``answers`` for each thing it reads, ``HANG_UP`` by closing.

    Yields its URL and what it read.
    """
    remaining = list(answers)
    read: list[bytes] = []

    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            greeting = b""
            while b"SETNAME" not in greeting:
                greeting += await reader.read(65536)
            writer.write(b"+PONG\r\n+OK\r\n")
            while remaining[:1] != [HANG_UP] and (data := await reader.read(65536)):
                read.append(data)
                if remaining:
                    await asyncio.sleep(delay_s)
                    writer.write(remaining.pop(0))
            if remaining[:1] == [HANG_UP]:
                remaining.pop(0)
        writer.close()

    path = folder / "peer.sock"
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield f"unix://{path}", read
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Blocker:
    """Called by the loop when its socket is readable; holds the loop up for 0.5 s, and until the server has answered what it was sent."""

    def __init__(self, near: socket.socket, server: valkey.Valkey) -> None:
        self.near = near
        self.server = server
        self.blocked = 0

    def __call__(self) -> None:
        self.near.recv(1)
        self.block()

    def block(self) -> None:
        self.blocked += 1
        time.sleep(0.5)  # the answers arrive meanwhile, and nobody looks
        # Twice: a server that was held up itself reads both connections in one turn, and may write the answer to the first ping first.
        self.server.ping()
        self.server.ping()


class TestTime:
    def test_busy_loop_does_not_look_like_a_slow_store(self, valkey_url: str, run: Run) -> None:
        """The loop is blocked by a task, and by the reader of another socket: after that one uvloop runs timers
        before it looks at any socket again.
        """

        async def scenario() -> None:
            # Over when the loop comes back, and by then all answers are there.
            client = ValkeyClient(valkey_url, timeout_s=0.3)
            await client.ping(timeout_s=PATIENCE_S)
            await client.run(ONE, timeout_s=PATIENCE_S)  # known to the server from here on
            near, far = socket.socketpair()
            near.setblocking(False)
            server = valkey.Valkey.from_url(valkey_url)
            server.ping()
            reader = Blocker(near, server)
            asyncio.get_running_loop().add_reader(near, reader)
            try:
                for block in (reader.block, lambda: far.send(b"x")):
                    answers = [client.submit(ONE) for _ in range(100)]
                    await asyncio.sleep(0)
                    block()
                    assert await asyncio.gather(*answers) == [1] * 100
            finally:
                asyncio.get_running_loop().remove_reader(near)
                near.close()
                far.close()
                server.close()  # type: ignore[no-untyped-call]
                await client.close()
            assert reader.blocked == 2

        run(scenario())

    def test_busy_loop_leaves_time_to_send_an_unknown_script(self, valkey_url: str, run: Run) -> None:
        """Its refusal is read only when the budget is over, and was there long before."""

        async def scenario() -> None:
            client = ValkeyClient(valkey_url, timeout_s=0.3)
            await client.ping(timeout_s=PATIENCE_S)
            # New to the server; it takes some times as long as the last look at the socket.
            slow = f"-- {uuid4()}\nlocal n = 0 for i = 1, 1000000 do n = n + i % 7 end return 1"
            answer = client.submit(Script("unknown", slow))
            await asyncio.sleep(0)
            time.sleep(0.6)  # noqa: ASYNC251 - as long again as the budget
            assert await answer == 1
            await client.close()

        run(scenario())

    def test_busy_loop_does_not_hide_a_slow_store(self, tmp_path: Path, run: Run) -> None:
        async def scenario() -> None:
            async with peer(tmp_path) as (url, _):
                client = ValkeyClient(url, timeout_s=0.03)
                call = client.submit(ONE)
                await asyncio.sleep(0)
                time.sleep(0.1)  # noqa: ASYNC251
                with pytest.raises(StoreTimeout):
                    await call
                await client.close()

        run(scenario())

    def test_late_answer_is_dropped_and_the_next_call_gets_its_own(self, tmp_path: Path, run: Run) -> None:
        async def scenario() -> None:
            async with peer(tmp_path, b"", b"+late\r\n+own\r\n") as (url, _):
                client = ValkeyClient(url, timeout_s=0.03)
                with pytest.raises(StoreTimeout):
                    await client.execute("GET", "first")
                assert await client.execute("GET", "second", timeout_s=PATIENCE_S) == b"own"
                await client.close()

        run(scenario())

    def test_store_that_always_answers_late_is_given_up(self, tmp_path: Path, run: Run) -> None:
        async def scenario() -> None:
            async with peer(tmp_path, *[b"+late\r\n"] * 5, delay_s=0.06) as (url, _):
                client = ValkeyClient(url, timeout_s=0.03)
                for _ in range(5):
                    with pytest.raises(StoreTimeout):
                        await client.execute("GET", "k")
                assert not client.is_up
                await client.close()

        run(scenario())

    def test_answer_in_two_parts_is_one_answer(self, tmp_path: Path, run: Run) -> None:
        async def scenario() -> None:
            async with peer(tmp_path, b"$5\r\nhe", b"llo\r\n+two\r\n") as (url, read):
                client = ValkeyClient(url, timeout_s=2)
                first = asyncio.ensure_future(client.execute("GET", "first"))
                await until(lambda: len(read) == 1)
                second = asyncio.ensure_future(client.execute("GET", "second"))
                assert [await first, await second] == [b"hello", b"two"]
                await client.close()

        run(scenario())


class TestAnswers:
    def test_second_noscript_is_an_error_and_not_a_loop(self, tmp_path: Path, run: Run) -> None:
        async def scenario() -> None:
            async with peer(tmp_path, b"-NOSCRIPT No matching script.\r\n", b"-NOSCRIPT again\r\n") as (
                url,
                read,
            ):
                client = ValkeyClient(url, timeout_s=2)
                with pytest.raises(StoreReplyError, match="NOSCRIPT to one"):
                    await client.run(ONE, ["key"], ["argument"])
                assert [b"EVALSHA" in data for data in read] == [True, False]
                assert (
                    read[1]
                    == b"*5\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$3\r\nkey\r\n$8\r\nargument\r\n"
                )
                await client.close()

        run(scenario())

    def test_resent_script_stays_within_the_calls_budget(self, tmp_path: Path, run: Run) -> None:
        async def scenario() -> None:
            # Each answer comes within the budget, and both together do not: with a budget of its own the second would be had.
            answers = (b"+PONG\r\n", b"-NOSCRIPT No matching script.\r\n", b":1\r\n")
            async with peer(tmp_path, *answers, delay_s=0.4) as (url, read):
                client = ValkeyClient(url, timeout_s=0.6)
                await client.ping(timeout_s=PATIENCE_S)
                with pytest.raises(StoreTimeout):
                    await client.run(ONE)
                await until(lambda: len(read) == 3)
                await client.close()

        run(scenario())

    def test_peer_that_hangs_up_after_its_greeting_is_not_taken_for_a_server(
        self, tmp_path: Path, run: Run
    ) -> None:
        async def scenario() -> None:
            async with peer(tmp_path, HANG_UP, b"+fresh\r\n") as (url, _):
                client = ValkeyClient(url, timeout_s=2)
                with pytest.raises(StoreDown, match="lost"):
                    await client.execute("GET", "k")
                await until(lambda: client.is_up)
                assert await client.execute("GET", "k") == b"fresh"
                await client.close()

        run(scenario())

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+one\r\n+unasked\r\n+unasked\r\n"]
    )
    def test_answer_that_cannot_be_matched_drops_the_connection(
        self, tmp_path: Path, run: Run, answer: bytes
    ) -> None:
        async def scenario() -> None:
            async with peer(tmp_path, answer, b"+fresh\r\n") as (url, _):
                client = ValkeyClient(url, timeout_s=2)
                outcome = (await asyncio.gather(client.execute("GET", "k"), return_exceptions=True))[0]
                assert outcome == b"one" or isinstance(outcome, StoreDown)
                assert await client.execute("GET", "k") == b"fresh"
                await client.close()

        run(scenario())

    def test_unwell_server_is_given_up_after_five_answers(self, tmp_path: Path, run: Run) -> None:
        async def scenario() -> None:
            async with peer(tmp_path, *[b"-LOADING Valkey is loading the dataset in memory\r\n"] * 5) as (
                url,
                _,
            ):
                client = ValkeyClient(url, timeout_s=2)
                for _ in range(5):
                    with pytest.raises(StoreDown, match="LOADING"):
                        await client.execute("GET", "k")
                assert not client.is_up
                await client.close()

        run(scenario())
