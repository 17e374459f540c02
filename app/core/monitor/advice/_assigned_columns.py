"""Which columns an UPDATE sets, read from its text: a plan does not say it."""

from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError


def assigned_columns(sql: str) -> frozenset[str]:
    """The columns that an UPDATE sets; none where its text cannot be read."""
    try:
        tree: Any = sqlglot.parse_one(sql, read="postgres")
    except (SqlglotError, RecursionError):
        return frozenset()
    names: set[str] = set()
    for update in tree.find_all(exp.Update):
        for part in update.expressions:
            target = part.this
            columns = target.expressions if isinstance(target, exp.Tuple) else [target]
            names |= {it.name for it in columns}
    return frozenset(names)
