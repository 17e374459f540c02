"""Which tables a statement reads and writes, for whoever keeps what it read.

SQLAlchemy's own statements are compiled once more, by a compiler that notes the tables it writes down: it sees
what an ORM query becomes, with its joins, subqueries and CTEs. Text is nobody's knowledge here.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Delete, Insert, Table, TextClause, Update
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.expression import ClauseElement, ColumnClause, Executable

_COPIED = {"CASCADE", "SET NULL", "SET DEFAULT"}
_SUBQUERY = re.compile(r"\b(?:select|table|from)\b", re.IGNORECASE)
_dialect: Any = asyncpg_dialect
_compiler: Any = _dialect.statement_compiler


@dataclass(frozen=True, slots=True)
class TablesUsed:
    """Names as ``table`` or ``schema.table``. What is written is among the ``writes`` only, unless it is read as well.

    ``is_exact`` is False when the statement holds text or is none that reads or writes rows: then it may use
    any table, and the names are only those that are known.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    is_exact: bool = True


def tables_used(statement: Executable | str) -> TablesUsed:
    """The tables of a ``select()``, ``insert()``, ``update()`` or ``delete()``, of the ORM or not; asks no server.

    A DELETE writes the tables, too, whose foreign keys follow it (ON DELETE CASCADE, SET NULL, SET DEFAULT), as far as the models
    declare them. What functions, triggers, rules and views use is never seen, and neither is what ``selectinload`` loads: those are
    statements of their own. Each call compiles the statement, which takes about as long as its first execution does.
    """
    if isinstance(statement, str | TextClause | ExecutableDDLElement) or not isinstance(
        statement, ClauseElement
    ):
        return TablesUsed(frozenset(), frozenset(), is_exact=False)
    compiled: Any = statement.compile(dialect=_noting_dialect())
    return TablesUsed(frozenset(compiled.reads), frozenset(compiled.writes), compiled.is_exact)


class _NotingCompiler(_compiler):  # type: ignore[misc]
    """SQLAlchemy's compiler, which also notes every table."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self.is_exact = True
        super().__init__(*args, **options)  # compiles

    def visit_table(self, table: Any, asfrom: bool = False, iscrud: bool = False, **options: Any) -> str:
        if not isinstance(table, Table):
            self.is_exact = self.is_exact and not asfrom  # table("name") is a name without a schema we know
        elif asfrom and not iscrud:
            self.reads.add(table.fullname)
        shown: str = super().visit_table(table, asfrom=asfrom, iscrud=iscrud, **options)
        return shown

    def visit_textclause(self, textclause: Any, *args: Any, **options: Any) -> str:
        self.is_exact = False
        shown: str = super().visit_textclause(textclause, *args, **options)
        return shown

    def visit_column(self, column: ColumnClause[Any], *args: Any, **options: Any) -> str:
        if column.is_literal and _SUBQUERY.search(column.name):  # Others are * and 1 and the like.
            self.is_exact = False
        shown: str = super().visit_column(column, *args, **options)
        return shown

    def visit_insert(self, insert_stmt: Insert, *args: Any, **options: Any) -> str:
        self._writes(insert_stmt)
        shown: str = super().visit_insert(insert_stmt, *args, **options)
        return shown

    def visit_update(self, update_stmt: Update, *args: Any, **options: Any) -> str:
        self._writes(update_stmt)
        shown: str = super().visit_update(update_stmt, *args, **options)
        return shown

    def visit_delete(self, delete_stmt: Delete, *args: Any, **options: Any) -> str:
        self._writes(delete_stmt)
        shown: str = super().visit_delete(delete_stmt, *args, **options)
        return shown

    def _writes(self, statement: Insert | Update | Delete) -> None:
        table = statement.table
        if not isinstance(table, Table):
            self.is_exact = False
            return
        self.writes.add(table.fullname)
        if isinstance(statement, Delete):
            self.writes |= followers(table)


@cache
def _noting_dialect() -> Any:
    made = _dialect()
    made.statement_compiler = _NotingCompiler
    return made


def followers(table: Table) -> set[str]:
    """The tables whose rows a DELETE in ``table`` deletes or changes, by the foreign keys of its metadata."""
    found: set[str] = set()
    waiting = [table.fullname]
    while waiting:
        gone = waiting.pop()
        for child in table.metadata.tables.values():
            for key in child.foreign_key_constraints:
                rule = (key.ondelete or "").upper()
                if rule in _COPIED and key.referred_table.fullname == gone and child.fullname not in found:
                    found.add(child.fullname)
                    if rule == "CASCADE":
                        waiting.append(child.fullname)
    return found
