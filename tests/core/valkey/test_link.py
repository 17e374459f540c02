"""The client when the server dies, freezes, changes its role or comes back. Each on asyncio's loop and on uvloop."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Coroutine
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import structlog
import uvloop

from app.core.observability import Event, EventHub, StoreEvent
from app.core.valkey import Script, StoreDown, StoreError, StoreOverloaded, StoreTimeout, ValkeyClient
from tests.garbage import own_garbage
from tests.processes import PATIENCE_S

if TYPE_CHECKING:
    from tests.servers import PrivateServer

ADD = Script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
BUDGET_S = 0.025
# What a shared machine may add to a median before we call it late.
SLACK_S = 0.25
AMPLE_S = 5.0
Run = Callable[[Coroutine[Any, Any, None]], None]
States = list[tuple[str, str | None]]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    runner: Run = request.param
    runner(asyncio.sleep(0))  # libuv opens a pipe for signals with a process's first loop, and keeps it
    return runner


@pytest.fixture
def states() -> States:
    return []


@pytest.fixture
def hub(states: States) -> EventHub:
    def note(event: Event) -> None:
        assert isinstance(event, StoreEvent)
        states.append((event.state, event.reason))

    hub = EventHub()
    hub.subscribe(StoreEvent, note)
    return hub


def open_files() -> int:
    """File descriptors of this process."""
    return psutil.Process().num_fds()


async def until(is_reached: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait, without calling, for something that the client does by itself."""
    async with asyncio.timeout(within_s):
        while not is_reached():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


def has_told(states: States, number: int) -> bool:
    return len(states) >= number


async def outcome(client: ValkeyClient) -> tuple[type[Exception] | None, float]:
    """What a call comes to, and the seconds it took."""
    start = time.monotonic()
    try:
        await client.execute("PING")
    except StoreError as error:
        return type(error), time.monotonic() - start
    return None, time.monotonic() - start


def test_killed_server_fails_what_waits_and_is_found_again(
    private_valkey: "PrivateServer", hub: EventHub, states: States, run: Run
) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=AMPLE_S, hub=hub)
        await client.ping()
        private_valkey.stop_signal()
        waiting = [client.submit(ADD, ["n"], [1]) for _ in range(200)]
        await asyncio.sleep(0)
        private_valkey.kill()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreDown] * 200
        kind, took = await outcome(client)
        assert kind is StoreDown
        assert took < AMPLE_S / 2  # it was told at once, and did not wait for its budget
        await asyncio.to_thread(private_valkey.restart)
        await until(lambda: client.is_up)
        # Nothing was sent again by itself.
        assert await client.execute("EXISTS", "n") == 0
        await client.close()

    run(scenario())
    assert [state for state, _ in states] == ["up", "down", "up"]


def test_frozen_server_times_out_then_costs_nothing_then_is_found_again(
    private_valkey: "PrivateServer", hub: EventHub, states: States, run: Run
) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=BUDGET_S, hub=hub)
        await client.ping(timeout_s=PATIENCE_S)
        private_valkey.stop_signal()
        slow = [await outcome(client) for _ in range(5)]
        assert [kind for kind, _ in slow] == [StoreTimeout] * 5
        assert all(took >= BUDGET_S for _, took in slow)
        assert median(took for _, took in slow) < BUDGET_S + SLACK_S
        quick = [await outcome(client) for _ in range(200)]
        assert {kind for kind, _ in quick} == {StoreDown}
        assert median(took for _, took in quick) < BUDGET_S
        private_valkey.cont()
        await until(lambda: client.is_up)
        assert await client.execute("ECHO", "in step", timeout_s=PATIENCE_S) == b"in step"
        await client.close()

    run(scenario())
    assert states == [("up", None), ("down", "Valkey does not answer"), ("up", None)]


def test_many_calls_in_a_freeze_end_within_one_budget(private_valkey: "PrivateServer", run: Run) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=BUDGET_S)
        await client.ping(timeout_s=PATIENCE_S)
        private_valkey.stop_signal()
        waiting = [client.submit(ADD, ["n"], [1]) for _ in range(1000)]
        start = time.monotonic()  # sending them is this process's time, not the store's
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, StoreError) for outcome in outcomes)
        assert time.monotonic() - start < len(waiting) * BUDGET_S / 10
        assert not client.is_up
        private_valkey.cont()
        await until(lambda: client.is_up)
        await client.close()

    run(scenario())


@pytest.mark.parametrize("timeout_s", [None, BUDGET_S])
def test_timeouts_with_answers_between_them_are_not_an_outage(
    private_valkey: "PrivateServer", run: Run, timeout_s: float | None
) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=BUDGET_S)
        await client.ping(timeout_s=PATIENCE_S)
        for _ in range(6):
            private_valkey.stop_signal()
            with pytest.raises(StoreTimeout):
                await client.execute("PING", timeout_s=timeout_s)
            private_valkey.cont()
            await client.ping(timeout_s=PATIENCE_S)
        assert client.is_up
        await client.close()

    run(scenario())


def test_server_that_is_away_at_the_start_is_found_when_it_comes(
    private_valkey: "PrivateServer", hub: EventHub, states: States, run: Run
) -> None:
    async def scenario() -> None:
        private_valkey.kill()
        client = ValkeyClient(private_valkey.url, timeout_s=BUDGET_S, hub=hub)
        with pytest.raises(StoreDown):
            await client.preload([ADD])
        await asyncio.to_thread(private_valkey.restart)
        await until(lambda: client.is_up)
        # The script was remembered, so its first call needs no source.
        assert await client.execute("SCRIPT", "EXISTS", ADD.sha, timeout_s=PATIENCE_S) == [1]
        await client.close()

    run(scenario())
    assert [state for state, _ in states] == ["down", "up"]


def test_connection_that_the_server_closes_while_idle_costs_no_call(
    private_valkey: "PrivateServer", hub: EventHub, states: States, run: Run
) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=2.0, hub=hub)
        number = await client.execute("CLIENT", "ID")
        other = ValkeyClient(private_valkey.url, timeout_s=2.0)
        await other.execute("CLIENT", "KILL", "ID", number)
        await until(functools.partial(has_told, states, 2))
        # Whether or not the first reconnection is still under way: the call waits for it.
        assert await client.execute("CLIENT", "ID") > number
        await client.close()
        await other.close()

    run(scenario())


def test_connection_lost_again_and_again_is_not_waited_for(
    private_valkey: "PrivateServer", hub: EventHub, states: States, run: Run
) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=5.0, hub=hub)
        other = ValkeyClient(private_valkey.url, timeout_s=5.0)
        number = await client.execute("CLIENT", "ID")
        for losses in range(1, 6):
            await other.execute("CLIENT", "KILL", "ID", number)
            await until(functools.partial(has_told, states, losses * 2))
            if losses < 5:
                await until(lambda: client.is_up)
                number = await client.execute("CLIENT", "ID")
        # After four young deaths the next attempt waits 0.3 s or more, and calls do not.
        with pytest.raises(StoreDown, match="lost again"):
            await client.ping()
        await client.close()
        await other.close()

    run(scenario())


def test_read_only_replica_is_an_outage_and_leaves_no_trace(
    private_valkey: "PrivateServer", run: Run
) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=2.0)
        await client.execute("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreDown, match="READONLY"):
            await client.execute("SET", "k", "v")
        assert await client.execute("GET", "k") is None
        await client.execute("REPLICAOF", "NO", "ONE")
        assert await client.execute("SET", "k", "v") == b"OK"
        await client.close()

    run(scenario())


def test_full_server_refuses_writes_but_stays_in_use(private_valkey: "PrivateServer", run: Run) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=2.0)
        await client.execute("CONFIG", "SET", "maxmemory", 1)
        for _ in range(10):
            with pytest.raises(StoreDown, match="OOM"):
                await client.run(Script("write", "#!lua\nreturn redis.call('SET', KEYS[1], 1)"), ["k"])
        assert client.is_up
        assert await client.execute("GET", "k") is None
        await client.close()

    run(scenario())


def test_bytes_that_the_socket_does_not_take_are_bounded(private_valkey: "PrivateServer", run: Run) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=5.0)
        await client.ping()
        private_valkey.stop_signal()
        value = b"x" * 1024 * 1024
        sent: list[asyncio.Future[Any]] = []
        with contextlib.suppress(StoreOverloaded):
            while len(sent) < 64:
                sent.append(client.submit(ADD, ["n"], [value]))
                await asyncio.sleep(0)
        assert 8 <= len(sent) <= 40
        private_valkey.cont()
        await asyncio.gather(*sent, return_exceptions=True)
        assert await client.execute("ECHO", "in step") == b"in step"
        await client.close()

    run(scenario())


def test_close_fails_what_waits_and_leaves_nothing_behind(private_valkey: "PrivateServer", run: Run) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=5.0)
        await client.ping()
        private_valkey.stop_signal()
        waiting = [client.submit(ADD, ["n"], [1]) for _ in range(10)]
        await client.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["the Valkey client is closed"] * 10
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = open_files()
    run(scenario())
    assert open_files() == before


def test_close_while_connecting_leaves_nothing_behind(private_valkey: "PrivateServer", run: Run) -> None:
    async def scenario() -> None:
        private_valkey.stop_signal()
        client = ValkeyClient(private_valkey.url, timeout_s=5.0)
        waiting = client.submit(ADD, ["n"], [1])
        for _ in range(5):
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(StoreDown, match="closed"):
            await waiting
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = open_files()
    run(scenario())
    assert open_files() == before


def test_abandoned_calls_and_failed_attempts_cause_no_complaint(
    private_valkey: "PrivateServer", run: Run
) -> None:
    complaints: list[dict[str, Any]] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        client = ValkeyClient(private_valkey.url, timeout_s=BUDGET_S)
        await client.ping(timeout_s=PATIENCE_S)
        private_valkey.stop_signal()
        for _ in range(50):
            client.submit(ADD, ["n"], [1])
        await asyncio.sleep(0)
        private_valkey.kill()
        await until(lambda: not client.is_up)
        await outcome(client)
        await client.close()

    with own_garbage() as collect:
        run(scenario())
        collect()
    assert complaints == []


def test_logs_tell_each_change_once(private_valkey: "PrivateServer", run: Run) -> None:
    async def scenario() -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=2.0)
        await client.ping()
        private_valkey.kill()
        kinds = {(await outcome(client))[0] for _ in range(100)}
        assert kinds == {StoreDown}
        await asyncio.to_thread(private_valkey.restart)
        await until(lambda: client.is_up)
        await client.close()

    with structlog.testing.capture_logs() as logs:
        run(scenario())
    assert [line["event"] for line in logs] == ["store.up", "store.down", "store.up"]
