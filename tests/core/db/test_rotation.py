"""Rotation: everything ends under the newest key, whenever it was stopped, and nothing that cannot be read is touched."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Column as SchemaColumn
from sqlalchemy import Integer, MetaData, Table, delete, insert, select, text, update

from app.core.db import ColumnRotation, Database, EncryptedText, Turn
from app.core.errors import ConfigurationError
from app.core.security import configure_encryption
from tests.core.db.patients import SCHEMA, Patient, Stay, admit, id_of, stored, wards
from tests.lock_waits import until_a_session_waits

OLD, NEW = "an old key of rotation tests, 32 bytes or more", "a new key of rotation tests, 32 bytes or more"
SSN: Any = Patient.__table__.c.ssn


@pytest.fixture(autouse=True)
async def tables(database: Database) -> AsyncIterator[None]:
    configure_encryption([OLD])
    async with wards(database):
        yield
    configure_encryption(None)


@pytest.fixture
async def rotation(database: Database) -> ColumnRotation:
    """Ten patients under the old key, and a new key in front of it."""
    await admit(database, 10)
    configure_encryption([NEW, OLD])
    return ColumnRotation(database, SSN, batch=3)


async def numbers(database: Database) -> list[str | None]:
    async with database.session() as session:
        return list(await session.scalars(select(Patient.ssn).order_by(Patient.id)))


async def under(database: Database, key: str) -> int:
    return sum((value or "").startswith(f"{id_of(key)}.") for value in await stored(database))


async def test_everything_is_rotated_and_readable_without_the_old_key(
    rotation: ColumnRotation, database: Database
) -> None:
    before = await numbers(database)
    assert await rotation.left() == 10
    assert [turn async for turn in rotation.run()] == [Turn(3), Turn(3), Turn(3), Turn(1)]
    configure_encryption([NEW])
    assert await numbers(database) == before == [f"number {n}" for n in range(1, 11)]
    assert await rotation.left() == 0


async def test_stopped_and_run_again_it_does_what_is_left(
    rotation: ColumnRotation, database: Database
) -> None:
    async for _ in rotation.run():
        break
    assert (await under(database, NEW), await under(database, OLD)) == (3, 7)
    assert sum([turn.rotated async for turn in rotation.run()]) == 7
    assert [turn async for turn in rotation.run()] == []


async def test_cancelled_in_the_middle_of_a_batch_it_has_done_whole_batches(
    rotation: ColumnRotation, database: Database
) -> None:
    async def run() -> None:
        async for _ in rotation.run():
            pass

    async with database.engine.connect() as other:
        await other.execute(text(f"SELECT 1 FROM {SCHEMA}.patients WHERE id = 5 FOR UPDATE"))
        task = asyncio.create_task(run())
        async with asyncio.timeout(20):
            while await under(database, NEW) < 3:  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
    assert await under(database, NEW) == 3
    await run()
    assert await rotation.left() == 0


async def test_a_row_that_somebody_changes_meanwhile_keeps_the_change(
    rotation: ColumnRotation, database: Database
) -> None:
    async with database.session() as writer:
        configure_encryption([OLD])  # a process that does not know the new key yet
        await writer.execute(update(Patient).where(Patient.id == 2).values(ssn="changed"))
        configure_encryption([NEW, OLD])
        task = asyncio.create_task(_collect(rotation))
        await until_a_session_waits(database)
        await writer.commit()
    assert sum(turn.rotated for turn in await task) == 10
    configure_encryption([NEW])
    assert (await numbers(database))[:3] == ["number 1", "changed", "number 3"]


async def test_two_at_once_do_no_harm(rotation: ColumnRotation, database: Database) -> None:
    other = ColumnRotation(database, SSN, batch=2)
    turns = await asyncio.gather(*[_collect(each) for each in (rotation, other)])
    assert sum(turn.rotated for found in turns for turn in found) >= 10
    assert await rotation.left() == 0
    assert await numbers(database) == [f"number {n}" for n in range(1, 11)]


async def _collect(rotation: ColumnRotation) -> list[Turn]:
    return [turn async for turn in rotation.run()]


async def test_what_cannot_be_read_stays_as_it_is_and_is_told(
    rotation: ColumnRotation, database: Database
) -> None:
    configure_encryption(["a key that nobody has any more, 32 bytes"])
    await admit(database, 1, first=0)
    lost = [value for value in await stored(database) if value and not value.startswith(id_of(OLD))]
    configure_encryption([NEW, OLD])
    turns = await _collect(rotation)
    assert (sum(turn.rotated for turn in turns), sum(turn.unreadable for turn in turns)) == (10, 1)
    assert "patients.ssn" in turns[0].reason
    assert "not among ENCRYPTION_KEYS" in turns[0].reason
    assert set(lost) < set(await stored(database))
    assert await rotation.left() == 1


async def test_empty_columns_and_other_columns_stay(rotation: ColumnRotation, database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(delete(Patient).where(Patient.id > 1))
        await connection.execute(insert(Patient).values(id=2, note="no number"))
    query = select(Patient.id, Patient.note, Patient.updated_at).order_by(Patient.id)
    async with database.session() as session:
        before = (await session.execute(query)).all()
    assert await _collect(rotation) == [Turn(1)]
    async with database.session() as session:
        assert (await session.execute(query)).all() == before
    assert await numbers(database) == ["number 1", None]


async def test_keys_of_several_columns(database: Database) -> None:
    rows = [{"ward": ward, "day": day, "cause": f"{ward} {day}"} for ward in "ab" for day in range(5)]
    async with database.engine.begin() as connection:
        await connection.execute(insert(Stay), rows)
    configure_encryption([NEW, OLD])
    column: Any = Stay.__table__.c.cause
    assert sum(turn.rotated for turn in await _collect(ColumnRotation(database, column, batch=2))) == 10
    configure_encryption([NEW])
    async with database.session() as session:
        found = await session.scalars(select(Stay.cause).order_by(Stay.ward, Stay.day))
        assert found.all() == [row["cause"] for row in rows]


@pytest.mark.parametrize("batch", [0, 5001])
def test_a_batch_has_limits(database: Database, batch: int) -> None:
    with pytest.raises(ValueError, match="1 to 5,000"):
        ColumnRotation(database, SSN, batch=batch)


def test_a_column_that_is_not_encrypted_is_refused(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="no encrypted column"):
        ColumnRotation(database, Patient.__table__.c.note)  # type: ignore[arg-type]


async def test_the_largest_batch_of_a_wide_key_fits_into_a_statement(database: Database) -> None:
    keys = [SchemaColumn(f"k{n}", Integer, primary_key=True) for n in range(7)]
    wide = Table("wide", MetaData(schema=SCHEMA), *keys, SchemaColumn("secret", EncryptedText("wide.secret")))
    row = {key.name: 0 for key in keys} | {"secret": "a text"}
    async with database.engine.begin() as connection:
        await connection.run_sync(wide.create)
        await connection.execute(insert(wide), [{**row, "k0": n} for n in range(5000)])
    configure_encryption([NEW, OLD])
    rotation = ColumnRotation(database, wide.c.secret, batch=5000)
    assert sum([turn.rotated async for turn in rotation.run()]) == 5000
    assert await rotation.left() == 0
