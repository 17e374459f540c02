"""Which tables a statement in text reads and writes: the same question as ``_tables_used`` asks, by a parser.

sqlglot knows PostgreSQL's grammar well, not wholly; what it does not understand may use any table. Its messages
quote statements, so neither its log nor its errors leave this module.
"""

import logging
from functools import lru_cache
from typing import NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

_MAX_TEXT = 100_000
_ROOTS = (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)
_TARGETS = (exp.Insert, exp.Update, exp.Delete, exp.Merge)

# "Falling back to parsing as a 'Command'" comes with the text, and with what secrets are in it.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)


class ParsedTables(NamedTuple):
    """``reads``, ``writes``, and of these the tables of a DELETE or TRUNCATE; ``is_exact`` as in ``TablesUsed``."""

    reads: frozenset[str]
    writes: frozenset[str]
    deletes: frozenset[str]
    is_exact: bool


_UNKNOWN = ParsedTables(frozenset(), frozenset(), frozenset(), is_exact=False)


@lru_cache(maxsize=1024)
def parse_tables(sql: str) -> ParsedTables:
    """Parse ``sql`` as PostgreSQL's: about a millisecond, remembered per text. Not exact where it is not understood."""
    if len(sql) > _MAX_TEXT:
        return _UNKNOWN
    try:
        trees = [tree for tree in sqlglot.parse(sql, read="postgres") if tree is not None]
    except (SqlglotError, RecursionError, ValueError):
        return _UNKNOWN
    if (
        not trees
        or not all(isinstance(tree, _ROOTS) for tree in trees)
        or any(_opaque(tree) for tree in trees)
    ):
        return _UNKNOWN
    reads: set[str] = set()
    writes: set[str] = set()
    deletes: set[str] = set()
    for tree in trees:
        for table in tree.find_all(exp.Table):
            name, action = _name(table), _action(table)
            if name is None or _is_cte(table):
                continue
            (writes if action else reads).add(name)
            if action == "delete":
                deletes.add(name)
    return ParsedTables(frozenset(reads), frozenset(writes), frozenset(deletes), is_exact=True)


def _opaque(tree: exp.Expr) -> bool:
    """Whether something in it is no plain query.

    SELECT INTO, a command in the middle, a TRUNCATE of whatever refers to the table.
    """
    truncated = any(node.args.get("option") == "CASCADE" for node in tree.find_all(exp.TruncateTable))
    return truncated or any(tree.find_all(exp.Command, exp.Into))


def _name(table: exp.Table) -> str | None:
    """The table's name; None for a function in FROM. Unquoted names are lower case, as the server has them."""
    if not isinstance(table.this, exp.Identifier):
        return None
    parts = [part for part in (table.args.get("db"), table.this) if part is not None]
    return ".".join(part.name if part.args.get("quoted") else part.name.lower() for part in parts)


def _action(table: exp.Table) -> str | None:
    """``write`` or ``delete`` when the table is a statement's target, None when it is read."""
    parent: exp.Expr | None = table.parent
    child: exp.Expr = table
    if isinstance(parent, exp.Schema):  # INSERT INTO t (a, b)
        child = parent
        parent = parent.parent
    if isinstance(parent, exp.TruncateTable):
        return "delete"
    if isinstance(parent, _TARGETS) and parent.this is child:
        return "delete" if isinstance(parent, exp.Delete | exp.Merge) else "write"
    return None


def _is_cte(table: exp.Table) -> bool:
    """Whether the name is a CTE's, where it stands: in ``WITH t AS (SELECT * FROM t)`` the inner one is a table."""
    if table.args.get("db") is not None or _action(table):
        return False
    name = _name(table)
    node: exp.Expr | None = table
    inside: exp.Expr | None = None
    while node is not None:
        if isinstance(node, exp.CTE):
            inside = node
        with_ = node.args.get("with_") or node.args.get("with")
        if with_ is not None:
            for cte in with_.expressions:
                if cte is inside and not with_.args.get("recursive"):
                    break
                if _cte_name(cte) == name:
                    return True
        node = node.parent
    return False


def _cte_name(cte: exp.CTE) -> str:
    alias = cte.args["alias"].this
    return str(alias.name if alias.args.get("quoted") else alias.name.lower())
