"""Calls that are packed once are, byte by byte, what the client would pack each time."""

import pytest
from libvalkey import pack_command

from app.core.valkey import PackedCall, Script, ValkeyClient

ECHO = Script("echo", "return {KEYS[1], ARGV[2], #KEYS, #ARGV}")


@pytest.mark.parametrize("name", ["a", "0123456789", "x" * 100])
@pytest.mark.parametrize("more", [(), ("k:ä", "{tag}:k")])
def test_the_bytes_are_those_of_the_client(name: str, more: tuple[str, ...]) -> None:
    args = [b"10000", b"", b"\x00\r\n\xff"]
    call = PackedCall(ECHO, ["{ä}:r:", *more], [args[0], b"", *args[1:]], at=1)
    keys = ["{ä}:r:" + name, *more]
    whole: tuple[bytes | str | int, ...] = ("EVALSHA", ECHO.sha, len(keys), *keys, args[0], name, *args[1:])
    assert call.packed(name) == pack_command(whole)


@pytest.mark.usefixtures("clean_store")
async def test_a_server_that_does_not_know_the_script_is_sent_its_source(store: ValkeyClient) -> None:
    await store.execute("SCRIPT", "FLUSH")
    call = PackedCall(ECHO, ["r:", "k"], [b"first", b""], at=1)
    for name in ("one", "two"):
        reply = await store.submit_packed(ECHO, call.packed(name))
        assert reply == [b"r:" + name.encode(), name.encode(), 2, 2]
