"""What operators change by name and switch off holds for work that is no request, too."""

import asyncio
from typing import Any

import pytest

from app.core.db import Database
from app.core.errors import ConfigurationError, DeadlineExceeded, NotAuthenticated
from app.core.http import AuditError
from app.core.policies import (
    CREDIT,
    Board,
    Credits,
    Encryption,
    EndpointDisabled,
    Idempotency,
    JobConfig,
    Overrides,
    RateLimit,
    RateLimitExceeded,
    Switch,
    Switches,
)
from app.core.valkey import ValkeyClient
from app.main import audited, create_app
from app.registry import FEATURES, Feature
from app.settings import Settings
from tests.apps import running
from tests.core.policies.office import ANN, FREE, PAID, Office, fail, nothing
from tests.credited import CREDITS, balance_of, give

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
OFF = Board(1, (Switch("work", "off", "why", "ann", "2026-01-01T00:00:00Z"),))


def overridden(**variables: str) -> Overrides:
    return Overrides.load(None, {f"POLICIES__{name.upper()}": value for name, value in variables.items()})


def office_with(store: ValkeyClient, database: Database, **parts: Any) -> Office:
    return Office(store, database, parts=parts)


class TestOverrides:
    async def test_the_numbers_in_force_are_the_operators(
        self, store: ValkeyClient, database: Database
    ) -> None:
        overrides = overridden(work__rate_limit__user__quota="1", work__credits__cost="5")
        office = office_with(store, database, overrides=overrides)
        config = JobConfig(
            rate_limit=RateLimit.fixed_window("user", limit=9, window=86_400), credits=Credits(cost=2)
        )
        await give(database, ANN.id, 20)
        assert await office.run(config) == "done"
        with pytest.raises(RateLimitExceeded):
            await office.run(config)
        assert await office.left() == (15, 0)
        applied = {it.path: it.effective for it in overrides.applied("work")}
        assert applied == {"rate_limit.user.quota": 1, "credits.cost": 5}

    async def test_a_deadline_of_theirs_ends_the_work(self, store: ValkeyClient, database: Database) -> None:
        office = office_with(store, database, overrides=overridden(work__timeout="0.001"))

        async def forever() -> None:
            await asyncio.Event().wait()

        with pytest.raises(DeadlineExceeded):
            await office.run(FREE, forever)

    async def test_other_names_are_left_alone(self, store: ValkeyClient, database: Database) -> None:
        office = office_with(store, database, overrides=overridden(work__timeout="0.001"))
        assert office.engine.post("other", FREE).config.timeout == 30.0

    async def test_one_that_does_not_fit_is_refused_by_its_name(
        self, store: ValkeyClient, database: Database
    ) -> None:
        office = office_with(store, database, overrides=overridden(work__timeout="soon"))
        with pytest.raises(ConfigurationError, match="POLICIES__WORK__TIMEOUT"):
            await office.run(FREE)

    async def test_the_name_still_has_one_config_in_code(
        self, store: ValkeyClient, database: Database
    ) -> None:
        office = office_with(store, database, overrides=overridden(work__timeout="5"))
        assert await office.run(FREE) == "done"
        assert await office.run(JobConfig(rate_limit=None)) == "done"
        with pytest.raises(ConfigurationError, match="another config"):
            await office.run(JobConfig(rate_limit=None, timeout=5))


class TestKillSwitch:
    async def test_what_is_switched_off_takes_nothing_and_says_so(
        self, store: ValkeyClient, database: Database
    ) -> None:
        switches = Switches(store)
        office = office_with(store, database, switches=switches)
        await give(database, ANN.id, 3)
        switches.take(OFF)
        with pytest.raises(EndpointDisabled) as refused:
            await office.run(PAID, fail)
        assert refused.value.status == 503
        assert (office.verdicts, office.outcomes) == (["disabled"], [])
        assert await office.left() == (3, 0)
        assert await office.run(PAID, name="other") == "done"

    async def test_it_is_asked_before_who_is_asking(self, store: ValkeyClient, database: Database) -> None:
        switches = Switches(store)
        office = office_with(store, database, switches=switches)
        with pytest.raises(NotAuthenticated):
            await office.run(FREE, principal=None)
        switches.take(OFF)
        with pytest.raises(EndpointDisabled):
            await office.run(FREE, principal=None)

    async def test_switched_on_again_it_runs(self, store: ValkeyClient, database: Database) -> None:
        switches = Switches(store)
        office = office_with(store, database, switches=switches)
        switches.take(OFF)
        switches.take(Board(2))
        assert await office.run(FREE) == "done"


NIGHTLY = Feature(name="nightly", work={"nightly": PAID})


class TestApplication:
    async def test_declared_work_has_overrides_from_the_start(
        self, make_settings: Any, database: Database
    ) -> None:
        settings = make_settings(policy_variables={"POLICIES__NIGHTLY__CREDITS__COST": "3"})
        app = create_app(settings, registry=[CREDITS, NIGHTLY])
        await give(database, ANN.id, 10)
        async with running(app):
            engine = app.state.gatehouse.engine
            assert await engine.run("nightly", PAID, nothing, principal=ANN) == "done"
        assert await balance_of(database, ANN.id) == 7 * CREDIT

    @pytest.mark.parametrize(
        ("features", "variables", "said"),
        [
            ([], {"POLICIES__NIGHTLY__TIMEOUT": "5"}, "there is no policy nightly"),
            ([NIGHTLY], {"POLICIES__NIGHTLI__TIMEOUT": "5"}, "did you mean nightly"),
            ([NIGHTLY], {"POLICIES__NIGHTLY__TIMEOUT": "soon"}, "POLICIES__NIGHTLY__TIMEOUT"),
            ([Feature(name="x", work={"Night Shift": FREE})], {}, "Night Shift"),
            (
                [Feature(name="x", work={"x": JobConfig(idempotency=Idempotency())})],
                {},
                "the work x: The policy x has idempotency",
            ),
            (
                [Feature(name="x", work={"x": JobConfig(encryption=Encryption(response=("ssn",)))})],
                {},
                "the work x: The policy x encrypts fields",
            ),
        ],
    )
    async def test_what_is_wrong_with_it_stops_the_start(
        self, settings: Settings, features: list[Feature], variables: dict[str, str], said: str
    ) -> None:
        changed = settings.model_copy(update={"policy_variables": variables})
        with pytest.raises(AuditError, match=said):
            audited(changed, registry=[CREDITS, *features])

    async def test_one_name_is_not_for_two_features(self, settings: Settings) -> None:
        other = Feature(name="other", work={"nightly": FREE})
        with pytest.raises(ConfigurationError, match="Two features have work under one name: nightly"):
            audited(settings, registry=[CREDITS, NIGHTLY, other])

    async def test_a_gate_and_work_are_told_apart_by_name(self, settings: Settings) -> None:
        with pytest.raises(AuditError, match="the name records_get belongs to a gate and to work"):
            audited(settings, registry=[*FEATURES, Feature(name="x", work={"records_get": FREE})])
