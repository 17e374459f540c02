"""Tables with encrypted columns, beside the service's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import DateTime, MetaData, Text, func, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.db import Database, EncryptedText
from app.core.security import DataEncryptor

SCHEMA = "wards"


class Wards(DeclarativeBase):
    metadata = MetaData(schema=SCHEMA)


class Patient(Wards):
    __tablename__ = "patients"

    id: Mapped[int] = mapped_column(primary_key=True)
    ssn: Mapped[str | None] = mapped_column(EncryptedText("patients.ssn"))
    note: Mapped[str] = mapped_column(Text(), server_default="")
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class Stay(Wards):
    __tablename__ = "stays"

    ward: Mapped[str] = mapped_column(Text(), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True)
    cause: Mapped[str] = mapped_column(EncryptedText("stays.cause"))


@asynccontextmanager
async def wards(database: Database) -> AsyncIterator[None]:
    """The tables exist inside the block."""
    async with database.engine.begin() as connection:
        await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(Wards.metadata.create_all)
    try:
        yield
    finally:
        async with database.engine.begin() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            await connection.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))


async def admit(database: Database, count: int, *, first: int = 1) -> None:
    """So many patients, with a number each."""
    rows = [{"id": n, "ssn": f"number {n}"} for n in range(first, first + count)]
    async with database.engine.begin() as connection:
        await connection.execute(insert(Patient), rows)


async def stored(database: Database, column: str = "ssn", table: str = "patients") -> list[str | None]:
    """What stands in the table, in order."""
    async with database.engine.connect() as connection:
        found = await connection.scalars(text(f"SELECT {column} FROM {SCHEMA}.{table} ORDER BY 1"))
        return list(found)


def id_of(key: str) -> str:
    """How a key is called in the database."""
    return DataEncryptor([key]).key_id
