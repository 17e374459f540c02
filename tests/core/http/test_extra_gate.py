"""Rules of one's own at the gate: when they are asked, what they see, and what their refusal costs."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from app.core.context import Principal
from app.core.db import Database
from app.core.errors import PolicyRejected
from app.core.policies import (
    Caller,
    CostRequest,
    Credits,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
    Security,
)
from app.settings import Settings
from tests.core.http.gated import NOBODY, READER, WRITER, as_
from tests.core.http.workshop import LONG, Workshop, fund, used

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


class Closed(PolicyRejected):
    status = 451
    title = "Closed"


@dataclass(frozen=True)
class Rule:
    """Refuses whom ``refuses`` names, and notes who was asked about."""

    name: str = "door"
    refuses: Callable[[Caller], bool] = lambda _: True
    seen: list[tuple[Caller, CostRequest]] = field(default_factory=list, hash=False)

    def refusal(self, caller: Caller, request: CostRequest) -> PolicyRejected | None:
        self.seen.append((caller, request))
        if not self.refuses(caller):
            return None
        return Closed("not now", policy="work", violated=(self.name,), retry_after=7)


def open_door() -> Rule:
    return Rule(refuses=lambda _: False)


class TestWhenItIsAsked:
    async def test_after_who_asks_and_what_he_may(self, settings: Settings) -> None:
        rule = Rule()
        config = JobConfig(extra=(rule,), security=Security(scopes=("read:records",)))
        async with Workshop(config).open(settings) as shop:
            assert (await shop.client.get("/work")).status_code == 401
            assert (await shop.get(who=NOBODY)).status_code == 403
            assert rule.seen == []
            assert (await shop.get()).status_code == 451
        assert [caller.principal for caller, _ in rule.seen] == [READER]

    async def test_before_anything_is_taken_or_shown(self, settings: Settings, database: Database) -> None:
        closed: list[bool] = []
        rule = Rule(refuses=lambda _: bool(closed))
        config = JobConfig(
            rate_limit=None,
            extra=(rule,),
            credits=Credits(cost=2),
            quota=Quota(per="month", limit=9),
            cache=ResponseCache(ttl=60),
        )
        await fund(database, 9)
        async with Workshop(config).open(settings) as shop:
            assert await shop.statuses(1) == [200]
            closed.append(True)
            assert await shop.statuses(2) == [451, 451]  # not even the cached answer
            assert await shop.left() == (7, 0)
            assert await used(shop) == [1]

    async def test_the_first_that_refuses_decides_and_the_others_are_not_asked(
        self, settings: Settings
    ) -> None:
        first, second, third = open_door(), Rule("second"), Rule("third")
        async with Workshop(JobConfig(extra=(first, second, third))).open(settings) as shop:
            answer = await shop.get()
        assert answer.json()["violated-policies"] == ["second"]
        assert [len(rule.seen) for rule in (first, second, third)] == [1, 1, 0]
        assert shop.verdicts == ["second"]


class TestWhatItSees:
    async def test_the_caller_and_the_head_of_his_request(self, settings: Settings) -> None:
        rule = open_door()
        async with Workshop(JobConfig(extra=(rule,))).open(settings) as shop:
            await shop.get("/work?n=3&n=4", WRITER)
            await shop.post()
        (caller, read), (_, written) = rule.seen
        assert caller.principal == WRITER
        assert (read.method, read.query["n"], read.content_length) == ("GET", ["3", "4"], None)
        assert (written.method, written.content_length) == ("POST", len(b'{"name":"tea"}'))

    async def test_an_anonymous_caller_is_a_network(self, settings: Settings) -> None:
        rule = open_door()
        async with Workshop(JobConfig.public(extra=(rule,))).open(settings) as shop:
            await shop.client.get("/work")
        ((caller, _),) = rule.seen
        assert (caller.principal, caller.network) == (None, "127.0.0.1")

    async def test_it_may_tell_callers_apart(self, settings: Settings) -> None:
        def is_reader(caller: Caller) -> bool:
            principal: Principal | None = caller.principal
            return principal == READER

        async with Workshop(JobConfig(extra=(Rule(refuses=is_reader),))).open(settings) as shop:
            assert await shop.statuses(1, who=READER) == [451]
            assert await shop.statuses(1, who=WRITER) == [200]


class TestRefusal:
    async def test_it_is_the_answer(self, settings: Settings) -> None:
        async with Workshop(JobConfig(extra=(Rule(),))).open(settings) as shop:
            answer = await shop.get()
        assert (answer.status_code, answer.headers["retry-after"], shop.runs) == (451, "7", 0)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["title"], answer.json()["detail"]) == ("Closed", "not now")

    async def test_it_is_charged_to_the_attempt_limits_and_to_no_other(self, settings: Settings) -> None:
        limits = (
            RateLimit.fixed_window("attempts", limit=2, window=LONG),
            RateLimit.fixed_window("granted", limit=1, window=LONG, charge="admit"),
        )
        async with Workshop(JobConfig(rate_limit=limits, extra=(Rule(),))).open(settings) as shop:
            answers = [await shop.get() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [451, 451, 429]
        assert answers[2].json()["violated-policies"] == ["attempts"]

    async def test_one_that_breaks_is_a_500_and_nothing_runs(self, settings: Settings) -> None:
        def breaks(_: Caller) -> bool:
            raise ZeroDivisionError("its secret")

        async with Workshop(JobConfig(extra=(Rule(refuses=breaks),))).open(settings) as shop:
            answer = await shop.client.get("/work", headers=as_(READER))
        assert (answer.status_code, shop.runs) == (500, 0)
        assert "secret" not in answer.text
