"""Models for tests of repositories: the documents' Person and Assignment, and columns of every kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    MetaData,
    Numeric,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy import (
    Enum as EnumType,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from app.core.db import AsyncBaseRepository, Base, Database

SCHEMA = "staff"


class Staff(DeclarativeBase):
    """Not the application's base: its migrations must not see these tables."""

    metadata = MetaData(schema=SCHEMA, naming_convention=Base.metadata.naming_convention)
    type_annotation_map = Base.type_annotation_map


class Level(Enum):
    JUNIOR = "junior"
    SENIOR = "senior"


class Person(Staff):
    __tablename__ = "persons"
    __table_args__ = (UniqueConstraint("ward", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: f"person-{uuid4()}")
    ward: Mapped[str] = mapped_column(default="A")
    name: Mapped[str]
    email: Mapped[str | None]
    role: Mapped[str] = mapped_column(default="RESIDENT")
    is_active: Mapped[bool] = mapped_column(default=True)
    age: Mapped[int | None] = mapped_column(SmallInteger)
    badge: Mapped[int] = mapped_column(BigInteger, default=0)
    pay: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    rating: Mapped[float] = mapped_column(default=0.0)
    level: Mapped[Level] = mapped_column(EnumType(Level, name="level"), default=Level.JUNIOR)
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.clock_timestamp())
    version: Mapped[int] = mapped_column()
    assignments: Mapped[list["Assignment"]] = relationship(
        lazy="raise", back_populates="person", cascade="all, delete-orphan", passive_deletes=True
    )
    certifications: Mapped[list["Certification"]] = relationship(lazy="raise", passive_deletes=True)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy declares it for instances


class Template(Staff):
    __tablename__ = "templates"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    # Not lazy="raise": what a repository does about it must not depend on the model.
    assignments: Mapped[list["Assignment"]] = relationship(back_populates="template")


class Assignment(Staff):
    __tablename__ = "assignments"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("staff.persons.id", ondelete="CASCADE"))
    template_id: Mapped[int] = mapped_column(ForeignKey("staff.templates.id"))
    person: Mapped[Person] = relationship(lazy="raise", back_populates="assignments")
    template: Mapped[Template] = relationship(back_populates="assignments")


class Certification(Staff):
    __tablename__ = "certifications"
    person_id: Mapped[str] = mapped_column(
        ForeignKey("staff.persons.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="Certificate")


class Badge(Staff):
    __tablename__ = "badges"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    text: Mapped[str | None]
    rank: Mapped[int | None]
    given_at: Mapped[datetime | None]


@asynccontextmanager
async def staff_tables(database: Database) -> AsyncIterator[None]:
    """The tables, for as long as the block lasts."""
    async with database.engine.begin() as connection:
        await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(Staff.metadata.create_all)
    try:
        yield
    finally:
        async with database.engine.begin() as connection:
            await _drop(connection)


async def _drop(connection: AsyncConnection) -> None:
    await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    await connection.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))


async def stored_persons(database: Database) -> list[str]:
    """The names that another session sees, sorted."""
    async with database.session() as other:
        return [person.name for person in await AsyncBaseRepository(Person, other).get_all(order_by="name")]
