"""What pages show of states that are seldom: nothing of it may fail for the first time while a server is in trouble."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from markupsafe import escape

from app.builtin.db_monitor.schemas.cache import CacheOut, OwnCacheOut
from app.core.http import Pages
from app.core.monitor import (
    Autovacuum,
    DatabaseAge,
    Finding,
    Holder,
    IndexReport,
    InvalidIndex,
    Locks,
    LockSession,
    OpenTransaction,
    OwnLag,
    Panel,
    Replication,
    Rewrite,
    RunningVacuum,
    Sequence,
    Sequences,
    Slot,
    Standby,
    TableAge,
    TableCare,
    Wraparound,
)
from tests.builtin.pages.browser import assert_nothing_inline

AT = datetime(2026, 11, 22, 4, 5, tzinfo=UTC)
HOSTILE = "<b onclick=x>'\"&"
GONE: Panel[Any] = Panel(None, f"Not there {HOSTILE}", 1.0)
FRAME = {"tabs": [("/ui/db-monitor", "Overview")], "tab": "/ui/db-monitor", "home": "/ui/db-monitor"}
pages = Pages("app.builtin.db_monitor")


def page(template: str, **values: Any) -> str:
    text = pages._environment.get_template(template).render({**FRAME, **values})
    assert_nothing_inline(text, is_scripted=True)
    assert "<b onclick" not in text
    return text


def is_there(value: Any) -> Panel[Any]:
    return Panel(value, None, 1.0)


def finding(severity: Any = "critical") -> Finding:
    return Finding(
        check="some.check", severity=severity, subject=HOSTILE, title=HOSTILE, evidence=HOSTILE, fix=HOSTILE, ddl=(HOSTILE, "VACUUM;"),
    )  # fmt: skip


def test_who_waits_stands_below_whom_he_waits_for() -> None:
    def session(pid: int, depth: int, **more: Any) -> LockSession:
        return LockSession(
            pid, (), "client backend", HOSTILE, "role", "db", "active", statement=HOSTILE, transaction_s=5.0, depth=depth,
            **{"waits_for": None, "lock_mode": None, "relation": None, "waiting_s": None, **more},
        )  # fmt: skip

    waits = {
        "waits_for": "Lock:relation",
        "lock_mode": "AccessShareLock",
        "relation": HOSTILE,
        "waiting_s": 90.0,
    }
    opened = OpenTransaction(3, HOSTILE, "role", "db", "idle in transaction", None, 70.0, None, HOSTILE)
    found = Locks(
        (session(1, 0, holds_up=2), session(2, 1, **waits), session(3, 2, **waits)),
        (opened,),
        4,
        AT,
        (finding(),),
    )
    text = page("connections.html", connections=GONE, locks=is_there(found))
    assert text.count("holds the lock") == 1
    assert f"Lock:relation AccessShareLock on {escape(HOSTILE)}" in text
    assert "\u2514\u00a02</th>" in text
    assert "\u00a0\u00a0\u2514\u00a03</th>" in text
    assert "1\u00a0min\u00a030\u00a0s" in text
    assert f"Not there {escape(HOSTILE)}" in text


def test_a_server_in_every_kind_of_trouble() -> None:
    care = TableCare(HOSTILE, HOSTILE, False, True, 10, 20, 50.0, 5, 55.5, AT, None, False, False)
    running = [RunningVacuum(1, "db", name, "scanning heap", is_auto, is_forced, 100, 50, 1, 3.0)
               for name, is_auto, is_forced in ((HOSTILE, True, True), (None, True, False), ("a.b", False, False))]  # fmt: skip
    ages = Wraparound(
        (DatabaseAge(100, 0, 200, 400, "db"),), (TableAge(1, 2, 3, 4, HOSTILE, False, False, HOSTILE, HOSTILE, 8192),),
        (Holder("prepared transaction", HOSTILE, 1_000_001, None),), (finding("warning"),),
    )  # fmt: skip
    numbers = Sequences(
        2, 1, 1, (Sequence(HOSTILE, HOSTILE, "integer", None, None, False, None, 2**31 - 1, 97.5, True),), ()
    )
    copies = Replication(
        True, "logical", True, 3, None, (Standby(HOSTILE, None, "streaming", "sync", None, 10_000, 1.5, None),),
        (Slot(HOSTILE, "logical", "db", "pgoutput", False, False, False, 2**33, "extended", None, 4000.0, None, None),),
        OwnLag(None, True, None, 12.0), (finding("info"),),
    )  # fmt: skip
    vacuum = Autovacuum(
        False, 3, 3, None, (care,), tuple(running), (finding(), finding("info"), finding("warning"))
    )
    text = page(
        "server.html", facts=GONE, settings=GONE, ages=is_there(ages), vacuum=is_there(vacuum), numbers=is_there(numbers),
        copies=is_there(copies),
    )  # fmt: skip
    for words in (
        "against wraparound",
        "automatic",
        "by hand",
        "A standby.",
        "It receives nothing",
        "97.5\u00a0%",
        "8\u00a0GB",
        "extended",
    ):
        assert words in text
    # Worst first, each block of code with an id of its own.
    severities = [part.split('"')[0] for part in text.split('<article class="finding ')[1:4]]
    assert severities == ["critical", "warning", "info"]


@pytest.mark.parametrize(
    "template",
    [
        "indexes.html",
        "tables.html",
        "table.html",
        "query.html",
        "queries.html",
        "cache.html",
        "overview.html",
    ],
)
def test_a_page_without_a_single_answer_says_why(template: str) -> None:
    query = SimpleNamespace(window="24h", sort="total", source=None, min_calls=0, min_mean_ms=0, route=None)
    seen = SimpleNamespace(facts=GONE, checks=(), findings=(), more=0, costly=())
    text = page(
        template, indexes=GONE, wanted=GONE, tables=GONE, lines=GONE, page=1, pages=1, table=GONE, name=HOSTILE, history=[], found=GONE,
        plan=GONE, advice=GONE, report=GONE, trend=GONE, caches=GONE, seen=seen, query=query, queryid="1", windows=("24h",), chart_of=None,
    )  # fmt: skip
    assert f"Not there {escape(HOSTILE)}" in text


def test_caches_of_which_one_does_not_answer() -> None:
    own = [OwnCacheOut(name=HOSTILE, kind="values", asked=0, served=0, hit_percent=None, events={})]
    found = CacheOut(
        own=own, buffers=None, store=None, unavailable={"buffers": "busy", "store": HOSTILE}, findings=[]
    )
    text = page("cache.html", caches=is_there(found))
    assert text.count("not available") == 2
    assert f"</span> {escape(HOSTILE)}" in text


def test_advice_in_every_form() -> None:
    index = SimpleNamespace(
        schema="a", table=HOSTILE, name="ix", method="gin", columns=(HOSTILE,), include=("b",), predicate=f"x = '{HOSTILE}'",
        ddl=("CREATE INDEX a", "ALTER INDEX b"), alembic=HOSTILE, reason=HOSTILE, cost_before=10.0, cost_after=1.0, verified="hypopg",
        size_bytes=8192, writes_per_day=5.0, hot_percent=99.0, replaces=("old",), needs_extension="pg_trgm",
    )  # fmt: skip
    rewrites = (Rewrite("t", HOSTILE, HOSTILE, "why"), Rewrite("t", "x", None, "why"))
    advice = is_there(SimpleNamespace(suggestions=(index,), rewrites=rewrites, reasons=(HOSTILE,)))
    text = page("explain.html", sql=HOSTILE, analyze=True, plan=GONE, advice=advice)
    assert "CREATE INDEX" not in text  # without a plan there is no advice
    workload = SimpleNamespace(
        indexes=(SimpleNamespace(suggestion=index, statements=(1, -2), saved_ms=5.0),),
        skipped=((1, "x"),),
        asked=2,
    )
    invalid = InvalidIndex("a", HOSTILE, HOSTILE, True, True, 8192, HOSTILE, ("REINDEX x",))
    report = IndexReport((), (), (invalid,), (), ())
    text = page(
        "indexes.html",
        indexes=is_there(report),
        wanted=is_there(SimpleNamespace(advice=workload, per_day=2.0)),
    )
    words = (
        "CREATE INDEX a;\nALTER INDEX b;", "CREATE EXTENSION pg_trgm", "Replaces", "10\u00a0ms a day",
        'href="/ui/db-monitor/queries/-2"', "REINDEX x", "1 could not be planned",
    )  # fmt: skip
    assert [word for word in words if word not in text] == []
