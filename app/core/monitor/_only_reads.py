"""Whether a statement only reads, whatever it calls: asked of the catalogs, by the functions behind what it is made of.

Refused are functions that are VOLATILE, and all that somebody wrote in SQL or a procedural language: what such a function calls cannot be
told, and its owner may have declared it STABLE; and ``table_to_xml`` and its kin, which read views by name. Looked at are also the
functions behind operators, aggregates, casts, input and output, comparisons (operator families), defaults of parameters and CHECKs of
domains. Believed is what a superuser had to make: functions in C that are declared STABLE or IMMUTABLE.
https://www.postgresql.org/docs/current/xfunc-volatility.html
"""

from typing import Any, Final, LiteralString

from app.core.monitor._explain import StatementRefused
from app.core.monitor._query_tree import Ingredients

_ROUNDS = 5
_FIRST_OF_USERS: Final = 16_384  # FirstNormalObjectId: below are PostgreSQL's own.

_BEHIND: LiteralString = """
WITH RECURSIVE types(oid) AS (
  SELECT unnest($3::oid[])
  UNION
  SELECT x.oid FROM types JOIN pg_catalog.pg_type t ON t.oid = types.oid CROSS JOIN LATERAL (
    SELECT t.typelem UNION ALL SELECT t.typbasetype
    UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
  ) AS x(oid) WHERE x.oid <> 0
), families(oid) AS (
  SELECT o.amopfamily FROM pg_catalog.pg_amop o WHERE o.amopopr = ANY ($2::oid[])
  UNION SELECT c.opcfamily FROM pg_catalog.pg_opclass c JOIN types ON types.oid = c.opcintype WHERE c.opcdefault
), functions(oid) AS (
  SELECT unnest($1::oid[])
  UNION SELECT o.oprcode::oid FROM pg_catalog.pg_operator o WHERE o.oid = ANY ($2::oid[])
  UNION SELECT p.amproc::oid FROM pg_catalog.pg_amproc p JOIN families ON families.oid = p.amprocfamily
         JOIN pg_catalog.pg_opfamily f ON f.oid = families.oid JOIN pg_catalog.pg_am m ON m.oid = f.opfmethod
          AND m.amname IN ('btree', 'hash')
  UNION SELECT x.oid FROM pg_catalog.pg_type t JOIN types ON types.oid = t.oid
         CROSS JOIN LATERAL (VALUES (t.typinput::oid), (t.typoutput::oid), (t.typsubscript::oid)) AS x(oid)
  UNION SELECT x.oid FROM pg_catalog.pg_aggregate a CROSS JOIN LATERAL (VALUES (a.aggtransfn::oid), (a.aggfinalfn::oid),
         (a.aggcombinefn::oid), (a.aggserialfn::oid), (a.aggdeserialfn::oid), (a.aggmtransfn::oid), (a.aggminvtransfn::oid),
         (a.aggmfinalfn::oid)) AS x(oid) WHERE a.aggfnoid::oid = ANY ($1::oid[])
)
SELECT f.oid::bigint AS oid, p.provolatile IS DISTINCT FROM 'v' AND p.proname !~ '^(table|schema|database)_to_xml' AS is_steady,
       coalesce(l.lanname = 'c' OR p.prokind = 'a', false) AS is_compiled,
       p.proargdefaults::text AS tree, p.oid IS NULL AS is_unknown
FROM functions f LEFT JOIN pg_catalog.pg_proc p ON p.oid = f.oid LEFT JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE f.oid <> 0
UNION ALL
SELECT 0, true, true, c.conbin::text, false FROM pg_catalog.pg_constraint c JOIN types ON types.oid = c.contypid
"""


async def refuse_effects(connection: Any, tree: str) -> None:
    """Refuse the statement of ``tree`` (see ``_query_tree.py``) unless all that it is made of only reads. Raises StatementRefused."""
    made_of, seen = Ingredients(), {tree}
    made_of.add(tree)
    for _ in range(_ROUNDS):
        found = await connection.fetch(
            _BEHIND, list(made_of.functions), list(made_of.operators), list(made_of.types)
        )
        for row in found:
            _check(row)
        more = {row["tree"] for row in found if row["tree"] is not None} - seen
        if not more:
            return
        for one in more:
            made_of.add(one)
        seen |= more
    raise StatementRefused("what it calls is too deep to look through")


def _check(row: Any) -> None:
    if row["is_unknown"]:
        raise StatementRefused("it calls what the catalog does not know")
    if not row["is_steady"]:
        raise StatementRefused("it calls a volatile function, which may do more than read")
    if row["oid"] >= _FIRST_OF_USERS and not row["is_compiled"]:
        raise StatementRefused(
            "it calls a function whose body may do anything; its declaration is not enough"
        )
