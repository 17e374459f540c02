"""One line a feature. Doors loop over it; nothing else knows which features there are."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.builtin.accounts.jobs import periodic as accounts_periodic
from app.builtin.accounts.models import TABLES as ACCOUNT_TABLES
from app.builtin.accounts.router import router as accounts
from app.builtin.accounts.seeds import TEST_USER
from app.builtin.accounts.service import DEVELOPMENT_USERS, provide_accounts, seed_accounts
from app.builtin.credits.jobs import periodic as credits_periodic
from app.builtin.credits.models import CreditAccount, CreditEntry, CreditGrant
from app.builtin.credits.router import router as credits_router
from app.builtin.credits.service import provide_credits, seed_credits
from app.builtin.db_monitor.jobs import periodic as db_monitor_periodic
from app.builtin.db_monitor.models import TABLES as MONITOR_TABLES
from app.builtin.db_monitor.router import router as db_monitor
from app.builtin.db_monitor.service import provide_monitor
from app.builtin.health.router import OPEN_ROUTES
from app.builtin.health.router import router as health
from app.builtin.health.service import provide_health
from app.builtin.jobs.jobs import JOBS
from app.builtin.jobs.jobs import periodic as jobs_periodic
from app.builtin.jobs.models import TABLES as JOB_TABLES
from app.builtin.jobs.router import router as jobs
from app.builtin.jobs.service import provide_jobs
from app.builtin.pages.router import router as pages
from app.builtin.pages.service import provide_pages
from app.builtin.policies.jobs import periodic as policies_periodic
from app.builtin.policies.models import PolicySwitch
from app.builtin.policies.router import router as policies
from app.builtin.policies.service import provide_policies
from app.core.db import AsyncSession, Base, DevelopmentSeed, SeedDataManager, SeedSet, SeedTable
from app.core.http import APIRouter, Platform
from app.core.jobs import Job, Periodic
from app.core.policies import JobConfig
from app.features.external_data.router import router as external_data
from app.features.external_data.service import provide_external_data
from app.features.heavy_calc.jobs import heavy_calc
from app.features.heavy_calc.router import router as heavy_calc_router
from app.features.records.models import Record
from app.features.records.router import router as records
from app.features.records.seeds import DEVELOPMENT as RECORDS_TO_DEVELOP
from app.features.records.seeds import TEST as RECORDS_TO_TEST

Ping = Callable[[], Awaitable[None]]
Seed = Callable[[AsyncSession, Mapping[str, str]], Awaitable[object]]
Provide = Callable[[Platform, Any], Mapping[type[Any], Any]]
Periodics = Callable[[Platform], tuple[Periodic, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """What a feature brings along; every part may be absent.

    provides: from the platform and the service's settings, makes what other rooms ask for by type; it may add pings and stop hooks to
        the platform. pings: checks that ``/ready`` runs, by name.
    work: policies of what it does outside requests, by the names that it gives to ``engine.run``; the boot audit checks them, overrides and
        the kill switch then apply to them too.
    jobs: what workers can run of it (its ``jobs.py``), each under its own policy, ``job_<name>``.
    open_routes: path templates that need no gate, each with its reason. models: tables, which migrations compare.
    periodic: from the platform, when all features have provided, makes what is done again and again (a feature's ``jobs.py``).
    seeds: put development data into a session, given the development users' passwords by address; running them again changes nothing.
    development_users: the addresses of the users that its seeds make.
    development_rows, fixture_rows: rows of ``SeedRows``, which come after the seeds.
    """

    name: str
    router: APIRouter | None = None
    models: tuple[type[Base], ...] = ()
    provides: Provide | None = None
    pings: Mapping[str, Ping] = field(default_factory=dict)
    open_routes: Mapping[str, str] = field(default_factory=dict)
    work: Mapping[str, JobConfig] = field(default_factory=dict)
    jobs: tuple[Job[Any], ...] = ()
    periodic: Periodics | None = None
    seeds: tuple[Seed, ...] = ()
    development_users: tuple[str, ...] = ()
    development_rows: tuple[SeedTable, ...] = ()
    fixture_rows: tuple[SeedTable, ...] = ()


async def seed_all(session: AsyncSession, passwords: Mapping[str, str]) -> None:
    """Run every feature's seeds, in order; the caller commits."""
    for feature in FEATURES:
        for seed in feature.seeds:
            await seed(session, passwords)


def development_users() -> tuple[str, ...]:
    """The addresses of all development users; their passwords are made by whoever seeds."""
    return tuple(email for feature in FEATURES for email in feature.development_users)


FEATURES: tuple[Feature, ...] = (
    Feature(name="health", router=health, provides=provide_health, open_routes=OPEN_ROUTES),
    Feature(
        name="accounts",
        router=accounts,
        provides=provide_accounts,
        periodic=accounts_periodic,
        models=ACCOUNT_TABLES,
        seeds=(seed_accounts,),
        development_users=tuple(DEVELOPMENT_USERS),
        fixture_rows=(TEST_USER,),
    ),
    Feature(name="pages", router=pages, provides=provide_pages),
    Feature(
        name="policies",
        router=policies,
        provides=provide_policies,
        models=(PolicySwitch,),
        periodic=policies_periodic,
    ),
    Feature(
        name="credits",
        router=credits_router,
        provides=provide_credits,
        periodic=credits_periodic,
        models=(CreditAccount, CreditEntry, CreditGrant),
        seeds=(seed_credits,),
    ),
    Feature(
        name="jobs",
        router=jobs,
        provides=provide_jobs,
        models=JOB_TABLES,
        jobs=JOBS,
        periodic=jobs_periodic,
    ),
    Feature(
        name="db_monitor",
        router=db_monitor,
        provides=provide_monitor,
        periodic=db_monitor_periodic,
        models=MONITOR_TABLES,
    ),
    Feature(
        name="records",
        router=records,
        models=(Record,),
        development_rows=RECORDS_TO_DEVELOP,
        fixture_rows=RECORDS_TO_TEST,
    ),
    Feature(name="external_data", router=external_data, provides=provide_external_data),
    Feature(name="heavy_calc", router=heavy_calc_router, jobs=(heavy_calc,)),
)


class SeedRows(SeedDataManager):
    """The rows that all features bring along, in their order; development ones need the development users."""

    development = DevelopmentSeed(tuple(table for feature in FEATURES for table in feature.development_rows))
    test = SeedSet(tuple(table for feature in FEATURES for table in feature.fixture_rows))
