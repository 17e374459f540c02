"""Work that is no request, under a policy: who may, what it takes, what it costs, what is left when it fails; on real servers."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.core.context import RequestContext, current_context, reset_context, set_context
from app.core.db import Database
from app.core.errors import (
    ConfigurationError,
    DeadlineExceeded,
    NotAuthenticated,
    PolicyRejected,
    Unavailable,
)
from app.core.policies import (
    Breaker,
    Caller,
    CircuitOpen,
    Concurrency,
    CostRequest,
    Credits,
    CreditsUnavailable,
    Engine,
    Idempotency,
    InsufficientCredits,
    JobConfig,
    Quota,
    QuotaExceeded,
    RateLimit,
    RateLimitExceeded,
    ResponseCache,
    Retry,
    RoleMissing,
    Security,
    TooManyInFlight,
    WebhookSignature,
    configure_engine,
    default_engine,
)
from app.core.resilience import ManualClock
from app.core.valkey import ValkeyClient
from tests.core.policies.office import (
    ANN,
    BOB,
    FREE,
    PAID,
    Office,
    fail,
    nothing,
)
from tests.credited import give

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


class TestWhoMay:
    async def test_work_without_anybody_is_refused(self, office: Office) -> None:
        with pytest.raises(NotAuthenticated):
            await office.run(FREE, principal=None)

    async def test_the_contexts_principal_counts_where_none_is_named(self, office: Office) -> None:
        token = set_context(RequestContext(principal=ANN))
        assert await office.run(FREE, principal=None) == "done"
        reset_context(token)

    async def test_scopes_and_roles_are_those_of_a_request(self, office: Office) -> None:
        config = JobConfig(rate_limit=None, security=Security(scopes=("run:cpu_job",), roles=("cpu_user",)))
        assert await office.run(config) == "done"
        with pytest.raises(Exception, match="scope"):
            await office.run(config, principal=BOB)
        lone = JobConfig(rate_limit=None, security=Security(roles=("admin",)))
        with pytest.raises(RoleMissing):
            await office.run(lone, name="lone")
        assert office.verdicts == ["forbidden", "forbidden"]
        assert office.outcomes == ["ok"]

    async def test_rules_of_ones_own_are_asked(self, office: Office) -> None:
        class Closed:
            name = "closed"

            def refusal(self, caller: Caller, request: CostRequest) -> PolicyRejected | None:
                return PolicyRejected("closed") if caller.principal == BOB else None

        config = JobConfig(rate_limit=None, extra=(Closed(),))
        assert await office.run(config) == "done"
        with pytest.raises(PolicyRejected, match="closed"):
            await office.run(config, principal=BOB)

    async def test_a_limit_per_network_wants_the_network(self, office: Office) -> None:
        config = JobConfig(rate_limit=RateLimit.fixed_window(limit=1, window=86_400, scope="ip"))
        with pytest.raises(ConfigurationError, match="network"):
            await office.run(config)
        assert await office.run(config, network="192.0.2.1") == "done"
        with pytest.raises(RateLimitExceeded):
            await office.run(config, network="192.0.2.1", principal=BOB)


class TestWhatItTakes:
    async def test_limits_count_per_principal(self, office: Office) -> None:
        config = JobConfig(rate_limit=RateLimit.fixed_window(limit=1, window=86_400))
        for principal in (ANN, BOB):
            assert await office.run(config, principal=principal) == "done"
            with pytest.raises(RateLimitExceeded):
                await office.run(config, principal=principal)
        assert office.verdicts == ["admitted", "limited"] * 2

    async def test_a_quota_is_given_back_when_the_work_fails(self, office: Office) -> None:
        config = JobConfig(rate_limit=None, quota=Quota(per="day", limit=1))
        with pytest.raises(ZeroDivisionError):
            await office.run(config, fail)
        assert await office.run(config) == "done"
        with pytest.raises(QuotaExceeded):
            await office.run(config)
        assert office.outcomes == ["error", "ok"]

    async def test_a_slot_is_free_again_when_the_work_ends_however_it_ends(self, office: Office) -> None:
        config = JobConfig(rate_limit=None, concurrency=Concurrency(max=1))
        running, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            running.set()
            await go_on.wait()

        task = asyncio.create_task(office.run(config, wait))
        await running.wait()
        with pytest.raises(TooManyInFlight):
            await office.run(config)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ZeroDivisionError):
            await office.run(config, fail)
        assert await office.run(config) == "done"
        assert office.outcomes == ["cancelled", "error", "ok"]

    async def test_long_work_keeps_its_slot(self, store: ValkeyClient, database: Database) -> None:
        looks: list[float] = []
        clock, begun, renewed = ManualClock(), asyncio.Event(), asyncio.Event()

        async def sleep(seconds: float) -> None:
            looks.append(seconds)
            await begun.wait()
            if len(looks) > 1:
                renewed.set()
                await asyncio.Event().wait()
            clock.advance(10)

        office = Office(store, database, clock=clock, sleep=sleep)
        config = JobConfig(rate_limit=None, concurrency=Concurrency(max=1, lease=30))

        async def work() -> int:
            key = "{u:ann}:v1:s:work.concurrency"
            [[_, ends]] = [await store.execute("ZRANGE", key, 0, -1, "WITHSCORES")]
            await store.execute("ZINCRBY", key, -10_000, _)
            begun.set()
            await renewed.wait()
            [[_, later]] = [await store.execute("ZRANGE", key, 0, -1, "WITHSCORES")]
            return int(float(later)) - int(float(ends))

        assert await office.run(config, work) > -5000


class TestCredits:
    async def test_they_are_debited_when_the_work_is_done(self, office: Office) -> None:
        await give(office.database, "ann", 3)
        assert await office.run(PAID) == "done"
        assert await office.left() == (1, 0)
        with pytest.raises(InsufficientCredits) as refused:
            await office.run(PAID)
        assert refused.value.extensions["available"] == 1

    @pytest.mark.parametrize("settle", ["strict", "batched"])
    async def test_work_that_fails_is_free(self, office: Office, settle: Any) -> None:
        await give(office.database, "ann", 3)
        config = JobConfig(rate_limit=None, credits=Credits(cost=2, settle=settle))
        with pytest.raises(ZeroDivisionError):
            await office.run(config, fail)
        assert await office.left() == (3, 0)

    async def test_a_batch_may_write_them(self, office: Office) -> None:
        await give(office.database, "ann", 3)
        assert (
            await office.run(JobConfig(rate_limit=None, credits=Credits(cost=2, settle="batched"))) == "done"
        )
        await office.ledger.aclose()
        assert await office.left() == (1, 0)

    async def test_work_that_is_run_again_under_its_key_is_charged_once(self, office: Office) -> None:
        await give(office.database, "ann", 10)
        for key in ("job 7", "job 7", "job 8", None, None):
            await office.run(PAID, settlement_key=key)
        assert await office.left() == (2, 0)

    async def test_a_price_may_depend_on_what_is_asked(self, office: Office) -> None:
        await give(office.database, "ann", 10)
        config = JobConfig(rate_limit=None, credits=Credits(cost=lambda request: len(request.query["q"])))
        await office.run(config, request=CostRequest("", {}, {"q": ["a", "b", "c"]}, None))
        assert await office.left() == (7, 0)

    async def test_done_work_is_answered_though_the_ledger_is_away(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: Any) -> None:
            raise Unavailable

        await give(office.database, "ann", 3)
        with monkeypatch.context() as patch:
            patch.setattr(office.ledger, "debit", away)
            assert await office.run(PAID) == "done"
        await office.ledger.aclose()
        assert await office.left() == (1, 0)

    async def test_an_account_that_cannot_be_loaded_stops_nobody_in_shadow_mode(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(_: str) -> None:
            raise Unavailable

        monkeypatch.setattr(office.ledger, "balance", away)
        config = JobConfig(rate_limit=None, credits=Credits(cost=2))
        with pytest.raises(Unavailable):
            await office.run(config)
        assert await office.run(replace(config, shadow=True), name="watched") == "done"

    async def test_an_outage_is_503_before_the_work(self, database: Database) -> None:
        store = ValkeyClient("valkey://127.0.0.1:1/0")
        office = Office(store, database)
        with pytest.raises(CreditsUnavailable):
            await office.run(PAID, fail)
        assert office.verdicts == ["unavailable"]
        await store.close()


class TestAroundTheWork:
    async def test_the_context_says_whose_work_it_is_and_until_when(self, office: Office) -> None:
        async def look() -> RequestContext:
            return current_context()

        before = current_context()
        seen = await office.run(JobConfig(rate_limit=None, timeout=5), look)
        assert (seen.policy, seen.principal, seen.user_id) == ("work", ANN, "ann")
        assert seen.deadline is not None
        assert current_context() == before

    async def test_a_deadline_ends_it(self, office: Office) -> None:
        with pytest.raises(DeadlineExceeded):
            await office.run(JobConfig(rate_limit=None, timeout=0.02), asyncio.Event().wait)
        assert office.outcomes == ["timeout"]

    async def test_it_is_tried_again_inside_one_admission(self, office: Office) -> None:
        tries: list[int] = []

        async def second_time() -> str:
            tries.append(1)
            if len(tries) == 1:
                raise Unavailable
            return "done"

        await give(office.database, "ann", 3)
        config = JobConfig(rate_limit=None, credits=Credits(cost=2), retry=Retry(retry_safe=True, base=0.0))
        assert await office.run(config, second_time) == "done"
        assert await office.left() == (1, 0)

    async def test_an_open_circuit_refuses_before_anything_is_taken(self, office: Office) -> None:
        await give(office.database, "ann", 3)
        breaker = Breaker(dependency="weather", min_calls=1, failure_rate=0.5)
        config = JobConfig(rate_limit=None, credits=Credits(cost=2), circuit_breaker=breaker)
        with pytest.raises(ZeroDivisionError):
            await office.run(config, fail)
        with pytest.raises(CircuitOpen):
            await office.run(config, fail)
        assert await office.left() == (3, 0)
        assert office.verdicts == ["admitted", "circuit_open"]


class TestNames:
    async def test_one_name_has_one_config(self, office: Office) -> None:
        await office.run(FREE)
        await office.run(JobConfig(rate_limit=None))
        with pytest.raises(ConfigurationError, match="another config"):
            await office.run(PAID)
        with pytest.raises(ConfigurationError, match="must match"):
            await office.run(FREE, name="No")

    @pytest.mark.parametrize(
        "config",
        [
            JobConfig(idempotency=Idempotency()),
            JobConfig(cache=ResponseCache(ttl=1)),
            JobConfig(webhook=WebhookSignature(source="x")),
        ],
    )
    async def test_what_keeps_answers_is_refused(self, office: Office, config: JobConfig) -> None:
        with pytest.raises(ConfigurationError, match="HTTP answers"):
            await office.run(config)

    async def test_credits_need_a_ledger(self, office: Office) -> None:
        engine = Engine(office.engine.parts._replace(ledger=None))
        with pytest.raises(ConfigurationError, match="CreditLedger"):
            await engine.run("work", PAID, nothing, principal=ANN)

    def test_a_process_has_one_by_default(self, office: Office) -> None:
        with pytest.raises(ConfigurationError, match="configure_engine"):
            default_engine()
        configure_engine(office.engine)
        assert default_engine() is office.engine
        configure_engine(None)
