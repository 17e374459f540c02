"""Shedding under load, over real connections: three priorities at their thresholds, whatever comes in whichever order."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from app.core.http import TrafficControl
from app.core.policies import JobConfig
from app.settings import Settings
from tests.apps import client_at, served
from tests.core.http.gated import READER, as_
from tests.core.http.workshop import PATIENCE_S, Workshop

pytestmark = pytest.mark.usefixtures("clean_store")
MOST = 20
PLACES = {"sheddable": 16, "default": 19, "critical": 20}
"""How many requests may be in hand, the new one among them."""


class Ward(Workshop):
    """An endpoint of each priority, whose patients stay until they are let go, or for ``turns`` of the loop."""

    def __init__(self) -> None:
        super().__init__(JobConfig(rate_limit=None, priority="critical"))
        self.turns = 0
        self.places = asyncio.Semaphore(0)
        self.admitted: Counter[str] = Counter()
        self.port = 0
        for priority in PLACES:
            config: Any = JobConfig(rate_limit=None, priority=priority)  # type: ignore[arg-type]
            self.added(f"/{priority}", priority, config, self._handler(priority))

    def _handler(self, priority: str) -> Callable[[], Any]:
        async def handler() -> dict[str, str]:
            self.admitted[priority] += 1
            if self.turns:
                for _ in range(self.turns):
                    await asyncio.sleep(0)
            else:
                await self.work()
                await self.places.acquire()
            return {"priority": priority}

        return handler

    def let_go(self, patients: int) -> None:
        """So many of those who stay may leave."""
        for _ in range(patients):
            self.places.release()

    @property
    def traffic(self) -> TrafficControl:
        return self.platform.traffic

    @asynccontextmanager
    async def on_a_port(self, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=200)
        async with self.open(settings), served(self.app) as port:
            self.port = port
            base = f"http://127.0.0.1:{port}"
            async with client_at(base, timeout=PATIENCE_S, limits=limits) as client:
                yield client


def assert_shed(answer: httpx2.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith("#temporary-reduced-capacity")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert "connection" not in answer.headers  # it is kept: a new one would cost the process more


class Crowd:
    """So many requests of one priority at once, of which only some are let in."""

    def __init__(self, client: httpx2.AsyncClient, priority: str, number: int) -> None:
        headers = as_(READER)
        self.tasks = [asyncio.create_task(client.get(f"/{priority}", headers=headers)) for _ in range(number)]

    async def refused(self, number: int) -> None:
        """Wait until so many were refused; the others are in hand."""
        async with asyncio.timeout(PATIENCE_S):
            while sum(task.done() for task in self.tasks) < number:
                await asyncio.wait(
                    [task for task in self.tasks if not task.done()], return_when="FIRST_COMPLETED"
                )
        for task in self.tasks:
            if task.done():
                assert_shed(task.result())

    async def served(self) -> int:
        answers = await asyncio.gather(*self.tasks)
        return sum(answer.status_code == 200 for answer in answers)


@pytest.fixture
def small(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(max_in_flight=MOST)


@pytest.mark.parametrize(
    ("order", "let_in"),
    [
        (("sheddable", "default", "critical"), (16, 3, 1)),
        (("critical", "default", "sheddable"), (20, 0, 0)),
        (("default", "sheddable", "critical"), (19, 0, 1)),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
async def test_each_priority_fills_its_places_and_no_more(
    small: Settings, order: tuple[str, ...], let_in: tuple[int, ...]
) -> None:
    ward = Ward()
    async with ward.on_a_port(small) as client:
        crowds = []
        for priority, number in zip(order, let_in, strict=True):
            crowds.append(Crowd(client, priority, 40))
            await crowds[-1].refused(40 - number)
            assert ward.admitted[priority] == number
        assert ward.traffic.in_flight == MOST
        assert (await client.get("/metrics")).status_code == 200  # who watches is not shut out
        assert_shed(await client.get("/critical", headers=as_(READER)))
        ward.let_go(MOST + len(PLACES))
        assert [await crowd.served() for crowd in crowds] == list(let_in)
        for priority in PLACES:
            assert (await client.get(f"/{priority}", headers=as_(READER))).status_code == 200
    assert ward.traffic.in_flight == 0


async def test_a_place_that_gets_free_is_for_who_matters_most(small: Settings) -> None:
    ward = Ward()
    async with ward.on_a_port(small) as client:
        crowd = Crowd(client, "critical", MOST)
        await ward.until(MOST)
        ward.let_go(1)
        await asyncio.wait(crowd.tasks, return_when="FIRST_COMPLETED", timeout=PATIENCE_S)
        for priority in ("sheddable", "default"):
            assert_shed(await client.get(f"/{priority}", headers=as_(READER)))
        last = Crowd(client, "critical", 1)
        await ward.until(MOST + 1)
        ward.let_go(MOST)
        assert (await crowd.served(), await last.served()) == (MOST, 1)


async def test_a_storm_of_all_priorities_is_served_within_the_thresholds(
    small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward, answers = Ward(), list[tuple[str, httpx2.Response]]()
    decided, admits = list[tuple[str, int, bool]](), TrafficControl.admits

    def decide(traffic: TrafficControl, priority: str) -> bool:
        decided.append((priority, traffic.in_flight, admits(traffic, priority)))
        return decided[-1][2]

    monkeypatch.setattr(TrafficControl, "admits", decide)
    ward.turns = 25
    wish = random.Random(7)
    calls = [[wish.choice(list(PLACES)) for _ in range(10)] for _ in range(50)]
    async with ward.on_a_port(small) as client:

        async def caller(priorities: list[str]) -> None:
            for priority in priorities:
                answers.append((priority, await client.get(f"/{priority}", headers=as_(READER))))

        await asyncio.gather(*map(caller, calls))
        assert ward.traffic.in_flight == 0
        shed = ward.traffic.shed
    statuses = Counter((priority, answer.status_code) for priority, answer in answers)
    assert {status for _, status in statuses} == {200, 503}
    for _, answer in answers:
        if answer.status_code != 200:
            assert_shed(answer)
    assert shed == sum(count for (_, status), count in statuses.items() if status == 503)
    assert ward.admitted == {priority: statuses[priority, 200] for priority in PLACES}
    assert [one for one in decided if one[2] != (one[1] <= PLACES[one[0]])] == []
    assert {priority for priority, _, is_in in decided if is_in} == set(PLACES)
    rates = [statuses[name, 200] / (statuses[name, 200] + statuses[name, 503]) for name in PLACES]
    assert rates == sorted(rates)


async def test_a_body_that_nobody_reads_does_not_confuse_the_connection(small: Settings) -> None:
    ward = Ward()
    async with ward.on_a_port(small) as client:
        crowd = Crowd(client, "sheddable", 16)
        await ward.until(16)
        body = b'{"name": "' + b"x" * 200_000 + b'"}'
        head = f"Host: test\r\nAuthorization: Bearer {READER.id}\r\n"
        request = f"GET /sheddable HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        reader, writer = await asyncio.open_connection("127.0.0.1", ward.port)
        writer.write(request)
        refused = await _answer(reader)
        ward.let_go(16 + 1)
        assert await crowd.served() == 16
        writer.write(f"GET /default HTTP/1.1\r\n{head}\r\n".encode())
        taken = await _answer(reader)
        writer.close()
        await writer.wait_closed()
    assert (refused[0], taken) == (503, (200, {"priority": "default"}))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode().lower().splitlines()
        length = next(int(field.split(":")[1]) for field in fields if field.startswith("content-length"))
        return int(status.split(" ")[1]), json.loads(await reader.readexactly(length))
