"""Setting a second factor up and taking it away, and step-up, on a real database."""

import asyncio

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.builtin.accounts.schemas import MfaEnrolment, MfaStatus, RecoveryCodes, StepUpForm
from app.builtin.accounts.service import (
    AuditLog,
    BadProof,
    BadRefreshToken,
    Enabled,
    MfaRequired,
    StepUp,
    reset_mfa,
)
from app.builtin.accounts.service.scopes import InvalidScope
from app.core.context import Principal
from app.core.db import get_db_context
from app.core.errors import Conflict, EntityNotFoundError, Unprocessable
from app.core.security import InvalidToken, IssuedToken, PasswordHasher, scopes_of
from app.core.valkey import StoreDown
from tests.builtin.accounts.desks import SCOPES, Accounts
from tests.builtin.accounts.lives import Lives
from tests.builtin.accounts.second_factors import Protected, with_code, with_recovery

PASSWORD = "correct horse battery staple"


async def signed_in(accounts: Accounts) -> Principal:
    return accounts.tokens.verify((await accounts.begin(await accounts.add_user())).access.token)


async def begun(accounts: Accounts, caller: Principal) -> str:
    async with get_db_context(accounts.database) as db:
        return (await accounts.mfa.begin(db, caller)).secret


async def confirmed(accounts: Accounts, caller: Principal, code: str) -> Enabled:
    async with get_db_context(accounts.database) as db:
        return await accounts.mfa.confirm(db, caller, code)


async def status(accounts: Accounts, caller: Principal) -> MfaStatus:
    async with get_db_context(accounts.database) as db:
        return await accounts.mfa.status(db, caller)


async def recorded(accounts: Accounts) -> list[str]:
    return [str(row[0]) for row in await accounts.rows("SELECT event FROM audit_events ORDER BY id")]


class TestEnrolment:
    async def test_a_confirmed_factor_is_on_and_ends_the_other_sessions(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        other, own = await accounts.begin(user), await accounts.begin(user)
        caller = accounts.tokens.verify(own.access.token)
        secret = await begun(accounts, caller)
        assert not (await status(accounts, caller)).enabled
        enabled = await confirmed(accounts, caller, Protected(accounts, user, secret, (), caller).code())
        assert await status(accounts, caller) == MfaStatus(
            enabled=True, since=accounts.now(), recovery_codes_left=10
        )
        assert [await accounts.is_revoked(one.access) for one in (other, own)] == [True, False]
        with pytest.raises(BadRefreshToken):
            await accounts.refresh(other.refresh_token)
        for access in (enabled.access, (await accounts.refresh(own.refresh_token)).access):
            principal = accounts.tokens.verify(access.token)
            assert principal.methods == ("pwd", "otp", "mfa")
            assert principal.session_id == caller.session_id
        assert await recorded(accounts) == ["mfa.enabled"]

    async def test_what_is_secret_is_encrypted_or_hashed_and_in_no_log_or_repr(
        self, accounts: Accounts
    ) -> None:
        with capture_logs() as logs:
            ann = await Protected.enrol(accounts)
        secrets = [ann.secret, *ann.recovery_codes, *(code.replace("-", "") for code in ann.recovery_codes)]
        rows = [
            str(row)
            for table in ("mfa_factors", "mfa_recovery_codes", "audit_events")
            for row in await accounts.rows(f"SELECT to_jsonb(t) FROM {table} t")
        ]
        shown = [*rows, str(logs), repr(Enabled(IssuedToken("eyJ", 1, {}), ann.recovery_codes))]
        shown.append(repr(MfaEnrolment(secret=ann.secret, uri=ann.secret, qr_svg=ann.secret, expires_in=1)))
        shown.append(repr(RecoveryCodes(recovery_codes=list(ann.recovery_codes))))
        shown += [repr(with_code("123456")), repr(with_recovery(ann.recovery_codes[0]))]
        assert not [text for text in shown for secret in (*secrets, "123456", "eyJ") if secret in text]

    async def test_a_wrong_code_leaves_it_off(self, accounts: Accounts) -> None:
        caller = await signed_in(accounts)
        await begun(accounts, caller)
        with pytest.raises(BadProof):
            await confirmed(accounts, caller, "12345a")
        assert not (await status(accounts, caller)).enabled

    async def test_it_must_be_begun_and_not_be_on_and_not_be_old(self, accounts: Accounts) -> None:
        caller = await signed_in(accounts)
        with pytest.raises(Conflict, match="begin first"):
            await confirmed(accounts, caller, "123456")
        await begun(accounts, caller)
        accounts.clock.advance(601)
        with pytest.raises(Conflict, match="too long ago"):
            await confirmed(accounts, caller, "123456")
        ann = await Protected.enrol(accounts, "other@example.com")
        with pytest.raises(Conflict, match="already"):
            await begun(accounts, ann.caller)
        with pytest.raises(Conflict, match="begin first"):
            await confirmed(accounts, ann.caller, ann.code())

    async def test_of_two_secrets_the_later_counts(self, accounts: Accounts) -> None:
        caller = await signed_in(accounts)
        user = await accounts.rows("SELECT id FROM users")
        assert len(user) == 1
        first, second = await begun(accounts, caller), await begun(accounts, caller)
        code_of = {
            secret: Protected(accounts, None, secret, (), caller).code()  # type: ignore[arg-type]
            for secret in (first, second)
        }
        with pytest.raises(BadProof):
            await confirmed(accounts, caller, code_of[first])
        await confirmed(accounts, caller, code_of[second])

    async def test_two_at_once_switch_it_on_once(self, accounts: Accounts) -> None:
        caller = await signed_in(accounts)
        code = Protected(accounts, None, await begun(accounts, caller), (), caller).code()  # type: ignore[arg-type]
        results = await asyncio.gather(
            *(confirmed(accounts, caller, code) for _ in range(4)), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 3 + ["Enabled"]
        assert (await status(accounts, caller)).recovery_codes_left == 10

    @pytest.mark.parametrize("session_id", ["not-a-uuid", "00000000-0000-0000-0000-000000000000", None])
    async def test_a_token_of_no_session_is_404(self, accounts: Accounts, session_id: str | None) -> None:
        user = await accounts.add_user()
        with pytest.raises(EntityNotFoundError):
            await begun(accounts, Principal(str(user.id), session_id=session_id))

    async def test_who_was_disabled_is_401(self, accounts: Accounts) -> None:
        caller = await signed_in(accounts)
        await accounts.write("UPDATE users SET is_active = false")
        with pytest.raises(InvalidToken):
            await begun(accounts, caller)

    async def test_without_the_store_nothing_changes(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        await accounts.begin(user)
        caller = accounts.tokens.verify((await accounts.begin(user)).access.token)
        code = Protected(accounts, user, await begun(accounts, caller), (), caller).code()
        with pytest.raises(StoreDown):
            await confirmed(accounts.without_store(), caller, code)
        assert not (await status(accounts, caller)).enabled
        await confirmed(accounts, caller, code)  # the code was not used up either


class TestDisable:
    async def test_the_password_is_enough_again_and_the_session_has_no_second_factor_any_more(
        self, accounts: Accounts
    ) -> None:
        ann = await Protected.enrol(accounts)
        other = await ann.redeem(await ann.wait(), with_code(ann.code()))
        async with get_db_context(accounts.database) as db:
            await accounts.mfa.disable(db, ann.caller)
        assert await accounts.is_revoked(other.access)
        assert await accounts.rows("SELECT methods FROM auth_sessions WHERE ended_at IS NULL") == [(["pwd"],)]
        async with get_db_context(accounts.database) as db:
            await accounts.mfa_sign_in.require(db, ann.user, SCOPES)
        for table in ("mfa_factors", "mfa_recovery_codes", "mfa_challenges"):
            assert await accounts.rows(f"SELECT 1 FROM {table}") == []
        assert (await recorded(accounts))[-1] == "mfa.disabled"
        with pytest.raises(EntityNotFoundError):
            async with get_db_context(accounts.database) as db:
                await accounts.mfa.disable(db, ann.caller)

    async def test_an_administrator_s_reset_ends_everything(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        opened, audit = await ann.redeem(await ann.wait(), with_code(ann.code())), AuditLog(accounts.clock)
        answers = []
        for _ in range(2):
            async with get_db_context(accounts.database) as db:
                answers.append(await reset_mfa(db, accounts.revocation, audit, ann.user.id))
        assert answers == [True, False]
        assert await accounts.is_revoked(opened.access)
        assert await accounts.rows("SELECT 1 FROM auth_sessions WHERE ended_at IS NULL") == []
        assert (await recorded(accounts))[-1] == "mfa.reset"


class TestRecoveryCodes:
    async def test_new_ones_end_the_old(self, accounts: Accounts) -> None:
        ann = await Protected.enrol(accounts)
        async with get_db_context(accounts.database) as db:
            codes = await accounts.mfa.replace_codes(db, ann.caller)
        with pytest.raises(BadProof):
            await ann.redeem(await ann.wait(), with_recovery(ann.recovery_codes[0]))
        await ann.redeem(await ann.wait(), with_recovery(codes[0]))
        assert (await status(accounts, ann.caller)).recovery_codes_left == 9

    async def test_without_a_factor_there_are_none(self, accounts: Accounts) -> None:
        caller = await signed_in(accounts)
        with pytest.raises(EntityNotFoundError):
            async with get_db_context(accounts.database) as db:
                await accounts.mfa.replace_codes(db, caller)


class TestRequiredRoles:
    async def test_who_asks_only_for_what_they_carry_is_refused_without_a_second_factor(
        self, accounts: Accounts, lives: Lives
    ) -> None:
        await lives.add()
        await accounts.write("UPDATE users SET roles = '{cpu_user}'")
        carried = min(scopes_of(["cpu_user"]))
        async with get_db_context(accounts.database) as db:
            with pytest.raises(InvalidScope, match="second factor"):
                await lives.sign_in.with_password(db, "ann@example.com", PASSWORD, carried)
            await db.rollback()
            both = f"read:records {carried}"
            opened = await lives.sign_in.with_password(db, "ann@example.com", PASSWORD, both)
        assert opened.access.claims["scope"] == "read:records"

    async def test_they_are_in_the_tokens_of_sessions_with_a_second_factor_only(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        await accounts.write("UPDATE users SET roles = '{cpu_user,db_reader}'")
        async with get_db_context(accounts.database) as db:
            opened = await accounts.sessions.begin(db, await db.get_one(type(user), user.id), SCOPES)
        for one in (opened, await accounts.refresh(opened.refresh_token)):
            assert accounts.tokens.verify(one.access.token).roles == {"db_reader"}
        async with get_db_context(accounts.database) as db:
            strong = await accounts.sessions.begin(
                db, await db.get_one(type(user), user.id), SCOPES, methods=("pwd", "otp", "mfa")
            )
        for one in (strong, await accounts.refresh(strong.refresh_token)):
            assert accounts.tokens.verify(one.access.token).roles == {"cpu_user", "db_reader"}


class TestStepUp:
    async def renewed(
        self, accounts: Accounts, hasher: PasswordHasher, caller: Principal, **proof: str
    ) -> Principal:
        form = StepUpForm(**{name: SecretStr(text) for name, text in proof.items()})
        steps = StepUp(accounts.sessions, accounts.factor, hasher)
        async with get_db_context(accounts.database) as db:
            return accounts.tokens.verify((await steps.renew(db, caller, form)).token)

    async def test_a_code_renews_the_sign_in_of_this_session_and_of_its_refreshed_tokens(
        self, accounts: Accounts, hasher: PasswordHasher
    ) -> None:
        ann = await Protected.enrol(accounts)
        opened = await ann.redeem(await ann.wait(), with_recovery(ann.recovery_codes[0]))
        caller = accounts.tokens.verify(opened.access.token)
        accounts.clock.advance(500)
        now = accounts.clock.time()
        renewed = await self.renewed(accounts, hasher, caller, code=ann.code())
        assert (renewed.authenticated_at, renewed.methods) == (now, ("pwd", "mfa", "otp"))
        assert (renewed.id, renewed.session_id, renewed.scopes) == (
            caller.id, caller.session_id, caller.scopes,
        )  # fmt: skip
        accounts.clock.advance(100)
        refreshed = accounts.tokens.verify((await accounts.refresh(opened.refresh_token)).access.token)
        assert (refreshed.authenticated_at, refreshed.methods) == (now, renewed.methods)
        with pytest.raises(BadProof):
            await self.renewed(accounts, hasher, caller, code=ann.code(-3))

    async def test_a_narrow_token_stays_narrow(self, accounts: Accounts, hasher: PasswordHasher) -> None:
        ann = await Protected.enrol(accounts)
        opened = await ann.redeem(await ann.wait(), with_code(ann.code()))
        narrow = await accounts.refresh(opened.refresh_token, "read:records")
        accounts.clock.advance(30)
        caller = accounts.tokens.verify(narrow.access.token)
        assert (await self.renewed(accounts, hasher, caller, code=ann.code())).scopes == {"read:records"}

    async def test_the_password_is_for_those_without_a_second_factor_and_the_other_way(
        self, accounts: Accounts, hasher: PasswordHasher
    ) -> None:
        ann = await Protected.enrol(accounts)
        await accounts.write("UPDATE users SET password_hash = :hash", hash=hasher.hash(PASSWORD))
        with pytest.raises(Unprocessable, match="send a code"):
            await self.renewed(accounts, hasher, ann.caller, password=PASSWORD)
        async with get_db_context(accounts.database) as db:
            await accounts.mfa.disable(db, ann.caller)
        with pytest.raises(Unprocessable, match="send the password"):
            await self.renewed(accounts, hasher, ann.caller, code=ann.code())
        with pytest.raises(BadProof, match="password is wrong"):
            await self.renewed(accounts, hasher, ann.caller, password=f"{PASSWORD}!")
        accounts.clock.advance(500)
        renewed = await self.renewed(accounts, hasher, ann.caller, password=PASSWORD)
        assert (renewed.authenticated_at, renewed.methods) == (accounts.clock.time(), ("pwd",))

    async def test_a_session_that_is_over_is_not_renewed(
        self, accounts: Accounts, hasher: PasswordHasher
    ) -> None:
        ann = await Protected.enrol(accounts)
        accounts.clock.advance(1_001)  # longer than a session may rest
        with pytest.raises(EntityNotFoundError):
            await self.renewed(accounts, hasher, ann.caller, code=ann.code())
        with pytest.raises(EntityNotFoundError):
            await self.renewed(accounts, hasher, Principal(ann.caller.id, session_id="x"), code=ann.code())

    async def test_a_sign_in_waits_for_the_second_factor_after_it_was_used_for_this(
        self, accounts: Accounts, hasher: PasswordHasher
    ) -> None:
        ann = await Protected.enrol(accounts)
        code = ann.code()
        await self.renewed(accounts, hasher, ann.caller, code=code)
        with pytest.raises(BadProof):
            await ann.redeem(await ann.wait(), with_code(code))
        with pytest.raises(MfaRequired):
            async with get_db_context(accounts.database) as db:
                await accounts.mfa_sign_in.require(db, ann.user, SCOPES)
