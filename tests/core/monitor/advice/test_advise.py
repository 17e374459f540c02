import pytest

from app.core.db import Database, QueryNotExplainable
from app.core.monitor import Advice, MonitorServer, Ran, advise, advise_workload

LINES = 'shop."Order Lines"'
# ``{}`` is the table; expected are the keys and what follows, of each index.
SUGGESTED = (
    ("SELECT * FROM {} WHERE ref = 17", 'btree ("ref")'),
    ("SELECT * FROM {} WHERE customer_id = $1", 'btree ("customer_id")'),
    ("SELECT * FROM {} WHERE status = 'open'", 'btree ("status")'),
    ("SELECT * FROM {} WHERE shipped IS NULL", 'btree ("shipped")'),
    ("SELECT * FROM {} WHERE ref IN (1, 2, 3)", 'btree ("ref")'),
    ("SELECT * FROM {} WHERE at BETWEEN '2026-03-01Z' AND '2026-03-02Z'", 'btree ("at")'),
    ("SELECT * FROM {} ORDER BY at DESC LIMIT 5", 'btree ("at")'),
    ("SELECT * FROM {} ORDER BY status, at DESC LIMIT 5", 'btree ("status", "at" DESC)'),
    ("SELECT * FROM {} WHERE status = 'sent' ORDER BY at LIMIT 5", 'btree ("status", "at")'),
    ("SELECT * FROM {} WHERE shipped IS NULL ORDER BY at LIMIT 5", 'btree ("at") WHERE ("shipped" IS NULL)'),
    ("SELECT max(at) FROM {}", 'btree ("at")'),
    ("SELECT min(at), max(at) FROM {}", 'btree ("at")'),
    ("SELECT * FROM {} WHERE (data ->> 'ref') = 'r7'", """btree ((("data" ->> ('ref')::text)))"""),
    ("SELECT * FROM {} WHERE day::date = '2026-03-01'", 'btree ((("day")::date))'),
    ("SELECT * FROM {} WHERE abs(ref) = 7", 'btree ((abs("ref")))'),
    ('SELECT * FROM {} WHERE data @> \'{{"ref": "r7"}}\'', 'gin ("data")'),
    ("SELECT * FROM {} WHERE tags @> ARRAY['t7']", 'gin ("tags")'),
    ("SELECT * FROM {} WHERE during && tstzrange('2026-03-01Z', '2026-03-01 02:00Z')", 'gist ("during")'),
    ("SELECT * FROM {} ORDER BY place <-> point(1, 2) LIMIT 3", 'gist ("place")'),
    (
        "SELECT o.id FROM {} o, string_to_array($1, ',') q WHERE o.tags @> q ORDER BY o.at LIMIT 9",
        'gin ("tags")',
    ),
    (
        "SELECT o.id FROM unnest($1::int[]) v JOIN {} o ON o.customer_id = v ORDER BY o.ref LIMIT 20",
        'btree ("customer_id")',
    ),
    (
        "SELECT * FROM {} WHERE status NOT IN ('done', 'sent')",
        """btree ("status") WHERE ("status" <> ALL (ARRAY[('done')::text, ('sent')::text]))""",
    ),
    ("UPDATE {} SET kind = 0 WHERE ref = 17", 'btree ("ref")'),
    ("DELETE FROM shop.customers WHERE id = 17", 'btree ("customer_id")'),
    ("SELECT * FROM shop.opened", 'btree ("status")'),
    ("SELECT * FROM shop.events WHERE tenant = 7", 'btree ("tenant")'),
    ("SELECT * FROM shop.events WHERE tenant = $1 AND at >= $2", 'btree ("tenant")'),
    (
        "SELECT o.* FROM shop.customers c JOIN {} o ON o.customer_id = c.id WHERE c.id = 2999",
        'btree ("customer_id")',
    ),
    ("WITH x AS (SELECT * FROM {}) SELECT * FROM x WHERE ref = 17", 'btree ("ref")'),
    (
        "SELECT c.id, (SELECT count(*) FROM {} o WHERE o.customer_id = c.id) FROM shop.customers c WHERE c.id < 5",
        'btree ("customer_id")',
    ),
)


def said(advice: Advice) -> list[str]:
    return [one.ddl[0].partition(" USING ")[2] for one in advice.suggestions]


class TestAnIndexIsSuggested:
    @pytest.mark.parametrize(("sql", "expected"), SUGGESTED)
    async def test_of_the_right_kind_and_no_wider(
        self, watched: MonitorServer, sql: str, expected: str
    ) -> None:
        advice = await advise(watched, sql.format(LINES))
        assert said(advice) == [expected]
        assert advice.suggestions[0].gain >= 1.5
        assert advice.suggestions[0].verified == "estimated"

    async def test_for_each_side_of_an_or(self, watched: MonitorServer) -> None:
        advice = await advise(watched, f"SELECT * FROM {LINES} WHERE ref = 5 OR customer_id = 2999")
        assert said(advice) == ['btree ("ref")', 'btree ("customer_id")']

    async def test_and_the_server_takes_it_and_uses_it(
        self, watched: MonitorServer, database: Database
    ) -> None:
        sql = f"SELECT * FROM {LINES} WHERE tags @> ARRAY['t7']"
        (one,) = (await advise(watched, sql)).suggestions
        async with database.engine.connect() as connection:  # and takes it back
            await connection.exec_driver_sql(one.ddl[0].replace(" CONCURRENTLY", ""))
            plan = str((await connection.exec_driver_sql(f"EXPLAIN {sql}")).all())
        assert one.name in plan


class TestNoIndexIsSuggested:
    @pytest.mark.parametrize(
        ("sql", "reason"),
        [
            ("SELECT * FROM {} WHERE status = 'done'", "too many of its rows"),
            ("SELECT * FROM {} WHERE status = $1", "too many of its rows"),
            ("SELECT * FROM {} WHERE status <> 'done'", "too many of its rows"),
            ("SELECT * FROM {} WHERE (data ->> 'web') = 'true'", "too many of its rows"),
            ("SELECT * FROM {} WHERE id = 17", "has what is needed: Order Lines_pkey"),
            ("SELECT * FROM {} WHERE ref = 17 AND kind = 3", "read by lines_kind_ref"),
            ("SELECT * FROM shop.flags WHERE name = 'f7'", "so small"),
            ("SELECT * FROM shop.never_analyzed WHERE id = 7", "ANALYZE"),
            ("SELECT count(*) FROM {}", "no condition"),
            ("SELECT * FROM {} WHERE total > ref + 900", "no condition"),
            ("SELECT 1", "reads no table"),
            ("DELETE FROM {} WHERE id = 17", "has what is needed"),
        ],
    )
    async def test_and_why_is_said(self, watched: MonitorServer, sql: str, reason: str) -> None:
        advice = await advise(watched, sql.format(LINES))
        assert said(advice) == []
        assert reason in "; ".join(advice.reasons)

    @pytest.mark.parametrize(
        ("sql", "instead"),
        [
            ("SELECT * FROM {} WHERE 't7' = ANY(tags)", "tags @> ARRAY[?]"),
            ("SELECT * FROM {} WHERE at::date = '2026-03-01'", "at >= ? AND"),
            ("SELECT * FROM {} WHERE to_char(at, 'YYYY') = '1999'", "at >= ? AND"),
            ("SELECT * FROM {} WHERE ref::text = '17'", "ref = ?::integer"),
            ("SELECT * FROM {} WHERE id = 17.0", "id = ?::integer"),
            ("SELECT * FROM {} WHERE ref / 100 = 7", "ref >= ? AND"),
            ("WITH x AS MATERIALIZED (SELECT * FROM {}) SELECT * FROM x WHERE ref = 17", "NOT MATERIALIZED"),
            ("SELECT * FROM {} WHERE ref = 17 OR total * 2 = 7", None),
        ],
    )
    async def test_but_how_to_write_it_where_that_helps(
        self, watched: MonitorServer, sql: str, instead: str | None
    ) -> None:
        advice = await advise(watched, sql.format(LINES))
        assert said(advice) == []
        (rewrite,) = advice.rewrites
        assert (rewrite.instead is None) if instead is None else (instead in str(rewrite.instead))
        assert not {"t7", "1999", "17"} & set(rewrite.condition.replace("'", " ").split())


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE shop.flags",
        "SELECT 1; SELECT 2",
        "SELECT * FROM shop.nothing",
        "COPY shop.flags TO STDOUT",
    ],
)
async def test_what_cannot_be_planned_is_refused(watched: MonitorServer, sql: str) -> None:
    with pytest.raises(QueryNotExplainable):
        await advise(watched, sql)


async def test_a_workload_gets_one_set_of_indexes(watched: MonitorServer) -> None:
    advice = await advise_workload(
        watched,
        [
            Ran(
                1,
                f"SELECT * FROM {LINES} WHERE status = $1 AND customer_id = $2 ORDER BY at LIMIT $3",
                10,
                5.0,
            ),
            Ran(2, f"SELECT * FROM {LINES} WHERE customer_id = $1", 1000, 3.0),
            Ran(3, f"SELECT * FROM {LINES} WHERE ref = $1", 10, 9.0),
            Ran(4, "ALTER TABLE shop.flags RENAME TO x", 1, 1.0),
            Ran(5, f"SELECT * FROM {LINES} WHERE place <@ $1", 1, 0.1),
        ],
        most=4,
    )
    assert [(it.suggestion.columns, it.statements) for it in advice.indexes] == [
        (('"customer_id"',), (2, 1)),
        (('"ref"',), (3,)),
    ]
    assert ([it[0] for it in advice.skipped], advice.asked) == ([4], 3)
    assert advice.indexes[0].saved_ms <= 3050.0
