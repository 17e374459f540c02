"""Who waits for the end of a request's transactions hears of it once, and truly."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.core.db import ConstraintViolated, Database, SessionScope, session_scope

pytestmark = pytest.mark.usefixtures("entries")


class Listener:
    def __init__(self, scope: SessionScope) -> None:
        self.heard: list[str] = []
        scope.at_end(self.hear)

    async def hear(self, end: str) -> None:
        self.heard.append(end)


@pytest.fixture
async def scope(database: Database) -> AsyncIterator[SessionScope]:
    with session_scope(database) as scope:
        yield scope


async def insert(scope: SessionScope, number: int, parent: int | None = None) -> None:
    await scope.first().execute(text(f"INSERT INTO entries VALUES ({number}, {parent or number}, 'x')"))


async def count(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(text("SELECT count(*) FROM entries")) or 0)


async def test_kept_after_the_commit_and_only_once(scope: SessionScope, database: Database) -> None:
    seen: list[int] = []

    async def look(_: Any) -> None:
        seen.append(await count(database))

    listener = Listener(scope)
    scope.at_end(look)
    await insert(scope, 1)
    await scope.commit()
    await scope.rollback()
    assert (listener.heard, seen) == (["kept"], [1])


async def test_undone_after_a_rollback_even_without_a_session(scope: SessionScope) -> None:
    listener = Listener(scope)
    assert scope.is_used
    await scope.rollback()
    assert listener.heard == ["undone"]


async def test_kept_without_a_session_when_there_was_nothing_to_commit(scope: SessionScope) -> None:
    listener = Listener(scope)
    await scope.commit()
    assert listener.heard == ["kept"]


async def test_undone_when_the_commit_was_refused(scope: SessionScope, database: Database) -> None:
    listener = Listener(scope)
    await insert(scope, 1, parent=99)
    with pytest.raises(ConstraintViolated):
        await scope.commit()
    assert listener.heard == ["undone"]
    assert await count(database) == 0


@pytest.mark.parametrize("error", [ConnectionResetError, asyncio.CancelledError, TimeoutError])
async def test_unknown_when_the_commit_got_no_answer(
    scope: SessionScope, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async def lost() -> None:
        raise error

    listener = Listener(scope)
    await insert(scope, 1)
    monkeypatch.setattr(scope.first(), "commit", lost)
    with pytest.raises(Exception if error is not asyncio.CancelledError else error):
        await scope.commit()
    assert listener.heard == ["unknown"]


async def test_unknown_when_only_the_first_of_two_was_kept(
    scope: SessionScope, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused() -> None:
        raise ConstraintViolated

    listener = Listener(scope)
    await insert(scope, 1)
    async with scope.open() as first, scope.open() as second:
        assert first is scope.first()
        await second.execute(text("SELECT 1"))
        monkeypatch.setattr(second, "commit", refused)
        with pytest.raises(ConstraintViolated):
            await scope.commit()
    assert listener.heard == ["unknown"]
    assert await count(database) == 1


async def test_what_is_done_before_the_commit_is_in_its_transaction(
    scope: SessionScope, database: Database
) -> None:
    scope.before_commit(lambda: insert(scope, 1))
    await scope.commit()
    assert await count(database) == 1


async def test_what_fails_before_the_commit_undoes_everything(
    scope: SessionScope, database: Database
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    listener = Listener(scope)
    await insert(scope, 1)
    scope.before_commit(fail)
    with pytest.raises(ZeroDivisionError):
        await scope.commit()
    assert listener.heard == ["undone"]
    assert await count(database) == 0


async def test_nothing_is_done_before_a_commit_that_does_not_come(
    scope: SessionScope, database: Database
) -> None:
    scope.before_commit(lambda: insert(scope, 1))
    await scope.rollback()
    await scope.commit()
    assert await count(database) == 0


async def test_one_that_fails_is_logged_and_the_others_still_hear(scope: SessionScope) -> None:
    async def fail(_: Any) -> None:
        raise ZeroDivisionError

    scope.at_end(fail)
    listener = Listener(scope)
    with capture_logs() as lines:
        await scope.commit()
    assert listener.heard == ["kept"]
    assert [line["event"] for line in lines] == ["sessions.end_failed"]


async def test_all_hear_of_it_also_when_the_caller_is_cancelled_meanwhile(
    scope: SessionScope, database: Database
) -> None:
    began, going_on, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_end: str) -> None:
        began.set()
        await going_on.wait()

    async def last(_end: str) -> None:
        over.set()

    scope.at_end(slow)
    listener = Listener(scope)
    scope.at_end(last)
    await insert(scope, 1)
    commit = asyncio.create_task(scope.commit())
    await began.wait()
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    going_on.set()
    async with asyncio.timeout(60):
        await over.wait()
    assert listener.heard == ["kept"]
    assert await count(database) == 1
