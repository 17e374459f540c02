"""Known data for development, from every feature of the registry."""

import secrets
from collections.abc import Mapping

from app.cli._sessions import one_session
from app.core.errors import ConfigurationError
from app.registry import development_users, seed_all
from app.settings import Settings


async def seed(settings: Settings, passwords: Mapping[str, str] | None = None) -> dict[str, str]:
    """Make the development users, with random passwords unless some are given; returns the passwords by address.

    Raises ``ConfigurationError`` in production.
    """
    if settings.is_production:
        raise ConfigurationError("APP_ENV=production: development users do not belong there")
    credentials = dict(passwords or {email: secrets.token_urlsafe(12) for email in development_users()})
    async with one_session(settings) as session:
        await seed_all(session, credentials)
    return credentials
