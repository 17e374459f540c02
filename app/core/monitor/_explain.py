"""The plan of a statement that somebody wrote, without running it."""

from collections.abc import Sequence
from typing import Any, Final

from app.core.db import DatabaseTimeout, PreparedText, QueryNotExplainable, prepared_text

PLANNING_MS: Final = 2_000
"""What ``ask`` is given as the limit of a statement where texts of others are planned."""


class StatementRefused(QueryNotExplainable):
    """The monitor does not plan, or does not run, this statement. ``detail`` says why in our words (422)."""


async def explain(
    connection: Any, sql: str, *, parameters: Sequence[str | None] | None = None
) -> dict[str, Any]:
    """The server's JSON (``EXPLAIN (VERBOSE, FORMAT JSON)``) for one SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES.

    Nothing of it runs, except functions that PostgreSQL computes while it plans. ``$n`` are planned for any value (the generic plan), or
    for ``parameters``, texts in the server's own spelling. The JSON holds the statement's literals: neither show nor log it as it is.
    ``connection`` comes from ``MonitorServer.ask(statement_timeout_ms=PLANNING_MS)``; its transaction goes on whatever happens here. Each
    call prepares anew, so a hypothetical index made since is seen. Raises QueryNotExplainable (422), with StatementRefused where planning
    takes too long.
    """
    try:
        async with prepared_text(connection, sql) as prepared:
            document = await prepared.explain(values=parameters)
            refuse_hidden_writes(prepared, document)
            return document
    except DatabaseTimeout as error:
        if error.sqlstate == "57014":
            raise StatementRefused("planning it takes longer than it may") from error
        raise


def refuse_hidden_writes(prepared: PreparedText, document: dict[str, Any]) -> None:
    """Refuse what gives no rows and changes none: EXPLAIN shows CREATE TABLE AS and SELECT INTO as their SELECT."""
    if not prepared.has_columns and document["Plan"]["Node Type"] != "ModifyTable":
        raise StatementRefused("it gives no columns; CREATE TABLE AS and INTO are not planned")
