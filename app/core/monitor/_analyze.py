"""A statement run to see what it costs: only one that does nothing but read, and never for longer than it may."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from app.core.db import DatabaseTimeout, PreparedText, prepared_text
from app.core.monitor._explain import StatementRefused, refuse_hidden_writes
from app.core.monitor._only_reads import refuse_effects
from app.core.monitor._plan import plan_of
from app.core.monitor._query_tree import SHOW_TREE, whole

_OPTIONS: Final = "ANALYZE, VERBOSE, BUFFERS, SETTINGS"
_ELSEWHERE = frozenset(
    {"Foreign Scan", "Custom Scan", "ModifyTable", "LockRows", "Table Function Scan", "Sample Scan"}
)
_RESULT_OF_PARSING: Final = "rewritten parse tree:"

# The tree goes to the server's log as well, values and all, unless this role may keep it out of there.
_QUIET = (
    "SELECT pg_catalog.set_config('log_min_messages', 'fatal', true)"
    " WHERE pg_catalog.has_parameter_privilege('log_min_messages', 'SET')"
)
_AS_OTHERS_RUN = "SELECT pg_catalog.set_config('jit', s.reset_val, true) FROM pg_catalog.pg_settings s WHERE s.name = 'jit'"


async def explain_analyze(connection: Any, sql: str, *, limit_ms: int = 5_000) -> dict[str, Any]:
    """The server's JSON of ``EXPLAIN (ANALYZE, VERBOSE, BUFFERS, SETTINGS)``: the statement runs, for ``limit_ms`` at most.

    One SELECT, VALUES or TABLE without parameters, FOR UPDATE, INTO or changes below WITH; without a volatile function, and without one
    that somebody wrote in SQL or a procedural language; on tables of this server. ``_query_tree.py`` and ``_only_reads.py`` say how that is
    known: by the tree that the server made of the text, and by its catalogs. The tree stands in the server's own log afterwards, unless the
    role may set ``log_min_messages``. What cannot be told: a function in C that a superuser made and declared STABLE wrongly.

    Raises StatementRefused (422) for all else, and when it runs out of time. Loads the server as the statement does: for operators only.
    """
    try:
        await connection.execute(_QUIET)
        # Once to learn its types, which the driver asks the server for: those questions have trees too.
        async with prepared_text(connection, sql), _tree_shown(connection, sql) as (prepared, trees):
            await _refuse_all_but_reads(connection, prepared, trees)
            await connection.execute(_AS_OTHERS_RUN)
            await connection.execute(f"SET LOCAL statement_timeout = {limit_ms:d}")
            return await prepared.explain(_OPTIONS)
    except DatabaseTimeout as error:
        if error.sqlstate == "57014":
            raise StatementRefused("running it takes longer than it may") from error
        raise


@asynccontextmanager
async def _tree_shown(connection: Any, sql: str) -> AsyncIterator[tuple[PreparedText, list[str]]]:
    trees: list[str] = []

    def listen(_connection: object, message: Any) -> None:
        if message.message == _RESULT_OF_PARSING:
            trees.append(message.detail or "")

    connection.add_log_listener(listen)
    try:
        async with prepared_text(connection, sql, settings=SHOW_TREE) as prepared:
            connection.remove_log_listener(listen)
            await connection.execute(
                "SET LOCAL debug_print_rewritten = off; SET LOCAL client_min_messages = error"
            )
            yield prepared, trees
    finally:
        connection.remove_log_listener(listen)


async def _refuse_all_but_reads(connection: Any, prepared: PreparedText, trees: list[str]) -> None:
    if prepared.parameters:
        raise StatementRefused("it has parameters; only a statement with values can run")
    if not trees:
        raise StatementRefused("the server does not show what it understood")
    for tree in trees:  # More than one: something else was parsed with it, and has to be harmless too.
        await refuse_effects(connection, whole(tree))
    document = await prepared.explain()
    refuse_hidden_writes(prepared, document)
    elsewhere = {step.kind for step in plan_of(document).root.walk()} & _ELSEWHERE
    if elsewhere:
        raise StatementRefused("it would do more than read the tables of this server")
