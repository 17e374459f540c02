"""Whatever is sent to the paths that take a statement: no effect in the database, an answer in our words, and nobody's data in it."""

import json
import re
from uuid import uuid4

import pytest

from app.core.db import Database
from tests.builtin.db_monitor.hostile import CANARY, FILE, HOSTILE, NOTES, Hostile
from tests.leaks import LeakGuard
from tests.sites import Site

ANALYZE, OPTIMIZE = "/db-monitor/analyze-query", "/db-monitor/optimize-query"
SERVER_WORDS = (
    "invalid input syntax",
    "relation \\",
    "LINE 1",
    "operator does not exist",
    "division by zero",
)
TOLD = re.compile(r"The query cannot be explained: [a-z][^:]+$|The request does not match")
STATE = f"""
SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_largeobject_metadata),
       (SELECT count(*) || md5(string_agg(t::text, ',' ORDER BY id)) FROM {NOTES} t),
       (SELECT last_value || is_called::text FROM attacked.counter),
       (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE l.locktype = 'advisory' AND a.application_name = 'gatehouse-monitor' AND a.datname = current_database()),
       (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
       (SELECT pg_stat_file('{FILE}', true)), (SELECT
         string_agg(rolname || coalesce(rolpassword, ''), ',' ORDER BY rolname) FROM pg_authid WHERE rolname IN ('postgres', 'gatehouse'))
"""


async def state(database: Database) -> tuple[object, ...]:
    async with database.engine.connect() as connection:
        return tuple((await connection.exec_driver_sql(STATE)).one())


async def ask(site: Site, path: str, hostile: Hostile, *, analyze: bool) -> tuple[int, str]:
    asked = {"sql": hostile.sql, **({"analyze": True} if analyze else {})}
    body = json.dumps(asked, ensure_ascii="\ud800" in hostile.sql).encode()
    headers = {**site.bearer(user=uuid4()), "Content-Type": "application/json"}
    answer = await site.client.post(path, content=body, headers=headers)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("path", "analyze"),
    [(ANALYZE, False), (ANALYZE, True), (OPTIMIZE, False)],
    ids=["planned", "run", "advised"],
)
async def test_no_statement_has_an_effect_and_each_is_answered_in_our_words(
    site: Site, database: Database, leak_guard: LeakGuard, path: str, analyze: bool
) -> None:
    leak_guard.watch(CANARY)
    before, wrong = await state(database), []
    for number, hostile in enumerate(HOSTILE, 1):
        status, answer = await ask(site, path, hostile, analyze=analyze)
        expected = hostile.run if analyze else hostile.planned
        has_leaked = CANARY in answer or any(word in answer for word in SERVER_WORDS)
        is_told = status == 200 or TOLD.match(json.loads(answer)["detail"])
        if status != expected or has_leaked or not is_told:
            wrong.append((hostile.sql[:70], status, expected, answer[:200]))
        if number % 20 == 0 or number == len(HOSTILE):
            assert await state(database) == before, f"one of the 20 until {hostile.sql[:70]}"
    assert wrong == []
    assert len(HOSTILE) >= 50
