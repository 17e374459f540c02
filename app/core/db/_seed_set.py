"""What a seed consists of: tables, how many rows of each, and what row number n looks like."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

Row = Mapping[str, Any]
_NAMESPACE = UUID("5eed5eed-5eed-5eed-8eed-5eed5eed5eed")


def seed_id(name: str, n: int) -> UUID:
    """The id of row ``n`` of the seed ``name``: the same on every machine, at every run. For what needs no secret."""
    return uuid5(_NAMESPACE, f"{name}:{n}")


async def _nothing(_: AsyncSession) -> Row:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedTable:
    """Rows 0 to ``count - 1`` of one table, each a function of its number.

    name: unique among all sets; ids are made of it, so do not change it. make: the columns of row n by their names in the database, without
        the primary key; every row the same columns, those that are left out get what the server says. It must not draw at random or ask
        the time: the seed would not be the same twice.
    known: asked once before the rows, for what ``make`` gets as its second argument, such as the id of a user.
    key: the primary key of row n by column; ``{"id": seed_id(name, n)}`` unless told.
    scales: whether a scaled ``DevelopmentSeed`` has more of these.

    Raises ValueError for a count under 1. Not for passwords: rows stand in the source code.
    """

    name: str
    model: type[DeclarativeBase]
    count: int
    make: Callable[[int, Row], Row]
    known: Callable[[AsyncSession], Awaitable[Row]] = _nothing
    key: Callable[[int], Row] | None = None
    scales: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"SeedTable.count of {self.name} must be 1 or more, not {self.count}")

    @property
    def table(self) -> Table:
        """Where the rows go."""
        table = self.model.__table__
        assert isinstance(table, Table)  # noqa: S101 - a mapped class has a table; for the type checker
        return table

    def key_of(self, n: int) -> dict[str, Any]:
        """The primary key of row ``n``, by column."""
        return {"id": seed_id(self.name, n)} if self.key is None else dict(self.key(n))

    def row(self, n: int, known: Row) -> dict[str, Any]:
        """Row ``n`` as it is stored, by column."""
        return {**self.key_of(n), **self.make(n, known)}


@dataclass(frozen=True, slots=True)
class SeedSet:
    """Tables in the order in which they are filled; they are emptied in the other. Raises ValueError when two have one name."""

    tables: tuple[SeedTable, ...] = ()

    def __post_init__(self) -> None:
        names = [table.name for table in self.tables]
        if len(set(names)) < len(names):
            raise ValueError(f"two seed tables have one name among {', '.join(names)}")

    def count(self, table: SeedTable, scale: int) -> int:
        """Rows of ``table`` at this scale. Raises ValueError for a scale that this set cannot have."""
        if scale != 1:
            raise ValueError("only development and demo seeds have a scale")
        return table.count


class DevelopmentSeed(SeedSet):
    """Data to develop with, and to show. ``scale`` multiplies the tables that say ``scales``: 1 to 1,000,000."""

    __slots__ = ()

    def count(self, table: SeedTable, scale: int) -> int:
        """Rows of ``table`` at this scale. Raises ValueError for a scale outside 1 to 1,000,000."""
        if not 1 <= scale <= 1_000_000:
            raise ValueError(f"scale must be 1 to 1,000,000, not {scale}")
        return table.count * (scale if table.scales else 1)
