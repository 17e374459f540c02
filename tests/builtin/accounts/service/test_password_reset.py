"""A user who does not know his password sets another one."""

import asyncio

import pytest

from app.builtin.accounts.service import (
    BadCredentials,
    BadEmailToken,
    BadRefreshToken,
    MailIsOff,
    UnfitPassword,
)
from app.core.context import RequestContext, reset_context, set_context
from app.core.db import Database
from app.core.errors import PolicyRejected, Unavailable
from app.core.mail import MailNotSent
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from tests.builtin.accounts.desks import NO_STORE, Accounts
from tests.builtin.accounts.lives import BASE, OTHER, PASSWORD, PER_ADDRESS, Lives, for_ever

NO_DATABASE = "postgresql+asyncpg://nobody@127.0.0.1:1/none"


class TestRequest:
    async def test_the_user_gets_a_link_of_which_the_database_has_the_hash_alone(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        await lives.add()
        token = await lives.reset()
        assert lives.outbox.sent() == [("reset_password", "ann@example.com")]
        assert f"{BASE}/reset-password#token={token}\n" in lives.outbox.mails[0].text
        [row] = await accounts.rows("SELECT * FROM email_tokens")
        assert token not in repr(row)
        assert len(token) == len("et_") + 43

    async def test_another_spelling_of_the_address_is_sent_to_the_one_that_is_known(
        self, lives: Lives
    ) -> None:
        await lives.add()
        for spelling in ("ANN@Example.COM", "\uff41nn@example.com"):
            await lives.resets.request(spelling)
        await lives.postman.idle()
        assert lives.outbox.sent() == [("reset_password", "ann@example.com")] * 2

    async def test_whether_there_is_a_user_is_asked_after_the_answer_and_the_same_is_queued(
        self, lives: Lives, accounts: Accounts, store: ValkeyClient
    ) -> None:
        await lives.add()
        blind = Lives(accounts, store, lives.hasher, database=Database(NO_DATABASE), pause=for_ever)
        queued = []
        for email in ("ann@example.com", "nobody@example.com"):
            await blind.resets.request(email)  # answers, although no database could be asked
            queued.append(len(blind.postman._under_way))
        assert queued == [1, 2]
        await blind.postman.close(limit_s=0)
        await lives.resets.request("nobody@example.com")
        await lives.postman.idle()
        assert lives.outbox.mails == []

    async def test_a_disabled_user_gets_nothing(self, lives: Lives, accounts: Accounts) -> None:
        await lives.add()
        await accounts.write("UPDATE users SET is_active = false")
        await lives.resets.request("ann@example.com")
        await lives.postman.idle()
        assert lives.outbox.mails == []
        assert await accounts.rows("SELECT 1 FROM email_tokens") == []

    async def test_known_and_unknown_addresses_are_limited_alike(self, lives: Lives) -> None:
        await lives.add()
        for email in ("ann@example.com", "nobody@example.com"):
            for _ in range(PER_ADDRESS):
                await lives.resets.request(email)
            with pytest.raises(PolicyRejected):
                await lives.resets.request(email.upper())

    async def test_nothing_is_sent_while_nobody_can_count(self, lives: Lives, accounts: Accounts) -> None:
        with pytest.raises(Unavailable):
            await Lives(accounts, ValkeyClient(NO_STORE), lives.hasher).resets.request("ann@example.com")

    async def test_without_mail_there_is_no_such_thing(
        self, accounts: Accounts, store: ValkeyClient, hasher: PasswordHasher
    ) -> None:
        silent = Lives(accounts, store, hasher, has_mail=False)
        with pytest.raises(MailIsOff):
            await silent.resets.request("ann@example.com")
        ann = await silent.add()
        await silent.change(ann, PASSWORD, OTHER)  # needs none
        await silent.signs_in(OTHER)

    async def test_a_mail_that_was_not_sent_can_be_asked_for_again(self, lives: Lives) -> None:
        await lives.add()
        lives.outbox.error = MailNotSent("550", is_final=True)
        await lives.resets.request("ann@example.com")
        await lives.postman.idle()
        lives.outbox.error = None
        await lives.confirm_reset(await lives.reset())

    async def test_it_is_written_down_as_done_by_somebody_in_that_request(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        before = set_context(RequestContext(request_id="r-1"))
        await lives.resets.request("ann@example.com")
        reset_context(before)
        await lives.postman.idle()
        [row] = await accounts.rows(
            "SELECT event, actor_kind, subject_id, request_id, detail FROM audit_events"
        )
        assert row == ("password.reset_requested", "anonymous", ann.id, "r-1", {})


class TestConfirm:
    async def test_the_new_password_counts_and_all_sessions_are_over_at_once(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        opened = await accounts.begin(ann)
        token = await lives.reset()
        assert not await accounts.is_revoked(opened.access)
        await lives.confirm_reset(token)
        assert await accounts.is_revoked(opened.access)
        with pytest.raises(BadRefreshToken):
            await accounts.refresh(opened.refresh_token)
        with pytest.raises(BadCredentials):
            await lives.signs_in(PASSWORD)
        await lives.signs_in(OTHER)
        await lives.settle()
        assert lives.outbox.sent()[-1] == ("password_changed", "ann@example.com")
        assert await lives.events() == ["password.reset_requested", "password.reset", "email.verified"]

    async def test_it_begins_no_session_and_shows_that_the_address_is_his(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        await lives.add()
        await lives.confirm_reset(await lives.reset())
        assert await accounts.rows("SELECT 1 FROM auth_sessions") == []
        assert await accounts.rows("SELECT email_verified_at FROM users") == [(accounts.now(),)]

    async def test_of_many_at_once_one_is_done(self, lives: Lives) -> None:
        await lives.add()
        token = await lives.reset()
        passwords = [f"{OTHER} {n}" for n in range(6)]
        ends = await asyncio.gather(
            *(lives.confirm_reset(token, password) for password in passwords), return_exceptions=True
        )
        [done] = [password for password, end in zip(passwords, ends, strict=True) if end is None]
        assert [type(end) for end in ends if end is not None] == [BadEmailToken] * 5
        await lives.signs_in(done)

    async def test_whatever_is_wrong_with_a_token_is_refused_alike(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        ann = await lives.add()
        await lives.ask_verification(ann)
        verifies = lives.outbox.token()
        replaced = await lives.reset()
        newest = await lives.reset()
        refused = [
            await self._refusal(lives, token) for token in ("et_unknown", "", "\ud800", verifies, replaced)
        ]
        accounts.clock.advance(1800)
        refused.append(await self._refusal(lives, newest))
        used = await lives.reset()
        await lives.confirm_reset(used)
        refused.append(await self._refusal(lives, used))
        assert len(refused) == 7
        assert set(refused) == {("This link is not valid, or not any more; ask for a new one.", 400)}

    async def test_just_before_its_time_is_over_it_is_good(self, lives: Lives, accounts: Accounts) -> None:
        await lives.add()
        token = await lives.reset()
        accounts.clock.advance(1799)
        await lives.confirm_reset(token)

    async def test_a_user_who_was_disabled_meanwhile_gets_the_same_refusal(
        self, lives: Lives, accounts: Accounts
    ) -> None:
        await lives.add()
        token = await lives.reset()
        await accounts.write("UPDATE users SET is_active = false")
        with pytest.raises(BadEmailToken):
            await lives.confirm_reset(token)

    async def test_an_unfit_password_leaves_the_link_good(self, lives: Lives) -> None:
        await lives.add()
        token = await lives.reset()
        for unfit in ("short", "Ann@Example.com", "password1"):
            with pytest.raises(UnfitPassword):
                await lives.confirm_reset(token, unfit)
        await lives.confirm_reset(token)

    @staticmethod
    async def _refusal(lives: Lives, token: str) -> tuple[str | None, int]:
        with pytest.raises(BadEmailToken) as refused:
            await lives.confirm_reset(token)
        return refused.value.detail, refused.value.status


async def test_tokens_whose_time_is_over_are_deleted(lives: Lives, accounts: Accounts) -> None:
    ann = await lives.add()
    await lives.reset()
    await lives.ask_verification(ann)
    assert await lives.upkeep.purge() == 0
    accounts.clock.advance(1801)
    assert await lives.upkeep.purge() == 1
    assert await accounts.rows("SELECT purpose FROM email_tokens") == [("verify_email",)]
