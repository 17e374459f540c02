"""The guarded transport against a real server and real sockets; only name resolution is ours."""

import asyncio
from collections.abc import Sequence

import httpcore2
import httpx2
import pytest

from app.core.outbound import (
    AddressRefused,
    GuardedBackend,
    GuardedTransport,
    resolve,
)
from tests.upstream import Upstream


class Names:
    """A resolver that gives the next answers in turn, and the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def client(
    hosts: set[str] | None, *, allow_private: bool = True, names: Names | None = None
) -> httpx2.AsyncClient:
    transport = GuardedTransport(hosts, allow_private=allow_private, resolve=names or resolve)
    return httpx2.AsyncClient(transport=transport)


async def test_a_host_on_the_list_is_called(upstream: Upstream) -> None:
    async with client({"api.example"}, names=Names(["127.0.0.1"])) as http:
        answer = await http.get(f"http://API.example:{upstream.port}/x")
    assert answer.status_code == 200
    assert f"api.example:{upstream.port}" in upstream.requests[0].lower()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "api.example.evil.example", "[::1]"])
async def test_no_other_host_is(upstream: Upstream, host: str) -> None:
    async with client({"api.example"}, names=Names(["127.0.0.1"])) as http:
        with pytest.raises(AddressRefused):
            await http.get(f"http://{host}:{upstream.port}/x")
    assert upstream.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1"])
async def test_this_machine_is_refused_however_it_is_written(upstream: Upstream, host: str) -> None:
    async with client({host}, allow_private=False) as http:
        with pytest.raises(AddressRefused):
            await http.get(f"http://{host}:{upstream.port}/x")
    assert upstream.connections == 0


async def test_a_name_that_is_bound_to_another_address_is_refused_when_it_connects(
    upstream: Upstream,
) -> None:
    """The first look at the name, before the call, would have found nothing wrong with it."""
    names = Names(["192.88.99.1"], ["127.0.0.1"])
    await names("api.example", 80)
    async with client({"api.example"}, allow_private=False, names=names) as http:
        with pytest.raises(AddressRefused):
            await http.get(f"http://api.example:{upstream.port}/x")
    assert (upstream.connections, names.asked) == (0, 2)


async def test_the_name_is_resolved_once_and_the_checked_address_is_called(upstream: Upstream) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with client({"api.example"}, names=names) as http:
        assert (await http.get(f"http://api.example:{upstream.port}/x")).status_code == 200
    assert names.asked == 1


async def test_one_address_that_may_not_be_called_refuses_the_name(upstream: Upstream) -> None:
    async with client({"api.example"}, names=Names(["127.0.0.1", "169.254.169.254"])) as http:
        with pytest.raises(AddressRefused):
            await http.get(f"http://api.example:{upstream.port}/x")
    assert upstream.connections == 0


async def test_the_next_address_is_tried_when_one_refuses(upstream: Upstream) -> None:
    async with client({"api.example"}, names=Names(["127.0.0.2", "127.0.0.1"])) as http:
        assert (await http.get(f"http://api.example:{upstream.port}/x")).status_code == 200


async def test_a_name_without_an_address_cannot_be_reached() -> None:
    async with client({"api.example"}, names=Names([])) as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get("http://api.example/x")


async def test_a_name_that_does_not_exist_cannot_be_reached() -> None:
    async with client({"name.invalid"}) as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get("http://name.invalid/x")


async def test_resolving_has_the_time_of_connecting() -> None:
    async def stuck(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    backend = GuardedBackend(allow_private=True, resolve=stuck)
    with pytest.raises(httpcore2.ConnectTimeout):
        await backend.connect_tcp("api.example", 80, timeout=0.01)


async def test_there_are_no_unix_sockets() -> None:
    with pytest.raises(NotImplementedError):
        await GuardedBackend(allow_private=True).connect_unix_socket("/run/service.sock")


async def test_without_a_list_any_host_is_called_but_no_other_address(upstream: Upstream) -> None:
    url = f"http://any.example:{upstream.port}/x"
    async with client(None, names=Names(["127.0.0.1"])) as http:
        assert (await http.get(url)).status_code == 200
    async with client(None, names=Names(["169.254.169.254"])) as http:
        with pytest.raises(AddressRefused):
            await http.get(url)
    assert upstream.connections == 1
