"""Document 003: data to develop, to test and to show with."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import delete, func, select
from typer.testing import CliRunner

from app.cli import cli
from app.core.db import AsyncSession, Database, SeedingRefused, configure_seeds
from app.registry import development_users
from tests.requirements.clinic import (
    Assignment,
    Block,
    Clinic,
    ClinicUser,
    Person,
    Rotation,
    SeedDataManager,
    new_clinic,
)


@pytest.fixture
async def db(database: Database) -> AsyncIterator[AsyncSession]:
    async with new_clinic(database) as session:
        yield session


async def count(db: AsyncSession, model: type[Clinic]) -> int:
    return int(await db.scalar(select(func.count()).select_from(model)) or 0)


async def test_003_10_development_seed(db: AsyncSession) -> None:
    result = await SeedDataManager.seed_development(db)
    assert result.created == {
        "users": 3,
        "residents": 9,
        "faculty": 3,
        "rotation_templates": 4,
        "blocks": 260,
        "assignments": 90,
    }
    counts = [await count(db, model) for model in (ClinicUser, Person, Rotation, Block, Assignment)]
    assert counts == [3, 12, 4, 260, 90]
    # 260 half-days are 26 weeks of 5 working days: half a year.
    first, last = (await db.execute(select(func.min(Block.day), func.max(Block.day)))).one()
    assert (last - first).days == 25 * 7 + 4


async def test_003_11_test_fixtures(db: AsyncSession) -> None:
    await SeedDataManager.seed_test_fixtures(db)
    assert [await count(db, model) for model in (ClinicUser, Person, Rotation, Block)] == [1, 2, 1, 2]
    kinds = (await db.scalars(select(Person.type).order_by(Person.type))).all()
    assert kinds == ["faculty", "resident"]


async def test_003_12_demo_is_the_same_as_development(db: AsyncSession) -> None:
    demo = await SeedDataManager.seed_demo(db)
    again = await SeedDataManager.seed_development(db)
    assert again.present == demo.created
    assert set(again.created.values()) == {0}


def test_003_13_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_url: str, clean_database: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    outputs, logging = {}, structlog.get_config()
    for act in ("dev", "test", "demo", "validate", "clear"):
        done = CliRunner().invoke(cli, ["seed", act, "--json"])
        assert done.exit_code == 0, done.output
        outputs[act] = json.loads(done.stdout)
    configure_seeds(allowed=None)
    structlog.configure(**logging)
    assert set(outputs["dev"]) == set(outputs["demo"]) == set(development_users())
    assert outputs["validate"] == {"ok": True, "issues": []}
    assert outputs["clear"] == {"test users": 1, "test records": 2, "records": 60}


async def test_003_line_356_identifiers_are_no_names(db: AsyncSession) -> None:
    await SeedDataManager.seed_development(db)
    identifiers = (await db.scalars(select(Person.identifier).order_by(Person.identifier))).all()
    assert identifiers[0] == "FAC-01"
    assert identifiers[3] == "PGY1-01"
    assert [name for name in identifiers if not re.fullmatch(r"(PGY[1-3]|FAC)-0[1-3]", name)] == []


async def test_003_line_332_an_incomplete_seed_is_found(db: AsyncSession) -> None:
    assert await SeedDataManager.validate(db) == (True, [])
    await SeedDataManager.seed_development(db)
    assert await SeedDataManager.validate(db) == (True, [])
    await db.execute(delete(Assignment))
    await db.execute(delete(Block).where(Block.id == 7))
    is_valid, issues = await SeedDataManager.validate(db)
    assert not is_valid
    assert [issue.partition(" has ")[2] for issue in issues] == ["259 of 260 rows", "0 of 90 rows"]


async def test_003_line_359_seeds_stay_out_of_production(db: AsyncSession) -> None:
    await SeedDataManager.seed_test_fixtures(db)
    configure_seeds(allowed=False)
    for act in (SeedDataManager.seed_development, SeedDataManager.seed_demo, SeedDataManager.clear):
        with pytest.raises(SeedingRefused):
            await act(db)
    is_valid, issues = await SeedDataManager.validate(db)
    assert not is_valid
    assert "rows of a seed are in a production database" in issues[0]
    assert await count(db, Person) == 2
