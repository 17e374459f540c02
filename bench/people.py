"""The table that the data layer is measured on: the documents' persons, as a project would write them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Index, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.db import Base, Database, Timestamps, UUIDPrimaryKey


class Tables(DeclarativeBase):
    """Not the application's base: its migrations do not know these tables."""

    metadata = MetaData()
    type_annotation_map = Base.type_annotation_map


class Person(UUIDPrimaryKey, Timestamps, Tables):
    __tablename__ = "persons"
    __table_args__ = (Index("ix_persons_created_at_id", "created_at", "id"),)

    name: Mapped[str]
    email: Mapped[str | None]
    role: Mapped[str] = mapped_column(default="RESIDENT")
    is_active: Mapped[bool] = mapped_column(default=True)


class PersonCreate(BaseModel):
    name: str
    email: str | None = None


class PersonRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    email: str | None
    role: str
    is_active: bool
    created_at: datetime


def row(number: int) -> dict[str, Any]:
    """What a caller gives for a new person."""
    return {"name": f"Person {number}", "email": f"person{number}@example.com"}


async def make_table(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(Tables.metadata.create_all)


async def empty_table(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("TRUNCATE persons"))


async def fill_table(database: Database, count: int) -> None:
    """So many persons, a second apart, made by the server; and what autovacuum would do with them some time later."""
    await empty_table(database)
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO persons (id, name, email, role, is_active, created_at) "
                "SELECT gen_random_uuid(), 'Person ' || n, 'person' || n || '@example.com', 'RESIDENT', true, "
                "timestamptz '2026-01-01 00:00+00' + n * interval '1 second' FROM generate_series(1, :count) n"
            ),
            {"count": count},
        )
    async with database.connect() as connection:
        await connection.execute(text("VACUUM ANALYZE persons"))
