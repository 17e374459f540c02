"""The second half of a sign-in, on a real database: single use, tries, limits, and what ends a challenge."""

import asyncio
from typing import cast

import pytest
from sqlalchemy import Table
from structlog.testing import capture_logs

from app.builtin.accounts.models import MfaFactor, User
from app.builtin.accounts.repository import MfaRepository
from app.builtin.accounts.service import (
    BadMfaToken,
    BadProof,
    BadRefreshToken,
    MfaRequired,
    Opened,
    TooManyCodes,
)
from app.builtin.accounts.service.mfa_factor import delay_s
from app.builtin.accounts.service.mfa_sign_in import CHALLENGE_S, TRIES
from app.core.db import ColumnRotation, get_db_context
from app.core.errors import Unavailable
from app.core.security import InvalidToken, configure_encryption
from tests.builtin.accounts.desks import SCOPES, Accounts
from tests.builtin.accounts.second_factors import Protected, with_code, with_recovery


async def events(accounts: Accounts, name: str) -> list[tuple[object, ...]]:
    return await accounts.rows("SELECT subject_id, detail FROM audit_events WHERE event = :name", name=name)


class TestRequire:
    async def test_a_user_without_a_confirmed_factor_is_asked_for_nothing(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        caller = accounts.tokens.verify((await accounts.begin(user)).access.token)
        async with get_db_context(accounts.database) as db:
            await accounts.mfa_sign_in.require(db, user, SCOPES)
            await accounts.mfa.begin(db, caller)
        async with get_db_context(accounts.database) as db:
            await accounts.mfa_sign_in.require(db, user, SCOPES)
        assert await accounts.rows("SELECT 1 FROM mfa_challenges") == []

    async def test_it_answers_401_with_a_token_that_is_nowhere_in_the_database_nor_in_the_error_s_text(
        self, accounts: Accounts
    ) -> None:
        ann = await Protected.enrol(accounts)
        async with accounts.unkept() as db:
            user = await db.get_one(User, ann.user.id)
            with pytest.raises(MfaRequired) as waiting:
                await accounts.mfa_sign_in.require(db, user, SCOPES)
        error = waiting.value
        token = str(error.extensions["mfa_token"])
        assert (error.status, error.extensions["error"], error.extensions["expires_in"]) == (
            401, "mfa_required", CHALLENGE_S,
        )  # fmt: skip
        assert error.headers == {"WWW-Authenticate": "Bearer"}
        assert token.startswith("mfa_")
        assert len(token) >= 46
        assert token not in repr(error) + str(error)
        # Kept although the request was refused and rolled back.
        ((row,),) = await accounts.rows("SELECT CAST(to_jsonb(c) AS text) FROM mfa_challenges c")
        assert token not in row

    async def test_challenges_that_expired_are_deleted_by_the_next_one(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        await ann.wait()
        accounts.clock.advance(CHALLENGE_S + 1)
        await ann.wait()
        assert await accounts.rows("SELECT count(*) FROM mfa_challenges") == [(1,)]


class TestRedeem:
    async def test_a_right_code_begins_a_session_that_tells_so_and_keeps_telling_it(
        self, accounts: Accounts
    ) -> None:
        ann = await Protected.enrol(accounts)
        token, signed_in = await ann.wait(), accounts.clock.time()
        opened = await ann.redeem(token, with_code(ann.code()))
        accounts.clock.advance(100)
        for one in (opened, await accounts.refresh(opened.refresh_token)):
            principal = accounts.tokens.verify(one.access.token)
            assert principal.methods == ("pwd", "otp", "mfa")
            assert principal.authenticated_at == signed_in
            assert (principal.id, principal.scopes) == (str(ann.user.id), frozenset(SCOPES))

    async def test_the_token_is_good_once(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        token = await ann.wait()
        await ann.redeem(token, with_code(ann.code()))
        accounts.clock.advance(30)
        with pytest.raises(BadMfaToken) as refused:
            await ann.redeem(token, with_code(ann.code()))
        assert (refused.value.status, refused.value.extensions) == (401, {"error": "invalid_grant"})

    async def test_a_code_is_good_once_and_ends_those_of_the_steps_before(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        code, before, after = ann.code(), ann.code(-1), ann.code(1)
        await ann.redeem(await ann.wait(), with_code(code))
        for used in (code, before):
            with pytest.raises(BadProof):
                await ann.redeem(await ann.wait(), with_code(used))
        await ann.redeem(await ann.wait(), with_code(after))

    @pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (1, True), (2, False)])
    async def test_a_phone_s_clock_may_differ_by_one_step(
        self, accounts: Accounts, steps: int, *, good: bool
    ) -> None:
        ann = await Protected.enrol(accounts)
        accounts.clock.advance(300)
        token = await ann.wait()
        if good:
            await ann.redeem(token, with_code(ann.code(steps)))
        else:
            with pytest.raises(BadProof):
                await ann.redeem(token, with_code(ann.code(steps)))

    async def test_of_many_who_use_one_code_at_once_one_signs_in(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        code, tokens = ann.code(), [await ann.wait() for _ in range(5)]
        results = await asyncio.gather(
            *(ann.redeem(token, with_code(code)) for token in tokens * 2), return_exceptions=True
        )
        assert sum(isinstance(result, Opened) for result in results) == 1
        assert {type(result) for result in results} <= {Opened, BadProof, BadMfaToken, TooManyCodes}

    async def test_of_many_who_take_one_step_without_waiting_for_each_other_one_gets_it(
        self, accounts: Accounts
    ) -> None:
        ann = await Protected.enrol(accounts)
        step = int(accounts.clock.time()) // 30

        async def take(step: int) -> bool:
            async with get_db_context(accounts.database) as db:
                return await MfaRepository(db).spend_step(ann.user.id, step)

        assert sorted(await asyncio.gather(*(take(step) for _ in range(8)))) == [False] * 7 + [True]
        assert [await take(step - 1), await take(step + 1)] == [False, True]

    async def test_the_token_of_another_user_takes_his_code_and_nobody_else_s(
        self, accounts: Accounts
    ) -> None:
        ann, bob = await Protected.enrol(accounts), await Protected.enrol(accounts, "bob@example.com")
        token = await bob.wait()
        with pytest.raises(BadProof):
            await bob.redeem(token, with_code(ann.code()))
        with pytest.raises(BadProof):
            await bob.redeem(token, with_recovery(ann.recovery_codes[0]))
        principal = accounts.tokens.verify((await bob.redeem(token, with_code(bob.code()))).access.token)
        assert principal.id == str(bob.user.id)

    @pytest.mark.parametrize("token", ["", "mfa_unknown", "rt_x", "\ud800"])
    async def test_a_token_of_nothing_is_401(self, accounts: Accounts, token: str) -> None:
        ann = await Protected.enrol(accounts)
        with pytest.raises(BadMfaToken):
            await ann.redeem(token, with_code(ann.code()))

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE users SET password_hash = 'another'",
            "UPDATE users SET is_active = false",
            "UPDATE users SET tokens_since = to_timestamp(1900000000)",
            "DELETE FROM mfa_factors",
        ],
    )
    async def test_a_change_of_the_user_ends_it(self, accounts: Accounts, change: str) -> None:
        ann = await Protected.enrol(accounts)
        token = await ann.wait()
        await accounts.write(change)
        with pytest.raises((BadMfaToken, BadProof)):
            await ann.redeem(token, with_code(ann.code()))

    async def test_it_is_over_after_five_minutes(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        token, other = await ann.wait(), await ann.wait()
        accounts.clock.advance(CHALLENGE_S - 1)
        await ann.redeem(token, with_code(ann.code()))
        accounts.clock.advance(1)
        with pytest.raises(BadMfaToken):
            await ann.redeem(other, with_code(ann.code(1)))

    async def test_a_process_without_the_key_is_503_and_counts_nothing(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        token = await ann.wait()
        configure_encryption(["another key of the tests, thirty-two bytes or more"])
        with pytest.raises(Unavailable):
            await ann.redeem(token, with_code(ann.code()))
        assert await accounts.rows("SELECT tries FROM mfa_challenges") == [(0,)]

    async def test_the_secret_moves_to_a_new_key(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        old, new = (
            "a key of the tests, thirty-two bytes or more",
            "a newer key of the tests, of more than 32 bytes",
        )
        configure_encryption([new, old])
        column = cast("Table", MfaFactor.__table__).c["secret"]
        turns = [turn.rotated async for turn in ColumnRotation(accounts.database, column).run()]
        configure_encryption([new])
        assert turns == [1]
        await ann.redeem(await ann.wait(), with_code(ann.code()))

    async def test_its_token_is_no_refresh_token_and_the_other_way(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        opened = await ann.redeem(await ann.wait(), with_code(ann.code()))
        with pytest.raises(BadRefreshToken):
            await accounts.refresh(await ann.wait())
        with pytest.raises(BadMfaToken):
            await ann.redeem(opened.refresh_token, with_recovery(ann.recovery_codes[0]))
        with pytest.raises(InvalidToken):
            accounts.tokens.verify(await ann.wait())


class TestLimits:
    async def test_after_five_wrong_codes_the_challenge_is_dead_and_its_user_s_log_says_so(
        self, accounts: Accounts
    ) -> None:
        ann = await Protected.enrol(accounts)
        token = await ann.wait()
        with capture_logs() as logs:
            for _ in range(TRIES):
                with pytest.raises(BadProof):
                    await ann.redeem(token, with_code(ann.wrong()))
        accounts.clock.advance(60)
        with pytest.raises(BadMfaToken):
            await ann.redeem(token, with_code(ann.code()))
        assert await events(accounts, "mfa.challenge_used_up") == [(ann.user.id, {"tries": TRIES})]
        assert ann.wrong() not in str(logs)
        assert token not in str(logs)

    async def test_five_at_once_are_five_tries(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        token = await ann.wait()
        results = await asyncio.gather(
            *(ann.redeem(token, with_recovery("A" * 16)) for _ in range(12)), return_exceptions=True
        )
        assert [type(result) for result in results].count(BadProof) == TRIES
        assert await accounts.rows("SELECT tries FROM mfa_challenges") == [(TRIES,)]

    async def test_new_challenges_give_no_more_guesses_and_the_wait_grows_and_ends(
        self, accounts: Accounts
    ) -> None:
        ann = await Protected.enrol(accounts)
        token = await ann.wait()
        for _ in range(TRIES):
            with pytest.raises(BadProof):
                await ann.redeem(token, with_code(ann.wrong()))
        for wait in (30, 60):
            with pytest.raises(TooManyCodes) as refused:
                await ann.redeem(await ann.wait(), with_code(ann.code()))
            assert (refused.value.status, refused.value.retry_after) == (429, wait)
            accounts.clock.advance(wait)
            with pytest.raises(BadProof):
                await ann.redeem(await ann.wait(), with_code(ann.wrong()))
        accounts.clock.advance(120)
        await ann.redeem(await ann.wait(), with_code(ann.code()))
        assert await accounts.rows("SELECT failures, failed_at FROM mfa_factors") == [(0, None)]

    async def test_its_owner_gets_in_with_a_recovery_code_meanwhile(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        token = await ann.wait()
        for _ in range(TRIES):
            with pytest.raises(BadProof):
                await ann.redeem(token, with_code(ann.wrong()))
        opened = await ann.redeem(await ann.wait(), with_recovery(ann.recovery_codes[3]))
        assert accounts.tokens.verify(opened.access.token).methods == ("pwd", "mfa")

    async def test_a_day_without_a_wrong_code_forgets_them(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        await accounts.write(
            "UPDATE mfa_factors SET failures = 20, failed_at = to_timestamp(:at)",
            at=accounts.clock.time() - 86_401,
        )
        with pytest.raises(BadProof):
            await ann.redeem(await ann.wait(), with_code(ann.wrong()))
        assert await accounts.rows("SELECT failures FROM mfa_factors") == [(1,)]

    def test_the_wait_is_never_longer_than_a_quarter_of_an_hour(self) -> None:
        waits = [delay_s(failures) for failures in (0, 4, 5, 6, 7, 9, 10, 11, 10_000)]
        assert waits == [0, 0, 30, 60, 120, 480, 900, 900, 900]


class TestRecoveryCodes:
    async def test_each_is_good_once_and_its_use_is_on_record(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        code = ann.recovery_codes[0]
        await ann.redeem(await ann.wait(), with_recovery(code.lower()))
        with pytest.raises(BadProof):
            await ann.redeem(await ann.wait(), with_recovery(code))
        await ann.redeem(await ann.wait(), with_recovery(ann.recovery_codes[1]))
        used = await events(accounts, "mfa.recovery_code_used")
        assert used == [(ann.user.id, {"left": 9}), (ann.user.id, {"left": 8})]

    async def test_of_two_who_use_one_at_once_one_signs_in(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        tokens = [await ann.wait() for _ in range(5)]
        results = await asyncio.gather(
            *(ann.redeem(token, with_recovery(ann.recovery_codes[0])) for token in tokens),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Opened) for result in results) == 1
        assert await events(accounts, "mfa.recovery_code_used") == [(ann.user.id, {"left": 9})]
