"""What is deleted and cleared, and what must stay."""

from typing import Any, cast

import pytest
from sqlalchemy import text

from app.builtin.accounts.jobs import periodic
from app.builtin.accounts.service import SessionUpkeep, upkeep
from app.builtin.accounts.service.epochs import LONGEST_TOKEN_S
from app.core.db import get_db_context
from tests.builtin.accounts.desks import LIFETIMES, Accounts

KEPT_S = LIFETIMES.idle_s + 2 * LONGEST_TOKEN_S


async def counts(accounts: Accounts) -> tuple[Any, ...]:
    (row,) = await accounts.rows(
        "SELECT (SELECT count(*) FROM auth_sessions), (SELECT count(*) FROM refresh_tokens)"
    )
    return row


class TestPurge:
    async def test_sessions_go_with_their_tokens_when_nothing_of_them_can_be_alive(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        await accounts.refresh((await accounts.begin(user)).refresh_token)
        accounts.clock.advance(KEPT_S)
        await accounts.begin(user)
        assert await accounts.upkeep.purge() == 0
        accounts.clock.advance(1)
        assert await accounts.upkeep.purge() == 1
        assert await counts(accounts) == (1, 1)

    async def test_an_ended_one_stays_for_as_long_as_it_must_be_named(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        await accounts.begin(user)
        async with get_db_context(accounts.database) as db:
            await accounts.revocation.end_all_sessions(db, user.id, "logout_everywhere")
        accounts.clock.advance(LONGEST_TOKEN_S)
        assert await accounts.upkeep.purge() == 0
        assert len((await accounts.epochs.epoch_of(str(user.id))).ended) == 1
        accounts.clock.advance(KEPT_S)
        assert await accounts.upkeep.purge() == 1

    async def test_one_run_deletes_them_all_a_part_at_a_time(
        self, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        user = await accounts.add_user()
        for _ in range(5):
            await accounts.begin(user)
        accounts.clock.advance(KEPT_S + 1)
        monkeypatch.setattr(upkeep, "_SESSIONS_AT_ONCE", 2)
        assert await accounts.upkeep.purge() == 5
        assert await counts(accounts) == (0, 0)

    async def test_one_that_is_in_use_is_left_for_another_run(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        await accounts.begin(user)
        accounts.clock.advance(KEPT_S + 1)
        async with accounts.unkept() as db:
            await db.execute(text("SELECT 1 FROM auth_sessions FOR UPDATE"))
            assert await accounts.upkeep.purge() == 0
        assert await accounts.upkeep.purge() == 1


class TestForgetSuccessors:
    async def test_they_are_cleared_when_the_grace_time_is_over(self, accounts: Accounts) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        await accounts.refresh(token)
        accounts.clock.advance(LIFETIMES.grace_s)
        assert await accounts.upkeep.forget_successors() == 0
        accounts.clock.advance(1)
        assert await accounts.upkeep.forget_successors() == 1
        assert await accounts.rows("SELECT count(successor) FROM refresh_tokens") == [(0,)]


class TestPlans:
    @pytest.mark.parametrize(
        ("query", "index"),
        [
            (
                "SELECT id FROM auth_sessions WHERE used_at < now() ORDER BY used_at",
                "ix_auth_sessions_used_at",
            ),
            (
                "SELECT 1 FROM auth_sessions WHERE user_id = '00000000-0000-0000-0000-000000000000'",
                "ix_auth_sessions_user_id",
            ),
            (
                "SELECT 1 FROM refresh_tokens WHERE successor IS NOT NULL AND used_at < now()",
                "ix_refresh_tokens_used_at",
            ),
            (
                "SELECT 1 FROM refresh_tokens WHERE session_id = '00000000-0000-0000-0000-000000000000'",
                "uq_refresh_tokens_session_id_generation",
            ),
        ],
    )
    async def test_what_is_looked_up_has_an_index(self, accounts: Accounts, query: str, index: str) -> None:
        async with get_db_context(accounts.database) as db:
            await db.execute(text("SET LOCAL enable_seqscan = off"))
            assert index in "\n".join(await db.scalars(text(f"EXPLAIN {query}")))


async def test_all_of_it_is_done_again_and_again(accounts: Accounts) -> None:
    class Platform:
        def require(self, kind: Any) -> Any:
            return accounts.upkeep if kind is SessionUpkeep else kind(accounts.database, accounts.clock)

    tasks = {task.name: task for task in periodic(cast("Any", Platform()))}
    own = {"accounts.purge_sessions", "accounts.purge_deleted_users", "accounts.forget_successors"}
    of_keys = {"accounts.write_key_uses", "accounts.purge_api_keys"}
    assert tasks.keys() == own | of_keys | {"accounts.purge_email_tokens"}
    assert [name for name, task in tasks.items() if not task.leader] == ["accounts.write_key_uses"]
    for name, task in tasks.items():
        assert await task.work() == (None if name == "accounts.write_key_uses" else 0)
