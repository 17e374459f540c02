"""Known rows in a database: put there, looked for, taken away. The same rows on every machine and at every run."""

from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._errors import translate_errors
from app.core.db._seed_copy import add_missing, count_present, remove
from app.core.db._seed_set import DevelopmentSeed, SeedSet, SeedTable
from app.core.errors import ConfigurationError

Report = Callable[[str, int, int], object]
"""Told after each part: the table, rows that are done, and rows in all."""
_PART = 10_000


class SeedingRefused(ConfigurationError):
    """This process may not seed: it runs in production."""


class SeedResult(NamedTuple):
    """What a seed did, by table: rows that it ``created`` or removed, and that were ``present`` already."""

    created: dict[str, int]
    present: dict[str, int]


class _Default:
    allowed: bool | None = None


def configure_seeds(*, allowed: bool | None) -> None:
    """Say whether this process may seed; a door says no in production. None forgets it."""
    _Default.allowed = allowed


class SeedDataManager:
    """Seeds of one application: derive from it and name its sets. Nothing here commits; the caller does.

    ``development``, ``demo`` (the same as development unless set) and ``test``. Seeding again adds only what is missing and changes nothing
    that is there. Every method but ``validate`` raises ``SeedingRefused`` in production, ConfigurationError in a process where no door
    said what it is, and a DatabaseError. Not for data that production needs: that belongs in a migration.
    """

    development: ClassVar[SeedSet] = DevelopmentSeed()
    test: ClassVar[SeedSet] = SeedSet()
    demo: ClassVar[SeedSet | None] = None

    @classmethod
    async def seed_development(
        cls, session: AsyncSession, *, scale: int = 1, progress: Report | None = None
    ) -> SeedResult:
        """Add what is missing of the development set, 10,000 rows at a time. Raises ValueError for a scale outside 1 to 1,000,000."""
        return await _seed(session, cls.development, scale, progress)

    @classmethod
    async def seed_demo(
        cls, session: AsyncSession, *, scale: int = 1, progress: Report | None = None
    ) -> SeedResult:
        """Add what is missing of the demo set; otherwise as ``seed_development``."""
        return await _seed(session, cls.demo or cls.development, scale, progress)

    @classmethod
    async def seed_test_fixtures(cls, session: AsyncSession, *, progress: Report | None = None) -> SeedResult:
        """Add what is missing of the small set that tests start from."""
        return await _seed(session, cls.test, 1, progress)

    @classmethod
    async def validate(cls, session: AsyncSession) -> tuple[bool, list[str]]:
        """Whether every set is whole or absent, and what is wrong. In production any row of a seed is wrong. Changes nothing."""
        _known_environment()
        issues: list[str] = []
        for set_name, seeds in cls._sets().items():
            there = {table.name: await _present(session, table) for table in seeds.tables}
            if not any(there.values()):
                continue
            if not _Default.allowed:
                issues.append(f"{set_name}: rows of a seed are in a production database")
            issues += [
                f"{set_name}: {table.name} has {there[table.name]} of {table.count} rows"
                for table in seeds.tables
                if there[table.name] < table.count
            ]
        return not issues, issues

    @classmethod
    async def clear(cls, session: AsyncSession, *, progress: Report | None = None) -> SeedResult:
        """Delete the rows of all sets by their keys, whatever the scale was; ``created`` counts them. Rows of others that refer to them
        stop it or go with them, as their foreign keys say.
        """
        _refuse_production()
        gone: dict[str, int] = {}
        for seeds in reversed(cls._sets().values()):
            for table in reversed(seeds.tables):
                gone[table.name] = await _clear(session, table, progress)
        return SeedResult(gone, {})

    @classmethod
    def _sets(cls) -> dict[str, SeedSet]:
        sets = {"development": cls.development, "test": cls.test}
        return sets if cls.demo is None else {**sets, "demo": cls.demo}


def _known_environment() -> None:
    if _Default.allowed is None:
        raise ConfigurationError(
            "Nobody said whether this process may seed: a door (CLI, load_environment_files) calls configure_seeds()"
        )


def _refuse_production() -> None:
    _known_environment()
    if not _Default.allowed:
        raise SeedingRefused("APP_ENV=production: seeds do not belong there")


async def _seed(session: AsyncSession, seeds: SeedSet, scale: int, progress: Report | None) -> SeedResult:
    _refuse_production()
    counts = {table.name: seeds.count(table, scale) for table in seeds.tables}
    created: dict[str, int] = {}
    for table in seeds.tables:
        created[table.name] = await _fill(session, table, counts[table.name], progress)
    return SeedResult(created, {name: counts[name] - new for name, new in created.items()})


async def _fill(session: AsyncSession, table: SeedTable, count: int, progress: Report | None) -> int:
    known = await table.known(session)
    created = 0
    for part in _parts(count):
        with translate_errors():
            created += await add_missing(session, table.table, [table.row(n, known) for n in part])
        if progress is not None:
            progress(table.name, part.stop, count)
    return created


async def _present(session: AsyncSession, table: SeedTable) -> int:
    present = 0
    for part in _parts(table.count):
        with translate_errors():
            present += await count_present(session, table.table, [table.key_of(n) for n in part])
    return present


async def _clear(session: AsyncSession, table: SeedTable, progress: Report | None) -> int:
    """Part by part, and past the count as long as there are rows of a larger scale."""
    gone, start = 0, 0
    while True:
        end = start + _PART if table.scales else min(start + _PART, table.count)
        with translate_errors():
            found = await remove(session, table.table, [table.key_of(n) for n in range(start, end)])
        gone, start = gone + found, end
        if progress is not None:
            progress(table.name, gone, gone)
        if start >= table.count and (found == 0 or not table.scales):
            return gone


def _parts(count: int) -> Iterator[range]:
    return (range(start, min(start + _PART, count)) for start in range(0, count, _PART))
