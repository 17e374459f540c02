"""Indexes as the server itself writes them, so that two can be compared word for word."""

import re
from collections.abc import Iterable
from typing import Any

import asyncpg

from bench.advice._case import Indexes
from bench.advice._measure import taken_back

_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_HEAD = re.compile(rf"^CREATE (?:UNIQUE )?INDEX {_NAME} ON (?:ONLY )?")
_INCLUDE = re.compile(r"INCLUDE \(([^)]*)\)")
_DDL = re.compile(
    rf"^\s*CREATE\s+INDEX\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(?:{_NAME}\s+)?ON\s+(?:ONLY\s+)?",
    re.IGNORECASE,
)


class NotAnIndex(ValueError):
    """The words are no CREATE INDEX that the server takes."""


class Shapes:
    """Asks the empty twin of the database; what it makes there is taken back."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._known: dict[str, str] = {}

    async def of(self, spec: str) -> str:
        """What ``CREATE INDEX ON spec`` makes. Raises NotAnIndex."""
        if spec not in self._known:
            self._known[spec] = normal(await self._made(spec))
        return self._known[spec]

    async def all_of(self, specs: Iterable[str]) -> Indexes:
        """Each of them."""
        return frozenset([await self.of(spec) for spec in specs])

    async def _made(self, spec: str) -> str:
        async with taken_back(self._connection):
            try:
                await self._connection.execute(f"CREATE INDEX the_one ON {spec}")
            except asyncpg.PostgresError as error:
                raise NotAnIndex(f"{spec}: {error}") from error
            found = await self._connection.fetchval(
                "SELECT pg_get_indexdef(oid) FROM pg_class WHERE relname = 'the_one' AND relkind IN ('i', 'I')"
            )
            return str(found)


def spec_of(ddl: str) -> str:
    """What stands behind ON in an adviser's statement; of a recipe for partitions, in the first. Raises NotAnIndex."""
    match = _DDL.match(ddl)
    if match is None:
        raise NotAnIndex(ddl)
    return ddl[match.end() :].partition(";")[0].strip()


def normal(definition: str) -> str:
    """A definition without the index's name, its INCLUDE columns in order."""
    tail = _HEAD.sub("", definition)
    return _INCLUDE.sub(lambda found: f"INCLUDE ({', '.join(sorted(found[1].split(', ')))})", tail)
