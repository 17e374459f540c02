"""Calls that are packed once are, byte by byte, what the client would pack each time."""

import pytest
from libvalkey import pack_command

from app.core.valkey import Gap, PackedCall, Script, ValkeyClient, packed_parts

ECHO = Script("echo", "return {KEYS[1], ARGV[2], #KEYS, #ARGV}")


@pytest.mark.parametrize("name", ["a", "0123456789", "x" * 100])
@pytest.mark.parametrize("more", [(), ("k:ä", "{tag}:k")])
def test_the_bytes_are_those_of_the_client(name: str, more: tuple[str, ...]) -> None:
    args = [b"10000", b"", b"\x00\r\n\xff"]
    call = PackedCall(ECHO, ["{ä}:r:", *more], [args[0], b"", *args[1:]], at=1)
    keys = ["{ä}:r:" + name, *more]
    whole: tuple[bytes | str | int, ...] = ("EVALSHA", ECHO.sha, len(keys), *keys, args[0], name, *args[1:])
    assert call.packed(name) == pack_command(whole)


@pytest.mark.parametrize("at_key", [1, 2, 3])
@pytest.mark.parametrize("at_arg", [2, 3])
def test_what_fills_the_gaps_stands_where_it_was_left_out(at_key: int, at_arg: int) -> None:
    keys, args, more = ["{p}:r:", "k1", "k2%d"], [b"10000", b"", b"%b\r\n"], ["e:ä", "e:l"]
    call = PackedCall(ECHO, keys, args, at=1, keys_gap=Gap(at_key, 2), args_gap=Gap(at_arg, 1))
    names = ["{p}:r:id", "k1", "k2%d"]
    names[at_key:at_key] = more
    values = [b"10000", b"id", b"%b\r\n"]
    values.insert(at_arg, b"\x00 charge")
    whole: tuple[bytes | str | int, ...] = ("EVALSHA", ECHO.sha, len(names), *names, *values)
    assert call.packed("id", packed_parts(*more), packed_parts(b"\x00 charge")) == pack_command(whole)


async def test_a_server_that_does_not_know_the_script_is_sent_its_source(
    private_valkey_client: ValkeyClient,
) -> None:
    store = private_valkey_client
    call = PackedCall(ECHO, ["r:", "k"], [b"first", b""], at=1)
    for name in ("one", "two"):
        reply = await store.submit_packed(ECHO, call.packed(name))
        assert reply == [b"r:" + name.encode(), name.encode(), 2, 2]
