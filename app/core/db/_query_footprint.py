"""What a statement that is about to run reads and writes, as tags of the cache; worked out once per statement shape."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from app.core.db._partitions import partitioned_table
from app.core.db._tables_used import TablesUsed, tables_used
from app.core.errors import ConfigurationError

ANY_WRITE = "tables:written"
"""Ended by every write: carried by what was read from tables that nobody can tell."""
ALL_TABLES = "tables:all"
"""Ended by a write to tables that nobody can tell: carried by everything else."""

_MOST_KNOWN = 4096
_LOCKING = re.compile(r"\bfor\s+(?:no\s+key\s+)?update\b", re.IGNORECASE)
_MAY_WRITE = re.compile(
    r"\b(?:insert|update|delete|merge|truncate|copy|create|alter|drop|call|do|execute|refresh|into)\b",
    re.IGNORECASE,
)
_NAME = r"[a-z_][a-z0-9_]*"
# PostgreSQL allows no second statement in one of these, and no WITH that writes inside them.
_ONE_TABLE = re.compile(
    rf"\s*(?:insert\s+into|update(?:\s+only)?)\s+({_NAME}(?:\.{_NAME})?)(?=[\s(])", re.IGNORECASE
)
# From here on the transaction sees what nobody else sees: one moment only, the tables of another schema, the rows of another role.
_OWN_VIEW = re.compile(
    r"\bisolation\s+level\s+(?:repeatable|serializable)|\btransaction_isolation\b"
    r"|(?:^|;|\*/)\s*(?:set|reset)\s+(?:local\s+|session\s+)?(?:search_path|schema|role|session\s+authorization)\b"
    r"|\bset_config\s*\(\s*(?:'(?:search_path|role|session_authorization)'|[^'\s])",
    re.IGNORECASE,
)


class Footprint(NamedTuple):
    """``reads``: tags that a result depends on; ``writes``: tags that end when it is committed.

    ``is_known``: whether ``reads`` are all tables. ``is_snapshot``: the rest of its transaction sees something
    else than others do: one moment, another schema, what another role may see.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    is_known: bool
    is_snapshot: bool


def table_tags(tables: Iterable[str]) -> frozenset[str]:
    """The tags of tables that somebody named, ``users`` or ``schema.users``. Raises ConfigurationError for an empty name."""
    names = [table.strip() for table in tables]
    if not all(names):
        raise ConfigurationError("A table of the query cache needs a name")
    return _tags(names)


def _tags(tables: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_tag, tables))


def _tag(table: str) -> str:
    """A month's partition has its table's."""
    schema, dot, bare = table.removeprefix("public.").rpartition(".")
    return f"table:{schema}{dot}{partitioned_table(bare) or bare}"


_known: dict[str, Footprint] = {}


def footprint(sql: str, compiled: Any = None) -> Footprint:
    """Of a statement as the driver gets it, ``compiled`` by SQLAlchemy or not."""
    text: str = sql if compiled is None else compiled.string
    found = _known.get(text)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[text] = _made(text, text if compiled is None else compiled.statement)
    return found


def _made(text: str, statement: Any) -> Footprint:
    try:
        used = tables_used(statement)
    except SQLAlchemyError:  # it compiled with its values, but not without
        used = TablesUsed(frozenset(), frozenset(), is_exact=False)
    return Footprint(
        _tags(used.reads), _writes(used, text), used.is_exact, _OWN_VIEW.search(text) is not None
    )


def _writes(used: TablesUsed, text: str) -> frozenset[str]:
    if used.writes:
        return _tags(used.writes) | {ANY_WRITE}
    if used.is_exact or not _MAY_WRITE.search(_LOCKING.sub("", text)):
        return frozenset()
    one = _ONE_TABLE.match(text)
    # Too much ended costs time, too little shows what is no longer true.
    return (_tags([one[1].lower()]) if one else frozenset({ALL_TABLES})) | {ANY_WRITE}
