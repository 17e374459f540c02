"""Which tables a statement reads and writes, for whoever keeps what it read.

SQLAlchemy's own statements are compiled once more, by a compiler that notes the tables it writes down: it sees
what an ORM query becomes, with its joins, subqueries and CTEs. Only what holds text is parsed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Delete, Insert, MetaData, Table, Update
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql.expression import ClauseElement, ColumnClause, Executable

from app.core.db._models import Base

if TYPE_CHECKING:
    from app.core.db._tables_parsed import ParsedTables

_PUBLIC = "public."
_EXPANDED_LATER = re.compile(r"__\[POSTCOMPILE_\w+(?:~~[^\]]*~~)?\]")
_COPIED = {"CASCADE", "SET NULL", "SET DEFAULT"}
_SUBQUERY = re.compile(r"\b(?:select|table|from)\b", re.IGNORECASE)
_dialect: Any = asyncpg_dialect
_compiler: Any = _dialect.statement_compiler


@dataclass(frozen=True, slots=True)
class TablesUsed:
    """Names as ``table`` or ``schema.table``; ``public`` is left out.

    What is written is among the ``writes`` only, unless it is read as well. ``is_exact`` is False for what is
    no read or write of rows, or is not understood: then any table may be used, and the names are only those
    that are known.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    is_exact: bool = True


def tables_used(statement: Executable | str, metadata: MetaData = Base.metadata) -> TablesUsed:
    """The tables of a statement: ORM, Core, bulk, ``text()`` or a string; asks no server.

    A DELETE writes the tables, too, whose foreign keys follow it (ON DELETE CASCADE, SET NULL, SET DEFAULT), an
    UPDATE those of ON UPDATE, as far as the models declare them; for text those of ``metadata``. What functions, triggers, rules and views
    use is never seen, and neither is what ``selectinload`` loads: those are statements of their own. Names in
    text are taken as they stand, whatever the ``search_path``. SQLAlchemy's statements are compiled anew at each
    call, text is parsed in about a millisecond and then remembered.
    """
    if isinstance(statement, str):
        return _named(_parsed(statement), set(), set(), metadata)
    if isinstance(statement, ExecutableDDLElement) or not isinstance(statement, ClauseElement):
        return TablesUsed(frozenset(), frozenset(), is_exact=False)
    compiled: Any = statement.compile(dialect=_noting_dialect())
    if compiled.is_exact:
        return TablesUsed(_public(compiled.reads), _public(compiled.writes))
    # It holds text, so that only the whole can be understood.
    parsed = _parsed(_EXPANDED_LATER.sub("NULL", str(compiled)))
    return _named(parsed, compiled.reads, compiled.writes, metadata)


def _parsed(sql: str) -> "ParsedTables":
    # The parser takes half a second to import, which whoever has no text need not wait for.
    from app.core.db._tables_parsed import parse_tables  # noqa: PLC0415

    return parse_tables(sql)


def _named(parsed: "ParsedTables", reads: set[str], writes: set[str], metadata: MetaData) -> TablesUsed:
    known = {table.fullname.removeprefix(_PUBLIC): table for table in metadata.tables.values()}
    following: set[str] = set()
    for name in parsed.writes:
        table = known.get(name.removeprefix(_PUBLIC))
        if table is not None:
            # An INSERT updates too (ON CONFLICT); which columns is not looked at.
            following |= followers(table, "update")
            following |= followers(table) if name in parsed.deletes else set()
    return TablesUsed(
        _public(reads | parsed.reads), _public(writes | parsed.writes | following), parsed.is_exact
    )


def _public(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.removeprefix(_PUBLIC) for name in names)


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
        if isinstance(statement, Delete | Update):
            self.writes |= followers(table, "delete" if isinstance(statement, Delete) else "update")


@cache
def _noting_dialect() -> Any:
    made = _dialect()
    made.statement_compiler = _NotingCompiler
    return made


def followers(table: Table, act: Literal["delete", "update"] = "delete") -> set[str]:
    """The tables whose rows a DELETE or UPDATE in ``table`` deletes or changes, by the foreign keys of its metadata."""
    found: set[str] = set()
    waiting = [table.fullname]
    while waiting:
        gone = waiting.pop()
        for child in table.metadata.tables.values():
            for key in child.foreign_key_constraints:
                rule = ((key.ondelete if act == "delete" else key.onupdate) or "").upper()
                if rule in _COPIED and key.referred_table.fullname == gone and child.fullname not in found:
                    found.add(child.fullname)
                    if rule == "CASCADE":
                        waiting.append(child.fullname)
    return found
