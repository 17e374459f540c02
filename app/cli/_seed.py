"""Known data for development and tests, from every feature of the registry."""

import secrets
from collections.abc import Callable, Mapping

from app.cli._sessions import one_session
from app.core.db import configure_seeds
from app.core.errors import ConfigurationError
from app.registry import SeedRows, development_users, seed_all
from app.settings import Settings

Report = Callable[[str, int, int], object]


async def seed(
    settings: Settings,
    passwords: Mapping[str, str] | None = None,
    *,
    scale: int = 1,
    report: Report | None = None,
) -> dict[str, str]:
    """Make the development users, with random passwords unless some are given, and ``scale`` times the development rows; returns the
    passwords by address.

    Raises ``ConfigurationError`` in production.
    """
    if settings.is_production:
        raise ConfigurationError("APP_ENV=production: development users do not belong there")
    configure_seeds(allowed=True)
    credentials = dict(passwords or {email: secrets.token_urlsafe(12) for email in development_users()})
    async with one_session(settings) as session:
        await seed_all(session, credentials)
        await session.flush()
        await SeedRows.seed_development(session, scale=scale, progress=report)
    return credentials


async def rows(settings: Settings, act: str, report: Report | None = None) -> dict[str, int]:
    """``test`` adds the test fixtures, ``clear`` deletes the rows of all seeds; how many, by table. Raises SeedingRefused in production."""
    configure_seeds(allowed=not settings.is_production)
    run = {"test": SeedRows.seed_test_fixtures, "clear": SeedRows.clear}[act]
    async with one_session(settings) as session:
        return (await run(session, progress=report)).created


async def validate(settings: Settings) -> list[str]:
    """What is wrong with the seeds of this database; empty when nothing is."""
    configure_seeds(allowed=not settings.is_production)
    async with one_session(settings) as session:
        return (await SeedRows.validate(session))[1]
