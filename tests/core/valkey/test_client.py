"""The client on a real, healthy server."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from app.core.valkey import (
    Script,
    StoreDown,
    StoreOverloaded,
    StoreReplyError,
    StoreTimeout,
    ValkeyClient,
)
from tests.nursery import run_program

if TYPE_CHECKING:
    from tests.servers import PrivateServer

ADD = Script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
pytestmark = pytest.mark.usefixtures("clean_store")


@pytest.fixture
async def alone(private_valkey: "PrivateServer") -> AsyncIterator[ValkeyClient]:
    """A client of a server that no other test uses: for what would disturb them."""
    client = ValkeyClient(private_valkey.url, timeout_s=2.0)
    yield client
    await client.close()


class TestExecute:
    async def test_replies_keep_their_types(self, store: ValkeyClient) -> None:
        assert await store.execute("SET", "text", "ä") == b"OK"
        assert await store.execute("GET", "text") == "ä".encode()
        assert await store.execute("INCRBY", b"number", 41) == 41
        assert await store.execute("GET", "missing") is None
        await store.execute("RPUSH", "list", 1, b"\x00\r\n\xff", "")
        assert await store.execute("LRANGE", "list", 0, -1) == [b"1", b"\x00\r\n\xff", b""]

    async def test_nested_arrays_nils_and_errors_inside_keep_their_places(self, store: ValkeyClient) -> None:
        script = "return {1, {'two', {false, 3}}, {server.error_reply('INNER x')}, 4}"
        reply = await store.execute("EVAL", script, 0)
        assert reply[:2] == [1, [b"two", [None, 3]]]
        assert isinstance(reply[2][0], Exception)
        assert reply[3] == 4
        assert await store.execute("ECHO", "in step") == b"in step"

    async def test_one_megabyte_goes_and_comes_back(self, store: ValkeyClient) -> None:
        value = bytes(range(256)) * 4096
        await store.execute("SET", "big", value)
        assert await store.execute("GET", "big") == value

    async def test_error_reply_names_no_key_or_value(self, store: ValkeyClient) -> None:
        await store.execute("SET", "s3cret-key", "s3cret-value")
        with pytest.raises(StoreReplyError) as caught:
            await store.execute("HGET", "s3cret-key", "s3cret-field")
        assert caught.value.code == "WRONGTYPE"
        with pytest.raises(StoreReplyError) as unknown:
            await store.execute("NONSENSE", "s3cret-argument")
        assert "s3cret" not in f"{caught.value!r}{caught.value}{unknown.value!r}{unknown.value}"

    async def test_ten_thousand_concurrent_calls_get_their_own_answers(self, store: ValkeyClient) -> None:
        replies = await asyncio.gather(
            *(store.execute("ECHO", number, timeout_s=20) for number in range(10_000))
        )
        assert replies == [str(number).encode() for number in range(10_000)]

    async def test_cancelled_calls_in_the_middle_disturb_no_other(self, store: ValkeyClient) -> None:
        tasks = [asyncio.ensure_future(store.execute("ECHO", number)) for number in range(1000)]
        await asyncio.sleep(0)  # all are sent, none is answered
        for task in tasks[::7]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            if number % 7:
                assert outcome == str(number).encode()
            else:
                assert isinstance(outcome, asyncio.CancelledError)
        assert await store.execute("ECHO", "after") == b"after"

    @pytest.mark.parametrize(
        "command",
        [
            ("BLPOP", "k", 0),
            (b"subscribe", "c"),
            ("Multi",),
            ("SELECT", 1),
            ("XREAD", "BLOCK", 0, "STREAMS", "s", "$"),
            ("XREADGROUP", "GROUP", "g", "c", b"block", 0, "STREAMS", "s", ">"),
            (),
        ],
    )
    async def test_command_that_cannot_share_a_connection_is_refused(
        self, store: ValkeyClient, command: tuple[str | bytes | int, ...]
    ) -> None:
        with pytest.raises(ValueError, match=r"command is missing|share a connection"):
            await store.execute(*command)

    async def test_unsupported_argument_is_a_type_error_and_costs_no_slot(self, store: ValkeyClient) -> None:
        with pytest.raises(TypeError):
            await store.execute("SET", "k", None)  # type: ignore[arg-type]
        assert await store.execute("ECHO", "in step") == b"in step"

    async def test_ping_measures_seconds(self, store: ValkeyClient) -> None:
        assert 0 < await store.ping() < 2


class TestScripts:
    async def test_run_and_submit_call_the_script(self, store: ValkeyClient) -> None:
        assert await store.run(ADD, ["n"], [2]) == 2
        assert await store.submit(ADD, (b"n",), ("3",)) == 5

    async def test_unknown_script_is_sent_as_source_once(self, alone: ValkeyClient) -> None:
        script = Script("fresh", "-- sent as source\nreturn redis.call('INCR', KEYS[1])")
        await alone.execute("SCRIPT", "FLUSH")
        await alone.execute("CONFIG", "RESETSTAT")
        assert [await alone.run(script, ["n"]), await alone.run(script, ["n"])] == [1, 2]
        stats = (await alone.execute("INFO", "commandstats")).decode()
        assert "cmdstat_eval:calls=1," in stats
        assert "cmdstat_evalsha:calls=2," in stats

    async def test_flush_under_concurrency_runs_every_call_exactly_once(self, alone: ValkeyClient) -> None:
        await alone.run(ADD, ["n"], [0])
        await alone.execute("SCRIPT", "FLUSH")
        replies = await asyncio.gather(*(alone.run(ADD, ["n"], [1]) for _ in range(500)))
        assert sorted(replies) == list(range(1, 501))

    async def test_preload_makes_the_first_call_a_plain_one(self, store: ValkeyClient) -> None:
        script = Script("preloaded", "return 'preloaded'")
        await store.preload([script])
        assert await store.execute("SCRIPT", "EXISTS", script.sha) == [1]

    async def test_preload_of_a_broken_script_is_an_error(self, valkey_url: str) -> None:
        client = ValkeyClient(valkey_url, timeout_s=2.0)
        with pytest.raises(StoreReplyError):
            await client.preload([Script("broken", "return return")])
        await client.close()

    async def test_error_in_a_script_names_script_and_line(self, store: ValkeyClient) -> None:
        script = Script("faulty", "local key = KEYS[1]\nreturn key + {}")
        with pytest.raises(StoreReplyError, match=r"to faulty at line 2: attempt to perform arithmetic"):
            await store.run(script, ["s3cret"])


class TestConnection:
    async def test_first_calls_share_one_named_connection(self, valkey_url: str, store: ValkeyClient) -> None:
        client = ValkeyClient(valkey_url, timeout_s=2.0, client_name="shared-one")
        await asyncio.gather(*(client.ping() for _ in range(50)))
        listing = (await store.execute("CLIENT", "LIST")).decode()
        assert listing.count("name=shared-one") == 1
        assert client.is_up
        await client.close()

    async def test_database_of_the_url_is_used(self, valkey_url: str) -> None:
        url = valkey_url.partition("?")[0] + "?db=63"
        client = ValkeyClient(url, timeout_s=2.0)
        assert b" db=63 " in await client.execute("CLIENT", "INFO")
        await client.close()

    async def test_wrong_password_is_an_outage_that_shows_no_password(self, valkey_url: str) -> None:
        _, _, rest = valkey_url.partition("@")
        client = ValkeyClient(f"unix://:hunter2@{rest}", timeout_s=2.0)
        with structlog.testing.capture_logs() as logs, pytest.raises(StoreDown, match="WRONGPASS") as caught:
            await client.ping()
        assert [line["event"] for line in logs] == ["store.down"]
        assert "hunter2" not in f"{logs}{caught.value!r}{client!r}{vars(client._link)!r}"
        await client.close()

    async def test_missing_password_is_an_outage(self, valkey_url: str) -> None:
        _, _, rest = valkey_url.partition("@")
        client = ValkeyClient(f"unix://{rest}", timeout_s=2.0)
        with pytest.raises(StoreDown, match="NOAUTH"):
            await client.ping()
        await client.close()

    async def test_blocking_client_waits_without_socket_timeout(
        self, store: ValkeyClient, valkey_url: str
    ) -> None:
        async with store.blocking() as ordinary:
            assert ordinary.connection_pool.connection_kwargs["socket_timeout"] is None
            call: Any = ordinary.execute_command
            waiting = asyncio.ensure_future(call("BLPOP", "queue", 0))
            while b"cmd=blpop" not in await store.execute("CLIENT", "LIST"):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0)
            await store.execute("RPUSH", "queue", "job")
            assert list(await waiting) == [b"queue", b"job"]

    async def test_closed_client_refuses_calls(self, valkey_url: str) -> None:
        client = ValkeyClient(valkey_url, timeout_s=2.0)
        await client.ping()
        await client.close()
        await client.close()
        with pytest.raises(StoreDown, match="closed"):
            await client.ping()

    async def test_other_loop_is_refused(self, store: ValkeyClient) -> None:
        await store.ping()

        def use() -> None:
            async def call() -> None:
                store.submit(ADD, ["n"], [1])

            asyncio.run(call())

        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(use)
        assert await store.execute("EXISTS", "n") == 0

    def test_forked_child_is_refused(self, valkey_url: str) -> None:
        """In a program of its own, because a fork of the test runner would take its threads and sockets along."""
        program = """
import asyncio, os, sys
from app.core.valkey import ValkeyClient

async def main():
    client = ValkeyClient(sys.argv[1], timeout_s=2.0)
    await client.ping()
    if (child := os.fork()) == 0:
        try:
            await client.ping()
        except RuntimeError as error:
            os._exit(7 if "fork" in str(error) else 8)
        os._exit(9)
    _, status = os.waitpid(child, 0)
    await client.ping()
    await client.close()
    sys.exit(os.waitstatus_to_exitcode(status))

asyncio.run(main())
"""
        done = run_program(program, valkey_url)
        assert done.code == 7, done.errors


class TestLimits:
    async def test_call_beyond_max_pending_is_refused_at_once(self, valkey_url: str) -> None:
        client = ValkeyClient(valkey_url, timeout_s=2.0, max_pending=10)
        await client.ping()
        calls = [client.submit(ADD, ["n"], [1]) for _ in range(10)]
        with pytest.raises(StoreOverloaded):
            client.submit(ADD, ["n"], [1])
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 11))
        assert await client.run(ADD, ["n"], [1]) == 11
        await client.close()

    async def test_max_pending_holds_while_connecting_too(self, valkey_url: str) -> None:
        client = ValkeyClient(valkey_url, timeout_s=2.0, max_pending=3)
        calls = [client.submit(ADD, ["n"], [1]) for _ in range(3)]
        with pytest.raises(StoreOverloaded):
            client.submit(ADD, ["n"], [1])
        assert await asyncio.gather(*calls) == [1, 2, 3]
        await client.close()

    async def test_timed_out_calls_leave_the_later_ones_in_step(
        self, private_valkey: "PrivateServer"
    ) -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=0.05)
        connection = await client.execute("CLIENT", "ID", timeout_s=2)
        await client.execute("CLIENT", "PAUSE", 150, "ALL", timeout_s=2)
        late = [asyncio.ensure_future(client.execute("INCR", "n")) for _ in range(4)]
        patient = asyncio.ensure_future(client.execute("ECHO", "patient", timeout_s=5))
        outcomes = await asyncio.gather(*late, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreTimeout] * 4
        assert await patient == b"patient"
        assert await client.execute("GET", "n", timeout_s=2) == b"4"
        assert await client.execute("CLIENT", "ID", timeout_s=2) == connection
        await client.close()

    async def test_shorter_budget_of_one_call_is_kept(self, alone: ValkeyClient) -> None:
        await alone.execute("CLIENT", "PAUSE", 100, "ALL")
        with pytest.raises(StoreTimeout):
            await alone.execute("PING", timeout_s=0.01)
        assert await alone.execute("ECHO", "in step") == b"in step"

    @pytest.mark.parametrize(
        "options",
        [{"timeout_s": 0}, {"connect_timeout_s": -1}, {"max_pending": 0}, {"client_name": "two words"}],
    )
    def test_options_out_of_range_are_refused(self, options: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="must be"):
            ValkeyClient("valkey://localhost", **options)  # type: ignore[arg-type]
