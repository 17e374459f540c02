"""Statements as they may be shown: no values, no comments, and of what is no read or write of rows only the verb.

``pg_stat_statements`` keeps literals of utility statements as they came (``ALTER ROLE ... PASSWORD 'x'``, ``DO``, ``COPY``), and
``pg_stat_activity`` all literals.
"""

import re
from functools import lru_cache

from app.core.db import shape_of

_SHOWN = frozenset({"select", "insert", "update", "delete", "merge", "with", "values", "table"})
_PART = re.compile(r'(?:"(?:[^"]|"")*(?:"|$)|[^;"])+')
_VERB = re.compile(
    r"[a-z]+(?:\s+(?:role|user|table|index|view|function|extension|database|schema|subscription|server)\b)?",
    re.IGNORECASE,
)
# Of nothing else is the first word shown: somebody may have typed a password where a statement was asked for.
_VERBS = frozenset({
    "abort", "alter", "analyze", "autovacuum", "begin", "call", "checkpoint", "close", "cluster", "comment", "commit", "copy",
    "create", "deallocate", "declare", "discard", "do", "drop", "end", "execute", "explain", "fetch", "grant", "import", "listen",
    "load", "lock", "move", "notify", "prepare", "reassign", "refresh", "reindex", "release", "reset", "revoke", "rollback",
    "savepoint", "security", "set", "show", "start", "truncate", "unlisten", "vacuum",
})  # fmt: skip
_MAX_KEPT = 4_000  # As of shapes: what is longer is not remembered.
_NO_TEXT = "<not shown>"


def redacted(statement: str) -> str:
    """``statement`` with every value as ``?``, without comments; utility statements as their verb alone (``ALTER ROLE ...``).

    Several statements in one text are treated one by one. Nothing of a literal is ever kept, also not of one that does not end. At most
    20,000 characters of each.
    """
    shape = shape_of(statement)
    return _redacted(shape) if len(shape) <= _MAX_KEPT else _redacted.__wrapped__(shape)


@lru_cache(maxsize=1024)
def _redacted(shape: str) -> str:
    parts = (part.strip() for part in _PART.findall(shape))
    return "; ".join(_shown(part) for part in parts if part) or _NO_TEXT


def _shown(shape: str) -> str:
    word = shape.lstrip("( ").split(" ", 1)[0].rstrip("(").lower()
    if word in _SHOWN:
        return shape
    verb = _VERB.match(shape)
    is_known = verb is not None and verb[0].split()[0].lower() in _VERBS
    return f"{' '.join(verb[0].upper().split())} ..." if verb is not None and is_known else _NO_TEXT
