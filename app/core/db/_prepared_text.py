"""Text that somebody wrote, prepared and explained, and never run.

It travels alone, as a statement to parse, so that nothing in it can become an option of ``EXPLAIN`` or a second statement (the protocol
takes one a message); what is explained then is the prepared statement, by a name of ours. That also plans ``$1`` without a value, on
servers that know no ``GENERIC_PLAN`` (before 16), and is the only way that does: a value bound to ``EXPLAIN`` itself would be planned for.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from app.core.db._errors import sqlstate_of, translate
from app.core.errors import GatehouseError, Unprocessable

MAX_STATEMENT = 100_000
"""Characters of a statement that is explained."""

VERBOSE = "VERBOSE"

# A function that is computed while planning can make one literal of the plan a gigabyte: what is too long stays at the server.
_BOUNDED = """
DO $gatehouse$
DECLARE plan text;
BEGIN
  EXECUTE pg_catalog.current_setting('gatehouse.command') INTO plan;
  PERFORM pg_catalog.set_config('gatehouse.plan', CASE WHEN pg_catalog.length(plan) <= 4000000 THEN plan ELSE '' END, true);
END $gatehouse$
"""
_REASONS = {
    "42601": "it has a syntax error, or is more than one statement",
    "42P01": "it names a table that does not exist",
    "42703": "it names a column that does not exist",
    "42883": "it names a function or operator that does not exist",
    "42P18": "the type of a parameter cannot be told; cast it",
    "42501": "this role may not read what it names",
    "25006": "it would write",
    "54001": "it is nested too deeply",
}
_OF_THE_SERVER = frozenset(
    {"08", "40", "53", "57", "58", "55P03"}
)  # Not of the statement: codes, and classes of them.


class QueryNotExplainable(Unprocessable):
    """The query is no single read, or the server does not understand it. ``detail`` says which; no text of the server."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The query cannot be explained: {reason}")


class PreparedText:
    """A statement that the server has parsed. ``parameters`` is how many ``$n`` it has, ``has_columns`` whether it gives rows."""

    def __init__(self, driver: Any, name: str, parameters: int, has_columns: bool) -> None:
        self._driver = driver
        self._name = name
        self.parameters = parameters
        self.has_columns = has_columns

    async def explain(
        self, options: str = VERBOSE, *, values: Sequence[str | None] | None = None
    ) -> dict[str, Any]:
        """The server's JSON about it: for any values when ``values`` is None, else for these, in the server's own spelling.

        ``options`` are ours and never a caller's. With ``ANALYZE`` among them the statement runs. Raises QueryNotExplainable for what
        has no single plan.
        """
        mode = "generic" if values is None else "custom"
        await self._driver.execute(f"SET LOCAL plan_cache_mode = force_{mode}_plan")
        given = await self._literals(values)
        plans = _read(await self._bounded(f"EXPLAIN ({options}, FORMAT JSON) EXECUTE {self._name}{given}"))
        if len(plans) != 1 or not isinstance(plans[0], dict):
            raise QueryNotExplainable("it is not one SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES")
        document: dict[str, Any] = plans[0]
        return document

    async def _bounded(self, command: str) -> str:
        await self._driver.fetchval(
            "SELECT pg_catalog.set_config('gatehouse.command', $1, true) IS NULL", command
        )
        await self._driver.execute(_BOUNDED)
        found: str = await self._driver.fetchval("SELECT pg_catalog.current_setting('gatehouse.plan')")
        if not found:
            raise QueryNotExplainable("its plan is longer than 4,000,000 characters")
        return found

    async def _literals(self, values: Sequence[str | None] | None) -> str:
        given = list(values) if values is not None else [None] * self.parameters
        if len(given) != self.parameters:
            raise QueryNotExplainable(f"it has {self.parameters} parameters and not {len(given)}")
        if not given:
            return ""
        quoted = await self._driver.fetchval(
            "SELECT pg_catalog.string_agg(pg_catalog.quote_nullable(u.v), ', ' ORDER BY u.n)"
            " FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS u(v, n)",
            given,
        )
        return f"({quoted})"


def _read(found: str) -> list[Any]:
    try:
        read = orjson.loads(found)
    except orjson.JSONDecodeError as error:  # Nested more deeply than anybody could read.
        raise QueryNotExplainable("its plan is nested too deeply") from error
    return read if isinstance(read, list) else []


@asynccontextmanager
async def prepared_text(driver: Any, sql: str, *, settings: str = "") -> AsyncIterator[PreparedText]:
    """``sql`` as a prepared statement of ``driver`` (asyncpg's connection, in a transaction), taken away again at the end.

    ``settings`` are ours and never a caller's: ``SET LOCAL`` commands that hold until then.

    Runs inside a savepoint that is rolled back, so the transaction goes on whatever the server said. Raises QueryNotExplainable (422)
    for what the server cannot parse or plan, DatabaseTimeout after ``statement_timeout``. A connection that cannot be tidied is closed.
    """
    name = f"gatehouse_{uuid4().hex}"
    try:
        checked = readable(sql)
        await driver.execute(f"SAVEPOINT {name}; {settings}")
        prepared = None
        try:
            prepared = await driver.prepare(checked, name=name)
            yield PreparedText(driver, name, len(prepared.get_parameters()), bool(prepared.get_attributes()))
        finally:
            await _tidy(driver, name, is_prepared=prepared is not None)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise refusal(error) from error


async def _tidy(driver: Any, name: str, *, is_prepared: bool) -> None:
    """Names outlive a rollback, and behind a pooler belong to the connection's next user."""
    steps = [f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"]
    if is_prepared:
        steps.append(f"DEALLOCATE {name}")
    try:
        await driver.execute("; ".join(steps))
    except BaseException:
        driver.terminate()
        raise


def readable(sql: str) -> str:
    """``sql`` if the protocol has a place for it. Raises QueryNotExplainable."""
    if len(sql) > MAX_STATEMENT:
        raise QueryNotExplainable("it is longer than 100,000 characters")
    # What the protocol has no place for would cost the connection.
    if "\0" in sql or (not sql.isascii() and any("\ud800" <= character <= "\udfff" for character in sql)):
        raise QueryNotExplainable("it is no text that the server could read")
    return sql


def refusal(error: Exception) -> GatehouseError:
    """What kept the server from planning. Its own text may quote data, so it stays in the cause."""
    code = sqlstate_of(error) or ""
    if code in _REASONS:
        return QueryNotExplainable(_REASONS[code])
    if not code or code in _OF_THE_SERVER or code[:2] in _OF_THE_SERVER:
        return translate(error)
    return QueryNotExplainable("planning it failed")
