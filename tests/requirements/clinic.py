"""Document 003's own seed: residents, faculty, rotations and half-days, on tables of their own. Identifiers, never names."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.db import AsyncSession, Database, DevelopmentSeed, SeedSet, SeedTable, configure_seeds
from app.core.db import SeedDataManager as Seeding

SCHEMA = "clinic"


class Clinic(DeclarativeBase):
    """Not the application's base: its migrations must not see these tables."""

    metadata = MetaData(schema=SCHEMA)


class ClinicUser(Clinic):
    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(unique=True)


class Person(Clinic):
    __tablename__ = "persons"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    identifier: Mapped[str] = mapped_column(unique=True)
    type: Mapped[str]


class Rotation(Clinic):
    __tablename__ = "rotation_templates"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]


class Block(Clinic):
    __tablename__ = "blocks"
    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date]
    half: Mapped[str]


class Assignment(Clinic):
    __tablename__ = "assignments"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    person_id: Mapped[UUID] = mapped_column(ForeignKey("clinic.persons.id"))
    rotation_id: Mapped[UUID] = mapped_column(ForeignKey("clinic.rotation_templates.id"))
    block_id: Mapped[int] = mapped_column(ForeignKey("clinic.blocks.id"))


Known = Mapping[str, Any]


def user(n: int, _: Known) -> Known:
    return {"role": ("admin", "coordinator", "faculty", "tester")[n]}


def resident(n: int, _: Known) -> Known:
    return {"identifier": f"PGY{n // 3 + 1}-{n % 3 + 1:02d}", "type": "resident"}


def faculty(n: int, _: Known) -> Known:
    return {"identifier": f"FAC-{n + 1:02d}", "type": "faculty"}


def tested(n: int, _: Known) -> Known:
    return {"identifier": f"TEST-{n + 1:02d}", "type": ("resident", "faculty")[n]}


def rotation(n: int, _: Known) -> Known:
    return {"name": ("clinic", "inpatient", "procedures", "conference")[n]}


def block(n: int, _: Known) -> Known:
    """Two half-days a working day, half a year of them."""
    day, half = divmod(n, 2)
    return {"day": date(2024, 1, 1) + timedelta(days=day // 5 * 7 + day % 5), "half": ("AM", "PM")[half]}


USERS = SeedTable(name="users", model=ClinicUser, count=3, make=user)
RESIDENTS = SeedTable(name="residents", model=Person, count=9, make=resident)
FACULTY = SeedTable(name="faculty", model=Person, count=3, make=faculty)
ROTATIONS = SeedTable(name="rotation_templates", model=Rotation, count=4, make=rotation)
BLOCKS = SeedTable(
    name="blocks", model=Block, count=260, make=block, key=lambda n: {"id": n + 1}, scales=True
)


def assignment(n: int, _: Known) -> Known:
    return {
        "person_id": RESIDENTS.key_of(n % 9)["id"],
        "rotation_id": ROTATIONS.key_of(n % 4)["id"],
        "block_id": n + 1,
    }


ASSIGNMENTS = SeedTable(name="assignments", model=Assignment, count=90, make=assignment)


class SeedDataManager(Seeding):
    development = DevelopmentSeed((USERS, RESIDENTS, FACULTY, ROTATIONS, BLOCKS, ASSIGNMENTS))
    test = SeedSet(
        (
            SeedTable(name="test users", model=ClinicUser, count=1, make=lambda _, known: user(3, known)),
            SeedTable(name="test persons", model=Person, count=2, make=tested),
            SeedTable(name="test rotation_templates", model=Rotation, count=1, make=rotation),
            SeedTable(name="test blocks", model=Block, count=2, make=block, key=lambda n: {"id": -1 - n}),
        )
    )


@asynccontextmanager
async def new_clinic(database: Database) -> AsyncIterator[AsyncSession]:
    """A session over empty tables, in a process that may seed; nothing of it is committed."""
    configure_seeds(allowed=True)
    async with database.session() as session:
        connection = await session.connection()
        await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(Clinic.metadata.create_all)
        yield session
        await session.rollback()
    configure_seeds(allowed=None)
