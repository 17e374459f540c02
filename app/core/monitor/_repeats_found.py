"""What an endpoint repeats, and how to load it at once."""

import re
from dataclasses import dataclass

from app.core.monitor._panel import Finding

_NAME = r'(?:"(?:[^"]|"")*"|\w+)'
_TABLE = re.compile(rf"\bfrom\s+(?P<table>{_NAME}(?:\.{_NAME})*)", re.IGNORECASE)
_COLUMN = re.compile(rf"\bwhere\s+(?:{_NAME}\.)*(?P<column>{_NAME})\s*=\s*\?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedRead:
    """One statement that an endpoint repeats. ``endpoint`` is its method and route, ``statement`` the shape without values.

    is_n_plus_one: the number of runs differs between requests, as it does when rows are loaded one by one. requests: those in which it was
    repeated. times_min, times_median, times_max: runs in one request, median_ms: their time together, in the last 50 requests that ran it.
    lines: the code that ran it, innermost first. fix: in words.
    """

    endpoint: str
    policy: str | None
    statement: str
    is_n_plus_one: bool
    requests: int
    times_min: int
    times_median: float
    times_max: int
    median_ms: float
    lines: tuple[str, ...]
    fix: str

    @property
    def finding(self) -> Finding:
        """For lists of what somebody should look at."""
        what = (
            "loads rows one by one"
            if self.is_n_plus_one
            else "repeats a statement, so far the same number of times"
        )
        return Finding(
            check="n_plus_one" if self.is_n_plus_one else "repeated_read",
            severity="warning" if self.is_n_plus_one else "info",
            subject=self.endpoint,
            title=f"{self.endpoint} {what}",
            evidence=f"{self.times_min} to {self.times_max} times in one request, {self.median_ms} ms, at"
            f" {self.lines[0] if self.lines else 'an unknown line'}: {self.statement}",
            fix=self.fix,
        )


def loader_fix(shape: str) -> str:
    """How what a loop reads with ``shape`` is read at once."""
    table, column = _TABLE.search(shape), _COLUMN.search(shape)
    name = table["table"] if table is not None else "the table"
    if column is None:
        return f"Read what the loop needs of {name} in one statement before it"
    if column["column"].strip('"').lower() == "id":
        loader = "joinedload() or selectinload() on the relationship in the statement before"
    else:
        loader = "selectinload() on the relationship in the statement before"
    return (
        f"Load the rows of {name} with {loader}, or all at once with WHERE {column['column']} IN (...);"
        " a statement that is meant to run often says execution_options(may_repeat=True)"
    )
