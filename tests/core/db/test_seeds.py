"""Seeds, on the documents' own tables."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, text, update

from app.core.db import (
    AsyncSession,
    Database,
    DevelopmentSeed,
    SeedingRefused,
    SeedSet,
    SeedTable,
    configure_seeds,
    seed_id,
)
from app.core.errors import ConfigurationError
from tests.requirements.clinic import BLOCKS, Block, Person, SeedDataManager, new_clinic


@pytest.fixture
async def db(database: Database) -> AsyncIterator[AsyncSession]:
    async with new_clinic(database) as session:
        yield session


async def blocks(db: AsyncSession) -> int:
    return int(await db.scalar(select(func.count()).select_from(Block)) or 0)


class TestSeeding:
    async def test_again_adds_what_is_missing_and_changes_nothing(self, db: AsyncSession) -> None:
        await SeedDataManager.seed_development(db)
        await db.execute(update(Block).where(Block.id == 260).values(half="changed"))
        await db.execute(delete(Block).where(Block.id == 259))
        again = await SeedDataManager.seed_development(db)
        assert again.created["blocks"] == 1
        assert again.present["blocks"] == 259
        assert await db.scalar(select(Block.half).where(Block.id == 260)) == "changed"

    async def test_the_rows_are_the_same_at_every_run(self, db: AsyncSession) -> None:
        query = select(Person.id, Person.identifier, Person.type).order_by(Person.identifier)
        await SeedDataManager.seed_development(db)
        first = (await db.execute(query)).all()
        await SeedDataManager.clear(db)
        assert (await db.execute(query)).all() == []
        await SeedDataManager.seed_development(db)
        assert (await db.execute(query)).all() == first

    async def test_a_large_seed_goes_part_by_part_and_says_how_far_it_is(self, db: AsyncSession) -> None:
        told: list[tuple[str, int, int]] = []
        result = await SeedDataManager.seed_development(
            db, scale=100, progress=lambda *state: told.append(state)
        )
        assert result.created["blocks"] == await blocks(db) == 26_000
        assert result.created["users"] == 3
        assert [state for state in told if state[0] == "blocks"] == [
            ("blocks", 10_000, 26_000),
            ("blocks", 20_000, 26_000),
            ("blocks", 26_000, 26_000),
        ]

    async def test_nothing_stays_without_a_commit(self, db: AsyncSession, database: Database) -> None:
        await SeedDataManager.seed_development(db)
        await db.rollback()
        async with database.session() as other:
            assert await other.scalar(text("SELECT to_regclass('clinic.blocks')")) is None


class TestClear:
    async def test_takes_all_of_a_larger_scale_and_nothing_else(self, db: AsyncSession) -> None:
        await SeedDataManager.seed_development(db, scale=50)
        await SeedDataManager.seed_test_fixtures(db)
        db.add(Person(id=seed_id("somebody", 1), identifier="OWN-01", type="faculty"))
        await db.flush()
        gone = await SeedDataManager.clear(db)
        assert gone.created["blocks"] == 13_000
        assert gone.created["test blocks"] == 2
        assert await blocks(db) == 0
        assert (await db.scalars(select(Person.identifier))).all() == ["OWN-01"]


class TestValidate:
    async def test_whole_or_absent_is_fine(self, db: AsyncSession) -> None:
        assert await SeedDataManager.validate(db) == (True, [])
        await SeedDataManager.seed_development(db)
        assert await SeedDataManager.validate(db) == (True, [])

    async def test_a_part_is_not(self, db: AsyncSession) -> None:
        await SeedDataManager.seed_test_fixtures(db)
        await db.execute(delete(Block).where(Block.id == -1))
        assert await SeedDataManager.validate(db) == (False, ["test: test blocks has 1 of 2 rows"])

    async def test_a_seed_in_production_is_found(self, db: AsyncSession) -> None:
        await SeedDataManager.seed_test_fixtures(db)
        configure_seeds(allowed=False)
        assert await SeedDataManager.validate(db) == (
            False,
            ["test: rows of a seed are in a production database"],
        )


@pytest.mark.parametrize("act", ["seed_development", "seed_demo", "seed_test_fixtures", "clear"])
class TestRefusals:
    async def test_production_is_refused(self, db: AsyncSession, act: str) -> None:
        configure_seeds(allowed=False)
        with pytest.raises(SeedingRefused, match="production"):
            await getattr(SeedDataManager, act)(db)
        assert await blocks(db) == 0

    async def test_a_process_that_nobody_configured_is_refused(self, db: AsyncSession, act: str) -> None:
        configure_seeds(allowed=None)
        with pytest.raises(ConfigurationError, match="configure_seeds"):
            await getattr(SeedDataManager, act)(db)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="count of x must be 1 or more"):
        SeedTable(name="x", model=Block, count=0, make=BLOCKS.make)
    with pytest.raises(ValueError, match="one name"):
        SeedSet((BLOCKS, BLOCKS))
    with pytest.raises(ValueError, match="scale"):
        DevelopmentSeed((BLOCKS,)).count(BLOCKS, 0)
    with pytest.raises(ValueError, match="scale"):
        SeedSet((BLOCKS,)).count(BLOCKS, 2)


@given(st.text(max_size=20), st.integers(0, 10**9), st.text(max_size=20), st.integers(0, 10**9))
def test_ids_are_equal_exactly_for_one_row(name: str, n: int, other: str, m: int) -> None:
    assert (seed_id(name, n) == seed_id(other, m)) == ((name, n) == (other, m))
