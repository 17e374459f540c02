"""Statements that say nothing about the service: the monitor's own, questions to the catalogs, the brackets of transactions."""

import re
from functools import lru_cache

from app.core.db import shape_of

_DECIDES = 4_000  # Characters of a shape: thousands of long ones must not stay in memory.
_BRACKETS = frozenset({
    "abort", "begin", "close", "commit", "deallocate", "discard", "end", "explain", "listen", "notify", "release", "reset", "rollback",
    "savepoint", "set", "show", "start", "unlisten",
})  # fmt: skip
_CATALOGS = re.compile(
    r"\b(?:pg_catalog|information_schema|pg_stat_statements|hypopg)\b|\b(?:from|join)\s+\"?pg_\w",
    re.IGNORECASE,
)
_OWN_TABLES = re.compile(r'\b(?:from|into|update|join|table)\s+(?:only\s+)?"?monitor_\w', re.IGNORECASE)
_TRIVIAL = re.compile(r"select (?:\?(?:::\w+)?|true|pg_try_advisory\w*\(.*\))", re.IGNORECASE)


def is_noise(statement: str) -> bool:
    """Whether a list of slow statements is better without it. It still counts in the total.

    Transaction control, settings, EXPLAIN; whatever reads the catalogs, as this monitor does; the monitor's history tables; ``SELECT 1``;
    asking for an advisory lock without waiting for it.
    """
    return _is_noise(shape_of(statement)[:_DECIDES])


@lru_cache(maxsize=4096)
def _is_noise(shape: str) -> bool:
    verb = shape.split(" ", 1)[0].rstrip(";").lower()
    return (
        verb in _BRACKETS
        or _TRIVIAL.fullmatch(shape) is not None
        or _CATALOGS.search(shape) is not None
        or _OWN_TABLES.search(shape) is not None
    )
