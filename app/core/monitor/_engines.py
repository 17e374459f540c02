"""Engines as they are handed to the monitor's tools."""

from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.db import Database
from app.core.errors import ConfigurationError


def sync_engine(engine: AsyncEngine | Engine | Database) -> Engine:
    """The engine whose pool and events these are. Raises ConfigurationError for anything else."""
    if isinstance(engine, Database):
        engine = engine.engine
    if isinstance(engine, AsyncEngine):
        return engine.sync_engine
    if not isinstance(engine, Engine):
        raise ConfigurationError(f"an engine is needed, such as Database.engine, not {engine!r:.80}")
    return engine
