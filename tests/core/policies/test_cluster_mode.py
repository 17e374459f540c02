"""Learning from the store itself whether it is a Cluster."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from app.core.observability import EventHub, StoreEvent
from app.core.policies import ClusterMode
from app.core.valkey import StoreDown, StoreReplyError, ValkeyClient
from tests.servers import PrivateServer

CLUSTER, ALONE = b"# Cluster\r\ncluster_enabled:1\r\n", b"# Cluster\r\ncluster_enabled:0\r\n"


class Server:
    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)

    async def execute(self, *args: str, timeout_s: float | None = None) -> Any:
        assert args == ("INFO", "cluster")
        assert timeout_s is not None
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Told:
    """A mode that asks ``answers``, and what came of it."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.server, self.hub, self.times = Server(*answers), EventHub(), 0
        self.tasks: list[asyncio.Task[None]] = []
        self.mode = ClusterMode(self.server, hub=self.hub, tell=self._tell, start=self._start)

    def _tell(self) -> None:
        self.times += 1

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def comes(self, state: str) -> None:
        self.hub.emit(StoreEvent(state))
        await asyncio.gather(*self.tasks)


@pytest.mark.parametrize(("answer", "times"), [(CLUSTER, 1), (ALONE, 0)])
async def test_the_server_says_what_it_is_and_is_asked_once(answer: bytes, times: int) -> None:
    told = Told(answer)
    for _ in range(2):
        await told.mode.learn()
    await told.comes("up")
    assert (told.times, told.server.answers, told.tasks) == (times, [], [])


async def test_a_store_that_was_away_is_asked_when_it_comes_up() -> None:
    told = Told(StoreDown("away"), StoreDown("away"), CLUSTER)
    await told.mode.learn()
    await told.comes("down")
    await told.comes("up")
    assert told.times == 0
    await told.comes("up")
    assert (told.times, told.server.answers) == (1, [])


async def test_a_server_that_refuses_the_question_is_not_asked_again() -> None:
    told = Told(StoreReplyError("NOPERM"))
    await told.mode.learn()
    await told.comes("up")
    assert (told.times, told.tasks) == (0, [])


async def test_two_who_want_to_know_ask_once() -> None:
    told = Told(CLUSTER)
    await asyncio.gather(told.mode.learn(), told.mode.learn())
    assert told.times == 1


async def test_a_real_node_says_so_and_a_real_server_alone_does_not(
    store: ValkeyClient, cluster_node: PrivateServer
) -> None:
    seen = list[str]()
    client = ValkeyClient(cluster_node.url, timeout_s=2.0)
    for name, server in (("node", client), ("alone", store)):

        def tell(name: str = name) -> None:
            seen.append(name)

        await ClusterMode(server, hub=EventHub(), tell=tell, start=asyncio.ensure_future).learn()
    await client.close()
    assert seen == ["node"]
